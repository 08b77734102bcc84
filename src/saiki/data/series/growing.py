"""A series that grows row by row, in the order of its times and without gaps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saiki.data.series.order import Rows, clock, filled, without_gaps
from saiki.data.series.series_table import Series
from saiki.data.series.steps import Step, following, places
from saiki.errors import InputError, shown

TIMES = 64
"""The newest ones that are kept; they tell on which day of a month rows are."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NewRow:
    """One row.

    Args:
        series: the name of the series; empty where there is one.
        time: microseconds since 1970 as in :class:`saiki.data.series.order.Rows`; None where there
            are no times.
        zone: in which the time was written; empty where it does not say.
        values: NaN where a cell is empty, ``(columns,)``.
        line: from 0 on.
    """

    series: str
    time: int | None
    zone: str
    values: Numbers
    line: int


class GrowingSeries:
    """The newest rows of one series, and what is known beforehand of rows to come.

    Args:
        name: of the series.
        columns: names of the columns: targets, those known beforehand, those known afterwards.
        targets: how many of them are forecast.
        known: how many of them are known beforehand.
        step: how far rows are apart; None where there are no times.
        gaps: what is done where rows or cells are missing, see
            :func:`saiki.data.series.series_table.read_series`.
    """

    def __init__(
        self, name: str, columns: tuple[str, ...], targets: int, known: int, step: Step | None,
        gaps: str,
    ) -> None:  # fmt: skip
        self.name, self.columns, self.step, self.gaps = name, columns, step, gaps
        self.targets, self.of_known = targets, slice(targets, targets + known)
        self.times: NDArray[Any] = np.zeros(0, np.int64 if step is None else "M8[us]")
        self.coming: Numbers = np.zeros((0, known))
        self._last, self._line = np.full(len(columns), np.nan), -1

    def begin(self, series: Series) -> None:
        """With the rows of a table."""
        count = len(series)
        self.times = series.times[:count][-TIMES:]
        self.coming = series.known[count:]
        self._last = np.concatenate((series.targets[-1], series.known[count - 1], series.past[-1]))

    def ahead(self, count: int) -> NDArray[Any]:
        """The times of so many rows to come."""
        return following(self.times, self.step, count)

    def add(self, row: NewRow) -> tuple[NDArray[Any], Numbers, tuple[str, ...]]:
        """Go on with a row: the times and values of the rows since the last, more than one where
        rows were missing and may be filled in, and what a person should know of that. A row without
        targets says what is known beforehand of a time to come, and there are none then.

        Raises:
            InputError: it comes before the last row or again, not at a regular distance, or behind
                rows that are missing; or a cell is empty.
        """
        steps = self._steps(row)
        if np.isnan(row.values[: self.targets]).all():
            self._foretell(row, steps)
            return self.times[:0], row.values[None][:0], ()
        rows = self._rows(row)
        if len(self.times):
            rows = without_gaps(rows, self.gaps, self.step)
            foretold = self.coming[: len(rows.times) - 1]
            known = rows.values[1 : 1 + len(foretold), self.of_known]
            known[:] = np.where(np.isnan(known), foretold, known)
        rows = filled(rows, self.gaps, np.zeros(rows.values.shape, bool))
        new = slice(1 if len(self.times) else 0, None)
        times = rows.times[new]
        times = times.astype("M8[us]") if rows.timed else times
        self.times = np.concatenate((self.times, times))[-TIMES:]
        self.coming = self.coming[len(times) :]
        self._last, self._line = rows.values[-1], row.line
        return times, rows.values[new], rows.notes

    def _steps(self, row: NewRow) -> int:
        """How many of them the row is behind the last one, 0 if no whole number; 1 where there is
        none."""
        if row.time is None or not len(self.times):
            return 1
        assert self.step is not None
        last = int(self.times[-1].astype(np.int64))
        of = f" of the series {shown(self.name)}" if self.name else ""
        if row.time <= last:
            how = "again" if row.time == last else f"after {clock(last)}"
            raise InputError(
                f"standard input has {clock(row.time)}{of} {how} in line {row.line + 1:,}; rows "
                "must come in the order of their times, each once"
            )
        count, is_whole = places(np.array([row.time]), np.array([last]), self.step)
        return int(count[0]) if is_whole[0] else 0

    def _rows(self, row: NewRow) -> Rows:
        """The last row, if there is one, and this one."""
        count = 2 if len(self.times) else 1
        timed = row.time is not None
        first = int(self.times[-1].astype(np.int64)) if len(self.times) else -1
        times = np.array([first, row.time if timed else first + 1][-count:])
        values = np.stack((self._last, row.values))[-count:]
        lines = np.array([self._line, row.line][-count:])
        return Rows(
            Path("standard input"), (self.name,), np.zeros(count, np.int64), times, values,
            self.columns, lines, timed,
        )  # fmt: skip

    def _foretell(self, row: NewRow, steps: int) -> None:
        known = row.values[self.of_known]
        if not len(known) or np.isnan(known).any() or not len(self.times):
            raise InputError(
                f"{self._rows(row).place(-1)} of standard input has no number in the columns that "
                "are forecast, so nothing comes of it"
            )
        if not 1 <= steps <= len(self.coming) + 1:
            raise InputError(
                f"{self._rows(row).place(-1)} of standard input says what is known beforehand; "
                f"before that it must be said of the row {len(self.coming) + 1} behind the last"
            )
        self.coming = np.concatenate((self.coming[: steps - 1], known[None], self.coming[steps:]))
