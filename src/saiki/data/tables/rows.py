"""The rows of a table that is text, each of one width, and the same for polars."""

import csv
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from saiki.data.tables.encoding import CHUNK, TextFile, check_room, temporary
from saiki.data.tables.layout import Layout, in_words
from saiki.errors import InputError
from saiki.inputs import limit, open_file, rows, too_much

UNIT = "\x1f"
"""Separates fields where a table is written for polars."""
MARK, LINE_FEED, CARRIAGE_RETURN = b'"\n\r'
Codes = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class PlainRows:
    """Rows that polars reads as they are."""

    path: Path
    separator: str
    quoted: bool
    skip: int
    """Lines before the first row."""
    count: int
    """Rows, blank ones among them."""
    lines: Codes | None = None
    """The line of each, from 1 on; None where they follow each other."""


def text_rows(path: Path, lines: Iterator[str], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The rows of lines below the header, and the line in which each begins; a blank one has no
    cell.

    Raises:
        InputError: a row has another number of columns, or a quotation mark is not closed, or
            stands where none may.
    """
    width = layout.columns.width
    for number, cells in _cells(path, lines, layout):
        line = number + layout.skip
        if number == 1 and layout.named and len(cells) == width - 1:
            cells.append("")
        if not any(cells):
            yield line, []
        elif len(cells) == width:
            yield line, cells
        else:
            raise _uneven(path, line, len(cells), layout)


@contextmanager
def plain_rows(text: TextFile, layout: Layout) -> Iterator[PlainRows]:
    """The rows below the header for polars, in a temporary file where need be."""
    count = None if layout.delimiter == " " else _count(text, layout)
    if count is not None:
        yield PlainRows(text.plain, layout.delimiter, layout.quoted, layout.skip, count)
        return
    with temporary() as plain:
        lines, part, size = array("q"), list[str](), 0
        for line, cells in text_rows(text.path, lines_below(text, layout), layout):
            lines.append(line)
            part.append(UNIT.join(cell.replace("\n", " ").replace(UNIT, " ") for cell in cells))
            size += len(part[-1]) + 1
            if size > CHUNK:
                check_room(plain, text.path, size)
                plain.write(("\n".join(part) + "\n").encode())
                part, size = [], 0
        check_room(plain, text.path, size)
        plain.write(("\n".join(part) + "\n" * bool(part)).encode())
        plain.close()
        yield PlainRows(
            Path(plain.name), UNIT, False, 0, len(lines), np.frombuffer(lines, np.int64)
        )


def lines_below(text: TextFile, layout: Layout) -> Iterator[str]:
    """The lines of a table below its header."""

    def lines() -> Iterator[str]:
        with open_file(text.plain) as file:
            for number, row in enumerate(rows(file, text.path)):
                line = row.decode() if number else row.decode("utf-8-sig")
                yield from line.removesuffix("\n").removesuffix("\r").split("\r")

    return islice(lines(), layout.skip, None)


def _cells(path: Path, lines: Iterator[str], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, and the number of the line in which it begins, from 1 on."""
    if not layout.quoted:
        split = None if layout.delimiter == " " else layout.delimiter
        for number, line in enumerate(lines, 1):
            yield number, [cell.strip() for cell in line.split(split)]
        return
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=layout.delimiter, strict=True,
        skipinitialspace=True,
    )  # fmt: skip
    begin = 1
    try:
        for cells in reader:
            yield begin, [cell.strip() for cell in cells]
            begin = reader.line_num + 1
    except csv.Error as error:
        where = f"in line {begin + layout.skip}"
        if "expected after" in str(error):
            raise InputError(
                f"{path} has a quotation mark inside a field {where}; double it, and put the field "
                "into quotation marks, or take it away"
            ) from None
        raise InputError(f"{path} has a quotation mark {where} that is not closed") from None


def _count(text: TextFile, layout: Layout) -> int | None:
    """The number of lines behind those to skip, blank ones among them, each of which has as many
    fields as there are columns; None where quotation marks stand otherwise than around a field that
    ends in the same line."""
    line, longest, width = 0, limit("line"), layout.columns.width
    with open_file(text.plain) as file:
        while chunk := file.read(CHUNK):
            chunk += file.readline(longest + 1)
            codes = np.frombuffer(chunk, np.uint8)
            ends = np.flatnonzero(codes == LINE_FEED)
            if codes[-1] != LINE_FEED:
                ends = np.append(ends, len(codes))
            lengths = np.diff(ends, prepend=-1) - 1
            if lengths[long := int(lengths.argmax())] > longest:
                more = f"has more than {longest:,} bytes in line {line + long + 1:,}"
                raise too_much(text.path, "line", more)
            delimiters = codes == ord(layout.delimiter)
            if layout.quoted and b'"' in chunk:
                in_quotes = np.cumsum(codes == MARK) % 2 == 1
                if not _are_regular(codes, in_quotes, ord(layout.delimiter)):
                    return None
                delimiters &= ~in_quotes
            counts = np.diff(np.concatenate([[0], np.cumsum(delimiters)])[ends], prepend=0)
            odd = (counts != width - 1) & (lengths > 0)
            odd[: max(0, layout.skip - line)] = False
            for at in np.flatnonzero(odd).tolist():
                if chunk[ends[at] - lengths[at] : ends[at]].strip():
                    raise _uneven(text.path, line + at + 1, int(counts[at]) + 1, layout)
            line += len(ends)
    return max(0, line - layout.skip)


def _are_regular(codes: Codes, in_quotes: Codes, delimiter: int) -> bool:
    """Whether each quotation mark begins a field or ends it, or is one of two, and none is open at
    the end of a line."""
    at = np.flatnonzero(codes == MARK)
    edges = [delimiter, LINE_FEED, CARRIAGE_RETURN, MARK]
    around = np.concatenate([[LINE_FEED], codes, [LINE_FEED]])
    neighbours = np.where(in_quotes[at], around[at], around[at + 2])
    open_ends = in_quotes[-1] or (in_quotes & (codes == LINE_FEED)).any()
    return not open_ends and bool(np.isin(neighbours, edges).all())


def _uneven(path: Path, line: int, count: int, layout: Layout) -> InputError:
    columns = "one column" if count == 1 else f"{count} columns"
    wanted = f"{layout.columns.width}, with a {in_words(layout.delimiter)} between them"
    return InputError(
        f"{path} has {columns} in line {line} instead of {wanted}; take the line away, or write it "
        "as the others are"
    )
