"""The columns of tables of series, each a row of its own to a network, with what goes with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saiki.data.series.calendar import calendar
from saiki.data.series.series_table import SeriesTable
from saiki.data.series.steps import following

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """One target of one series.

    Args:
        series: its name; empty where there is one.
        target: the name of the column.
        times: of its values, and of as many steps ahead as there are features of.
        values: ``(time,)``; NaN is a gap.
        known: what is known beforehand, ``(time and ahead, features)``.
        observed: what is known afterwards, ``(time, features)``.
    """

    series: str
    target: str
    times: NDArray[Any]
    values: Numbers
    known: Numbers
    observed: Numbers

    def __len__(self) -> int:
        return len(self.values)


def columns_of(table: SeriesTable, ahead: int, by_calendar: bool = True) -> list[Column]:
    """The columns of a table, the targets of a series one after the other.

    Args:
        ahead: steps behind the last value of each series for which features are made of the
            calendar. What a table knows beforehand reaches as far as its own rows.
        by_calendar: whether features of the calendar follow those of the table.
    """
    found = []
    for series in table.series:
        times = _reaching(series.times, table, len(series) + ahead)
        known = series.known
        if by_calendar:
            features, _ = calendar(times, table.step, table.zone)
            count = min(len(times), len(known)) if table.known else len(times)
            own = known[:count] if table.known else np.zeros((count, 0))
            known, times = np.concatenate((own, features[:count]), 1), times[:count]
        elif table.known:
            times = times[: len(known)]
        else:
            known = np.zeros((len(times), 0))
        found += [
            Column(series.name, target, times, series.targets[:, place], known, series.past)
            for place, target in enumerate(table.targets)
        ]
    return found


def feature_names(table: SeriesTable, by_calendar: bool = True) -> tuple[str, ...]:
    """Of the known features of :func:`columns_of`."""
    times = table.series[0].times
    return (*table.known, *(calendar(times[:1], table.step, table.zone)[1] if by_calendar else ()))


def _reaching(times: NDArray[Any], table: SeriesTable, count: int) -> NDArray[Any]:
    """The first ``count`` times of a series, those that it has and those that follow."""
    more = count - len(times)
    if more <= 0:
        return times[:count]
    if table.step is None:
        return np.concatenate((times, times[-1] + np.arange(1, more + 1)))
    return np.concatenate((times, following(times, table.step, more)))


def numbers_of(columns: Sequence[Column]) -> dict[tuple[str, str], int]:
    """The number of each column by its series and target, from 1 on."""
    return {(column.series, column.target): n for n, column in enumerate(columns, 1)}
