"""Where series come from, by their knobs: a table, its columns, and the parts of time."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from torch import Tensor

from saiki.data import store
from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.series import made
from saiki.data.series.features import Column, calendar_names, columns_of
from saiki.data.series.order import GAPS
from saiki.data.series.origins import Origins, Split, Timelines, Window
from saiki.data.series.series_table import DATES, SeriesTable, read_series
from saiki.data.tables.encoding import Encoding
from saiki.errors import InputError
from saiki.knobs import Knobs, knob

DEFAULT = "OT"
"""The column that is forecast where no table is given: the temperature of the oil."""
NOTHING = "nothing"


def names_in(text: str) -> tuple[str, ...]:
    """The names between commas.

    >>> names_in("load, oil")
    ('load', 'oil')
    """
    return tuple(name for part in text.split(",") if (name := part.strip()))


class SeriesSource(Knobs):
    """A table, what its columns are, and which rows are learned from."""

    data: str = knob(
        "", "a table of series: CSV of any kind or Parquet; a transformer's temperature without",
        is_path=True,
    )  # fmt: skip
    encoded: Encoding = Encoding()
    made: str = knob(
        NOTHING, "what is made up where no table is given: prices, the demand for many things, a "
        "random walk, a series of a known law, or nothing", choices=(NOTHING, *made.MADE),
    )  # fmt: skip
    made_seed: int = knob(0, "of what is made up", minimum=0, maximum=2**31)
    target: str = knob("", "the columns that are forecast, with commas between")
    time: str = knob("", "the column of times; found without")
    series: str = knob("", "the column that tells series apart, where a table holds several")
    known: str = knob("", "columns known beforehand, with commas between")
    observed: str = knob("", "columns known only afterwards, with commas between")
    calendar: bool = knob(
        True, "whether the hour, the day and the month are known beforehand, as far as what is "
        "learned from has seen them often enough",
    )  # fmt: skip
    gaps: str = knob(
        "refuse", "what is done where rows or cells are missing: the value before is taken, what "
        "lies on a line between, or nothing", choices=GAPS,
    )  # fmt: skip
    dates: str = knob("auto", "whether the day or the month stands first in dates", choices=DATES)
    train: int = knob(
        0, "rows of each series that are learned from; 0: all but the rest", minimum=0
    )
    validation: float = knob(
        0.1, "of the rows after those: a share, or their number, that validate", minimum=0.001,
        maximum=1e9,
    )  # fmt: skip
    test: float = knob(
        0.2, "of the rows after those: a share, or their number, that are tested", minimum=0.001,
        maximum=1e9,
    )  # fmt: skip

    origins: int = knob(
        1, "parts of what is tested, one after the other; each is judged by itself, and "
        "--cross-validate origins learns anew before each", minimum=1, maximum=1000,
    )  # fmt: skip
    origin: int = knob(
        0, "of these parts, the only one that is tested, by what has learned from all before it; "
        "0: all of them", minimum=0, maximum=1000,
    )  # fmt: skip

    def validate(self) -> None:
        self.refuse_unused("made", {"made_seed": tuple(made.MADE)})
        if self.origin > self.origins:
            raise InputError(
                f"origin counts from 1 to the number of origins, {self.origins}, got {self.origin}"
            )
        if self.data and self.made_seed:
            raise InputError("made_seed is of what is made up; leave it out where data are given")
        if self.is_made and (
            self.target or self.time or self.series or self.known or self.observed
        ):
            raise InputError(
                f"{self.made} that are made up have their own columns; give data, or leave out "
                "target, time, series, known and observed"
            )

    def read(self, path: Path) -> SeriesTable:
        """A table with the columns that this one has.

        Raises:
            InputError: it cannot be read, or nothing says what is forecast.
        """
        targets, known, past = self.column_names
        encoding = self.encoded.encoding if str(path) == self.data else ""
        return read_series(
            path, targets, time=self.time, series=self.series_column, known=known, past=past,
            gaps=self.gaps, dates=self.dates, encoding=encoding,
        )  # fmt: skip

    @property
    def column_names(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Of the columns that are forecast, those known beforehand, and those known afterwards.

        Raises:
            InputError: nothing says what is forecast.
        """
        if self.data and not names_in(self.target):
            raise InputError("say with --target which columns of the table are forecast")
        like = made.MADE[self.made] if self.is_made else None
        targets = names_in(self.target) or ((like.target if like else DEFAULT),)
        return targets, names_in(self.known), names_in(self.observed)

    @property
    def series_column(self) -> str:
        """The one that tells series apart; empty where there is one series."""
        return self.series or (made.MADE[self.made].series if self.is_made else "")

    @property
    def is_made(self) -> bool:
        """Whether the table is made up, which it is where none is given."""
        return self.made != NOTHING and not self.data

    @property
    def path(self) -> Path:
        return Path(self.data) if self.data else store.locate("ett", None) / "ETTh1.csv"

    @cached_property
    def table(self) -> SeriesTable:
        if self.is_made:
            return made.MADE[self.made].make(self.made_seed)
        return self.read(self.path)

    @cached_property
    def columns(self) -> list[Column]:
        return columns_of(self.table, 0, self._of_calendar)

    @cached_property
    def _of_calendar(self) -> tuple[str, ...]:
        """Names of the features of the calendar."""
        if not self.calendar:
            return ()
        series = self.table.series
        return calendar_names(self.table, [self._split(len(each)).train for each in series])

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what is known beforehand."""
        return (*self.table.known, *self._of_calendar)

    @cached_property
    def splits(self) -> list[Split]:
        """Of each column."""
        return [self._split(len(column)) for column in self.columns]

    def parts_tested(self) -> Iterator[tuple[int, list[Split]]]:
        """Where several parts of what is tested are judged by themselves, their numbers and where
        they lie in each column."""
        if self.origins > 1 and not self.origin:
            for part in range(1, self.origins + 1):
                yield part, [split.part(part, self.origins) for split in self.splits]

    def _split(self, rows: int) -> Split:
        whole = Split.of(rows, self.train, self.validation, self.test)
        return whole.part(self.origin, self.origins) if self.origin else whole

    def timelines(self, look_back: int, horizon: int) -> Timelines:
        """The columns, to cut windows out of them."""
        values, known, observed = (
            [getattr(column, name) for column in self.columns]
            for name in ("values", "known", "observed")
        )
        return Timelines(values, known, observed, look_back, horizon)

    def in_words(self) -> str:
        first = self.splits[0]
        parts = f"{first.train:,} rows to learn from, {first.validation - first.train:,} validate"
        each = "of each series " if len(self.table.series) > 1 else ""
        tested = f"{first.test - first.validation:,} are tested"
        return f"{self.table.in_words()}; {each}{parts}, {tested}"


Batch = tuple[Tensor, ...]
"""The parts of a window."""


class SeriesWindows(IndexedDataset[Batch]):
    """Windows around the origins of forecasts, in three parts of time.

    Args:
        look_back: rows that a forecast is made from.
        horizon: rows that are forecast.
    """

    source: SeriesSource
    look_back: int
    horizon: int

    prefetch = 2

    @cached_property
    def timelines(self) -> Timelines:
        return self.source.timelines(self.look_back, self.horizon)

    @cached_property
    def train(self) -> Origins:
        ranges = [
            (min(self.look_back, max(1, split.train - self.horizon)), split.train)
            for split in self.source.splits
        ]
        return Origins(self.timelines, ranges)

    @cached_property
    def validation(self) -> Origins:
        return Origins(self.timelines, [(s.train, s.validation) for s in self.source.splits])

    @cached_property
    def test(self) -> Origins:
        return self.tested(self.source.splits)

    def tested(self, splits: Sequence[Split]) -> Origins:
        """The windows of what is tested of each column."""
        return Origins(self.timelines, [split.tested(self.horizon) for split in splits])

    @property
    def parts(self) -> Self:
        return self

    def batch(self, draw: Draw) -> Window:
        return self.train.window(draw.own)

    def describe(self) -> str:
        return self.source.in_words()

    def items(self) -> Mapping[str, Iterator[bytes]]:
        parts = ("values", "known", "observed")
        each = (getattr(column, part) for column in self.source.columns for part in parts)
        return {"columns": (values.tobytes() for values in each)}

    def example(self) -> Batch:
        return next(self.batches(0))

    def input_example(self) -> str:
        return "TABLE.csv" if self.source.is_made else str(self.source.path)
