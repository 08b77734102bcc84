"""Rows of several series brought into the order of their times, without gaps."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from saiki.data.series.steps import (
    DAY,
    BusinessDays,
    Step,
    at_places,
    find_step,
    in_words,
    places,
)
from saiki.data.tables.limits import check_memory
from saiki.errors import InputError, shown

Array = np.ndarray[Any, Any]
GAPS = ("refuse", "last", "linear", "missing")
CLOSED = 7
"""Business days in a row that may have no row, as on holidays."""
_SPARSE = 20
"""Times as many rows as there are may be made where they are missing."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one or several series.

    Args:
        path: of the table.
        names: of the series.
        series: which one each row is of, ``(rows,)``.
        times: microseconds since 1970, or where there are no times the number of the row.
        values: ``(rows, columns)``, NaN where a cell is empty.
        columns: their names.
        lines: where in the table each row stands; −1: it is not in the table.
        timed: whether there are times.
        word: what a row is called in the table.
        apart: the column that may tell series apart, where none was named.
        step: None until it is known, and where there are no times.
        notes: what was done to them.
    """

    path: Path
    names: tuple[str, ...]
    series: Array
    times: Array
    values: Array
    columns: tuple[str, ...]
    lines: Array
    timed: bool
    word: str = "line"
    apart: str = ""
    step: Step | None = None
    notes: tuple[str, ...] = ()

    def select(self, rows: Array, **changes: Any) -> "Rows":
        columns = {n: getattr(self, n)[rows] for n in ("series", "times", "values", "lines")}
        return replace(self, **columns | changes)

    def place(self, row: int) -> str:
        """Where a row is, for people."""
        of = f" of the series {shown(self.names[self.series[row]])}" if any(self.names) else ""
        at = f"{self.word} {self.lines[row] + 1:,}" if self.lines[row] >= 0 else "no row"
        if not self.timed:
            return f"{at}{of}"
        return f"{clock(self.times[row])}{of}" + (f" ({at})" if self.lines[row] >= 0 else "")

    @property
    def same(self) -> Array:
        """Whether a row and the next are of one series."""
        return np.asarray(self.series[1:] == self.series[:-1])

    @property
    def starts(self) -> Array:
        """The first row of each series, by which they are sorted."""
        return np.flatnonzero(np.r_[True, ~self.same])


def in_order(rows: Rows) -> Rows:
    """The rows sorted by series, and within each by time."""
    if (np.diff(rows.series) < 0).any():
        rows = rows.select(np.argsort(rows.series, kind="stable"))
    if not rows.timed:
        return rows
    gaps = np.diff(rows.times)[rows.same]
    if (gaps < 0).any():
        back = int((gaps < 0).sum())
        notes = (
            "the newest row came first, so the order was turned round"
            if (gaps <= 0).all()
            else f"rows were not in the order of their times, which go back at {back:,} of them, "
            "and were sorted",
        )
        rows = rows.select(np.lexsort((rows.times, rows.series)), notes=(*rows.notes, *notes))
    repeats = np.flatnonzero((np.diff(rows.times) == 0) & rows.same)
    if len(repeats):
        raise _repeated(rows, repeats)
    return rows


def without_gaps(rows: Rows, gaps: str, step: Step | None = None) -> Rows:
    """The rows with one for each time; what they hold where the table has none is NaN.

    Args:
        step: their regular distance; found without.

    Raises:
        InputError: the distances of the rows are not regular, or rows are missing and ``gaps`` is
            ``refuse``, or much more of them are missing than are there.
    """
    if not rows.timed or not len(rows.times):
        return rows
    same, starts = rows.same, rows.starts
    step = step or find_step(rows.times, same)
    if step is None:
        raise InputError(
            f"{rows.path} has one row for each series, or one in all, so nobody knows how far rows "
            "are apart; two at least are needed"
        )
    lengths = np.diff(np.r_[starts, len(rows.times)])
    place, is_whole = places(rows.times, np.repeat(rows.times[starts], lengths), step)
    steps = np.where(same, np.diff(place), 1)
    odd = np.flatnonzero(~is_whole[1:] & same | (steps == 0))
    if len(odd):
        raise InputError(
            f"{rows.path} is not regular: most rows are {in_words(step)} apart, and that of "
            f"{rows.place(odd[0] + 1)} comes after {clock(rows.times[odd[0]])}; bring the rows to "
            "equal distances, with a mean of each hour, say"
        )
    rows = replace(rows, step=step)
    holes = np.flatnonzero(steps > 1)
    missing = int((steps - 1).sum())
    if not missing:
        return rows
    are_holidays = steps.max() <= CLOSED + 1 and missing <= 0.1 * len(steps) + 3
    if isinstance(step, BusinessDays) and gaps == "refuse" and are_holidays:
        note = f"business days without a row, such as holidays, which are left out: {missing:,}"
        return replace(rows, notes=(*rows.notes, note))
    if gaps == "refuse" or missing > _SPARSE * len(place) + 1000:
        raise _gap(rows, holes, steps, missing, gaps)
    count = len(place) + missing
    check_memory(rows.path, count, rows.values.shape[1])
    at = np.r_[0, np.cumsum(steps)].astype(np.int64)
    return _spread(rows, at, count)


def _spread(rows: Rows, at: Array, count: int) -> Rows:
    """The rows at these places among more rows, the times of which follow from the step."""
    assert rows.step is not None
    values = np.full((count, rows.values.shape[1]), np.nan)
    values[at] = rows.values
    lines = np.full(count, -1)
    lines[at] = rows.lines
    source = np.zeros(count, np.int64)
    source[at] = np.arange(len(at))
    source = np.maximum.accumulate(source)
    behind = np.arange(count) - at[source]
    times = at_places(rows.times[source], behind, rows.step, rows.times)
    times[at] = rows.times
    note = f"rows put in where they were missing: {count - len(at):,}"
    return replace(
        rows, series=rows.series[source], times=times, values=values, lines=lines,
        notes=(*rows.notes, note),
    )  # fmt: skip


def filled(rows: Rows, gaps: str, beforehand: Array) -> Rows:
    """The rows without empty cells, or with those that ``gaps`` allows.

    Args:
        beforehand: which rows and columns may be empty, ``(rows, columns)``: what is not known yet.

    Raises:
        InputError: a cell is empty and ``gaps`` is ``refuse``, or nothing comes before it, or for
            ``linear`` behind it.
    """
    empty = np.isnan(rows.values) & ~beforehand
    if not empty.any() or gaps == "missing":
        note = f"empty cells: {int(empty.sum()):,}"
        return replace(rows, notes=(*rows.notes, note)) if empty.any() else rows
    if gaps == "refuse":
        row, column = (int(i) for i in np.argwhere(empty)[0])
        count = int(empty.sum())
        more = f", and {count - 1:,} more cells are empty" if count > 1 else ""
        raise InputError(
            f"{rows.path} has nothing in the column {shown(rows.columns[column])} at "
            f"{rows.place(row)}{more}; fill it, or say how: gaps last, linear or missing"
        )
    values = rows.values.copy()
    number = np.arange(len(values))
    for column in np.flatnonzero(empty.any(0)).tolist():
        is_known = ~np.isnan(values[:, column])
        last = np.maximum.accumulate(np.where(is_known, number, -1))
        after = np.minimum.accumulate(np.where(is_known, number, len(number))[::-1])[::-1]
        group = np.r_[rows.series, -1]
        bad = empty[:, column] & ((last < 0) | (group[last] != rows.series))
        if gaps == "linear":
            bad |= empty[:, column] & (group[after] != rows.series)
        if bad.any():
            raise InputError(
                f"{rows.path} has nothing in the column {shown(rows.columns[column])} at "
                f"{rows.place(int(bad.argmax()))} and nothing "
                f"{'around' if gaps == 'linear' else 'before'} it that could take its place; "
                "leave these rows out, or take gaps missing"
            )
        hole = empty[:, column]
        if gaps == "last":
            values[hole, column] = values[last[hole], column]
        else:
            values[hole, column] = np.interp(
                number[hole], number[is_known], values[is_known, column]
            )
    how = "the last value before" if gaps == "last" else "values on a line between their neighbours"
    note = f"empty cells filled with {how}: {int(empty.sum()):,}"
    return replace(rows, values=values, notes=(*rows.notes, note))


def clock(micros: int) -> str:
    """A time as people write it.

    >>> clock(0), clock(3_600_000_000)
    ('1970-01-01', '1970-01-01 01:00')
    """
    text = str(np.datetime64(int(micros), "us")).replace("T", " ")
    for ending in (".000000", ":00", " 00:00"):
        text = text.removesuffix(ending)
    return text


def _repeated(rows: Rows, repeats: Array) -> InputError:
    row = int(repeats[0])
    lines = f"{rows.word}s {rows.lines[row] + 1:,} and {rows.lines[row + 1] + 1:,}"
    of = f" of the series {shown(rows.names[rows.series[row]])}" if any(rows.names) else ""
    hours = np.unique(rows.times[repeats] // 3_600_000_000)
    if (
        len(hours) * 24 * 90 <= np.ptp(rows.times) / 3_600_000_000 + 24 * 90
        and len(repeats) < len(rows.times) // 24 + 2
        and (rows.times % DAY).any()
    ):
        remedy = (
            "where clocks are put back, write times with their distance to UTC, as in "
            "02:00+01:00; else take one of the rows away"
        )
    else:
        remedy = (
            "take one of them away, or name the column that tells series apart"
            + (f", such as {shown(rows.apart)}" if rows.apart else "")
            if not any(rows.names)
            else "take one of them away"
        )
    more = f", and so {len(repeats) - 1:,} more" if len(repeats) > 1 else ""
    return InputError(
        f"{rows.path} has {clock(rows.times[row])}{of} twice, in {lines}{more}; {remedy}"
    )


def _gap(rows: Rows, holes: Array, steps: Array, missing: int, gaps: str) -> InputError:
    row = int(holes[0])
    assert rows.step is not None
    lack = (
        f"{rows.path} lacks {missing:,} row{'s' * (missing != 1)}: rows are {in_words(rows.step)} "
        f"apart, and after {rows.place(row)} the next is {clock(rows.times[row + 1])}"
    )
    if gaps != "refuse":
        return InputError(
            f"{lack}; that is more than {_SPARSE} for each that is there, so a time may be wrong"
        )
    forward = ", or where clocks are put forward write times with their distance to UTC"
    clocks = False
    if isinstance(rows.step, timedelta) and rows.step <= timedelta(hours=1):
        wider = np.diff(rows.times)[holes] - rows.step // timedelta(microseconds=1)
        clocks = bool((wider == 3_600_000_000).all())
    return InputError(
        f"{lack}; say how they are filled: gaps last, linear or missing{forward if clocks else ''}"
    )
