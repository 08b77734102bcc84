"""The regular distance of the rows of a table: seconds to weeks, business days, months to years."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from saiki.errors import InputError

Array = np.ndarray[Any, Any]
DAY = 86_400_000_000
"""Microseconds."""
MONDAY = 3
"""What to add to days since 1970-01-01, a Thursday, to count weeks from their Mondays."""


@dataclass(frozen=True)
class Months:
    """So many calendar months: 3 are a quarter, 12 a year."""

    count: int

    def __str__(self) -> str:
        names = {1: "a month", 3: "a quarter", 12: "a year"}
        return names.get(self.count, f"{self.count} months")


@dataclass(frozen=True)
class BusinessDays:
    """From Monday to Friday, day by day."""

    def __str__(self) -> str:
        return "a business day"


Step = timedelta | Months | BusinessDays


def in_words(step: Step) -> str:
    """
    >>> in_words(timedelta(hours=1)), in_words(timedelta(days=7)), in_words(Months(3))
    ('1 hour', '7 days', 'a quarter')
    """
    if not isinstance(step, timedelta):
        return str(step)
    for unit, name in ((DAY, "day"), (3_600_000_000, "hour"), (60_000_000, "minute")):
        if step % timedelta(microseconds=unit) == timedelta(0):
            count = step // timedelta(microseconds=unit)
            return f"{count:,} {name}{'s' * (count != 1)}"
    seconds = step.total_seconds()
    return f"{seconds:,g} second{'s' * (seconds != 1)}"


def of_words(words: str) -> Step | None:
    """The step of which :func:`in_words` says that; None for an empty text.

    >>> of_words("1 hour"), of_words("a quarter"), of_words("")
    (datetime.timedelta(seconds=3600), Months(count=3), None)
    """
    if not words:
        return None
    candidates: list[Step] = [BusinessDays(), *map(Months, (1, 3, 12))]
    named = next((step for step in candidates if str(step) == words), None)
    if named is not None:
        return named
    number, unit = words.split()
    count = float(number.replace(",", ""))
    unit = unit.removesuffix("s")
    return Months(int(count)) if unit == "month" else timedelta(**{f"{unit}s": count})


def find_step(times: Array, same: Array) -> Step | None:
    """The most frequent distance of neighbouring times; None where there are no neighbours.

    Times of one day of the month, or all on the last one, are months apart; those that leave out
    weekends alone are business days.

    Args:
        times: microseconds since 1970, ``(rows,)``, rising within a series.
        same: whether a row and the next are of one series, ``(rows − 1,)``.
    """
    if not same.any():
        return None
    gaps = np.diff(times)[same]
    usual = _most_frequent(gaps)
    if usual >= DAY and np.ptp(times % DAY) == 0:
        days = times // DAY
        if usual >= 28 * DAY and _monthly(days):
            return Months(_most_frequent(np.diff(month_of(days))[same]))
        weekdays = (days + MONDAY) % 7
        weekends = gaps[(weekdays[:-1][same] == 4) & (gaps == 3 * DAY)]
        if usual == DAY and weekdays.max() <= 4 and len(weekends):
            return BusinessDays()
    return timedelta(microseconds=usual)


def places(times: Array, starts: Array, step: Step) -> tuple[Array, Array]:
    """How many steps each time lies behind the start of its series, and whether that is a whole
    number of them, both ``(rows,)``."""
    if isinstance(step, Months):
        months = month_of(times // DAY) - month_of(starts // DAY)
        return months // step.count, months % step.count == 0
    if isinstance(step, BusinessDays):
        return _weekday_number(times) - _weekday_number(starts), np.ones(len(times), bool)
    distance = step // timedelta(microseconds=1)
    return (times - starts) // distance, (times - starts) % distance == 0


def at_places(first: Array, steps: Array, step: Step, times: Array) -> Array:
    """The times so many steps behind each of ``first``, in microseconds. Months are counted to the
    day of the month that ``times`` have."""
    if isinstance(step, Months):
        days = times // DAY
        months = month_of(first // DAY) + steps * step.count
        begin = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
        length = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64) - begin
        day = 31 if _ends(days).all() else int(_day_of_month(days).max())
        return np.asarray((begin + np.minimum(day, length) - 1) * DAY + first % DAY)
    if isinstance(step, BusinessDays):
        weeks, weekdays = np.divmod(_weekday_number(first) + steps, 5)
        return np.asarray((weeks * 7 + weekdays - MONDAY) * DAY + first % DAY)
    return np.asarray(first + steps * (step // timedelta(microseconds=1)))


def following(times: Array, step: Step | None, count: int) -> Array:
    """The next ``count`` times after the last of ``times``, of the same type.

    >>> following(np.array(["2024-01-31", "2024-02-29"], "M8[us]"), Months(1), 2).astype("M8[D]")
    array(['2024-03-31', '2024-04-30'], dtype='datetime64[D]')

    Args:
        times: datetime64, or whole numbers where ``step`` is None; one at least.
    """
    if not len(times):
        raise InputError("there is no time that others could follow; a series needs a row at least")
    steps = np.arange(1, count + 1)
    if step is None:
        return np.asarray(times[-1] + steps.astype(times.dtype))
    micros = times.astype("M8[us]").astype(np.int64)
    return at_places(micros[-1:], steps, step, micros).astype("M8[us]").astype(times.dtype)


def _weekday_number(times: Array) -> Array:
    """How many days from Monday to Friday there were before."""
    weeks, weekdays = np.divmod(times // DAY + MONDAY, 7)
    return np.asarray(weeks * 5 + np.minimum(weekdays, 4))


def month_of(days: Array) -> Array:
    """Months since January 1970 of days since its first."""
    months: Array = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    return months


def _day_of_month(days: Array) -> Array:
    begin = month_of(days).astype("M8[M]").astype("M8[D]").astype(np.int64)
    return np.asarray(days - begin + 1)


def _ends(days: Array) -> Array:
    """Whether each is the last day of its month."""
    return np.asarray(month_of(days) != month_of(days + 1))


def _monthly(days: Array) -> bool:
    """Whether all are of one day of the month, or the last one where it is shorter."""
    ends, day = _ends(days), _day_of_month(days)
    return bool((ends | (day == day.max())).all())


def _most_frequent(numbers: Array) -> int:
    values, counts = np.unique(numbers, return_counts=True)
    return int(values[counts.argmax()])
