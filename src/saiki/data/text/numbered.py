"""A text of any size as numbers of its words, read once and kept in a file."""

import collections
import contextlib
import itertools
import mmap
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from saiki.data.skipped import LeftOut
from saiki.data.text.plain_text import WIDEST, decoded_lines, lines
from saiki.errors import InputError, SaikiError

BREAK = -1
"""Stands between lines that do not belong together."""
BUFFER = 1 << 20
"""Numbers in memory, before they are written."""
MOST_KINDS = 20_000_000
"""Different words that are counted; of more, the rarest are forgotten (as word2vec does)."""

Split = Callable[[str], Sequence[str]]


class NumberedText:
    """The words of a text in the order in which they are met first, and the text by their numbers,
    in a file without a name that is gone when this is.

    Each line is split into words. After a blank line, and after one longer than a page is wide, the
    next one does not go on with it.

    Args:
        text: lines.
        split: into words.
        say: called now and then with the number of words so far.
    """

    def __init__(
        self,
        text: Iterable[str],
        split: Split,
        say: Callable[[int], None] = lambda words: None,
    ) -> None:
        unused = itertools.count().__next__
        numbers = collections.defaultdict[str, int](unused)
        self.counts = np.zeros(0, np.int64)
        self.length = 0
        """Numbers in the file, breaks included."""
        buffer, fewest = list[int](), 2
        with self._writing() as write:
            for line in text:
                words = split(line)
                buffer += [numbers[word] for word in words]
                if not words or len(line) > WIDEST:
                    buffer.append(BREAK)
                if len(buffer) >= BUFFER:
                    write(buffer)
                    buffer = []
                    say(self.words)
                    while len(numbers) > MOST_KINDS:
                        known = {w: n for w, n in numbers.items() if self.counts[n] >= fewest}
                        numbers = collections.defaultdict(unused, known)
                        fewest += 1
            write(buffer)
        self.numbers = dict(numbers)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Callable[[list[int]], None]]:
        """What writes numbers, one part after the other; they can be read after the block."""
        file = tempfile.TemporaryFile()  # noqa: SIM115  closing it may fail once more
        try:
            yield lambda held: self._write(file, held)
            self._text = np.zeros(0, np.int32)
            if self.length:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._text = np.frombuffer(mapped, np.int32)  # the file stays as long as this does
        finally:
            with contextlib.suppress(OSError):  # what could not be written cannot be now
                file.close()

    def _write(self, file: IO[bytes], numbers: list[int]) -> None:
        written = np.array(numbers, np.int32)
        counts = np.bincount(written[written >= 0], minlength=len(self.counts))
        counts[: len(self.counts)] += self.counts
        self.counts = counts
        try:
            file.write(written.tobytes())
            file.flush()
        except OSError as error:
            raise SaikiError(
                f"cannot keep the text in {tempfile.gettempdir()}: {error.strerror}; TMPDIR names "
                "another folder"
            ) from error
        self.length += len(written)

    @property
    def words(self) -> int:
        """How many words the text has."""
        return int(self.counts.sum())

    def frequent(self, minimum: int = 1, most: int = 0) -> tuple[list[str], NDArray[np.int64]]:
        """Words by falling count, those that occur equally often by the order in which they are
        met, and their counts.

        Args:
            minimum: times that a word occurs at least.
            most: how many words there are at most; 0 is no bound.
        """
        counts = {word: int(self.counts[number]) for word, number in self.numbers.items()}
        ordered = sorted(counts, key=lambda word: -counts[word])
        words = list(itertools.takewhile(lambda word: counts[word] >= minimum, ordered))
        words = words[:most] if most else words
        return words, np.array([counts[word] for word in words], np.int64)

    def places(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The place among ``words`` for each number of this text; −2 where a word is not there."""
        places = np.full(max(len(self.counts), 1), -2, np.int32)
        for place, word in enumerate(words):
            if word in self.numbers:
                places[self.numbers[word]] = place
        return places

    def piece(self, start: int, size: int, places: NDArray[np.int32]) -> NDArray[np.int32]:
        """``size`` numbers of the file from one on, as the ``places`` of their words; words without
        a place are left out."""
        numbers = self._text[start : start + size]
        words = np.where(numbers < 0, np.int32(BREAK), places[numbers])
        return words[words >= BREAK]

    def parts(self) -> Iterator[bytes]:
        """What tells this text from others: its words, and the numbers in the file."""
        yield "\n".join(self.numbers).encode()
        for start in range(0, self.length, BUFFER):
            yield self._text[start : start + BUFFER].tobytes()

    def pieces(self, size: int) -> int:
        """How many pieces of that size there are."""
        return -(-self.length // size)


def text_lines(path: str, left_out: LeftOut | None = None) -> Iterator[str]:
    """The lines of a file, of a folder of files, or of the standard input, which ``-`` means."""
    if path == "-":
        if sys.stdin is None:
            raise InputError("there is no standard input to read a text from")
        return decoded_lines(sys.stdin.buffer, "the standard input")
    return lines(Path(path), left_out=left_out)
