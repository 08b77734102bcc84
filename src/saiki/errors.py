"""Errors for the person who made the mistake: what was given, what is allowed, what to try."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class SaikiError(Exception):
    """Base of every error saiki raises on purpose; the command line prints it as one line."""


class CellError(SaikiError, ValueError):
    """A cell breaks the contract of :class:`saiki.Cell`."""


class InputError(SaikiError, ValueError):
    """A value, a shape or a file given by the user is not what is needed."""


class CompileError(SaikiError):
    """A cell cannot be compiled; the message names the operation and the line of ``step``."""


class TraceError(CompileError):
    """``step`` raised while it was traced, perhaps for a passing reason."""


class ExportError(SaikiError):
    """A model cannot be exported, or the file would not compute what the model does."""


class OutputError(SaikiError):
    """Standard output cannot be written: its disk is full, say."""


class OutOfMemoryError(SaikiError):
    """There is less memory than is needed."""


_ALLOCATION = re.compile(r"(?:allocate|Tried to allocate) (\d[\d.,]*) ?(bytes|[KMGTPE]i?B)")
_NO_MEMORY = re.compile(r"allocate memory|out of memory|Storage size|multiplication overflow|alloc")


@contextmanager
def memory_in_words() -> Iterator[None]:
    """Have a failed allocation, of whatever library, raise :class:`OutOfMemoryError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = str(error)
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(message):
            raise
        size = _ALLOCATION.search(message)
        what = f"{_size(*size.groups())} at once was asked for" if size else "more was asked for"
        raise OutOfMemoryError(
            f"there is not enough memory: {what}; try a smaller model or batch, or fewer data"
        ) from None


def _size(number: str, unit: str) -> str:
    size = float(number.replace(",", ""))
    return f"{size:,.3g} {unit}" if unit != "bytes" else f"{size / 2**30:,.3g} GiB"


def shown(value: object, room: int = 80) -> str:
    """``value`` as an error quotes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= room else f"{text[:room]}…"


_ACTS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters on which a terminal acts: controls, ends of lines, and what turns writing round."""


def printable(text: str, keep: str = "") -> str:
    """The text with what a terminal would act on escaped, but for the characters ``keep``.

    >>> printable("北 north"), printable("no\\x1brth"), printable("a\\nb")
    ('北 north', 'no\\\\u001brth', 'a\\\\u000ab')
    """
    return _ACTS.sub(lambda c: c[0] if c[0] in keep else f"\\u{ord(c[0]):04x}", text)


def near(word: str, known: Iterable[str]) -> str:
    """The question whether one of ``known`` was meant, to be put behind an error; or nothing.

    >>> near("adddr", ["adder", "date"])
    '; did you mean adder?'
    """
    matches = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {matches[0]}?" if matches else ""
