"""What was compiled or traced, on disk for the next process, safe from who may not write it.

A file holds what a key stands for, behind a signature. The key names all that it depends on: the
step in words (:mod:`saiki.compiler.watch.lasting`), the source of saiki, the versions of Python,
PyTorch, NumPy and LLVM, and the processor. The signature covers name, kind, length and content, by
a secret in the user's own configuration: who can write the files alone cannot have their code run.
A file that is damaged, or that another user of the machine could have written, is as good as none;
and where the folder cannot be written, or there is no secret, nothing is kept. A kernel from here
is compared with the eager loop on its first batch like any other.
"""

import hashlib
import hmac
import os
import platform
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
import numpy as np
import platformdirs
import torch
from llvmlite import binding

from saiki import files, sources

VARIABLE = "SAIKI_KERNELS"
"""The variable of the environment that names another folder; empty, nothing is kept."""
MAX_BYTES = 128 << 20
"""Bytes of all files; those that were used longest ago go first."""
_NAME = re.compile(f"[0-9a-f]{{64}}|{re.escape(files.TEMPORARY)}.*")
_OURS = b"saiki kernel "
"""How each file begins that this module has written, in whatever version."""
_MARK = _OURS + b"2\n"
_HEAD = len(_MARK) + hashlib.sha256().digest_size
SECRET = "shelf.key"
"""The file of the secret, in the user's configuration."""
SECRET_SIZE = 32
MOST_LINKS = 40
"""On the way to a folder."""
_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # what the system has of them
    _FLAGS |= getattr(os, _name, 0)


def folder() -> Path | None:
    """Where the files are; None if nothing is kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named).absolute() if named else None
    try:
        return Path(platformdirs.user_cache_dir("saiki")) / "kernels"
    except RuntimeError:  # nobody is at home here
        return None


def key(*facts: str) -> str:
    """The name of what follows from these facts on this machine, and from the versions here."""
    return hashlib.sha256("\0".join((*_surroundings(), *facts)).encode()).hexdigest()


def get(kind: str, name: str) -> bytes | None:
    """What is kept under that name, if it was put there as of that kind."""
    place = folder()
    if place is None:
        return None
    try:
        if not is_way_own(place):
            return None
        data = read_own(place / name, MAX_BYTES)
        signed = read_secret()
    except OSError:
        return None
    if data is None or signed is None:
        return None
    content = data[_HEAD:]
    if not hmac.compare_digest(data[:_HEAD], _head(signed, kind, name, content)):
        return None
    with suppress(OSError):  # where it may be read and not written
        os.utime(place / name)
    return content


def put(kind: str, name: str, data: bytes) -> None:
    """Keep ``data`` under that name, where that can be done."""
    place = folder()
    if place is None:
        return
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not is_way_own(place):
            return
        signed = read_secret() or make_secret()
        if signed is None:
            return
        handle, temporary = tempfile.mkstemp(dir=place, prefix=files.TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_head(signed, kind, name, data) + data)
            Path(temporary).replace(place / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
        _make_room(place)


def drop(name: str) -> None:
    """Keep what is kept under that name no longer."""
    place = folder()
    if place is not None:
        with suppress(OSError):
            if _is_ours(place / name):
                (place / name).unlink(missing_ok=True)


def _head(signed: bytes, kind: str, name: str, data: bytes) -> bytes:
    what = f"{kind}\0{name}\0{len(data)}\0".encode()
    return _MARK + hmac.digest(signed, _MARK + what + data, "sha256")


def _is_ours(path: Path) -> bool:
    """Whether this module wrote that file."""
    return bool(_NAME.fullmatch(path.name)) and read_own(path, sys.maxsize, len(_OURS)) == _OURS


def _make_room(place: Path) -> None:
    """Only files of this module go, in whatever folder it is."""
    with os.scandir(place) as entries:
        every = [(entry.stat(follow_symlinks=False), Path(entry)) for entry in entries]
    if sum(status.st_size for status, _ in every) <= MAX_BYTES:
        return
    ours = [(status, path) for status, path in every if _is_ours(path)]
    size = sum(status.st_size for status, _ in ours)
    for status, path in sorted(ours, key=lambda each: each[0].st_mtime):
        if size <= MAX_BYTES:
            break
        path.unlink(missing_ok=True)
        size -= status.st_size


_SOURCES = sources.state()
"""As they are when they are imported, or soon after."""


@cache
def _surroundings() -> tuple[str, ...]:
    """All that compiled code depends on beside the step."""
    return (
        sys.version, platform.platform(), torch.__version__, str(torch.version.git_version),
        np.__version__, llvmlite.__version__, str(binding.llvm_version_info),
        binding.get_process_triple(), binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(), *_SOURCES,
    )  # fmt: skip


def read_secret() -> bytes | None:
    """The secret; None where there is none, or where another user may know or have written it.

    Raises:
        OSError: it cannot be read.
    """
    path = _secret_path()
    if path is None or not path.parent.exists() or not is_way_own(path.parent):
        return None
    if not path.exists() or (os.name != "nt" and path.lstat().st_mode & 0o077):
        return None
    content = read_own(path, SECRET_SIZE)
    return content if content is not None and len(content) == SECRET_SIZE else None


def make_secret() -> bytes | None:
    """A new secret; None where it cannot be kept. Of two processes at once, one makes that of both,
    and what the other signed before is made anew.

    Raises:
        OSError: it cannot be written.
    """
    path = _secret_path()
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not is_way_own(path.parent):
        return None
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=files.TEMPORARY)  # of mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SECRET_SIZE))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return read_secret()


def _secret_path() -> Path | None:
    try:
        return Path(platformdirs.user_config_dir("saiki")).absolute() / SECRET
    except RuntimeError:  # nobody is at home here
        return None


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
