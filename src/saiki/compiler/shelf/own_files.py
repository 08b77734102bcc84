"""Files that nobody but this user can have written."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

MOST_LINKS = 40
"""On the way to a folder."""
_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # what the system has of them
    _FLAGS |= getattr(os, _name, 0)


def read_own(path: Path, most: int, only: int = -1) -> bytes | None:
    """The first ``only`` bytes of an ordinary file, or all; None where it is a link, a pipe or the
    like, where it is larger than ``most``, or where another user may have written it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        handle = os.open(path, _FLAGS)
    except OSError:
        if path.is_symlink():
            return None
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or not _is_own(status) or status.st_size > most:
            return None
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(only)
    finally:
        os.close(handle)


def is_way_own(folder: Path) -> bool:
    """Whether nobody else can write into the folder, or put another in the place of one on the
    way to it; those of links are looked at, too.

    Raises:
        OSError: it is not there.
    """
    if os.name == "nt":  # whose folders of configuration and caches are those of one user
        return True
    *above, last = _way(folder)
    return _is_own(last) and all(_is_own(each, sticky=True) for each in above)


def _way(folder: Path) -> Iterator[os.stat_result]:
    """Of each folder that is passed on the way to one, from the root on, and of itself."""
    parts, here, links = [*reversed(folder.parts)], Path(), 0
    while parts:
        here = here / parts.pop()
        status = here.lstat()
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise OSError(f"{folder} goes through too many links")
            parts += reversed(here.readlink().parts)
            here = here.parent
        else:
            yield status


def _is_own(status: os.stat_result, sticky: bool = False) -> bool:
    """Whether nobody else can write there, or, in a folder of which each takes away only what is
    his own (``/tmp``), at least not in the place of what is there."""
    if os.name == "nt":
        return True
    is_closed = not status.st_mode & 0o022 or (sticky and bool(status.st_mode & stat.S_ISVTX))
    return status.st_uid in (os.getuid(), 0) and is_closed
