"""The one function that prints: no text, whoever wrote it, does anything to a terminal."""

import sys
from typing import TextIO

from saiki.errors import printable


def say(text: object, stream: TextIO | None = None, end: str = "\n") -> None:
    """Print it, with what a terminal would act on escaped, as JSON does.

    Args:
        stream: standard output without.
    """
    safe = printable(str(text), keep="\n\t")
    print(safe, end=end, file=stream or sys.stdout, flush=True)


def complain(sentence: object) -> None:
    """Print a sentence on standard error, in one line whatever it quotes."""
    say(printable(str(sentence)), sys.stderr)
