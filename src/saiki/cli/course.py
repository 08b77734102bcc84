"""``saiki course``: a course on sequence models, which is docs/course.md."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from saiki.cli.common import Parser
from saiki.cli.markdown import plain
from saiki.errors import InputError, near
from saiki.terminal import say

PAGE = Path(__file__).parents[1] / "course.md"
"""A link to docs/course.md, and a copy of it in what is installed."""
WIDEST = 96
"""Letters of a line that one reads with ease."""
_HEADING = re.compile(r'^<a id="([\w-]+)"></a>\n+(?=## (\d+)\. (.+)$)', re.MULTILINE)


class Section(NamedTuple):
    """One of the course."""

    number: int
    name: str
    """By which it is asked for, and linked to."""
    title: str
    text: str


def read(page: str) -> tuple[str, list[Section]]:
    """What stands before the sections, contents among it, and the sections."""
    head, *parts = _HEADING.split(page)
    of_each = zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True)
    return head, [Section(int(number), name, title, text) for name, number, title, text in of_each]


def _page() -> str:
    try:
        page = PAGE.read_text(encoding="utf-8")
    except OSError:
        page = ""
    if not _HEADING.search(page):  # a checkout without links, say
        raise InputError(
            "the course did not come with this saiki; it is docs/course.md of the source"
        )
    return page


def find(sections: list[Section], wanted: str) -> Section:
    """The section of that number or name.

    Raises:
        InputError: there is none.
    """
    for section in sections:
        if wanted.lower() in (str(section.number), section.name):
            return section
    there = ", ".join(f"{section.number} {section.name}" for section in sections)
    hint = near(wanted, [section.name for section in sections])
    raise InputError(f"the course has no section {wanted!r}; there are {there}{hint}")


def main(words: list[str]) -> int:
    parser = Parser(
        "course",
        "A course on sequence models: equations, what to run, what comes of it, questions.",
    )
    help = "its number or name; without it, the contents"
    parser.add_argument("section", nargs="?", metavar="SECTION", help=help)
    options = parser.parse_args(words)
    head, sections = read(_page())
    text = head if options.section is None else find(sections, options.section).text
    say(plain(text, min(shutil.get_terminal_size().columns, WIDEST)))
    return 0
