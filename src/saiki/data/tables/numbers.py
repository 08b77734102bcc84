"""Tables of numbers alone: columns over the same points."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saiki.data.tables.limits import check_memory
from saiki.errors import InputError, shown


@dataclass(frozen=True, eq=False)
class NumberTable:
    """Columns of finite numbers.

    Args:
        values: ``(points, columns)``, float64.
        names: of the columns; none where the table has no header.
        notes: what a person should know of how the table was read.
    """

    values: np.ndarray[Any, Any]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_numbers(path: Path, widths: Collection[int], encoding: str = "") -> NumberTable:
    """The numbers of a table: text of any encoding, delimiter and way to write numbers, with a
    header or without, packed or not, or Parquet. Rows in which nothing stands are left out.

    Args:
        widths: how many columns there may be.
        encoding: see :func:`saiki.data.tables.encoding.as_text`.
    """
    from saiki.data.tables.cells import decimal_of, no_number, number, unreadable
    from saiki.data.tables.table_file import ROW, opened  # which import polars

    with opened(path, (), encoding) as table:
        width = table.columns.width
        if width not in widths:
            allowed = " or ".join(map(str, widths))
            raise InputError(f"{path} must have columns: {allowed} of numbers, and it has {width}")
        check_memory(path, table.rows, width)
        names = {i: table.columns.name(i) for i in range(width)}
        decimal = decimal_of(table, names)
        scan = table.scan.select(ROW, *(number(table, i, decimal) for i in names))
        frame = scan.collect(engine="streaming")
        values = frame.drop(ROW).to_numpy().astype(np.float64)
        blank = np.isnan(values).all(1)
        values, rows = values[~blank], frame[ROW].to_numpy()[~blank]
        for row, column in unreadable(values)[:1].tolist():
            at = int(rows[row])
            raise no_number(table, at, column, names[column], f"in {table.place(at)}")
        for row, column in np.argwhere(np.isnan(values))[:1].tolist():
            raise InputError(
                f"{path} has nothing in the column {shown(names[column])} in "
                f"{table.place(int(rows[row]))}; fill gaps, or leave out their rows"
            )
        if not len(values):
            raise InputError(f"{path} holds no rows of numbers")
        named = tuple(names.values()) if table.columns.headers else ()
        return NumberTable(values, named, table.notes)
