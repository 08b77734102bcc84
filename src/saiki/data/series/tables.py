"""Tables of numbers: the columns of a text file, one row a point in time."""

import csv
import io
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saiki.errors import InputError, shown
from saiki.inputs import read_text

LARGEST = 1e30
"""Of a number, as float32 can do with."""
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Table:
    """Columns of finite numbers over the same points."""

    values: np.ndarray[Any, Any]
    """``(points, columns)``, float64."""
    names: tuple[str, ...]
    """Of the columns, if the first line tells them."""


def read_table(path: Path, columns: tuple[int, ...]) -> Table:
    """The numbers of a CSV file, with commas, semicolons, tabs or blanks between them.

    The first line may name the columns; empty lines are skipped.

    Args:
        columns: how many there may be.

    Raises:
        InputError: there is no such file, it is not text, it has other columns, or what stands
            somewhere is no finite number.
    """
    lines = [(n, row) for n, row in _rows(path) if any(row)]
    if not lines:
        raise InputError(f"{path} is empty; it needs a row of numbers for each point")
    names: tuple[str, ...] = ()
    if not any(map(_is_number, lines[0][1])):
        names = tuple(lines.pop(0)[1])
    if not lines:
        raise InputError(f"{path} holds no numbers below its first line")
    count = len(names) or len(lines[0][1])
    if count not in columns:
        allowed = " or ".join(map(str, columns))
        raise InputError(f"{path} must have columns: {allowed} of numbers, and it has {count}")
    values = np.empty((len(lines), count))
    for place, (number, row) in enumerate(lines):
        if len(row) != count:
            raise InputError(f"{path} has {len(row)} columns in line {number} instead of {count}")
        for column, cell in enumerate(row):
            if not _is_number(cell):
                raise InputError(
                    f"{path} has {cell[:40]!r} in line {number}, which is no finite number within "
                    "±1e30; decimals are written with a point, and gaps must be filled or left out"
                )
            values[place, column] = float(cell)
    return Table(values, names)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Numbers of the lines, from 1, and their cells."""
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    if delimiter not in first:
        return [(n, line.split()) for n, line in enumerate(text.splitlines(), 1)]
    rows = list[tuple[int, list[str]]]()
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        for row in reader:
            rows.append((reader.line_num, [cell.strip() for cell in row]))
    except csv.Error:
        line = rows[-1][0] + 1 if rows else 1
        raise InputError(
            f"{path} is not a table: a quotation mark in line {line} is not closed, or stands "
            "inside a cell without being doubled"
        ) from None
    return rows


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= LARGEST
    except ValueError:
        return False


def numbers_of(text: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """What a user gives, as numbers or in a file: the first column, and the second if there is one.

    Raises:
        InputError: it is neither.
    """
    words = re.split(r"[\s,;]+", text.strip())
    with suppress(ValueError):
        numbers = np.array([float(word) for word in words])
        if (np.abs(numbers) <= LARGEST).all():
            return numbers, None
    if _is_file(text):
        values = read_table(Path(text), (1, 2)).values
        return values[:, 0], values[:, 1] if values.shape[1] == 2 else None
    raise InputError(
        "sin-cos takes numbers within ±1e30 such as '0 0.5 0.9', or a CSV file of them, got "
        f"{shown(text)}"
    )


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False
