"""Rows of a table that come one after the other, read as those of a table in a file are."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from saiki.data.series.columns import Reading, find_reading, read_rows
from saiki.data.series.growing import NewRow
from saiki.data.tables.cells import decimal_of
from saiki.data.tables.layout import layout_of
from saiki.data.tables.roles import Columns
from saiki.data.tables.table_file import ROW, TableFile, in_sentences, opened
from saiki.errors import InputError

_SOURCE = Path("standard input")
_HEAD = 20
"""Lines among which there must be a row."""


@dataclass(frozen=True)
class _Form:
    """How rows are laid out and read; the decimal sign may still be open."""

    columns: Columns
    delimiter: str
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

    Raises:
        InputError: that table cannot be read.
    """

    def __init__(
        self, names: Sequence[str], targets: int, time: str, series: str, dates: str,
        like: Path | None = None,
    ) -> None:  # fmt: skip
        self.names, self.targets = tuple(names), tuple(names[:targets])
        self.time, self.series, self.dates = time, series, dates
        self._count, self._head = 0, list[str]()
        self._form: _Form | None = None
        self._like: _Form | None = None
        if like is not None:
            with opened(like, self.targets) as table:
                reading = find_reading(table, names, time, series, dates)
                if table.word == "line":
                    self._like = _Form(table.columns, table.delimiter, reading)

    @property
    def is_waiting(self) -> bool:
        """Whether lines came, and no row among them."""
        return bool(self._head) and self._form is None

    def read(self, lines: Sequence[bytes]) -> Iterator[NewRow | InputError]:
        """The rows in these lines, or for each that is none why.

        Raises:
            InputError: the first lines say nothing of the columns.
        """
        rows = list[tuple[int, list[str]]]()
        for line in lines:
            self._count += 1
            try:
                text = line.decode("utf-8-sig" if self._count == 1 else "utf-8").rstrip("\r")
            except UnicodeError:
                yield InputError(f"{_SOURCE} is not UTF-8 in line {self._count:,}")
                continue
            if not text.strip():
                continue
            try:
                if self._form is None and not self._begins(text):
                    continue
                assert self._form is not None
                form = self._form
                cells = self._cells(text, form.delimiter, form.columns.width)
                rows.append((self._count - 1, cells))
            except _NoTableError as error:
                raise InputError(str(error)) from None
            except InputError as error:
                yield error
        if not rows:
            return
        try:
            yield from self._read(rows)
        except InputError as error:
            if len(rows) == 1:
                yield error
                return
            for row in rows:
                try:
                    yield from self._read([row])
                except InputError as of_row:
                    yield of_row

    def _begins(self, text: str) -> bool:
        """Whether the lines up to this one tell the layout.

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
        columns = layout.columns
        if self._like is not None and not columns.headers:
            self._form = self._like
            return True
        try:
            for name in filter(None, (*self.names, self.time, self.series)):
                columns.of(name)
        except InputError as error:
            raise _NoTableError(str(error)) from None
        try:
            cells = tuple(self._cells(text, layout.delimiter, columns.width))
            body = replace(columns, sample=(cells,))
            table = _table(body, layout.delimiter, [(self._count - 1, cells)])
            like = None if self._like is None else self._like.reading
            reading = find_reading(table, self.names, self.time, self.series, self.dates, like)
        except InputError:
            self._head.pop()
            raise
        self._form = _Form(columns, layout.delimiter, reading)
        return True

    def _cells(self, text: str, delimiter: str, width: int) -> list[str]:
        try:
            if delimiter == " ":
                cells = text.split()
            else:
                [cells] = csv.reader(
                    [text], delimiter=delimiter, strict=True, skipinitialspace=True
                )
        except (csv.Error, ValueError):
            raise InputError(
                f"{_SOURCE} has a quotation mark in line {self._count:,} that is not closed; a row "
                "is one line"
            ) from None
        if len(cells) != width:
            raise InputError(
                f"{_SOURCE} has {len(cells)} column{'s' * (len(cells) != 1)} in line "
                f"{self._count:,} instead of {width}"
            )
        return cells

    def _read(self, rows: Sequence[tuple[int, Sequence[str]]]) -> Iterator[NewRow]:
        form = self._form
        assert form is not None
        table = _table(form.columns, form.delimiter, rows)
        reading = form.reading
        if not reading.decimal:
            reading = replace(reading, decimal=decimal_of(table, reading.numbers))
        with in_sentences(_SOURCE):
            found, zone = read_rows(table, reading)
        self._form = replace(form, reading=reading)
        for place, line in enumerate(found.lines.tolist()):
            time = int(found.times[place]) if found.timed else None
            name = found.names[int(found.series[place])]
            yield NewRow(name, time, zone, found.values[place], line)


def _table(
    columns: Columns, delimiter: str, rows: Sequence[tuple[int, Sequence[str]]]
) -> TableFile:
    """Some lines as a table."""
    numbers, cells = zip(*rows, strict=True)
    texts = zip(*cells, strict=True)
    data = {str(i): list(column) for i, column in enumerate(texts)}
    schema = dict.fromkeys(data, pl.String)
    frame = pl.DataFrame(data, schema=schema).with_columns(pl.Series(ROW, numbers, pl.UInt32))
    types = (pl.String(),) * columns.width
    return TableFile(_SOURCE, frame.lazy(), columns, types, delimiter, len(rows), "line")
