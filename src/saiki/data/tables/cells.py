"""Numbers as people and programs write them, column by column, by polars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from saiki.data.tables.limits import LARGEST
from saiki.data.tables.table_file import TableFile
from saiki.errors import InputError, shown

MISSING = (
    *("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "?"),
    *("-", "--", "—", "–", ".", "..", "...", "欠測", "欠損", "×", "///"),
)
"""What stands where a number is missing, in small letters."""
_UNUSUAL = {
    **{chr(0xFF10 + i): str(i) for i in range(10)},
    **{"，": ",", "．": ".", "－": "-", "−": "-", "–": "-", "＋": "+", "％": "%", "（": "("},
    **{"）": ")", "’": "'", "‘": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u3000": " "},
}
_CURRENCY = r"(?:\p{Sc}|US\$|R\$|USD|EUR|JPY|GBP|CHF|CNY|Fr\.|kr|円|元)"
_CORE = (
    rf"^\(?\s*[-+]?\s*{_CURRENCY}?\s*[-+]?\s*"
    r"(\d[\d.,' ]*(?:[eE][-+]?\d+)?|[.,]\d+(?:[eE][-+]?\d+)?)"
    rf"\s*(?:{_CURRENCY}|%|‰)?\s*-?\)?$"
)
_NEGATIVE = r"^\(|^\D*-|\d\s*-$"
_NUMBER = {
    ".": r"^(?:\d{1,3}(?:[,' ]\d{2,3})*[,' ]\d{3}|\d*)(?:\.\d*)?(?:[eE][-+]?\d+)?$",
    ",": r"^(?:\d{1,3}(?:[.' ]\d{3})+|\d*)(?:,\d*)?(?:[eE][-+]?\d+)?$",
}
"""Numbers with this sign before their decimals, and any separator between thousands."""
_HINTS = {
    "decimal comma": r"^(?:\d*,(?:\d{0,2}|\d{4,})|0\d*,\d+|\d{4,},\d+|\d{1,3}(?:[.' ]\d{3})+,\d*)"
    r"(?:[eE][-+]?\d+)?$",
    "grouping comma": r"^\d{1,3}(?:,\d{2,3})*,\d{3}\.\d*$|^\d{1,3}(?:,\d{2,3})+,\d{3}$",
    "decimal point": r"^(?:\d*\.(?:\d{0,2}|\d{4,})|0\d*\.\d+|\d{4,}\.\d+"
    r"|\d{1,3}(?:[,' ]\d{3})+\.\d*)(?:[eE][-+]?\d+)?$",
    "grouping point": r"^\d{1,3}(?:\.\d{3}){2,}$|^\d{1,3}(?:\.\d{3})+,\d*$",
    "open comma": r"^[1-9]\d{0,2},\d{3}$",
    "open point": r"^[1-9]\d{0,2}\.\d{3}$",
    "small": r"^\d{1,3}$",
    "large": r"^\d{4,}$",
}
"""What a number says of the signs in it: whether they stand before decimals or between thousands.
Of 1,234 and 1.234 it is open."""


def number(table: TableFile, column: int, decimal: str) -> pl.Expr:
    """The numbers of a column, NaN where there is none, infinity for what is no number.

    Args:
        decimal: see :func:`decimal_of`.
    """
    name, kind = str(column), table.types[column]
    cell = pl.col(name)
    if kind != pl.String:
        if not (kind.is_numeric() or kind == pl.Boolean):
            raise InputError(
                f"the column {shown(table.columns.name(column))} of {table.path} is of the type "
                f"{kind}; it must hold numbers"
            )
        return cell.cast(pl.Float64).fill_null(float("nan")).alias(name)
    number = people(cell, decimal) if decimal else plain(cell)
    empty = pl.when(missing(cell)).then(float("nan")).otherwise(float("inf"))
    return pl.when(number.is_finite()).then(number).otherwise(empty).alias(name)


def unreadable(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The places of what is no number, or too large for one."""
    return np.argwhere(np.isinf(values) | (np.abs(values) > LARGEST))


def no_number(table: TableFile, row: int, column: int, name: str, where: str) -> InputError:
    """What is said of a cell that holds no finite number."""
    return InputError(
        f"{table.path} has {shown(table.cell(row, column), 40)} in the column {shown(name)} "
        f"{where}, which is no finite number within ±1e30; correct it, or leave the cell empty "
        "where nothing was measured"
    )


def decimal_of(table: TableFile, numbers: Mapping[int, str]) -> str:
    """The sign before the decimals of a table, ``.`` or ``,``; nothing where all of it is written
    as programs do.

    Args:
        numbers: columns, and what they are called.

    Raises:
        InputError: signs contradict each other, or leave open which of the two it is.
    """
    path, scan, delimiter = table.path, table.scan, table.layout.delimiter
    columns = {str(i): name for i, name in numbers.items() if table.types[i] == pl.String}
    if not columns:
        return ""
    odd = [(plain(pl.col(c)).is_null() & ~missing(pl.col(c))).sum().alias(c) for c in columns]
    counts = scan.select(odd).collect(engine="streaming").row(0, named=True)
    if not any(counts.values()) and delimiter != ";":
        return ""
    hints = {
        f"{kind}|{c}": core(pl.col(c)).str.contains(pattern).sum()
        for c in columns
        for kind, pattern in _HINTS.items()
    }
    row = scan.select(**hints).collect(engine="streaming").row(0, named=True)
    where = {kind: [c for c in columns if row[f"{kind}|{c}"]] for kind in _HINTS}
    comma = where["decimal comma"] + where["grouping point"]
    point = where["decimal point"] + where["grouping comma"]
    if comma and point:
        raise InputError(
            f"{path} writes decimals with a comma in the column {columns[comma[0]]} and with a "
            f"point in the column {columns[point[0]]}, or thousands with them; write all with a "
            "point and no signs between thousands"
        )
    if comma or point:
        return "," if comma else "." if any(counts.values()) else ""
    unsure = where["open comma"] or (
        where["open point"] if where["small"] and not where["large"] else []
    )
    if not unsure:
        return "." if any(counts.values()) else ""
    if where["open comma"] and where["large"] and not where["open point"]:
        return ","
    if where["open comma"] and delimiter == "," and not where["open point"]:
        return "."
    raise InputError(
        f"{path} leaves open whether {'1,234' if where['open comma'] else '1.234'} in the column "
        f"{columns[unsure[0]]} is more than a thousand or little more than one; write decimals "
        "with a point and nothing between thousands"
    )


def missing(text: pl.Expr) -> pl.Expr:
    """Whether there is no number."""
    return text.is_null() | text.str.strip_chars().str.to_lowercase().is_in(MISSING)


def plain(text: pl.Expr) -> pl.Expr:
    """Numbers of text as programs write them, and NaN and null elsewhere."""
    return text.str.strip_chars().cast(pl.Float64, strict=False)


def core(text: pl.Expr) -> pl.Expr:
    """The digits of a number with the signs between them, without currency, percent sign and the
    sign before it; null where it is none."""
    return _usual(text).str.extract(_CORE, 1).str.strip_chars()


def people(text: pl.Expr, decimal: str) -> pl.Expr:
    """Numbers of text as people write them, with this sign before decimals; null elsewhere."""
    digits = core(text)
    bare = digits.str.replace_all(r"[,' ]" if decimal == "." else r"[.' ]", "")
    number = bare.str.replace_all(",", ".", literal=True).cast(pl.Float64, strict=False)
    number = pl.when(_usual(text).str.contains(_NEGATIVE)).then(-number).otherwise(number)
    return pl.when(digits.str.contains(_NUMBER[decimal])).then(number)


def signs(scan: pl.LazyFrame, columns: Mapping[str, str]) -> Sequence[str]:
    """What was taken away from the numbers of columns, for people."""
    counts = {
        f"{kind}|{c}": pl.col(c).str.contains(pattern).sum()
        for c in columns
        for kind, pattern in (("percent signs", "[%％]"), ("signs of currency", _CURRENCY))
    }
    row = scan.select(**counts).collect(engine="streaming").row(0, named=True) if counts else {}
    present = [name.split("|") for name, count in row.items() if count]
    return [f"{kind} of {columns[c]} left out" for kind, c in present]


def _usual(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars().str.replace_many([*_UNUSUAL], [*_UNUSUAL.values()])
