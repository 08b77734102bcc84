"""The secret by which saiki knows what it has written itself, in the user's configuration."""

import os
import secrets
import tempfile
from pathlib import Path

import platformdirs

from saiki import files
from saiki.compiler.shelf.own_files import is_way_own, read_own

NAME = "shelf.key"
SIZE = 32


def get() -> bytes | None:
    """The secret; None where there is none, or where another user may know or have written it.

    Raises:
        OSError: it cannot be read.
    """
    path = _path()
    if path is None or not path.parent.exists() or not is_way_own(path.parent):
        return None
    if not path.exists() or (os.name != "nt" and path.lstat().st_mode & 0o077):
        return None
    content = read_own(path, SIZE)
    return content if content is not None and len(content) == SIZE else None


def make() -> bytes | None:
    """A new secret; None where it cannot be kept. Of two processes at once, one makes that of both,
    and what the other signed before is made anew.

    Raises:
        OSError: it cannot be written.
    """
    path = _path()
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not is_way_own(path.parent):
        return None
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=files.TEMPORARY)  # of mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return get()


def _path() -> Path | None:
    try:
        return Path(platformdirs.user_config_dir("saiki")).absolute() / NAME
    except RuntimeError:  # nobody is at home here
        return None
