"""What was compiled, on disk for the next process.

A file holds what a key stands for, behind a checksum. The key names all that it depends on: the
step in words (:mod:`saiki.compiler.lasting`), the source of saiki, the versions of Python, PyTorch,
NumPy and LLVM, and the processor. A file that is damaged, or that another user of the machine could
have written, is as good as none; and where the folder cannot be written, nothing is kept. A kernel
from here is compared with the eager loop on its first batch like any other.
"""

import hashlib
import os
import platform
import re
import sys
import tempfile
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
MOST = 128 << 20
"""Bytes of all files; those that were used longest ago go first."""
_NAME = re.compile("[0-9a-f]{64}")
_MARK = b"saiki kernel 1\n"
_HEAD = len(_MARK) + hashlib.sha256().digest_size


def folder() -> Path | None:
    """Where the files are; None if nothing is kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    try:
        return Path(platformdirs.user_cache_dir("saiki")) / "kernels"
    except RuntimeError:  # nobody is at home here
        return None


def key(*facts: str) -> str:
    """The name of what follows from these facts on this machine, and from the versions here."""
    return hashlib.sha256("\0".join((*_surroundings(), *facts)).encode()).hexdigest()


def get(name: str) -> bytes | None:
    """What is kept under that name."""
    place = folder()
    if place is None:
        return None
    path = place / name
    try:
        if not (_is_own(place) and _is_own(path)):
            return None
        data = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # where it may be read and not written
        os.utime(path)
    whole = data[_HEAD:]
    return whole if data[:_HEAD] == _head(whole) else None


def put(name: str, data: bytes) -> None:
    """Keep ``data`` under that name, where that can be done."""
    place = folder()
    if place is None:
        return
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_own(place):
            return
        handle, temporary = tempfile.mkstemp(dir=place, prefix=files.TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_head(data) + data)
            Path(temporary).replace(place / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
        _make_room(place)


def drop(name: str) -> None:
    """Keep what is kept under that name no longer."""
    place = folder()
    if place is not None:
        with suppress(OSError):
            (place / name).unlink(missing_ok=True)


def _head(data: bytes) -> bytes:
    return _MARK + hashlib.sha256(data).digest()


def _is_own(path: Path) -> bool:
    """Whether nobody else can have written there."""
    if os.name == "nt":  # whose cache folders are those of one user
        return True
    found = path.stat()
    return found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o022


def _make_room(place: Path) -> None:
    """Only files of this module go, in whatever folder it is."""
    found = [(path.stat(), path) for path in place.iterdir() if _NAME.fullmatch(path.name)]
    size = sum(stat.st_size for stat, _ in found)
    for stat, path in sorted(found, key=lambda each: each[0].st_mtime):
        if size <= MOST:
            break
        path.unlink(missing_ok=True)
        size -= stat.st_size


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
