"""The columns of tables of series, each a row of its own to a network, with what goes with it:
among that what the calendar says of times, which is known beforehand for any time to come."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saiki.data.series.series_table import SeriesTable
from saiki.data.series.steps import DAY, MONDAY, BusinessDays, Months, Step, following, month_of
from saiki.errors import InputError

Array = np.ndarray[Any, Any]
Numbers = NDArray[np.float64]
Features = NDArray[np.float32]
CYCLES = {
    "hour of day": (1.0, 3), "day of week": (7.0, 3), "day of month": (30.4, 36),
    "day of year": (365.0, 3), "month": (365.0, 3),
}  # fmt: skip
"""How many days each takes to come again, and how often it has to have come before anything can be
learned from it. What comes but once is no season, it is a date by which a network remembers what
was then; and of the days of a month hardly any differs from its neighbours for a reason."""
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
    columns = []
    for series in table.series:
        times = _reaching(series.times, table, len(series) + ahead)
        if table.known:
            times = times[: len(series.known)]
        known = calendar_features(times, table.step, table.zone, names)
        if table.known:
            known = np.concatenate((series.known[: len(times)].astype(np.float32), known), 1)
        columns += [
            Column(series.name, target, times, series.targets[:, place], known, series.past)
            for place, target in enumerate(table.targets)
        ]
    return columns


def calendar_features(
    times: NDArray[Any], step: Step | None, zone: str, names: Sequence[str]
) -> Features:
    """Those of the features of :func:`calendar` that have these names,
    ``(time, names)``, float32."""
    chosen: Features = np.empty((len(times), len(names)), np.float32)
    for begin in range(0, len(times), PIECE):
        part = slice(begin, begin + PIECE)
        features, every = calendar(times[part], step, zone)
        chosen[part] = features[:, [*map(every.index, names)]]
    return chosen


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


def calendar(times: Array, step: Step | None, zone: str = "") -> tuple[Array, tuple[str, ...]]:
    """Features of times and their names, ``(time, features)``, float64 within ±1.

    The hour, the day of the week, that of the year and the month are sine and cosine of an angle,
    so that their ends meet; the day of the month goes from −0.5 to 0.5. Only what changes from a
    step to the next is among them. Whole numbers instead of times have none.

    >>> calendar(np.array(["2024-01-01T06"], "M8[us]"), timedelta(hours=1))[1][:2]
    ('hour of day (sine)', 'hour of day (cosine)')

    Args:
        times: datetime64; UTC if ``zone`` is given, and then it is that zone's clock that counts.
        step: regular distance of the times; see :mod:`saiki.data.series.steps`.
    """
    if step is None or not np.issubdtype(times.dtype, np.datetime64):
        return np.zeros((len(times), 0)), ()
    moments = local(times, zone).astype("M8[us]").astype(np.int64)
    days = moments // DAY
    months = month_of(days)
    of_month = (days - months.astype("M8[M]").astype("M8[D]").astype(np.int64)).astype(float)
    of_year = (days - days.astype("M8[D]").astype("M8[Y]").astype("M8[D]").astype(np.int64)) / 366
    features = dict[str, Array]()
    if _changes(step, 1):
        features |= _circle("hour of day", moments % DAY / DAY)
    if _changes(step, 7):
        features |= _circle("day of week", (days + MONDAY) % 7 / 7)
    if not isinstance(step, Months):
        if not isinstance(step, timedelta) or step < timedelta(days=28):
            features["day of month"] = of_month / 30 - 0.5
        features |= _circle("day of year", of_year + moments % DAY / DAY / 366)
    elif step.count % 12:
        features |= _circle("month", months % 12 / 12)
    columns = list(features.values())
    return np.stack(columns, 1) if columns else np.zeros((len(times), 0)), tuple(features)


def seen_often(names: Sequence[str], times: Array) -> tuple[str, ...]:
    """Those of the features of :func:`calendar` whose cycle comes often enough in these times, see
    ``CYCLES``.

    >>> times = np.arange("2024-01", "2025-01", dtype="M8[D]")
    >>> seen_often(["day of week (sine)", "day of year (sine)"], times)
    ('day of week (sine)',)
    """
    if len(times) < 2 or not np.issubdtype(times.dtype, np.datetime64):
        return ()
    first, second, last = times[[0, 1, -1]].astype("M8[us]")
    days = (last - first + (second - first)) / np.timedelta64(1, "D")
    cycles = {name: CYCLES[name.partition(" (")[0]] for name in names}
    return tuple(name for name, (length, count) in cycles.items() if days >= length * count)


def local(times: Array, zone: str) -> Array:
    """Times in UTC as the clocks of a zone show them; an empty one leaves them as they are.

    Args:
        zone: a name such as ``Asia/Tokyo``, ``UTC``, or a distance such as ``+09:00``.
    """
    if zone in ("", "UTC"):
        return times
    if ahead := re.fullmatch(r"([+-])(\d\d):(\d\d)", zone):
        minutes = int(ahead[1] + "1") * (60 * int(ahead[2]) + int(ahead[3]))
        return times.astype("M8[us]") + np.timedelta64(minutes * 60_000_000, "us")
    import polars as pl

    try:
        zoned = pl.Series(times.astype("M8[us]")).dt.replace_time_zone("UTC")
        shown: Array = zoned.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_numpy()
    except pl.exceptions.PolarsError:
        raise InputError(
            f"there is no time zone {zone!r}; take a name such as Asia/Tokyo, or +09:00"
        ) from None
    return shown


def _changes(step: Step, days: int) -> bool:
    """Whether what comes again after so many days differs between a row and the next."""
    if isinstance(step, BusinessDays):
        return days == 7
    return isinstance(step, timedelta) and step % timedelta(days=days) != timedelta(0)


def _circle(name: str, turns: Array) -> dict[str, Array]:
    angle = 2 * np.pi * turns
    return {f"{name} (sine)": np.sin(angle), f"{name} (cosine)": np.cos(angle)}
