"""The source of saiki as it lies on disk, by which it is seen whether what was made of it is still
good."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import saiki


def state() -> tuple[str, ...]:
    """Of each file its size and when it was changed, as Python itself tells whether what it
    compiled is still good."""
    try:
        return tuple(_below(Path(saiki.__file__).parent))
    except OSError:  # not in files that could be told apart
        return (uuid.uuid4().hex,)


def _below(place: Path) -> Iterator[str]:
    for entry in sorted(os.scandir(place), key=lambda e: e.name):
        if entry.is_dir():
            yield from _below(Path(entry.path))
        elif entry.name.endswith(".py"):
            stat = entry.stat()
            yield f"{entry.path} {stat.st_size} {stat.st_mtime_ns}"
