"""In what encoding the text of a table is, and that text as UTF-8."""

import codecs
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from saiki.errors import InputError, shown
from saiki.inputs import PACKED, open_bytes, open_file
from saiki.knobs import Knobs, knob

PARQUET = b"PAR1"
"""What files of Parquet begin with, which are no text."""
CHUNK = 2**20
"""Bytes that are looked at together."""
HEAD = 2**20
"""Bytes from which encoding and layout are found."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WIDE, _HALF = "[\u3000-\u9fff\uf900-\ufaff\uff00-\uff60]", "[\uff66-\uff9f]"
_JAPANESE = re.compile(
    f"{_WIDE}{{2}}|(?<![A-Za-z]){_WIDE}(?![A-Za-z])|(?<![A-Za-z]){_HALF}{{2,}}(?![A-Za-z])"
)
"""What hardly stands in a text of another language that is read as Japanese."""
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_NO_TEXT = re.compile("[\0-\b\x0e-\x1f\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\u0a00\u0d00]")
"""Signs that stand in no table, and line ends of which the bytes are exchanged."""
_KINDS = {
    b"PK\x03\x04": "a workbook or an archive; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook; save the table as CSV",
    b"\x1f\x8b": "packed; call it .gz at the end",
    b"\xfd7zXZ\x00": "packed; call it .xz at the end",
    b"BZh": "packed; call it .bz2 at the end",
}
"""What files begin with that are no text."""


class Encoding(Knobs):
    """How the text of a table is encoded."""

    encoding: str = knob("", "of a table that is text, such as cp932 or cp1252; found without")

    def validate(self) -> None:
        try:
            io.TextIOWrapper(io.BytesIO(), self.encoding or "utf-8")  # codecs knows rot13, too
        except LookupError:
            raise InputError(
                f"there is no encoding {shown(self.encoding)}; Japanese tables that are not UTF-8 "
                "are mostly cp932"
            ) from None


@dataclass(frozen=True)
class TextFile:
    """A table as UTF-8, its lines ended by line feeds, with carriage returns before them or not."""

    path: Path
    """As people know it."""
    plain: Path
    """Where the text is, which may be a temporary file."""
    encoding: str
    """In which it was."""

    def head(self) -> str:
        """Its first lines, whole ones."""
        with open_file(self.plain) as file:
            start = file.read(HEAD)
        if len(start) == HEAD:
            start = start[: start.rfind(b"\n") + 1]
        return start.decode("utf-8-sig", "replace")

    @property
    def notes(self) -> list[str]:
        """What a person should know of how it was read."""
        is_usual = self.encoding in ("utf-8", "utf-8-sig")
        return [] if is_usual else [f"read as {self.encoding}"]


@contextmanager
def as_text(path: Path, encoding: str = "") -> Iterator[TextFile]:
    """The table as UTF-8. Where it is packed or of another encoding, that is a temporary file as
    long as the block lasts.

    Args:
        encoding: a name that Python knows; without, what a byte order mark says; else UTF-8, UTF-16
            without a mark, EUC-JP, cp932 (the Shift_JIS of Windows), and as the last resort cp1252
            or latin-1, which fit anything.

    Raises:
        InputError: there is no such file, it cannot be read, or it is no text.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a table in it")
    with open_bytes(path) as file:
        begin = file.read(HEAD)
    for mark, kind in _KINDS.items():
        if begin.startswith(mark):
            raise InputError(f"{path} is {kind}")
    if not begin:
        raise empty(path)
    if encoding and not _fits(path, encoding):
        raise InputError(f"{path} is not {encoding} throughout")
    encoding = codecs.lookup(encoding).name if encoding else _encoding(path, begin)
    line_feeds = b"\n" in begin or b"\r" not in begin
    if encoding in ("utf-8", "utf-8-sig") and path.suffix not in PACKED and line_feeds:
        yield TextFile(path, path, encoding)
        return
    with temporary() as plain:
        for part in _text_of(path, encoding):
            check_room(plain, path, len(part))
            plain.write(part.encode())
        plain.close()
        yield TextFile(path, Path(plain.name), encoding)


def empty(path: Path) -> InputError:
    """What is said of a table in which nothing stands."""
    return InputError(f"{path} is empty; it needs a row for each example")


@contextmanager
def temporary() -> Iterator[IO[bytes]]:
    """A file for the text of a table, gone after the block."""
    with tempfile.NamedTemporaryFile("wb", prefix="saiki-", suffix=".csv", delete=False) as plain:
        try:
            yield plain
        finally:
            Path(plain.name).unlink(missing_ok=True)


def check_room(plain: IO[bytes], path: Path, size: int) -> None:
    """Raise :class:`InputError` where a temporary file has no room for so much more."""
    if shutil.disk_usage(plain.name).free < 2 * size:
        raise InputError(f"{path} does not fit on the disk unpacked; unpack it yourself")


def _encoding(path: Path, begin: bytes) -> str:
    for mark, name in _MARKS.items():
        if begin.startswith(mark):
            if not _fits(path, name):
                raise InputError(
                    f"{path} begins as {name.removesuffix('-sig').upper()} does, and is not so "
                    "throughout; save it as UTF-8"
                )
            return name
    if b"\0" in begin:
        for name in ("utf-16-le", "utf-16-be"):
            if _fits(path, name) and not _NO_TEXT.search(_decoded(begin, name)):
                return name
        raise InputError(f"{path} is no text; save the table as CSV in UTF-8")
    if _fits(path, "utf-8"):
        return "utf-8"
    sample = _beyond_ascii(path)
    replaced = _decoded(sample, "utf-8", "replace")
    damaged = replaced.count("\ufffd")
    if sum(not sign.isascii() for sign in replaced) > 2 * damaged:
        raise InputError(
            f"{path} is UTF-8, but not in line {_line_of_damage(path):,}; mend it there, or name "
            "its encoding with --encoding"
        )
    for name in ("euc_jp", "cp932"):
        text = _decoded(sample, name)
        if _fits(path, name) and _JAPANESE.search(text) and not _PRIVATE.search(text):
            return name
    return "cp1252" if _fits(path, "cp1252") else "latin-1"


def _decoded(data: bytes, encoding: str, errors: str = "ignore") -> str:
    """As far as it is whole."""
    return codecs.getincrementaldecoder(encoding)(errors).decode(data)


def _beyond_ascii(path: Path) -> bytes:
    """Lines of the file, those that hold more than ASCII."""
    sample = bytearray()
    with open_bytes(path) as file:
        while len(sample) < HEAD and (chunk := file.read(CHUNK)):
            chunk += file.readline(CHUNK)
            if not chunk.isascii():
                sample += b"\n".join(line for line in chunk.splitlines() if not line.isascii())
                sample += b"\n"
    return bytes(sample)


def _line_of_damage(path: Path) -> int:
    """The first line that is not UTF-8."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with open_bytes(path) as file:
        for part in iter(lambda: file.readline(CHUNK), b""):
            try:
                decoder.decode(part)
            except UnicodeError:
                break
            line += part.endswith(b"\n")
    return line


def _fits(path: Path, encoding: str) -> bool:
    """Whether all of the file is of the encoding."""
    try:
        for _ in _text_of(path, encoding):
            pass
    except UnicodeError:
        return False
    return True


def _text_of(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file, part by part, all its lines ended by line feeds."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), True)
    with open_bytes(path) as file:
        while chunk := file.read(CHUNK):
            yield decoder.decode(chunk)
        yield decoder.decode(b"", final=True)
