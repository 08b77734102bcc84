"""Files that are whole or absent, and JSON that every reader accepts."""

import errno
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from saiki.errors import InputError, SaikiError

TEMPORARY = ".writing-"
"""How the names of files begin that are not whole yet."""


def write(path: Path, save: Callable[[Path], object]) -> Path:
    """Let ``save`` fill a temporary file beside ``path``, then rename it: whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f"{TEMPORARY}{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        try:
            save(temporary)
            _sync(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SaikiError(f"cannot write {path}: {reason}") from error
    return path


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file of these bytes, whole or not at all."""
    return write(path, lambda file: file.write_bytes(data))


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8, whole or not at all."""
    return write(path, lambda file: file.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any, indent: int = 2) -> Path:
    """Write ``value`` as :func:`to_json` says it, whole or not at all."""
    return write_text(path, to_json(value, indent=indent) + "\n")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock ``path``, a file that is there as long as the block lasts. Of a process that
    dies nothing is held.

    Raises:
        InputError: another process holds it.
    """
    while True:
        try:
            follow = getattr(os, "O_NOFOLLOW", 0)  # not to a file elsewhere
            handle = os.open(path, os.O_RDWR | os.O_CREAT | follow, 0o666)
        except OSError as error:
            raise SaikiError(f"cannot write {path}: {error.strerror}") from error
        try:
            _lock(handle)
            if os.name == "nt" or _is(handle, path):
                break
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise SaikiError(f"cannot lock {path}: {error.strerror}") from error
            raise InputError(f"{path.parent} is in use by another process; wait for it") from None
        os.close(handle)  # who held it has ended in between, and taken the file away
    try:
        yield
    finally:
        if os.name != "nt":  # where a file that is open cannot be removed
            path.unlink(missing_ok=True)
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Have the file on the disk before its name is: then a power failure leaves one of the two."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def to_json(value: Any, **options: Any) -> str:
    """JSON that every reader accepts: what is not finite becomes null."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, **options)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {k: _finite(v) for k, v in value.items()}
        case list() | tuple():
            return [_finite(v) for v in value]
    return value
