"""Tables of any kind as series: what is forecast, what is known beforehand, and what afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saiki.data.series.order import GAPS, Rows, filled, in_order, without_gaps
from saiki.data.series.steps import Step, in_words
from saiki.data.tables.limits import check_memory
from saiki.errors import InputError, near, shown

DATES = ("auto", "day-first", "month-first")
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One series.

    Args:
        name: what stands in the column that tells series apart; empty where there is none.
        times: datetime64[us], UTC where the table says how far its clocks are from it, else as
            written; where there is no column of times, int64 from 0 on. ``(known time,)``.
        targets: what is forecast, ``(time, targets)``; NaN only where that was allowed.
        known: what is known beforehand, ``(known time, columns)``. It reaches as far as ``targets``
            or further, over rows of the future, whose targets are empty.
        past: what is known only afterwards, ``(time, columns)``.
    """

    name: str
    times: NDArray[Any]
    targets: Numbers
    known: Numbers
    past: Numbers

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """The series of a table, all of the same columns and the same step.

    Args:
        targets, known, past: names of the columns, as they were asked for.
        time: name of the column of times; empty where there is none.
        step: regular distance of the rows; None where there are no times.
        zone: time zone of the table, such as ``Asia/Tokyo``, ``+09:00`` or ``UTC``; empty where it
            says none.
        notes: what a person should know of how the table was read.
        changes: those of the notes that say what was done to its rows.
    """

    series: tuple[Series, ...]
    targets: tuple[str, ...]
    known: tuple[str, ...]
    past: tuple[str, ...]
    time: str
    step: Step | None
    zone: str
    notes: str
    changes: str

    def in_words(self) -> str:
        """How many series and rows there are."""
        rows = sum(map(len, self.series))
        count = len(self.series)
        parts = f" in {count:,} series" if count > 1 else ""
        apart = f", {in_words(self.step)} apart" if self.step else ""
        return f"{rows:,} rows{parts}{apart}" + (f"; {self.notes}" if self.notes else "")


def read_series(
    path: str | Path,
    targets: Sequence[str],
    *,
    time: str = "",
    series: str = "",
    known: Sequence[str] = (),
    past: Sequence[str] = (),
    gaps: str = "refuse",
    dates: str = "auto",
    encoding: str = "",
) -> SeriesTable:
    """The series of a table: CSV with any delimiter, encoding and way to write numbers and times,
    packed or not, or Parquet.

    Columns are named as in the header, or by their numbers from 1 on. Nothing is filled in but what
    ``gaps`` allows, and how much that was stands in the notes.

    Args:
        targets: the columns that are forecast.
        time: the column of times; found without.
        series: the column that tells series apart, of a table with a row for each series and time.
        known: columns known beforehand, also in rows of the future, whose targets are empty.
        past: columns known only afterwards.
        gaps: what is done where a row or a cell is missing. ``refuse``; ``last``: the value before
            is taken; ``linear``: what lies on a line between both neighbours; ``missing``: NaN.
        dates: in what order day and month stand where both are numbers before the year:
            ``day-first``, ``month-first``, or ``auto``, which finds it by numbers above 12.
        encoding: of a table that is text; found without.

    Raises:
        InputError: the file cannot be read, a column is not there, or what
            stands somewhere is not what is needed; the message says where and what to do.
    """
    path = Path(path)
    for value, allowed, option in ((gaps, GAPS, "gaps"), (dates, DATES, "dates")):
        if value not in allowed:
            raise InputError(
                f"{option} must be one of {', '.join(allowed)}, got {shown(value)}"
                f"{near(value, allowed)}"
            )
    if isinstance(targets, str) or not targets:
        raise InputError("targets must be a list of the names of columns, one at least")
    from saiki.data.series.columns import find_reading, read_rows
    from saiki.data.tables.table_file import opened
    from saiki.data.tables.times import NAMES

    with opened(path, targets, encoding) as table:
        check_memory(path, table.rows, len(targets) + len(known) + len(past))
        reading = find_reading(table, (*targets, *known, *past), time, series, dates)
        at, numbers = reading.at, reading.numbers
        rows, zone = read_rows(table, reading)
        name = table.columns.name(at.column, NAMES) if at else ""
    if not at:
        note = "no column of times was found, so the rows are taken in their order"
        rows = replace(rows, notes=(*rows.notes, note))
    as_read = len(rows.notes)
    rows = in_order(rows)
    rows = _without_tail(rows, len(targets), len(known))
    rows = without_gaps(rows, gaps)
    ends = _ends(rows, len(targets))
    unknown = np.ones(len(numbers), bool)
    unknown[len(targets) : len(targets) + len(known)] = False
    rows = filled(rows, gaps, _behind(rows, ends - 1)[:, None] & unknown)
    changes = "; ".join(rows.notes[as_read:])
    rows = _varying(rows, len(targets))
    return SeriesTable(
        _split(rows, ends, len(targets), len(known)), tuple(targets), tuple(known), tuple(past),
        name, rows.step, zone, "; ".join(rows.notes), changes,
    )  # fmt: skip


def _behind(rows: Rows, last: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each row comes behind this one of its series."""
    lengths = np.diff(np.r_[rows.starts, len(rows.series)])
    return np.arange(len(rows.series)) > np.repeat(last, lengths)


def _last(rows: Rows, which: NDArray[Any]) -> NDArray[np.int64]:
    """The last of these rows in each series, or −1."""
    numbers = np.where(which, np.arange(len(rows.series)), -1)
    return np.asarray(np.maximum.reduceat(numbers, rows.starts))


def _ends(rows: Rows, targets: int) -> NDArray[np.int64]:
    """Behind the last row of each series that has a target."""
    last = _last(rows, np.asarray(~np.isnan(rows.values[:, :targets]).all(1)))
    ends: NDArray[np.int64] = np.where(last < 0, rows.starts, last + 1)
    return ends


def _without_tail(rows: Rows, targets: int, known: int) -> Rows:
    """The rows without those at the end of a series that say nothing."""
    ends = _ends(rows, targets)
    empty = np.asarray(ends == rows.starts)
    if empty.any():
        code = int(rows.series[rows.starts[empty.argmax()]])
        of = f" for the series {shown(rows.names[code])}" if any(rows.names) else ""
        raise InputError(
            f"{rows.path} holds no number in the columns of the targets{of}; at least one is "
            "needed to forecast from"
        )
    future = _behind(rows, ends - 1)
    drop = future & np.isnan(rows.values[:, targets : targets + known]).all(1)
    drop = _behind(rows, _last(rows, ~drop))
    if not drop.any():
        return rows
    note = f"rows at the end left out because all targets are empty: {int(drop.sum()):,}"
    return rows.select(np.flatnonzero(~drop), notes=(*rows.notes, note))


def _varying(rows: Rows, targets: int) -> Rows:
    """The rows, with a note of columns that are the same everywhere."""
    notes = []
    for place, name in enumerate(rows.columns):
        column = rows.values[:, place]
        low, high = np.nanmin(column), np.nanmax(column)
        if low != high:
            continue
        constancy = f"{low:g} in all rows"
        if place < targets:
            raise InputError(
                f"the column {shown(name)} of {rows.path} is {constancy}, so there is nothing to "
                "forecast"
            )
        notes.append(f"the column {shown(name)} is {constancy}")
    return replace(rows, notes=(*rows.notes, *notes))


def _split(rows: Rows, ends: NDArray[np.int64], targets: int, known: int) -> tuple[Series, ...]:
    times = rows.times.astype("M8[us]") if rows.timed else None
    series = []
    bounds = np.r_[rows.starts, len(rows.series)].tolist()
    for start, end, stop in zip(bounds, ends.tolist(), bounds[1:], strict=False):
        values = rows.values[start:stop]
        series.append(
            Series(
                rows.names[int(rows.series[start])],
                np.arange(stop - start) if times is None else times[start:stop],
                values[: end - start, :targets],
                values[:, targets : targets + known],
                values[: end - start, targets + known :],
            )
        )
    return tuple(series)
