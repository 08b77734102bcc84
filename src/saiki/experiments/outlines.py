"""What there is to be named on a command line, known at once.

The classes of the exercises say it, and to load them takes PyTorch and seconds. So what they say is
kept in the cache folder of the user until the source of saiki changes, as Python keeps what it
compiled; a wrong word is then answered before anything is loaded. Where PyTorch is loaded already,
the classes themselves are asked: somebody may have registered a cell of his own.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import platformdirs

from saiki import files, sources
from saiki.errors import SaikiError
from saiki.experiments import HOMES, load, refuse_unknown
from saiki.outline import Outline

MOST = 4 << 20
"""Bytes of the file that are read."""


@dataclass(frozen=True)
class Names:
    """All that can be named.

    Args:
        cells: the families of built-in cells.
        activations: the parameters of each function.
    """

    exercises: Mapping[str, Outline]
    cells: tuple[str, ...]
    activations: Mapping[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "exercises": [each.to_dict() for each in self.exercises.values()],
            "cells": self.cells,
            "activations": self.activations,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` said."""
        return cls(
            {each.name: each for each in map(Outline.from_dict, values["exercises"])},
            tuple(values["cells"]),
            {name: tuple(each) for name, each in values["activations"].items()},
        )


def exercise(name: str) -> Outline:
    """The exercise of that name, in outline.

    Raises:
        InputError: there is none.
    """
    refuse_unknown(name)
    return load(name).outline() if _loaded() else names().exercises[name]


def names() -> Names:
    """All that can be named: as the classes say it, or as it was kept of them."""
    if _loaded():
        return _of_classes()
    known = _cached()
    if known is None:
        known = _of_classes()
        _cache(known)
    return known


def _loaded() -> bool:
    return "torch" in sys.modules


def _of_classes() -> Names:
    from saiki.activations import CATALOGUE
    from saiki.cells import VARIANTS

    return Names(
        {name: load(name).outline() for name in HOMES},
        tuple(VARIANTS),
        {name: tuple(each.parameters) for name, each in CATALOGUE.items()},
    )


def _file() -> Path | None:
    """Where it is kept; None where nobody is at home."""
    try:
        return Path(platformdirs.user_cache_dir("saiki")) / "names.json"
    except RuntimeError:
        return None


def _source() -> str:
    """What stands for the source by which names are made."""
    return hashlib.sha256("\0".join((sys.version, *sources.state())).encode()).hexdigest()


def _cached() -> Names | None:
    """What the file holds, if the source is still that; one that is damaged, or that another user
    may have written, is as good as none."""
    path = _file()
    damage = (OSError, ValueError, LookupError, TypeError, AttributeError)
    with suppress(*damage):
        values = json.loads(_own(path) if path else b"null")
        if values["source"] == _source():
            return Names.from_dict(values["names"])
    return None


def _own(path: Path) -> bytes:
    """The bytes of a file that only this user can have written."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        is_own = os.name == "nt" or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
        if not (stat.S_ISREG(status.st_mode) and is_own):
            raise PermissionError(f"{path} is not a file of this user alone")
        return file.read(MOST)


def _cache(known: Names) -> None:
    path = _file()
    if path is None:
        return
    text = json.dumps({"source": _source(), "names": known.to_dict()}, ensure_ascii=False)
    with suppress(SaikiError, OSError):  # where nothing can be written, nothing is kept
        files.write_text(path, text).chmod(0o600)
