"""How a table of text is laid out: what separates its columns, and where its rows begin.

The first lines decide. The header of numbers is the line that names the targets, with other lines
above it and below it that hold no number and no date; what stands before it is passed over. The
header of texts is the first row, or the first as wide as the others that names known columns.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from saiki.data.tables.encoding import TextFile, empty
from saiki.data.tables.roles import Columns, folded
from saiki.errors import InputError

DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", " ": "blank"}
_BLANK = " "
SAMPLE = 400
"""Lines that are looked at to find the layout."""
_MOST_HEADERS = 6
_MOST_LINES = 100
"""Among which a header must be."""
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_VALUE = re.compile(
    rf"[(+\-−]?\s*(?:[^\w\s(+.,-]\s*)?[+\-−]?[.,]?\d.*|(?:明治|大正|昭和|平成|令和).*|(?:{_MONTHS})[a-z]*\W*\d.*",
    re.IGNORECASE,
)
"""What begins as a number or a date does."""
_DELIMITER = re.compile(r"[;\t|]")
_SAYS = re.compile(r"""(?i:"?sep=)([!#-&*-,/:-@\[-^`{-~\t])"?\r?(?:\n|$)""")
_MARKED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Layout:
    """How a file of text is read."""

    delimiter: str
    quoted: bool
    """Whether a field that begins with a quotation mark ends with the next one."""
    skip: int
    """Lines before the first row."""
    columns: Columns
    preamble: int
    """Lines of them that stand before the header."""
    named: bool = False
    """Whether the first row is a header, which may lack an empty cell at its end."""

    @property
    def notes(self) -> list[str]:
        """What a person should know of it."""
        passed = f"the first {self.preamble} lines, before the header, were passed over"
        return [passed] if self.preamble else []


def find_layout(text: TextFile, targets: Sequence[str]) -> Layout:
    """The layout of numbers in which most of the targets are named in a header, and then the one
    with which most rows have the same number of columns, and many."""
    layout = layout_of(text.path, text.head(), targets)
    if layout is None:
        raise InputError(f"{text.path} holds no rows of numbers")
    return layout


def layout_of(path: Path, head: str, targets: Sequence[str]) -> Layout | None:
    """The same of the first lines of a table; None where no row of numbers is among them."""
    choices = _choices(head)
    tried = [_tried(path, head, each, targets) for each in choices]
    score, layout = max(tried, key=lambda each: each[0])
    if layout and layout.columns.width == 1 and choices[1:]:
        (named, _, even, *_), by_blanks = _tried(path, head, _BLANK, targets)
        if by_blanks and even == 1 and named == score[0]:
            return by_blanks
    return layout


def find_text_layout(
    text: TextFile, names: Collection[str], width: int, comments: str, blanks: bool
) -> Layout:
    """The layout of texts in which the header names most of the known columns, and then the one
    with which most rows have the same number of columns.

    Args:
        width: the number of columns; 0: two at least.
        comments: what lines begin with that may stand before the first row; none without.
        blanks: whether columns may stand between blanks.
    """
    head = text.head()
    choices = _choices(head)
    tried = {each: _tried_texts(text.path, head, each, names, width, comments) for each in choices}
    best = max(tried, key=lambda each: tried[each][0])
    (named, even), layout = tried[best]
    if layout is None and blanks and choices[1:]:
        (named, even), layout = _tried_texts(text.path, head, _BLANK, names, width, comments)
    if layout is None:
        if head.strip("\ufeff \t\r\n,;|"):
            between = " or ".join(f"a {in_words(each)}" for each in choices)
            raise InputError(
                f"{text.path} has one column; it needs {width or 'two or more'}, with {between} "
                "between them"
            )
        raise empty(text.path)
    alike = [each for each in choices if tried[each][0] == (named, even)]
    if even == 1 and len(alike) > 1 and best != "\t":
        between = " and ".join(map(in_words, alike))
        raise InputError(
            f"{text.path} has columns whether {between} separate them; say which in a first line, "
            f"such as sep={best}"
        )
    return layout


def in_words(delimiter: str) -> str:
    """What a delimiter is called."""
    return DELIMITERS.get(delimiter, repr(delimiter))


def _choices(head: str) -> list[str]:
    """What may separate columns: what the first line says, or all delimiters but blanks."""
    first = _SAYS.match(head)
    return [first[1]] if first else [each for each in DELIMITERS if each != _BLANK]


def _tried_texts(
    path: Path, head: str, delimiter: str, names: Collection[str], width: int, comments: str
) -> tuple[tuple[int, float], Layout | None]:
    """How well a delimiter does, and the layout with it."""
    rows, ends, quoted = _rows(head, delimiter)
    begin = 0
    while comments and begin < len(rows) and (
        not any(rows[begin]) or rows[begin][0].startswith(comments)
    ):  # fmt: skip
        begin += 1
    full = [i for i in range(begin, len(rows)) if any(rows[i])]
    counts = Counter(len(rows[i]) for i in full if len(rows[i]) > 1)
    if not counts:
        return (-1, 0.0), None
    width = width or counts.most_common(1)[0][0]
    named, first, preamble = 0, full[0], 0
    for i in full[:_MOST_LINES]:
        matches = sum(folded(cell) in names for cell in rows[i])
        if matches and width - 1 <= len(rows[i]) <= width:
            named, first = matches, i
            preamble = ends[i - 1] if i > full[0] else 0
        if len(rows[i]) == width:
            break
    skip = ends[first - 1] if first else 0
    below = [i for i in full if i >= first]
    even = sum(len(rows[i]) == width for i in below) / len(below)
    sample = tuple(_padded(rows[i], width) for i in below if len(rows[i]) == width)
    columns = Columns(path, (), width, sample)
    layout = Layout(delimiter, quoted, skip, columns, preamble, bool(named))
    return (named, even), layout


def _tried(
    path: Path, head: str, delimiter: str, targets: Sequence[str]
) -> tuple[tuple[float, ...], Layout | None]:
    """How well a delimiter does, and the layout with it."""
    rows, ends, quoted = _rows(head, delimiter)
    full = [i for i, row in enumerate(rows) if any(row)]
    data = [i for i in full if any(map(_is_value, rows[i]))]
    if not data:
        return (-1.0,), None
    width = Counter(len(rows[i]) for i in data[-len(data) * 3 // 4 :]).most_common(1)[0][0]
    named, header = _header(rows, full, width, targets)
    begin = header
    if header is not None:
        while begin and _above(rows[begin - 1], width) and begin > header - 4:
            begin -= 1
        after = header + 1
        end = min(len(rows), header + _MOST_HEADERS)
        while after < end and (not any(rows[after]) or _above(rows[after], width)):
            after += 1
        if after == len(rows) or not _data(rows[after]):
            after = header + 1
    else:
        begin = after = data[0]
        while begin and _above(rows[begin - 1], width):
            begin -= 1
        if begin == after and not all(map(_is_value, filter(None, rows[begin]))):
            after = begin + 1  # names that look like numbers, or a first cell of text
            if all(_data_like(rows[begin], rows[i]) for i in data[1:20]):
                after = begin
    headers = [_padded(row, width) for row in rows[begin:after] if any(row)]
    body = [_padded(row, width) for row in rows[after:] if len(row) == width and any(row)]
    if not body:
        return (float(named), -1.0), None
    even = sum(len(rows[i]) == width for i in full if i >= after) / max(
        1, sum(i >= after for i in full)
    )
    skip = ends[after - 1] if after else 0
    columns = Columns(path, tuple(_spread(headers)), width, tuple(body))
    layout = Layout(delimiter, quoted, skip, columns, ends[begin - 1] if begin else 0)
    values = [cell for row in body for cell in row if _is_value(cell)]
    clean = sum(not _DELIMITER.search(cell) for cell in values) / max(1, len(values))
    return (float(named), width > 1, round(even, 2), round(clean, 2), float(width)), layout


def _rows(head: str, delimiter: str) -> tuple[list[list[str]], list[int], bool]:
    """The first rows, how many lines end with each, and whether fields are quoted."""
    if separator := _SAYS.match(head):
        head = "\n" + head[separator.end() :]  # and lines keep their numbers
    quoted = delimiter != _BLANK and (delimiter != "\t" or _is_quoted(head))
    rows, ends = list[list[str]](), list[int]()
    if not quoted:
        split = None if delimiter == _BLANK else delimiter
        lines = re.split(r"\r\n|\n|\r", head, maxsplit=SAMPLE)[:SAMPLE]
        lines = lines if lines[-1] else lines[:-1]
        rows = [[cell.strip() for cell in line.split(split)] for line in lines]
        return rows, [*range(1, len(rows) + 1)], False
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for row in reader:
            rows.append([cell.strip() for cell in row])
            ends.append(reader.line_num)
            if len(rows) == SAMPLE:
                break
    except csv.Error:  # a field too long to be one
        pass
    return rows, ends, True


def _is_quoted(head: str) -> bool:
    """Whether quotation marks are more than characters between tabs: where no field that begins
    with one goes on behind the next, and one holds a tab, a line break or a doubled mark, or all of
    a column have them."""
    if '"' not in head:
        return False
    try:
        quoted = [*csv.reader(io.StringIO(head, newline=""), delimiter="\t", strict=True)]
    except csv.Error:
        return False
    plain = [line.split("\t") for line in re.split(r"\r\n|\n|\r", head) if line]
    if len({len(row) for row in quoted if row}) == 1 < len({len(row) for row in plain}):
        return True
    columns = [[cell for cell in column if cell] for column in zip(*plain, strict=False)]
    marked = [[cell for cell in column if _MARKED.fullmatch(cell)] for column in columns]
    return any(
        cells and (len(cells) == len(column) or any('""' in cell[1:-1] for cell in cells))
        for cells, column in zip(marked, columns, strict=True)
    )


def _header(
    rows: Sequence[Sequence[str]], full: Sequence[int], width: int, targets: Sequence[str]
) -> tuple[int, int | None]:
    """How many of the targets the best line names, and which one it is."""
    best: tuple[int, int | None] = (0, None)
    for i in full[:_MOST_LINES]:
        row = rows[i]
        if not width - 1 <= len(row) <= width or all(_is_value(cell) for cell in row if cell):
            continue
        cells = {folded(cell) for cell in row}
        named = sum(folded(target) in cells for target in targets)
        if named > best[0]:
            best = (named, i)
    return best


def _above(row: Sequence[str], width: int) -> bool:
    """Whether it may be one more line of a header."""
    return width - 1 <= len(row) <= width and any(row) and not _data(row)


def _data(row: Sequence[str]) -> bool:
    return any(map(_is_value, row))


def _data_like(row: Sequence[str], other: Sequence[str]) -> bool:
    """Whether numbers and dates stand in the same columns of both."""
    return [_is_value(cell) for cell in row if cell] == [_is_value(c) for c in other if c]


def _is_value(cell: str) -> bool:
    return bool(_VALUE.fullmatch(unicodedata.normalize("NFKC", cell)))


def _padded(row: Sequence[str], width: int) -> tuple[str, ...]:
    return (*row, *[""] * (width - len(row)))


def _spread(headers: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Lines of a header, in all but the last of which a name holds for the empty cells behind it,
    as where cells were joined."""
    spread = list[tuple[str, ...]]()
    for row in headers[:-1]:
        names, last = list[str](), ""
        for cell in row:
            last = cell or last
            names.append(last)
        spread.append(tuple(names))
    return [*spread, *headers[-1:]]
