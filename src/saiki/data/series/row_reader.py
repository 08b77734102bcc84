"""Rows of a table that come one after the other, read as those of a table in a file are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from saiki.data.series.columns import Reading, find_reading, read_rows
from saiki.data.series.growing import NewRow
from saiki.data.tables.cells import decimal_of
from saiki.data.tables.layout import Layout, layout_of
from saiki.data.tables.rows import text_rows
from saiki.data.tables.table_file import ROW, TableFile, in_sentences, opened
from saiki.errors import InputError

_SOURCE = Path("standard input")
_HEAD = 20
"""Lines among which there must be a row."""
_Line = tuple[int, list[str]]
"""The number of a line, from 0 on, and its cells."""


@dataclass(frozen=True)
class _Form:
    """How rows are laid out and read; the decimal sign may still be open."""

    layout: Layout
    reading: Reading


class _NoTableError(InputError):
    """Of no line that follows there can be a row."""


class RowReader:
    """Reads rows as they come: a header first, in which columns stand in any order; or none, where
    rows are those of a table that is in a file.

    Args:
        names: the columns of numbers, targets first.
        targets: how many of them are forecast.
        time: the name of the column of times; found without.
        series: the name of the column that tells series apart; none without.
        dates: see :func:`saiki.data.series.series_table.read_series`.
        like: the table that rows go on with, which tells how numbers and dates are written.
    """

    def __init__(
        self, names: Sequence[str], targets: int, time: str, series: str, dates: str,
        like: Path | None = None,
    ) -> None:  # fmt: skip
        self.names, self.targets = tuple(names), tuple(names[:targets])
        self.time, self.series, self.dates = time, series, dates
        self._count, self._head = 0, list[str]()
        self._form: _Form | None = None
        self._form_of_table: _Form | None = None
        if like is not None:
            with opened(like, self.targets) as table:
                reading = find_reading(table, names, time, series, dates)
                if table.word == "line":
                    self._form_of_table = _Form(table.layout, reading)

    @property
    def is_waiting(self) -> bool:
        """Whether lines came, and no row among them."""
        return bool(self._head) and self._form is None

    def read(self, lines: Sequence[bytes]) -> Iterator[NewRow | InputError]:
        """The rows in these lines, or for each that is none why.

        Raises:
            InputError: the first lines say nothing of the columns.
        """
        rows = list[_Line]()
        for line in lines:
            self._count += 1
            try:
                text = line.decode("utf-8-sig" if self._count == 1 else "utf-8").rstrip("\r")
                if text.strip() and (self._form or self._finds_form(text)):
                    assert self._form is not None
                    rows.append(self._cells(text, self._form.layout))
            except UnicodeError:
                yield InputError(f"{_SOURCE} is not UTF-8 in line {self._count:,}")
            except _NoTableError as error:
                raise InputError(str(error)) from None
            except InputError as error:
                yield error
        if rows:
            yield from self._rows_or_errors(rows)

    def _finds_form(self, text: str) -> bool:
        """Whether the lines up to this one tell how rows are laid out and read.

        Raises:
            InputError: this line is no row, but the next may be one.
            _NoTableError: nothing that follows can be read.
        """
        self._head.append(text)
        layout = layout_of(_SOURCE, "\n".join(self._head) + "\n", self.targets)
        if layout is None:
            if len(self._head) == _HEAD:
                raise _NoTableError(f"{_SOURCE} holds no row of numbers in its first {_HEAD} lines")
            return False
        if self._form_of_table is not None and not layout.columns.headers:
            self._form = self._form_of_table
            return True
        try:
            for name in filter(None, (*self.names, self.time, self.series)):
                layout.columns.of(name)
        except InputError as error:
            raise _NoTableError(str(error)) from None
        try:
            line = self._cells(text, layout)
            sampled = replace(layout, columns=replace(layout.columns, sample=(tuple(line[1]),)))
            like = None if self._form_of_table is None else self._form_of_table.reading
            reading = find_reading(
                _table(sampled, [line]), self.names, self.time, self.series, self.dates, like
            )
        except InputError:
            self._head.pop()
            raise
        self._form = _Form(layout, reading)
        return True

    def _cells(self, text: str, layout: Layout) -> _Line:
        before = self._count - 1
        [(_, cells)] = text_rows(_SOURCE, iter([text]), replace(layout, skip=before, named=False))
        return before, cells or [""] * layout.columns.width

    def _rows_or_errors(self, lines: Sequence[_Line]) -> Iterator[NewRow | InputError]:
        try:
            yield from self._read(lines)
        except InputError as error:
            if len(lines) == 1:
                yield error
            else:
                for line in lines:
                    yield from self._rows_or_errors([line])

    def _read(self, lines: Sequence[_Line]) -> Iterator[NewRow]:
        assert self._form is not None
        table, reading = _table(self._form.layout, lines), self._form.reading
        if not reading.decimal:
            reading = replace(reading, decimal=decimal_of(table, reading.numbers))
        with in_sentences(_SOURCE):
            rows, zone = read_rows(table, reading)
        self._form = replace(self._form, reading=reading)
        for place, line in enumerate(rows.lines.tolist()):
            time = int(rows.times[place]) if rows.timed else None
            name = rows.names[int(rows.series[place])]
            yield NewRow(name, time, zone, rows.values[place], line)


def _table(layout: Layout, lines: Sequence[_Line]) -> TableFile:
    """Some lines as a table."""
    numbers, cells = zip(*lines, strict=True)
    data = {str(i): list(column) for i, column in enumerate(zip(*cells, strict=True))}
    frame = pl.DataFrame(data, schema=dict.fromkeys(data, pl.String))
    scan = frame.with_columns(pl.Series(ROW, numbers, pl.UInt32)).lazy()
    types = (pl.String(),) * layout.columns.width
    return TableFile(_SOURCE, scan, layout, types, len(lines))
