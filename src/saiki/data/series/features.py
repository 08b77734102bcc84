"""The columns of tables of series, each a row of its own to a network, with what goes with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saiki.data.series.calendar import calendar, seen_often
from saiki.data.series.series_table import SeriesTable
from saiki.data.series.steps import Step, following

Numbers = NDArray[np.float64]
Features = NDArray[np.float32]
PIECE = 65_536
"""Times of which the calendar is looked up at once, so that a long series needs no more memory than
what is kept of it."""


@dataclass(frozen=True, eq=False)
class Column:
    """One target of one series.

    Args:
        series: its name; empty where there is one.
        target: the name of the column.
        times: of its values, and of as many steps ahead as there are features of.
        values: ``(time,)``; NaN is a gap.
        known: what is known beforehand, ``(time and ahead, features)``, float32.
        observed: what is known afterwards, ``(time, features)``.
    """

    series: str
    target: str
    times: NDArray[Any]
    values: Numbers
    known: Features
    observed: Numbers

    def __len__(self) -> int:
        return len(self.values)


def columns_of(table: SeriesTable, ahead: int, names: Sequence[str] = ()) -> list[Column]:
    """The columns of a table, the targets of a series one after the other.

    Args:
        ahead: steps behind the last value of each series for which features are made of the
            calendar. What a table knows beforehand reaches as far as its own rows.
        names: of the features of the calendar that follow those of the table; see
            :func:`calendar_names`.
    """
    found = []
    for series in table.series:
        times = _reaching(series.times, table, len(series) + ahead)
        if table.known:
            times = times[: len(series.known)]
        known = calendar_features(times, table.step, table.zone, names)
        if table.known:
            known = np.concatenate((series.known[: len(times)].astype(np.float32), known), 1)
        found += [
            Column(series.name, target, times, series.targets[:, place], known, series.past)
            for place, target in enumerate(table.targets)
        ]
    return found


def calendar_features(
    times: NDArray[Any], step: Step | None, zone: str, names: Sequence[str]
) -> Features:
    """Those of the features of :func:`saiki.data.series.calendar.calendar` that have these names,
    ``(time, names)``, float32."""
    found: Features = np.empty((len(times), len(names)), np.float32)
    for begin in range(0, len(times), PIECE):
        part = slice(begin, begin + PIECE)
        features, every = calendar(times[part], step, zone)
        found[part] = features[:, [*map(every.index, names)]]
    return found


def calendar_names(table: SeriesTable, learned: Sequence[int]) -> tuple[str, ...]:
    """Of the features of the calendar from which something can be learned: those whose cycles come
    often enough in the series that reaches over the longest time.

    Args:
        learned: rows of each series that are learned from, one at least.
    """
    parts = [series.times[:rows] for series, rows in zip(table.series, learned, strict=True)]
    longest = max(parts, key=lambda times: times[-1] - times[0])
    return seen_often(calendar(longest[:1], table.step, table.zone)[1], longest)


def _reaching(times: NDArray[Any], table: SeriesTable, count: int) -> NDArray[Any]:
    """The first ``count`` times of a series, those that it has and those that follow."""
    more = count - len(times)
    if more <= 0:
        return times[:count]
    if table.step is None:
        return np.concatenate((times, times[-1] + np.arange(1, more + 1)))
    return np.concatenate((times, following(times, table.step, more)))
