"""The names of classes that people give to folders of examples."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from saiki.errors import InputError


def shown(path: str | Path) -> str:
    """The path as text that can be printed, whatever bytes the file system holds for it."""
    return os.fsencode(path).decode(errors="replace") if os.name == "posix" else str(path)


def tidy(text: str) -> str:
    """``text`` without space around it and with each accented letter as one character (NFC)."""
    return unicodedata.normalize("NFC", shown(text)).strip()


def check_spelling(source: Path, labels: Iterable[str]) -> None:
    """Refuse classes that differ only in case, in space, or in how an accent is stored."""
    spellings = defaultdict(set)
    for label in labels:
        spellings[" ".join(tidy(label).lower().split())].add(label)
    for alike in spellings.values():
        if len(alike) > 1:
            one, other = sorted(alike)[:2]
            hidden = tidy(one) == tidy(other)
            raise InputError(
                f"{source} spells one class in two ways, {one!r} and {other!r}"
                f"{' (they differ only in space or in how an accent is stored)' if hidden else ''}"
                "; give it one name"
            )
