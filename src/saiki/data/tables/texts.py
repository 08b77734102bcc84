"""Tables of texts: their rows, whatever file they are in."""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from saiki.data.tables.encoding import PARQUET, as_text
from saiki.data.tables.layout import find_text_layout
from saiki.data.tables.rows import lines_below, text_rows
from saiki.errors import InputError
from saiki.inputs import open_bytes

TABLES = (".csv", ".tsv", ".txt", ".parquet")
"""What the names of tables end with, before what says that they are packed."""
Row = tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """The rows of a table in which something stands, all of one width, one at least.

    Args:
        rows: with the header, if there is one.
        lines: where each begins, from 1 on.
        word: what those are called, lines or rows.
        has_header: whether the file itself says that the first row is a header.
        notes: what a person should know of how the table was read.
    """

    path: Path
    rows: list[Row]
    lines: list[int]
    word: str = "line"
    has_header: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def texts(self) -> list[Row]:
        """The rows in the form NFC, so that what looks the same is the same."""
        return [tuple(unicodedata.normalize("NFC", cell) for cell in row) for row in self.rows]

    def place(self, row: int) -> str:
        """Where a row is, in words.

        >>> TextTable(Path("t.csv"), [("a", "b")], [3]).place(0)
        'line 3'
        """
        return f"{self.word} {self.lines[row]:,}"


def read_texts(
    path: Path, encoding: str = "", names: Collection[str] = (), width: int = 0,
    comments: str = "", blanks: bool = False,
) -> TextTable:  # fmt: skip
    """The rows of a table of texts: text of any encoding with tabs, commas, semicolons or bars
    between columns, packed or not, or Parquet.

    What separates columns is what a first line such as ``sep=;`` says, or what parts all rows
    alike. A field may stand in quotation marks, and then hold what separates fields, a line break
    and ``""`` for one mark; between tabs such marks are characters like others, unless the whole
    table is written so. Cells come without white space around them, and a line break in them is a
    blank. Rows in which nothing stands are left out.

    Args:
        encoding: see :func:`saiki.data.tables.encoding.as_text`.
        names: what columns may be called, in small letters; lines of another width before a header
            that has one of them are passed over.
        width: the number of columns; 0: two at least, and as many as most rows have.
        comments: what lines begin with that may stand before the first row; none without.
        blanks: whether columns may stand between blanks, where there is no other delimiter.

    Raises:
        InputError: the file cannot be read, or is no such table; the error names the line.
    """
    if not path.is_dir():
        with open_bytes(path) as file:
            if file.read(4) == PARQUET:
                return _of_parquet(path, width)
    with as_text(path, encoding) as text:
        layout = find_text_layout(text, names, width, comments, blanks)
        below = text_rows(path, lines_below(text, layout), layout)
        numbered = [(line, tuple(map(_tidy, cells))) for line, cells in below if cells]
    lines, rows = ([*column] for column in zip(*numbered, strict=True))
    return TextTable(path, rows, lines, notes=(*text.notes, *layout.notes))


def _of_parquet(path: Path, width: int) -> TextTable:
    from saiki.data.tables.table_file import opened  # which imports polars

    with opened(path, ()) as table:
        if table.columns.width != (width or max(2, table.columns.width)):
            raise InputError(
                f"{path} has {table.columns.width} columns instead of {width or 'two or more'}"
            )
        header = tuple(map(_tidy, table.columns.headers[0]))
        rows = {n: tuple(map(_tidy, row)) for n, row in enumerate(table.texts(), 1) if any(row)}
    return TextTable(path, [header, *rows.values()], [0, *rows], "row", True)


def _tidy(cell: str) -> str:
    return " ".join(cell.replace("\ufeff", "").splitlines()).strip()
