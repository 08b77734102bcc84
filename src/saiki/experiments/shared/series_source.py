"""Where series come from, by their knobs: a table, its columns, and the parts of time."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from saiki.data import store
from saiki.data.series.features import Column, calendar_names, columns_of
from saiki.data.series.order import GAPS
from saiki.data.series.origins import Origins, Split
from saiki.data.series.series_table import DATES, SeriesTable, read_series
from saiki.errors import InputError
from saiki.knobs import Knobs, knob

DEFAULT = "OT"
"""The column that is forecast where no table is given: the temperature of the oil."""


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

    def read(self, path: Path) -> SeriesTable:
        """A table with the columns that this one has.

        Raises:
            InputError: it cannot be read, or nothing says what is forecast.
        """
        targets, known, past = self.column_names
        return read_series(
            path, targets, time=self.time, series=self.series, known=known, past=past,
            gaps=self.gaps, dates=self.dates,
        )  # fmt: skip

    @property
    def column_names(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Of the columns that are forecast, those known beforehand, and those known afterwards.

        Raises:
            InputError: nothing says what is forecast.
        """
        if self.data and not names_in(self.target):
            raise InputError("say with --target which columns of the table are forecast")
        targets = names_in(self.target) or (DEFAULT,)
        return targets, names_in(self.known), names_in(self.observed)

    @property
    def path(self) -> Path:
        return Path(self.data) if self.data else store.locate("ett", None) / "ETTh1.csv"

    @cached_property
    def table(self) -> SeriesTable:
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

    def _split(self, rows: int) -> Split:
        return Split.of(rows, self.train, self.validation, self.test)

    def origins(self, ranges: Sequence[tuple[int, int]], look_back: int, horizon: int) -> Origins:
        """Of the columns, each between two rows."""
        values, known, observed = (
            [getattr(column, name) for column in self.columns]
            for name in ("values", "known", "observed")
        )
        return Origins(values, known, observed, ranges, look_back, horizon)

    def in_words(self) -> str:
        first = self.splits[0]
        parts = f"{first.train:,} rows to learn from, {first.validation - first.train:,} validate"
        each = "of each series " if len(self.table.series) > 1 else ""
        tested = f"{first.test - first.validation:,} are tested"
        return f"{self.table.in_words()}; {each}{parts}, {tested}"
