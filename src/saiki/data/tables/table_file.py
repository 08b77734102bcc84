"""Tables in files of any kind as columns that polars reads: text, packed or not, and Parquet."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from saiki.data.stderr import hushed
from saiki.data.tables.encoding import PARQUET, as_text
from saiki.data.tables.layout import SAMPLE, Layout, find_layout
from saiki.data.tables.roles import Columns
from saiki.data.tables.rows import plain_rows
from saiki.errors import InputError
from saiki.inputs import open_bytes

ROW = "row"
Lines = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table that nothing is read of yet but its first lines."""

    path: Path
    scan: pl.LazyFrame
    """Its columns, called by their places from "0" on, and :data:`ROW`, from 0 on."""
    layout: Layout
    """Of Parquet its columns alone."""
    types: tuple[pl.DataType, ...]
    rows: int
    word: str = "line"
    """What a row is called in the file."""
    notes: tuple[str, ...] = ()
    skip: int = 0
    """Lines before the first row."""
    lines: Lines | None = None
    """The line of each row, from 1 on, where they do not follow each other."""

    @property
    def columns(self) -> Columns:
        return self.layout.columns

    def places(self, rows: Lines) -> Lines:
        """The lines of rows, from 1 on."""
        return rows + self.skip + 1 if self.lines is None else self.lines[rows]

    def place(self, row: int) -> str:
        """Where a row is, in words."""
        return f"{self.word} {int(self.places(np.array([row]))[0]):,}"

    def texts(self) -> Iterator[tuple[str, ...]]:
        """The rows as text, what is no text or number of them empty."""
        columns = [
            pl.lit("") if kind.is_nested() or kind == pl.Binary else pl.col(str(i)).cast(pl.String)
            for i, kind in enumerate(self.types)
        ]
        named = [column.fill_null("").alias(str(i)) for i, column in enumerate(columns)]
        yield from self.scan.select(named).collect(engine="streaming").iter_rows()

    def cell(self, row: int, column: int) -> str:
        """What stands at one place."""
        cell = self.scan.filter(pl.col(ROW) == row).select(pl.col(str(column)).cast(pl.String))
        value = cell.collect(engine="streaming").item()
        return "" if value is None else str(value)


@contextmanager
def opened(path: Path, targets: Sequence[str], encoding: str = "") -> Iterator[TableFile]:
    """The table of numbers in a file, as long as the block lasts.

    Args:
        targets: names of columns, by which the header is known.
        encoding: see :func:`saiki.data.tables.encoding.as_text`.
    """
    if not path.is_dir():
        with open_bytes(path) as file:
            parquet = file.read(4) == PARQUET
        if parquet:
            with hushed(), in_sentences(path):
                yield _parquet(path)
            return
    with as_text(path, encoding) as text:
        layout = find_layout(text, targets)
        types = (pl.String(),) * layout.columns.width
        with plain_rows(text, layout) as rows, in_sentences(path):
            scan = pl.scan_csv(
                rows.path,
                has_header=False,
                schema=dict.fromkeys(map(str, range(len(types))), pl.String),
                separator=rows.separator,
                quote_char='"' if rows.quoted else None,
                skip_lines=rows.skip,
                row_index_name=ROW,
                glob=False,
            )
            notes = (*text.notes, *layout.notes)
            yield TableFile(
                path, scan, layout, types, rows.count, "line", notes, rows.skip, rows.lines
            )


def _parquet(path: Path) -> TableFile:
    scan = pl.scan_parquet(path, glob=False)
    schema = scan.collect_schema()
    if not len(schema):
        raise InputError(f"{path} has no columns")
    names = [str(i) for i in range(len(schema))]
    scan = scan.rename(dict(zip(schema.names(), names, strict=True))).with_row_index(ROW)
    columns = Columns(path, (tuple(schema.names()),), len(schema), ())
    rows = scan.select(pl.len()).collect().item()
    layout = Layout("", False, 0, columns, 0)
    table = TableFile(path, scan, layout, tuple(schema.dtypes()), rows, "row")
    columns = replace(columns, sample=tuple(replace(table, scan=scan.head(SAMPLE)).texts()))
    return replace(table, layout=replace(layout, columns=columns))


@contextmanager
def in_sentences(path: Path) -> Iterator[None]:
    """What polars raises of a table, for people."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise InputError(f"{path} cannot be read as a table: {reason[:200]}") from None
