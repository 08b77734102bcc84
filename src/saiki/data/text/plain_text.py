"""Plain text: files, packed or not, and folders of them."""

import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from saiki.data.skipped import LeftOut
from saiki.errors import InputError
from saiki.input_kind import InputKind
from saiki.inputs import PACKED, files_below, limit, open_bytes, rows, too_much
from saiki.text.sentences import split_sentences

WIDEST = 100
"""Characters of a line at most in a text whose lines were broken to fit a page."""
_BOM = "\ufeff"
_MARK = re.compile(r"\*\*\*\s*(START|END) OF (?:THE|THIS) PROJECT GUTENBERG EBOOK", re.IGNORECASE)


def lines(path: Path, encoding: str = "utf-8", left_out: LeftOut | None = None) -> Iterator[str]:
    """The lines of a file, or of all text files in a folder and below it, in the order of names.

    A line ends at a line feed, with a carriage return before it or not, and comes without them.
    Text is brought into the form NFC, so that what looks the same is the same. Byte order marks are
    dropped, also where texts with one were put together.

    Args:
        encoding: a name that Python knows.
        left_out: takes the files of a folder that cannot be read; without it, the first is an
            error.

    Raises:
        InputError: there is no such file, it cannot be read, or it is of another encoding; or the
            folder holds no file named .txt, or .txt.gz, .txt.xz or .txt.bz2.
    """
    for file in _files(path, left_out, encoding):
        for line in _lines(file, encoding):
            yield line.replace(_BOM, "")


LINE = InputKind("line", in_file=lines, in_folder=lines)


def paragraphs(path: Path, left_out: LeftOut | None = None) -> list[str]:
    """The paragraphs of plain text, each as one line.

    Blank lines stand between paragraphs, and so does the begin of a file or a byte order mark. A
    block of lines is one paragraph that was broken to fit a page if none of them is longer than
    ``WIDEST``; otherwise each line is a paragraph. Of a book of Project Gutenberg only the book is
    kept: what stands between the lines ``*** START OF …`` and ``*** END OF …``.
    """
    files = _files(path, left_out)
    return [paragraph for file in files for paragraph in _paragraphs(_lines(file))]


def sentences(path: Path, left_out: LeftOut | None = None) -> list[str]:
    """The sentences of all paragraphs; see :func:`saiki.text.sentences.split_sentences`."""
    return [sentence for block in paragraphs(path, left_out) for sentence in split_sentences(block)]


def _files(path: Path, left_out: LeftOut | None, encoding: str = "utf-8") -> Iterable[Path]:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_dir():
        return [path]
    files = files_below(path, [f".txt{packed}" for packed in ("", *PACKED)], "text")
    if left_out is None or left_out.strict:
        return files
    read = left_out.read(files, lambda file: sum(1 for _ in _lines(file, encoding)))
    return (file for file, _ in read)


def _paragraphs(lines: Iterable[str]) -> list[str]:
    paragraphs, block = list[str](), list[str]()
    begin, in_book = 0, True
    for line in lines:
        text = line.replace(_BOM, "").strip()
        mark = _MARK.match(text)
        if mark or not text or line.startswith(_BOM):
            paragraphs += _block(block)
            block = []
        if line.startswith(_BOM):
            begin, in_book = len(paragraphs), True
        if mark and mark[1].upper() == "START":
            del paragraphs[begin:]
            in_book = True
        elif mark:
            begin, in_book = len(paragraphs), False
        elif text and in_book:
            block.append(text)
    return paragraphs + _block(block)


def _block(lines: list[str]) -> list[str]:
    if max(map(len, lines), default=0) > WIDEST:
        return lines
    return [" ".join(lines)] if lines else []


def decoded_lines(file: IO[bytes], name: str) -> Iterator[str]:
    """Text lines of a file, such as the standard input, by the rules of :func:`lines`; byte order
    marks are left.

    Raises:
        InputError: a line is not UTF-8, or too long; the message says which one of ``name``.
    """
    for number, row in enumerate(rows(file, name), 1):
        try:
            text = row.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise InputError(f"{name} is not UTF-8 in line {number}; save it as UTF-8") from None
        yield unicodedata.normalize("NFC", text)


def _lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Lines in which byte order marks are left."""
    if encoding != "utf-8":
        yield from _decoded(path, encoding)
        return
    with open_bytes(path) as file:
        yield from decoded_lines(file, str(path))


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a file that is not UTF-8."""
    longest = limit("line")
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding) as text:
        try:
            while line := text.readline(longest + 1):
                if len(line) > longest:
                    raise too_much(path, "line", f"has a line of more than {longest:,} characters")
                yield unicodedata.normalize("NFC", line.removesuffix("\n"))
        except UnicodeError:
            raise InputError(f"{path} is not {encoding} throughout") from None
