"""Folders of examples: the files in them, and the names of classes that people give to folders."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from saiki.errors import InputError


def files_below(folder: Path, endings: Collection[str]) -> list[str]:
    """The names below ``folder``, with ``/`` between folders and in their order, of the files that
    end so, in small or capital letters. Hidden files and folders are passed over; links that go
    round are cut.

    Raises:
        InputError: it, or a folder in it, cannot be read.
    """
    return sorted(_below(folder, folder, endings, set()))


def _below(source: Path, folder: Path, endings: Collection[str], seen: set[Path]) -> Iterator[str]:
    real = folder.resolve()
    if real in seen:
        return
    seen = seen | {real}
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if path.is_dir():  # unlike the entry's own, false for a link to itself
            yield from _below(source, path, endings, seen)
        elif path.suffix.lower() in endings:
            yield path.relative_to(source).as_posix()


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
