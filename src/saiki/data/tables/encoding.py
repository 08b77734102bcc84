"""Tables in files of text, whatever their encoding: as UTF-8, and whether rows are of one width."""

import codecs
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from saiki.errors import InputError
from saiki.inputs import PACKED, limit, open_bytes, open_file, too_much

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
_WIDE = "[\u3000-\u9fff\uf900-\ufaff\uff00-\uff60]"
_JAPANESE = re.compile(f"{_WIDE}{{2}}|(?<![A-Za-z]){_WIDE}(?![A-Za-z])")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_KINDS = {
    b"PK\x03\x04": "a workbook or an archive; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook; save the table as CSV",
    b"\x1f\x8b": "packed; call it .gz at the end",
    b"\xfd7zXZ\x00": "packed; call it .xz at the end",
    b"BZh": "packed; call it .bz2 at the end",
}
"""What files begin with that are no text."""


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


@contextmanager
def as_text(path: Path) -> Iterator[TextFile]:
    """The table as UTF-8. Where it is packed or of another encoding, that is a temporary file as
    long as the block lasts.

    The encoding is what a byte order mark says; else UTF-8, UTF-16 without a mark, cp932 (the
    Shift_JIS of Windows), and as the last resort cp1252 or latin-1, which fit anything.

    Raises:
        InputError: there is no such file, it cannot be read, or it is no text.
    """
    with open_bytes(path) as file:
        begin = file.read(HEAD)
    for mark, kind in _KINDS.items():
        if begin.startswith(mark):
            raise InputError(f"{path} is {kind}")
    if not begin:
        raise InputError(f"{path} is empty; it needs a row for each time")
    encoding = _encoding(path, begin)
    line_feeds = b"\n" in begin or b"\r" not in begin
    if encoding.startswith("utf-8") and path.suffix not in PACKED and line_feeds:
        yield TextFile(path, path, encoding)
        return
    with tempfile.NamedTemporaryFile("wb", prefix="saiki-", suffix=".csv", delete=False) as plain:
        try:
            _write(path, encoding, plain)
            plain.close()
            yield TextFile(path, Path(plain.name), encoding)
        finally:
            Path(plain.name).unlink(missing_ok=True)


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
        even, odd = begin[::2].count(0), begin[1::2].count(0)
        name = "utf-16-le" if odd > even else "utf-16-be"
        if max(even, odd) < len(begin) // 8 or min(even, odd) or not _fits(path, name):
            raise InputError(f"{path} is no text; save the table as CSV in UTF-8")
        return name
    if _fits(path, "utf-8"):
        return "utf-8"
    if _fits(path, "cp932") and not _PRIVATE.search(text := begin.decode("cp932", "ignore")):
        beyond_ascii = not text.isascii()
        if not beyond_ascii or _JAPANESE.search(text):
            return "cp932"
    return "cp1252" if _fits(path, "cp1252") else "latin-1"


def _fits(path: Path, encoding: str) -> bool:
    """Whether all of the file is of the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with open_bytes(path) as file:
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _write(path: Path, encoding: str, plain: IO[bytes]) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    written = ""
    with open_bytes(path) as file:
        try:
            while chunk := file.read(CHUNK):
                text = written[-1:] * (written[-1:] == "\r") + decoder.decode(chunk)
                written = text
                body = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
                if shutil.disk_usage(plain.name).free < 2 * len(body):
                    raise InputError(
                        f"{path} does not fit on the disk unpacked; unpack it yourself"
                    )
                plain.write(body.encode())
        except UnicodeError:
            raise InputError(f"{path} is not {encoding} throughout; save it as UTF-8") from None
    plain.write(b"\n" * written.endswith("\r"))


def check_rows(text: TextFile, delimiter: str, width: int, skip: int) -> int:
    """The number of lines behind the first ``skip``, blank ones among them, each of which has
    ``width`` fields. A line that ends inside quotation marks goes on.

    Raises:
        InputError: a line has another number of fields, or a quotation mark is not closed.
    """
    line, fields, unfinished, open_quote = 0, 0, 0, False
    opened, feeds, most = 0, 0, limit("line")
    with open_file(text.plain) as file:
        while chunk := file.read(CHUNK):
            codes = np.frombuffer(chunk, np.uint8)
            breaks, delimiters = codes == 10, codes == ord(delimiter)
            if open_quote or b'"' in chunk:
                inside = ((np.cumsum(codes == 34) + open_quote) & 1).astype(bool)
                open_quote = bool(inside[-1])
                marks = np.flatnonzero((codes == 34) & inside)
                opened = feeds + int(breaks[: marks[-1]].sum()) if len(marks) else opened
                feeds += int(breaks.sum())
                breaks &= ~inside
                delimiters &= ~inside
            else:
                feeds += int(breaks.sum())
            ends = np.flatnonzero(breaks)
            if not len(ends):
                fields += int(delimiters.sum())
                unfinished += len(chunk)
                if unfinished > most:
                    more = f"has more than {most:,} bytes in line {line + 1:,}"
                    raise too_much(text.path, "line", more)
                continue
            counts = np.diff(np.cumsum(delimiters)[ends], prepend=0)
            lengths = np.diff(ends, prepend=-1) - 1
            counts[0] += fields
            lengths[0] += unfinished
            odd = (counts != width - 1) & (lengths > 0)
            odd[: max(0, skip - line)] = False
            for at in np.flatnonzero(odd).tolist():
                start = ends[at] - lengths[at]
                if start < 0 or chunk[start : ends[at]].strip():
                    raise _uneven(text, line + at + 1, int(counts[at]) + 1, width)
            line += len(ends)
            fields = int(delimiters[ends[-1] :].sum())
            unfinished = len(chunk) - 1 - int(ends[-1])
    if open_quote:
        raise InputError(
            f"{text.path} has a quotation mark in line {opened + 1} that is not closed"
        )
    if unfinished:
        line += 1
        if fields != width - 1 and line > skip:
            raise _uneven(text, line, fields + 1, width)
    return max(0, line - skip)


def _uneven(text: TextFile, line: int, count: int, width: int) -> InputError:
    return InputError(
        f"{text.path} has {count} column{'s' * (count != 1)} in line {line} instead of {width}; "
        "take the line away, or write it as the others are"
    )
