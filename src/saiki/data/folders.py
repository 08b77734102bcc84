"""Files of several classes, each in a folder of its class, or listed with it."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from saiki.errors import InputError


@dataclass(frozen=True)
class LabelledFile:
    """A file and its class."""

    path: Path
    name: str
    """The path as shown to people: below the source, with ``/`` between folders."""
    label: str


Labelled = TypeVar("Labelled", bound=LabelledFile)


def shown(path: str | Path) -> str:
    """The path as text that can be printed, whatever bytes the file system holds for it."""
    return os.fsencode(path).decode(errors="replace") if os.name == "posix" else str(path)


def tidy(text: str) -> str:
    """``text`` without space around it and with each accented letter as one character (NFC)."""
    return unicodedata.normalize("NFC", shown(text)).strip()


def tidied(source: Path, files: Iterable[Labelled]) -> tuple[Labelled, ...]:
    """The files in the order of their names, the same on every machine, these and their classes as
    they can be printed.

    Raises:
        InputError: classes differ only in case, in space, or in how an accent is stored.
    """
    files, spellings = list(files), defaultdict[str, set[str]](set)
    for file in files:
        spellings[" ".join(tidy(file.label).lower().split())].add(file.label)
    for alike in spellings.values():
        if len(alike) > 1:
            one, other = sorted(alike)[:2]
            hidden = tidy(one) == tidy(other)
            raise InputError(
                f"{source} spells one class in two ways, {one!r} and {other!r}"
                f"{' (they differ only in space or in how an accent is stored)' if hidden else ''}"
                "; give it one name"
            )
    plain = (replace(file, name=shown(file.name), label=tidy(file.label)) for file in files)
    return tuple(sorted(plain, key=lambda file: (tidy(file.name), file.name)))


def by_value(label: str) -> tuple[int, int, str]:
    """A key that sorts numbers by their size, and other names behind them by the alphabet."""
    number = re.fullmatch(r"-?\d{1,18}", label)
    return (0, int(label), label) if number else (1, 0, label)
