"""A page of Markdown as a terminal shows it: its words, wrapped, without its signs."""

import re
import textwrap
import unicodedata
from collections.abc import Iterator

from saiki.cli.formulas import in_a_line

_BLOCK = re.compile(
    r"^(?P<fence>```)(?P<kind>\w*)|^(?P<level>#+) (?P<title>.*)|^(?P<row>\|)|"
    r"^(?P<item>\s*(?:[-*]|\d+\.) )|^(?P<anchor><a id=.*)|^(?P<nothing>\s*)$"
)
_INLINE = re.compile(
    r"\$`(?P<formula>[^`]+)`\$|(?P<code>`[^`]+`)|!\[(?P<picture>[^\]]*)\]\([^)]*\)|"
    r"\[(?P<link>[^\]]*)\]\((?P<to>[^)]*)\)|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>[^*]+)\*"
)
_TITLE = re.compile(r"\*\*(.+?[.?。？])\*\* ?")
TOGETHER = "\xa0"
"""The space at which no line is broken."""
SHORT = 20
"""Letters below which a formula is kept together."""
NARROWEST = 10
"""Letters of a column of a table at least."""


def plain(markdown: str, width: int) -> str:
    """The page as lines of at most ``width`` letters; code and formulas keep theirs.

    >>> print(plain("## Why\\n\\nA **gate** is $`f_t \\\\le 1`$, see [here](#x).", 30))
    Why
    ===
    <BLANKLINE>
    A gate is fₜ ≤ 1, see here.
    """
    return "\n\n".join(_blocks(markdown.splitlines(), width)).replace(TOGETHER, " ")


def _blocks(lines: list[str], width: int) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line, begin = lines[at], at
        match = _BLOCK.match(line)
        at += 1
        if match is None:
            at = _end(lines, at)
            text = " ".join(lines[begin:at])
            title = _TITLE.match(text)  # which is a line of its own here
            if title:
                yield f"{_wrapped(title[1], width)}\n{_wrapped(text[title.end() :], width)}"
            else:
                yield _wrapped(text, width)
        elif match["fence"]:
            while at < len(lines) and not lines[at].startswith("```"):
                at += 1
            yield _set_in("\n".join(lines[begin + 1 : at]), match["kind"] == "math")
            at += 1
        elif match["level"]:
            heading = words(match["title"])
            yield f"{heading}\n{'=-'[len(match['level']) > 2] * letters(heading)}"
        elif match["row"]:
            while at < len(lines) and lines[at].startswith("|"):
                at += 1
            yield _table(lines[begin:at], width)
        elif match["item"]:
            items = list[str]()
            while True:
                at = _end(lines, at)
                items.append(_wrapped(" ".join(map(str.strip, lines[begin:at])), width, hang=True))
                begin, at = at, at + 1
                if begin >= len(lines) or not (m := _BLOCK.match(lines[begin])) or not m["item"]:
                    at = begin
                    break
            yield "\n".join(items)


def _end(lines: list[str], at: int) -> int:
    """The first line from ``at`` on with which something else begins."""
    while at < len(lines) and not _BLOCK.match(lines[at]):
        at += 1
    return at


def words(text: str) -> str:
    """A line without the signs of Markdown."""

    def plain(match: re.Match[str]) -> str:
        if match["formula"]:
            formula = in_a_line(match["formula"])
            return formula.replace(" ", TOGETHER) if len(formula) < SHORT else formula
        if match["code"]:
            return match["code"]
        if match["picture"]:
            return f"(picture: {match['picture']})"
        if match["link"]:
            place = match["to"]
            is_here = place.startswith("#")
            return words(match["link"]) + ("" if is_here else f" ({_from_root(place)})")
        return words(match["bold"] or match["italic"])

    return _INLINE.sub(plain, text)


def _from_root(place: str) -> str:
    """Where a link of docs/ leads."""
    if "://" in place:
        return place
    return place.removeprefix("../") if place.startswith("../") else f"docs/{place}"


def letters(text: str) -> int:
    """Columns of a terminal that it takes: those of East Asia take two."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def _set_in(block: str, is_formula: bool) -> str:
    return textwrap.indent(in_a_line(block) if is_formula else block, "    ")


def _wrapped(text: str, width: int, hang: bool = False) -> str:
    text = words(text)
    indent = len(re.match(r"(?:- |\d+\. )?", text)[0]) if hang else 0  # type: ignore[index]
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip


def _table(lines: list[str], width: int) -> str:
    rows = [[words(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in lines]
    rows = [row for row in rows if not all(set(cell) <= set(":-") and cell for cell in row)]
    columns = [max(map(letters, column)) for column in zip(*rows, strict=True)]
    while sum(columns) + 2 * len(columns) > width and max(columns) > NARROWEST:
        columns[columns.index(max(columns))] -= 1
    return "\n".join(line for row in rows for line in _row(row, columns))


def _row(row: list[str], columns: list[int]) -> Iterator[str]:
    cells = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, columns, strict=True)]
    for i in range(max(map(len, cells))):
        line = ""
        for cell, size in zip(cells, columns, strict=True):
            part = cell[i] if i < len(cell) else ""
            line += part + " " * (size - letters(part) + 2)
        yield line.rstrip()
