"""Columns of a table as numbers and times."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from saiki.data.series.order import Rows
from saiki.data.series.steps import DAY
from saiki.data.tables import times
from saiki.data.tables.cells import decimal_of, no_number, number, signs, unreadable
from saiki.data.tables.table_file import ROW, TableFile
from saiki.errors import InputError, shown

Array = np.ndarray[Any, Any]
_CLOCKS = ("time", "hour", "時刻", "時間", "時")
_DATES = (
    (("month", "mon", "mo", "月"), r"0?[1-9]|1[0-2]"),
    (("day", "dy", "日"), r"0?[1-9]|[12]\d|3[01]"),
)
_CLOCK = r"\d{1,2}(?::\d{2}){0,2}(?: ?[AaPp][Mm])?"
_MINUTE = 60_000_000


@dataclass(frozen=True)
class Times:
    """Where the times of a table are, and how they are written."""

    column: int
    form: times.Form | None
    """None where the table has times of its own."""
    parts: tuple[int, ...] = ()
    """The columns in which months, days and hours stand, if those are apart."""
    named: bool = False


def find_times(table: TableFile, name: str, used: Sequence[int]) -> Times | None:
    """The column of times: the one that is named; else one that is called as such are; else one
    in which nothing but times stand; None if there is no such column."""
    columns = table.columns
    if name:
        column = columns.of(name)
        if column in used:
            raise InputError(f"the column {shown(name)} of {table.path} is taken twice")
        form, share = times.find_form(columns.cells(column))
        if not table.types[column].is_temporal() and share < 0.5:
            cells = columns.cells(column)
            raise InputError(
                f"the column {shown(name)} of {table.path} holds "
                f"{shown(cells[0], 40) if cells else 'nothing'}, which is no date or time; write "
                "times as in 2024-03-05 14:00"
            )
        return Times(column, form, named=True)
    rest = [i for i in range(columns.width) if i not in used]
    called = [i for i in columns.called(times.NAMES) if i in rest]
    clocks = [i for i in rest if isinstance(table.types[i], pl.Datetime)]
    for column in [*clocks, *called, *rest]:
        if table.types[column].is_temporal():
            return Times(column, None)
        form, share = times.find_form(columns.cells(column))
        if form and share >= (0.5 if column in called else 0.9):
            if form.name in times.NUMBERS and column not in called:
                continue
            if parts := _parts(table, column, rest):
                cells = [" ".join(row[i] for i in (column, *parts)) for row in columns.sample]
                form = times.find_form(cells)[0] or form
            return Times(column, form, parts)
    return None


def _parts(table: TableFile, first: int, rest: Sequence[int]) -> tuple[int, ...]:
    """The columns that go on with a time: months, days and hours behind one of years, or hours
    behind one of dates."""
    cells, parts = table.columns.cells(first), list[int]()
    years = all(re.fullmatch(r"\d{4}", cell) for cell in cells)
    if not years and any(":" in cell or "時" in cell for cell in cells):
        return ()
    for names, pattern in (*(_DATES if years else ()), (_CLOCKS, _CLOCK)):
        fitting = [
            column
            for column in table.columns.called(names)
            if column in rest
            and column not in (first, *parts)
            and (cells := table.columns.cells(column))
            and all(re.fullmatch(pattern, cell) for cell in cells)
        ]
        if not fitting:
            break
        parts.append(fitting[0])
    return tuple(parts)


@dataclass(frozen=True)
class Reading:
    """How the columns of a table are read.

    Args:
        numbers: the columns of numbers and their names.
        at: where times are; None where there are none.
        series: the column that tells series apart.
        day_first: whether the day stands before the month where both are numbers before the year.
        decimal: what stands before decimals; empty where numbers are as programs write them.
    """

    numbers: Mapping[int, str]
    at: Times | None
    series: int | None
    day_first: bool
    decimal: str


def find_reading(
    table: TableFile, names: Sequence[str], time: str, series: str, dates: str,
    like: Reading | None = None,
) -> Reading:  # fmt: skip
    """How the columns of these names are read, as the whole table tells.

    Args:
        time: the name of the column of times; found without.
        series: the name of the column that tells series apart; none without.
        dates: the order of day and month where both could be either.
        like: in which numbers and dates are written so, too.
    """
    columns = table.columns
    groups = columns.of(series) if series else None
    numbers = dict[int, str]()
    for name in names:
        column = columns.of(name)
        if column in numbers or column == groups:
            raise InputError(f"the column {shown(name)} of {table.path} is taken twice")
        numbers[column] = name
    at = find_times(table, time, [*numbers, *([] if groups is None else [groups])])
    if like is not None:
        return Reading(numbers, at, groups, like.day_first, like.decimal)
    day_first = False
    if at and at.form and at.form.name == "two numbers and a year":
        day_first = _day_first(table, at, pl.col(str(at.column)).cast(pl.String), dates)
    return Reading(numbers, at, groups, day_first, decimal_of(table, numbers))


def read_rows(table: TableFile, reading: Reading) -> tuple[Rows, str]:
    """The rows of the table and its time zone, in the order of the file."""
    numbers, at, series, decimal = reading.numbers, reading.at, reading.series, reading.decimal
    text = {str(i): name for i, name in numbers.items() if table.types[i] == pl.String}
    wanted = [pl.col(ROW), *(number(table, i, decimal) for i in numbers)]
    notes = list(table.notes)
    if decimal:
        notes += ["decimals are written with a comma"] * (decimal == ",")
        notes += signs(table.scan, text)
    if at:
        wanted += [pl.col("t"), pl.col("z")]
    if series is not None:
        wanted.append(pl.col(str(series)).cast(pl.String).str.strip_chars().alias("s"))
    scan = table.scan
    if at:
        scan = _with_times(table, scan, at, reading.day_first)
        if table.word == "line":
            used = [*numbers, at.column, *([] if series is None else [series])]
            empty = [pl.col(str(i)).fill_null("").str.strip_chars() == "" for i in used]
            wanted.append(pl.all_horizontal(empty).alias("blank"))
    frame = scan.select(wanted).collect(engine="streaming")
    if "blank" in frame.columns and (blank := int(frame["blank"].sum())):
        frame = frame.filter(~pl.col("blank"))
        notes.append(f"rows left out in which nothing stands: {blank:,}")
    lines = frame[ROW].to_numpy().astype(np.int64)
    if not len(frame):
        raise InputError(f"{table.path} holds no rows; it needs one for each time")
    micros, zone = lines.copy(), ""
    if at:
        micros, zone, note = _moments(table, at, frame)
        notes += note
    codes, names = _series(table, series, frame)
    values = np.empty((len(frame), len(numbers)))
    for place, i in enumerate(numbers):
        values[:, place] = frame[str(i)].to_numpy()
    rows = Rows(
        table.path, names, codes, micros, values, tuple(numbers.values()),
        table.places(lines) - 1,
        at is not None, table.word, notes=tuple(notes),
    )  # fmt: skip
    if at and series is None:
        other = table.columns.tell_apart(at.column, [*numbers, at.column])
        rows = replace(rows, apart="" if other is None else table.columns.name(other))
    bad = unreadable(values)
    if len(bad):
        row, column = (int(n) for n in bad[0])
        raise no_number(
            table,
            int(lines[row]),
            [*numbers][column],
            rows.columns[column],
            f"at {rows.place(row)}",
        )
    return rows, zone


def _with_times(table: TableFile, scan: pl.LazyFrame, at: Times, day_first: bool) -> pl.LazyFrame:
    """The columns with ``t``, microseconds on the clock of the table, and ``z``, minutes of that
    clock before UTC, null where it does not say."""
    cell, kind = pl.col(str(at.column)), table.types[at.column]
    if isinstance(kind, pl.Datetime | pl.Date):
        zone = getattr(kind, "time_zone", None)
        zoned = cell.cast(pl.Datetime("us", zone))
        local = zoned.dt.replace_time_zone(None, ambiguous="earliest").to_physical()
        ahead = ((local - zoned.to_physical()) // _MINUTE).cast(pl.Int32)
        return scan.with_columns(t=local, z=ahead if zone else pl.lit(None, pl.Int32))
    if at.form is None:
        name = table.columns.name(at.column, times.NAMES)
        raise InputError(
            f"the column {shown(name)} of {table.path} is of the type {kind}, which is no date and "
            "no time"
        )
    cell = cell.cast(pl.String)
    for part in at.parts:
        cell = cell + " " + pl.col(str(part)).cast(pl.String).fill_null("")
    return times.parse(scan, cell, at.form, day_first)


def _day_first(table: TableFile, at: Times, cell: pl.Expr, dates: str) -> bool:
    assert at.form
    if dates != "auto":
        return dates == "day-first"
    counts = times.orders(table.scan, cell, at.form).collect(engine="streaming")
    first, second, slashes, short, firsts, lasts = counts.row(0)
    name = shown(table.columns.name(at.column, times.NAMES))
    if (first or 0) > 12 and (second or 0) > 12:
        raise InputError(
            f"the column {name} of {table.path} has dates with the day first and others with the "
            "month first; write them as in 2024-03-05"
        )
    if max(first or 0, second or 0) <= 12 and slashes:
        raise InputError(
            f"the column {name} of {table.path} leaves open whether days or months come first, as "
            f"in {shown(table.columns.cells(at.column)[0], 40)}; say which: dates day-first or "
            "month-first"
        )
    if short and (second or 0) <= 12 and firsts <= 2 * lasts:
        raise InputError(
            f"the column {name} of {table.path} leaves open which number is the year, as in "
            f"{shown(table.columns.cells(at.column)[0], 40)}; write years with four digits, or say "
            "which comes first: dates day-first or month-first"
        )
    return not (second or 0) > 12


def _moments(table: TableFile, at: Times, frame: pl.DataFrame) -> tuple[Array, str, list[str]]:
    """Times in microseconds, UTC where they say their distance to it, their zone, and notes."""
    column, name = frame["t"], shown(table.columns.name(at.column, times.NAMES))
    if column.null_count():
        row = int(frame[ROW][int(column.is_null().arg_max() or 0)])
        cell = table.cell(row, at.column)
        cell = " ".join([cell, *(table.cell(row, part) for part in at.parts)])
        problem = f"{shown(cell, 40)}, which is no date or time as the others are"
        raise InputError(
            f"{table.path} has {problem if cell.strip() else 'no time'} in the column {name} in "
            f"{table.place(row)}; correct it, or take the {table.word} away"
        )
    clocks = column.to_numpy().astype(np.int64)
    notes = [] if at.named else [f"times are those of the column {name}"]
    if at.parts:
        parts = ", ".join(shown(table.columns.name(part)) for part in at.parts)
        notes = [f"{notes[0]} with those of {parts}"]
    ahead = frame["z"]
    if ahead.null_count() == len(ahead):
        return clocks, "", notes
    if ahead.null_count():
        row = int(frame[ROW][int(ahead.is_null().arg_max() or 0)])
        raise InputError(
            f"{table.path} has a time without its distance to UTC in the column {name} in "
            f"{table.place(row)}, and others with it; write it for all or none"
        )
    minutes = ahead.to_numpy().astype(np.int64)
    zone = getattr(table.types[at.column], "time_zone", None)
    if len(np.unique(minutes)) > 1 and np.ptp(clocks % DAY) == 0:
        note = (
            f"rows are days apart by the clocks of their zone, so times are kept as {name} has them"
        )
        return clocks, "", [*notes, note]
    return clocks - minutes * _MINUTE, zone or _zone(minutes), notes


def _zone(minutes: Array) -> str:
    if (minutes != minutes[0]).any() or not minutes[0]:
        return "UTC"
    hours, rest = divmod(abs(int(minutes[0])), 60)
    return f"{'-' if minutes[0] < 0 else '+'}{hours:02}:{rest:02}"


def _series(
    table: TableFile, series: int | None, frame: pl.DataFrame
) -> tuple[Array, tuple[str, ...]]:
    """The number of the series of each row, and their names, in the order in which they begin."""
    if series is None:
        return np.zeros(len(frame), np.int64), ("",)
    cells = frame["s"]
    if (empty := cells.is_null() | (cells == "")).any():
        row = int(frame[ROW][int(empty.arg_max() or 0)])
        raise InputError(
            f"{table.path} has nothing in the column {shown(table.columns.name(series))}, which "
            f"tells series apart, in {table.place(row)}"
        )
    names = cells.unique(maintain_order=True)
    codes = cells.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
    return codes, tuple(names.to_list())
