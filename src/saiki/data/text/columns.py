"""Tables of columns of text."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from saiki.data.text.plain_text import lines
from saiki.errors import InputError
from saiki.inputs import bare

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_TOLD = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


class _Trouble(NamedTuple):
    line: int
    columns: int
    what: str


def read_columns(
    path: Path, delimiter: str = "", count: int = 2, encoding: str = "utf-8"
) -> list[tuple[str, ...]]:
    """The rows of a table, without white space around a field.

    In a ``.csv`` file, packed or not, a field may stand in quotation marks, and then hold what
    separates fields, a line break, which becomes a space, and ``""`` for one mark. Fields are
    separated by ``delimiter``; else by what a first line ``sep=;`` names; else by that of comma,
    semicolon and tab which cuts every row into so many.

    In any other file a line is a row, fields are separated by ``delimiter``, else a tab, and a
    quotation mark is a character like others.

    Rows in which nothing stands are left out.

    Args:
        count: columns that each row must have; 0: two at least, and as many as the first one.
        encoding: see :func:`saiki.data.text.plain_text.lines`.

    Raises:
        InputError: the file cannot be read, a row has another number of columns, a quotation mark
            is not closed, or two delimiters cut all rows alike; the error names the line.
    """
    text = [part for line in lines(path, encoding) for part in line.split("\r")]
    if bare(path).suffix.lower() != ".csv":
        split = ((n, line.split(delimiter or "\t")) for n, line in enumerate(text, 1))
        rows, trouble = _alike(path, split, delimiter or "\t", count)
        if trouble:
            raise InputError(trouble.what)
        return rows
    told = _TOLD.fullmatch(text[0]) if text else None
    if told:
        text[0] = ""  # and lines keep their numbers
    if delimiter or told:
        wanted = delimiter or (told[1] if told else "")
        rows, trouble = _quoted(path, text, wanted, count)
        if trouble:
            raise InputError(trouble.what)
        return rows
    found = {each: _quoted(path, text, each, count) for each in DELIMITERS}
    fitting = [each for each, (_, trouble) in found.items() if not trouble]
    if len(fitting) > 1 and found[fitting[0]][0]:
        names = " and ".join(DELIMITERS[each] for each in fitting)
        raise InputError(
            f"{path} has columns whether {names} separate them; say which in a first line, "
            f"such as sep={fitting[0]}"
        )
    if not fitting:
        troubles = [trouble for _, trouble in found.values() if trouble]
        raise InputError(max(troubles, key=lambda t: (t.line, t.columns)).what)
    return found[fitting[0]][0]


def _alike(
    path: Path, rows: Iterator[tuple[int, Sequence[str]]], delimiter: str, count: int
) -> tuple[list[tuple[str, ...]], _Trouble | None]:
    """The rows up to one that has another number of columns, and what to say of that."""
    good = list[tuple[str, ...]]()
    for line, fields in rows:
        fields = [" ".join(field.splitlines()).strip() for field in fields]
        if not any(fields):
            continue
        wanted = count or (len(good[0]) if good else max(2, len(fields)))
        if len(fields) != wanted:
            columns = "one column" if len(fields) == 1 else f"{len(fields)} columns"
            must = "two" if wanted == 2 else f"{wanted}, as the first one"
            separated = DELIMITERS.get(delimiter, repr(delimiter))
            what = (
                f"{path} has {columns} in line {line}; each row must have {must}, with a "
                f"{separated} between them"
            )
            return good, _Trouble(line, len(fields), what)
        good.append(tuple(fields))
    return good, None


def _quoted(
    path: Path, text: Sequence[str], delimiter: str, count: int
) -> tuple[list[tuple[str, ...]], _Trouble | None]:
    reader = csv.reader((f"{line}\n" for line in text), delimiter=delimiter, strict=True)
    begun = 1

    def rows() -> Iterator[tuple[int, Sequence[str]]]:
        nonlocal begun
        for fields in reader:
            yield begun, fields
            begun = reader.line_num + 1

    try:
        return _alike(path, rows(), delimiter, count)
    except csv.Error:
        what = (
            f"{path} cannot be read from line {begun} on: a field that begins with a quotation "
            "mark must end with one, and a mark inside it must be doubled"
        )
        return [], _Trouble(begun, 0, what)
