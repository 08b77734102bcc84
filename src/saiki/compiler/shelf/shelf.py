"""What was compiled, on disk for the next process.

A file holds what a key stands for, behind a signature. The key names all that it depends on: the
step in words (:mod:`saiki.compiler.watch.lasting`), the source of saiki, the versions of Python,
PyTorch, NumPy and LLVM, and the processor. The signature covers name, kind, length and content, by
a secret in the user's own configuration (:mod:`saiki.compiler.shelf.secret`): who can write the
files alone cannot have their code run. A file that is damaged, or that another user of the machine
could have written, is as good as none; and where the folder cannot be written, or there is no
secret, nothing is kept. A kernel from here is compared with the eager loop on its first batch like
any other.
"""

import hashlib
import hmac
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
from saiki.compiler.shelf import secret
from saiki.compiler.shelf.own_files import is_way_own, read_own

VARIABLE = "SAIKI_KERNELS"
"""The variable of the environment that names another folder; empty, nothing is kept."""
MOST = 128 << 20
"""Bytes of all files; those that were used longest ago go first."""
_NAME = re.compile(f"[0-9a-f]{{64}}|{re.escape(files.TEMPORARY)}.*")
_OURS = b"saiki kernel "
"""How each file begins that this module has written, in whatever version."""
_MARK = _OURS + b"2\n"
_HEAD = len(_MARK) + hashlib.sha256().digest_size


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
        data = read_own(place / name, MOST)
        signed = secret.get()
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
        signed = secret.get() or secret.make()
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
        sizes = [(entry, entry.stat(follow_symlinks=False)) for entry in entries]
    if sum(stat.st_size for _, stat in sizes) <= MOST:
        return
    ours = [(stat, Path(entry)) for entry, stat in sizes if _is_ours(Path(entry))]
    size = sum(stat.st_size for stat, _ in ours)
    for stat, path in sorted(ours, key=lambda each: each[0].st_mtime):
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
