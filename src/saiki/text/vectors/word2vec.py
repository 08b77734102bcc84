"""The formats of word2vec, as text and as bytes, and that of GloVe, which is the same text without
a first line."""

import itertools
import warnings
from pathlib import Path
from typing import IO

import numpy as np

from saiki.errors import InputError
from saiki.text.vectors.stream import Rows, Stream
from saiki.text.vectors.table import Vectors

LONGEST_LINE = 1 << 24
_BOM = b"\xef\xbb\xbf"


def sizes(line: bytes) -> tuple[int, int] | None:
    """The numbers of words and of numbers of each, if this is a first line that says them."""
    fields = line.removeprefix(_BOM).split()
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 19 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def is_text(row: bytes, size: int) -> bool:
    """Whether a first row, as far as it is there, holds its numbers as text."""
    numbers = row.partition(b" ")[2][: 4 * size].partition(b"\n")[0].strip()
    return bool(numbers) and not numbers.strip(b"0123456789+-.eE nafityNAFITY")


def read_text(file: IO[bytes], path: Path) -> Vectors:
    """Vectors of text: a word and its numbers in each line, with spaces between them. The first
    line may say how many words there are, and of how many numbers; without it, a word may hold
    spaces."""
    stream = Stream(file, path)
    first = file.readline(LONGEST_LINE).removeprefix(_BOM)
    header = sizes(first)
    if header:
        count, size = header
        _check(path, count, size)
        stream.require(len(first) + count * (2 * size + 1), f"{count:,} words of {size} numbers")
        rows, line = Rows(path, "line", 2), file.readline(LONGEST_LINE)
    else:
        size = _numbers_at_end(first)
        rows, line = Rows(path, "line", 1), first
        if not size:
            raise _broken(path, 1, "some")
    with warnings.catch_warnings():
        # older NumPy only warns of what is no number
        warnings.simplefilter("error", DeprecationWarning)
        while line.strip():
            number = rows.first + len(rows)
            if header and len(rows) == count:
                raise InputError(
                    f"{path} goes on in line {number}, and its first line says that it has "
                    f"{count:,} words; correct one of the two"
                )
            row = _parsed(line, size)
            if row is None:
                raise _broken(path, number, str(size))
            rows.add(*row)
            line = file.readline(LONGEST_LINE)
    if rest := line and _next(file):
        number = rows.first + len(rows)
        raise InputError(f"{path} has an empty line, line {number}, and then goes on with {rest!r}")
    if header and len(rows) < count:
        raise InputError(
            f"{path} ends after {len(rows):,} words, and its first line says that it has "
            f"{count:,}; if it is whole, its first line must be '{len(rows)} {size}'"
        )
    return rows.vectors()


def read_binary(file: IO[bytes], path: Path) -> Vectors:
    """Vectors as bytes: a line that says how many words there are and of how many numbers, then
    each word, a space, and its numbers as little-endian float32, after which a line may end."""
    stream = Stream(file, path)
    header = sizes(stream.until(b"\n"))
    assert header  # as whoever chose this format has seen
    count, size = header
    _check(path, count, size)
    stream.require(count * (4 * size + 1), f"{count:,} words of {size} numbers")
    rows = Rows(path, "row", 1)
    for _ in range(count):
        word = stream.until(b" ").lstrip(b"\n")
        rows.add(word, stream.read(4 * size))
    if not stream.at_end():
        raise InputError(
            f"{path} goes on after the {count:,} words of {size} numbers that its first line says; "
            "it is damaged, or its first line is wrong"
        )
    return rows.vectors()


def write_text(vectors: Vectors, file: IO[bytes], header: bool) -> None:
    """Write them so that every number is read back to the last bit: with nine digits."""
    if header:
        file.write(f"{len(vectors)} {vectors.size}\n".encode())
    numbers = " ".join(["%.9g"] * vectors.size)
    for word, row in zip(vectors.words, vectors.matrix, strict=True):
        file.write(f"{word} {numbers % tuple(row.tolist())}\n".encode())


def write_binary(vectors: Vectors, file: IO[bytes]) -> None:
    """Write them as bytes, without ends of lines, as gensim does."""
    file.write(f"{len(vectors)} {vectors.size}\n".encode())
    for word, row in zip(vectors.words, vectors.matrix, strict=True):
        file.write(f"{word} ".encode() + row.astype("<f4").tobytes())


def _check(path: Path, count: int, size: int) -> None:
    if not count or not size:
        raise InputError(
            f"{path} holds {count} words of {size} numbers each, as its first line says"
        )


def _parsed(line: bytes, size: int) -> tuple[bytes, bytes] | None:
    word, _, numbers = line.partition(b" ")
    row = _floats(numbers, size)
    if row is None:  # perhaps the word holds spaces
        parts = line.strip().rsplit(b" ", size)
        word, row = parts[0], _floats(b" ".join(parts[1:]), size)
    return None if row is None else (word, row.astype("<f4", copy=False).tobytes())


def _floats(text: bytes, size: int) -> np.ndarray | None:
    try:
        row = np.fromstring(text, np.float32, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return row if len(row) == size else None


def _numbers_at_end(line: bytes) -> int:
    """Numbers at the end of a line that begins with a word."""
    return sum(1 for _ in itertools.takewhile(_is_number, reversed(line.split()[1:])))


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _next(file: IO[bytes]) -> str:
    """The begin of what comes after empty lines; nothing if nothing does."""
    while line := file.readline(LONGEST_LINE):
        if line.strip():
            return line.strip()[:20].decode(errors="replace")
    return ""


def _broken(path: Path, number: int, size: str) -> InputError:
    return InputError(
        f"{path} is broken in line {number}: a word and {size} numbers must stand there, with a "
        "space between them"
    )
