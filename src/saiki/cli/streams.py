"""Standard output and error of a program: no character and no full disk makes printing a traceback.

What an encoding lacks is spelt in ASCII. Where standard output cannot be written,
:class:`saiki.errors.OutputError` is raised once; what standard error cannot take is lost. A stream
that is closed takes everything and shows nothing.
"""

import codecs
import io
import os
import sys
import unicodedata
import warnings
from typing import Any, TextIO

from saiki.errors import OutputError
from saiki.terminal import say

_SPELT = {"−": "-", "–": "-", "—": "-", "…": "...", "→": "->", "←": "<-", "✓": "v", "✗": "x"}
ERRORS = "saiki.spelt"


def spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    """The handler of errors :data:`ERRORS`: ᵗ becomes t, σ sigma, and what has no spelling ``?``.
    Bytes of the name of a file, which are no text, stay what they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    if all("\udc80" <= c <= "\udcff" for c in characters):
        return codecs.lookup_error("surrogateescape")(error)
    return "".join(map(_ascii, characters)), error.end


def _ascii(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):  # LETTER SIGMA, say
        letter = name.rpartition(" ")[2]
        return letter.lower() if "SMALL" in name else letter.capitalize()
    known = _SPELT.get(character, unicodedata.normalize("NFKD", character))
    return known.encode("ascii", "ignore").decode() or "?"


class _File(io.FileIO):
    """A standard stream that is written to; once it cannot be, the rest goes nowhere."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if self.fileno() == 1:
                if isinstance(error, BrokenPipeError):
                    raise
                raise OutputError(f"cannot write to standard output: {error.strerror}") from None
            return len(data)


def prepare() -> None:
    """Make the standard streams of this process so."""
    codecs.register_error(ERRORS, spelt)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif stream.isatty():  # of Windows, which is no file
            stream.reconfigure(errors=ERRORS)
        else:
            file = io.BufferedWriter(_File(number))
            kinds = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            setattr(sys, name, io.TextIOWrapper(file, stream.encoding, ERRORS, **kinds))
    warnings.showwarning = _warned


def _warned(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    say(
        warnings.formatwarning(message, category, filename, lineno, line),
        file or sys.stderr,
        end="",
    )
