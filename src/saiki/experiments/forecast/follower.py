"""Series that go on row by row, and what comes next after each row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saiki.data.series import steps
from saiki.data.series.features import Features, calendar_features
from saiki.data.series.growing import GrowingSeries, NewRow
from saiki.data.series.order import clock
from saiki.errors import InputError, printable
from saiki.experiments.forecast.outlook import Outlook, of_rows
from saiki.models.forecaster import Memory
from saiki.prediction import Prediction

Numbers = NDArray[np.float64]


@dataclass
class _Followed:
    """A series, and what the model keeps of it; None before its first row."""

    series: GrowingSeries
    memory: Memory | None


class Follower:
    """Goes on with each row that comes, and says what comes after it: the numbers that a table of
    all rows would give, without reading it again.

    Args:
        outlook: what is asked of which model.
        table: of the rows before; none without.

    Raises:
        InputError: the table cannot be read, or the model does not forecast so far ahead.
    """

    def __init__(self, outlook: Outlook, table: Path | None = None) -> None:
        from saiki.data.series.row_reader import RowReader

        self.outlook, self.source, self.reach = outlook, outlook.source, outlook.reach
        self.names = self.source.column_names
        self.step, self.zone = steps.of_words(outlook.model.step), ""
        self.followed = dict[str, _Followed]()
        if table is not None:
            self._begin(table)
        self.reader = RowReader(
            [name for names in self.names for name in names], len(self.names[0]),
            self.source.time, self.source.series_column, self.source.dates, table,
        )  # fmt: skip

    def _begin(self, path: Path) -> None:
        table = self.outlook.read(path)
        self.step, self.zone = table.step, table.zone
        for series, columns in zip(table.series, self.outlook.columns_of(table), strict=True):
            growing = self._growing(series.name)
            growing.begin(series)
            self.followed[series.name] = _Followed(growing, self.outlook.remember(columns))

    def hear(self, lines: Sequence[bytes]) -> Iterator[Prediction | InputError]:
        """What comes after each of these lines, as :meth:`saiki.experiment.Experiment.predict` says
        it, or why nobody knows.

        Raises:
            InputError: nobody will, whatever comes.
        """
        for row in self.reader.read(lines):
            if isinstance(row, InputError):
                yield row
                continue
            try:
                prediction = self._prediction(row)
            except InputError as error:
                yield error
                continue
            if prediction is not None:
                yield prediction

    def end(self) -> Iterator[InputError]:
        """What is wrong where nothing more comes."""
        if self.reader.is_waiting:
            yield InputError("standard input ended before a row of numbers came")

    def _prediction(self, row: NewRow) -> Prediction | None:
        self._check(row)
        followed = self.followed.get(row.series)
        is_new = followed is None
        if followed is None:
            followed = _Followed(self._growing(row.series), None)
        times, values, notes = followed.series.add(row)
        if not len(times):
            return None
        if not self.followed:
            self.zone = row.zone
        self.followed[row.series] = followed
        memory = followed.memory = self._memory(followed, times, values)
        series, ahead = followed.series, followed.series.ahead(self.reach)
        known = self._features(ahead, series.coming[: self.reach])
        rows = self.outlook.rows(series.name, ahead, self.outlook.forecast(memory, known))
        remarks = [*self._of_first(series.name)] if is_new else []
        if notes:
            at = clock(int(times[-1].astype(np.int64))) if self.step else f"row {times[-1]}"
            of = " ".join(filter(None, (printable(series.name), at)))
            remarks.append(f"{of}: {'; '.join(notes)}")
        return of_rows(rows, remarks)

    def _check(self, row: NewRow) -> None:
        """Whether the time of a row is of the kind of those before."""
        if (row.time is None) != (self.step is None):
            apart = f"{self.outlook.model.step} apart" if self.step else "without times"
            raise InputError(
                f"the model learned from rows {apart}, and line {row.line + 1:,} of standard input "
                f"has {'no' if row.time is None else 'a'} time"
            )
        if self.followed and bool(row.zone) != bool(self.zone):
            raise InputError(
                f"standard input has a time {'with' if row.zone else 'without'} its distance to "
                f"UTC in line {row.line + 1:,}, unlike the rows before; write it for all or none"
            )

    def _memory(self, followed: _Followed, times: NDArray[Any], values: Numbers) -> Memory:
        """What the model keeps after these rows."""
        model, (targets, known, _) = self.outlook.model, map(len, self.names)
        features = self._features(times, values[:, targets : targets + known])
        past = torch.from_numpy(values[:, :targets].T.copy())
        self.outlook.check(past)
        of_rows = (
            torch.from_numpy(part).expand(targets, -1, -1)
            for part in (features, values[:, targets + known :])
        )
        if followed.memory is None:
            return model.remember(past, self.outlook.numbers(followed.series.name), *of_rows)
        return model.go_on(followed.memory, past, *of_rows)

    def _features(self, times: NDArray[Any], known: Numbers) -> Features:
        """What is known beforehand of rows, what the calendar says behind it; of fewer rows, where
        there is less of ``known`` than of times."""
        if not self.names[1]:
            known = np.zeros((len(times), 0))
        of_calendar = calendar_features(
            times[: len(known)], self.step, self.zone, self.outlook.of_calendar
        )
        return np.concatenate((known.astype(np.float32), of_calendar), 1)

    def _of_first(self, name: str) -> Iterator[str]:
        """What a person should know of a series that begins."""
        of = f"{printable(name)} begins" if name else "what is read begins"
        yield (
            f"{of} with this row, and the model learned from {self.outlook.model.look_back} rows "
            "before each forecast: until as many have come, forecasts are less sure than they say"
        )
        yield from filter(None, (self.outlook.of_horizon(), self.outlook.of_new([name])))

    def _growing(self, name: str) -> GrowingSeries:
        columns = tuple(each for names in self.names for each in names)
        targets, known = len(self.names[0]), len(self.names[1])
        return GrowingSeries(name, columns, targets, known, self.step, self.source.gaps)
