"""The one way in for files and folders that a person names.

Ordinary files only, opened without waiting: a pipe or a device may never end. What is read is
bounded by :data:`LIMITS`, lines, what a packed file unpacks to and what is held at once; where more
is meant, ``SAIKI_LIMITS="line=1G,unpacked=1000"`` allows it. A folder is walked once, however many
links lead to it.
"""

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from saiki.errors import InputError

PACKED: dict[str, Callable[..., IO[Any]]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
"""What opens a packed file, by the end of its name."""
SETTING = "SAIKI_LIMITS"


class Limit(NamedTuple):
    """How much is read of something at most, and what it is."""

    most: int
    what: str


LIMITS = {
    "line": Limit(16 << 20, "bytes of a line"),
    "whole": Limit(128 << 20, "bytes of a file that is held at once"),
    "unpacked": Limit(200, "times its size that a packed file may unpack to"),
    "files": Limit(10_000_000, "files and folders of a folder, or of an archive"),
}
_SMALL = 8 << 20
"""Bytes that every packed file may unpack to."""
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def limit(name: str) -> int:
    """The most that is read, as :data:`LIMITS` or the setting says.

    Raises:
        InputError: the setting is no list of limits.
    """
    limits = {name: each.most for name, each in LIMITS.items()}
    for word in filter(None, os.environ.get(SETTING, "").split(",")):
        key, _, value = word.partition("=")
        number, unit = value[:-1], _UNITS.get(value[-1:].upper())
        number, unit = (number, unit) if unit else (value, 1)
        if key.strip() not in LIMITS or not number.strip().isdecimal():
            known = ", ".join(f"{name} ({each.what})" for name, each in LIMITS.items())
            raise InputError(
                f"{SETTING} must say how much is read at most, as in line=64M,unpacked=1000, got "
                f"{word!r}; there are {known}"
            )
        limits[key.strip()] = int(number) * unit
    return limits[name]


def too_much(path: Path | str, name: str, excess: str) -> InputError:
    """What is said of a file that goes beyond a limit: ``what`` it has more of."""
    return InputError(
        f"{path} {excess}; if that is meant, allow more with {SETTING}={name}=N in the environment"
    )


def open_file(path: Path) -> io.BufferedReader:
    """An ordinary file, as it lies on the disk.

    Raises:
        InputError: there is none, or it may not be read.
    """
    try:
        _check_ordinary(path, path.stat().st_mode)  # before it is opened, which a device may notice
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = _Ordinary(os.open(path, flags | getattr(os, "O_NOCTTY", 0)))
        try:
            _check_ordinary(path, os.fstat(file.fileno()).st_mode)
        except InputError:
            file.close()
            raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    return io.BufferedReader(file, 1 << 16)


def _check_ordinary(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((kind for is_it, kind in _KINDS.items() if is_it(mode)), "no file")
        raise InputError(f"{path} cannot be read: it is {kind}, and no ordinary file")


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")


class _Ordinary(io.FileIO):
    """A file that has its bytes at once, or is none of those that are read."""

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer)
        if count is None:  # as of /proc/kmsg
            raise OSError(errno.EAGAIN, "it would have to be waited for")
        return count


class _Unpacked(io.RawIOBase):
    """What a packed file holds, from front to back; as far as it is read, it is that much more
    than what it was unpacked from."""

    def __init__(self, packed: IO[bytes], file: IO[bytes], path: Path) -> None:
        self._packed, self._file, self._path, self._count = packed, file, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._packed.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > _SMALL:
            _check_unpacked(self._path, self._file.tell(), self._count)
        return len(data)


def _check_unpacked(path: Path, packed: int, unpacked: int) -> None:
    most = limit("unpacked")
    if unpacked > max(_SMALL, most * packed):
        more = f"unpacks to more than {most} times its size and {_SMALL:,} bytes"
        raise too_much(path, "unpacked", more)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if its name says that it is packed.

    Raises:
        InputError: it cannot be opened, or read on while it is open, or unpacks to too much.
    """
    try:
        with open_file(path) as file:
            if path.suffix not in PACKED:
                yield file
                return
            with PACKED[path.suffix](file, "rb") as packed:
                yield io.BufferedReader(_Unpacked(packed, file, path), 1 << 16)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _unreadable(path, error) from None


def rows(file: IO[bytes], name: Path | str) -> Iterator[bytes]:
    """The lines of a file, with what ends them.

    Raises:
        InputError: one of them is too long; ``name`` is that of the file.
    """
    longest, number = limit("line"), 0
    while row := file.readline(longest + 1):
        number += 1
        if len(row) > longest:
            raise too_much(name, "line", f"has more than {longest:,} bytes in line {number:,}")
        yield row


def read_bytes(path: Path) -> bytes:
    """All that a file holds, unpacked if its name says that it is packed.

    Raises:
        InputError: see :func:`open_bytes`; or that is too much.
    """
    most = limit("whole")
    with open_bytes(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise too_much(path, "whole", f"holds more than {most:,} bytes")
    return data


def read_text(path: Path) -> str:
    """The text of a file, with or without a byte order mark; lines end with line feeds alone.

    Raises:
        InputError: see :func:`read_bytes`; or it is not UTF-8.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``; an error in one sentence when there is none."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        value = json.loads(read_bytes(path).decode())
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object")
    return value


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive, itself packed or not, of which members may be opened while the block lasts.

    Raises:
        InputError: it is none, is damaged, holds too many files, or they unpack to too much.
    """
    try:
        with open_file(path) as plain:
            packed = path.suffix in PACKED and not zipfile.is_zipfile(plain)
            file = io.BytesIO(read_bytes(path)) if packed else plain
            size = os.fstat(plain.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if len(members) > limit("files"):
                    raise too_much(path, "files", f"holds {len(members):,} files")
                # of which zipfile reads no more
                _check_unpacked(path, size, sum(member.file_size for member in members))
                yield archive
    except UnicodeError:
        raise InputError(f"{path} cannot be read: the name of a file in it is no UTF-8") from None
    except (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError,
        NotImplementedError, ValueError,
    ) as error:  # fmt: skip
        raise _unreadable(path, error) from None


def bare(path: Path) -> Path:
    """The path without the ending that says that the file is packed.

    >>> bare(Path("words.txt.gz")).name, bare(Path("words.txt")).name
    ('words.txt', 'words.txt')
    """
    return path.with_suffix("") if path.suffix in PACKED else path


def files_below(folder: Path, endings: Collection[str], content: str = "") -> list[Path]:
    """The files in a folder and below it whose names end so, in small or capital letters, in the
    order of their names. Hidden files and folders are passed over. Each folder is looked into
    once: under its own name, if it has one below ``folder``, else under that of a link to it.

    Args:
        content: what such files hold; there must be one then.

    Raises:
        InputError: it, or a folder in it, cannot be read; there are too many; or there is none.
    """
    files, wanted = list[Path](), tuple(endings)
    pending, links = [folder], list[Path]()
    seen, most, count = set[tuple[int, int]](), limit("files"), 0
    while pending or links:
        here = pending.pop() if pending else links.pop(0)
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(here, error) from None
        count += len(entries)
        if count > most:
            raise too_much(folder, "files", f"holds more than {most:,} files")
        for entry in entries:
            path = here / entry.name
            if entry.name.startswith("."):
                continue
            if path.is_dir():  # unlike the entry's own, false for a link to itself
                (links if entry.is_symlink() else pending).append(path)
            elif entry.name.lower().endswith(wanted):
                files.append(path)
    if content and not files:
        named = " or *".join(endings)
        raise InputError(f"{folder} holds no {content}: no file in it is named *{named}")
    return sorted(files)
