"""How a table is laid out: what separates its columns, where its header ends, names of columns.

The first lines decide. The header is the line that names the targets, with other lines above it and
below it that hold no number and no date; what stands before it is passed over.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saiki.data.tables.encoding import TextFile
from saiki.errors import InputError, near, shown

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE = 400
"""Lines that are looked at to find the layout."""
_MOST_HEADERS = 6
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_VALUE = re.compile(
    rf"[(+\-−]?\s*(?:[^\w\s(+.,-]\s*)?[+\-−]?[.,]?\d.*|(?:明治|大正|昭和|平成|令和).*|(?:{_MONTHS})[a-z]*\W*\d.*",
    re.IGNORECASE,
)
"""What begins as a number or a date does."""


@dataclass(frozen=True)
class Columns:
    """Columns by their headers.

    Args:
        path: of the table.
        headers: the lines of the header, none or each as wide as the table.
        width: how many columns there are.
        sample: some of the rows below the header.
    """

    path: Path
    headers: tuple[tuple[str, ...], ...]
    width: int
    sample: tuple[tuple[str, ...], ...]

    def find(self, name: str) -> int | None:
        """The column that is called so in one line of the header, or in all together with blanks
        between them; else the one of this number, from 1 on; else None.

        Raises:
            InputError: several are called so.
        """
        wanted = name.strip()
        for tidy in (str, _folded):
            for lines in (self.headers, (self._joined(),)):
                found = {
                    i for line in lines for i, cell in enumerate(line) if tidy(cell) == tidy(wanted)
                }
                if len(found) == 1:
                    return found.pop()
                if found and lines is not self.headers:
                    raise InputError(
                        f"{self.path} has {len(found)} columns called {shown(name)}; name one by "
                        f"its number, from 1 to {self.width}: here "
                        f"{' or '.join(str(i + 1) for i in sorted(found))}"
                    )
        if wanted.isdecimal() and len(wanted) < 9 and 1 <= int(wanted) <= self.width:
            return int(wanted) - 1
        return None

    def of(self, name: str) -> int:
        """See :meth:`find`.

        Raises:
            InputError: there is no such column, or there are several.
        """
        column = self.find(name)
        if column is not None:
            return column
        if not self.headers:
            raise InputError(
                f"{self.path} has no column {shown(name)}: it has no header, and columns are named "
                f"by their numbers, from 1 to {self.width}"
            )
        names = [cell for line in self.headers for cell in line if cell]
        some = ", ".join(shown(self.name(i), 40) for i in range(min(self.width, 6)))
        more = " …" if self.width > 6 else ""
        raise InputError(
            f"{self.path} has no column {shown(name)}; it has {some}{more}{near(name, names)}"
        )

    def name(self, column: int, known: Sequence[str] = ()) -> str:
        """What it is called, by one of the names that are known if it has it; without a header, its
        number."""
        for line in self.headers:
            if _folded(line[column]) in known:
                return line[column]
        return (self._joined()[column] if self.headers else "") or str(column + 1)

    def cells(self, column: int) -> list[str]:
        """What stands in a column of the sample, without empty cells."""
        return [row[column] for row in self.sample if row[column]]

    def called(self, names: Sequence[str]) -> list[int]:
        """The columns that have one of these names, whatever their case."""
        return [
            i
            for i in range(self.width)
            if any(_folded(line[i]) in names for line in (*self.headers, self._joined()))
        ]

    def tell_apart(self, time: int, used: Sequence[int]) -> int | None:
        """The column that tells rows of the same time apart, if one does in the sample: one of
        values that occur again and again."""
        for column in (i for i in range(self.width) if i not in used):
            values = {row[column] for row in self.sample}
            pairs = {(row[time], row[column]) for row in self.sample}
            if len(values) <= len(self.sample) // 2 and len(pairs) == len(self.sample):
                return column
        return None

    def _joined(self) -> tuple[str, ...]:
        if not self.headers:
            return ("",) * self.width
        columns = zip(*self.headers, strict=True)
        return tuple(" ".join(dict.fromkeys(cell for cell in cells if cell)) for cells in columns)


@dataclass(frozen=True)
class Layout:
    """How a file of text is read."""

    delimiter: str
    skip: int
    """Lines before the first row."""
    records: int
    """The same, where several lines inside quotation marks count as one."""
    columns: Columns
    preamble: int
    """Lines of them that stand before the header."""


def find_layout(text: TextFile, targets: Sequence[str]) -> Layout:
    """The layout in which most of the targets are named in a header, and then the one with which
    most rows have the same number of columns, and many.

    Raises:
        InputError: there is nothing but blank lines, or a header without rows.
    """
    layout = layout_of(text.path, text.head(), targets)
    if layout is None:
        raise InputError(f"{text.path} holds no rows of numbers; it needs one for each time")
    return layout


def layout_of(path: Path, head: str, targets: Sequence[str]) -> Layout | None:
    """The same of the first lines of a table; None where no row of numbers is among them.

    Raises:
        InputError: they are no text.
    """
    if "\0" in head:
        raise InputError(f"{path} is no text; save the table as CSV in UTF-8")
    first = re.match(r'"?sep=(.)"?\r?\n', head, re.IGNORECASE)
    choices = [first[1]] if first and first[1] in DELIMITERS else [*DELIMITERS]
    return max((_tried(path, head, each, targets) for each in choices), key=lambda t: t[0])[1]


def _tried(
    path: Path, head: str, delimiter: str, targets: Sequence[str]
) -> tuple[tuple[float, ...], Layout | None]:
    """How well a delimiter does, and the layout with it."""
    rows, ends = _rows(head, delimiter)
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
    layout = Layout(delimiter, skip, after, columns, ends[begin - 1] if begin else 0)
    return (float(named), round(even, 2), float(width)), layout


def _rows(head: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """The first rows, and how many lines end with each."""
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    rows, ends = list[list[str]](), list[int]()
    try:
        for row in reader:
            rows.append([cell.strip() for cell in row])
            ends.append(reader.line_num)
            if len(rows) == SAMPLE:
                break
    except csv.Error:  # a field too long to be one
        pass
    return rows, ends


def _header(
    rows: Sequence[Sequence[str]], full: Sequence[int], width: int, targets: Sequence[str]
) -> tuple[int, int | None]:
    """How many of the targets the best line names, and which one it is."""
    best: tuple[int, int | None] = (0, None)
    for i in full[:100]:
        row = rows[i]
        if not width - 1 <= len(row) <= width or all(_is_value(cell) for cell in row if cell):
            continue
        folded = {_folded(cell) for cell in row}
        named = sum(_folded(target) in folded for target in targets)
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


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()
