"""Tables in files of any kind as columns that polars reads: text, packed or not, and Parquet."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from saiki.data.stderr import hushed
from saiki.data.tables.encoding import as_text, check_rows
from saiki.data.tables.layout import SAMPLE, Columns, find_layout
from saiki.errors import InputError, shown
from saiki.inputs import open_bytes

ROW = "row"
_PARQUET = b"PAR1"


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table that nothing is read of yet but its first lines."""

    path: Path
    scan: pl.LazyFrame
    """Its columns, called by their places from "0" on, and :data:`ROW`, from 0 on."""
    columns: Columns
    types: tuple[pl.DataType, ...]
    delimiter: str
    rows: int
    skip: int
    """Lines before the first row."""
    word: str
    """What a row is called in the file."""
    notes: tuple[str, ...]

    def cell(self, row: int, column: int) -> str:
        """What stands at one place."""
        found = self.scan.filter(pl.col(ROW) == row).select(pl.col(str(column)).cast(pl.String))
        value = found.collect(engine="streaming").item()
        return "" if value is None else str(value)


@contextmanager
def opened(path: Path, targets: Sequence[str]) -> Iterator[TableFile]:
    """The table of a file, as long as the block lasts.

    Raises:
        InputError: there is no such file, it is no table, or it cannot be read, here or in the
            block.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a table in it")
    with open_bytes(path) as file:
        parquet = file.read(4) == _PARQUET
    if parquet:
        with hushed(), in_sentences(path):
            yield _parquet(path)
        return
    with as_text(path) as text:
        layout = find_layout(text, targets)
        columns = layout.columns
        rows = check_rows(text, layout.delimiter, columns.width, layout.records)
        notes = []
        if text.encoding not in ("utf-8", "utf-8-sig"):
            notes.append(f"read as {text.encoding}")
        if layout.preamble:
            notes.append(f"the first {layout.preamble} lines, before the header, were passed over")
        names = [str(i) for i in range(columns.width)]
        with in_sentences(path):
            scan = pl.scan_csv(
                text.plain,
                has_header=False,
                schema=dict.fromkeys(names, pl.String),
                separator=layout.delimiter,
                skip_lines=layout.skip,
                row_index_name=ROW,
                glob=False,
            )
            types = (pl.String(),) * columns.width
            yield TableFile(
                path, scan, columns, types, layout.delimiter, rows, layout.skip, "line",
                tuple(notes),
            )  # fmt: skip


def _parquet(path: Path) -> TableFile:
    scan = pl.scan_parquet(path, glob=False)
    schema = scan.collect_schema()
    if not len(schema):
        raise InputError(f"{path} has no columns")
    names = [str(i) for i in range(len(schema))]
    scan = scan.rename(dict(zip(schema.names(), names, strict=True))).with_row_index(ROW)
    text = [
        pl.col(name).cast(pl.String) if kind.is_numeric() or not kind.is_nested() else pl.lit("")
        for name, kind in zip(names, schema.dtypes(), strict=True)
    ]
    sample = scan.head(SAMPLE).select(text).fill_null("").collect().rows()
    columns = Columns(path, (tuple(schema.names()),), len(schema), tuple(sample))
    rows = scan.select(pl.len()).collect().item()
    return TableFile(path, scan, columns, tuple(schema.dtypes()), "", rows, 0, "row", ())


@contextmanager
def in_sentences(path: Path) -> Iterator[None]:
    """What polars raises of a table, for people."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        said = " ".join(str(error).split("\n")[0].split())
        if "could not parse" in said or "malformed" in said:
            where = re.search("`(.*)`", said)
            raise InputError(
                f"{path} has a quotation mark inside a field"
                f"{f', near {shown(where[1], 40)}' if where else ''}; double it, and put the field "
                "into quotation marks, or take it away"
            ) from None
        raise InputError(f"{path} cannot be read as a table: {said[:200]}") from None
