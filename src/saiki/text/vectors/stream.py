"""Reading a file of vectors piece by piece: memory grows with what was read, and never with what a
header says there is."""

import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np

from saiki.errors import InputError
from saiki.inputs import PACKED
from saiki.text.vectors.subwords import SubWords, first_not_finite
from saiki.text.vectors.table import Vectors

Array = np.ndarray[Any, Any]
LONGEST_WORD = 65_536
"""Bytes of a word at most."""
_BLOCK = 1 << 20


class Stream:
    """A file of bytes, read in order.

    Args:
        file: at its begin.
        path: where errors say it is.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        self._block, self._at = b"", 0
        self._taken = 0

    def read(self, size: int) -> bytes | bytearray:
        """So many bytes."""
        if size > _BLOCK:
            data = bytearray(self._rest(0))
            while len(data) < size:
                more = self.file.read(min(_BLOCK, size - len(data)))
                if not more:
                    raise self._ended()
                data += more
            self._block, self._at = bytes(data[size:]), 0
            del data[size:]
            self._taken += size
            return data
        if len(self._block) - self._at < size:
            self._block, self._at = self._rest(size), 0
            if len(self._block) < size:
                raise self._ended()
        self._at += size
        self._taken += size
        return self._block[self._at - size : self._at]

    def until(self, mark: bytes) -> bytes:
        """The bytes before the next ``mark``, one byte, which is read too."""
        end = self._block.find(mark, self._at)
        if end < 0:
            self._block, self._at = self._rest(LONGEST_WORD), 0
            end = self._block.find(mark)
            if end < 0 and len(self._block) < LONGEST_WORD:
                raise self._ended()
        if not 0 <= end - self._at < LONGEST_WORD:
            raise InputError(
                f"{self.path} is damaged: no word ends within {LONGEST_WORD:,} bytes after byte "
                f"{self._taken:,}"
            )
        word = self._block[self._at : end]
        self._taken += len(word) + 1
        self._at = end + 1
        return word

    def require(self, size: int, what: str) -> None:
        """Refuse a header that speaks of more than the file can hold, before memory is taken. What
        a packed file can hold is not known before it is read."""
        rest = self.path.stat().st_size - self._taken
        if self.path.suffix not in PACKED and rest < size:
            raise InputError(
                f"{self.path} holds less than it says: {what} take {size:,} bytes at least, and "
                f"{rest:,} are rest; it was cut off, or its header is wrong"
            )

    def at_end(self) -> bool:
        """Whether nothing but white space follows."""
        return not self._rest(1).strip() and not self.file.read(1)

    def _rest(self, size: int) -> bytes:
        """What was read ahead, and ``size`` bytes more at least where there are any."""
        return self._block[self._at :] + (self.file.read(max(size, _BLOCK)) if size else b"")

    def _ended(self) -> InputError:
        return InputError(
            f"{self.path} was cut off: it ends in the middle of what it says it holds"
        )


class Rows:
    """Words and vectors as they are read from a file.

    A word that is empty, not UTF-8 or known already is left out with its vector, and in the end
    that is told in one warning each.

    Args:
        path: where errors say it is.
        unit: what a row of the file is called, such as ``line``.
        first: the number of the first one.
    """

    def __init__(self, path: Path, unit: str, first: int) -> None:
        self.path, self.unit, self.first = path, unit, first
        self.words: dict[str, None] = {}
        self._data = bytearray()
        self._unreadable: list[int] = []
        self._repeated: list[int] = []
        self._first_repeated = ""

    def __len__(self) -> int:
        """Rows so far, with those that are left out."""
        return len(self.words) + len(self._unreadable) + len(self._repeated)

    def add(self, word: bytes, numbers: bytes | bytearray) -> bool:
        """A row; whether it is kept.

        Args:
            numbers: each a little-endian float32.
        """
        number = self.first + len(self)
        try:
            text = word.decode()
        except UnicodeDecodeError:
            text = ""
        if not text:
            self._unreadable.append(number)
        elif text in self.words:
            self._first_repeated = self._first_repeated or text
            self._repeated.append(number)
        else:
            self.words[text] = None
            self._data += numbers
            return True
        return False

    def vectors(self, counts: Array | None = None, subwords: SubWords | None = None) -> Vectors:
        """The table of them all."""
        if not self.words:
            raise InputError(f"{self.path} holds no word that can be read")
        matrix = np.frombuffer(self._data, "<f4").reshape(len(self.words), -1)
        if (row := first_not_finite(matrix)) is not None:
            number = self.first + row
            for left_out in sorted(self._unreadable + self._repeated):
                number += left_out <= number
            raise InputError(
                f"{self.path} holds a number that is not finite, or beyond float32, in {self.unit} "
                f"{number}, the vector of {[*self.words][row]!r}; leave the word out, or train it "
                "again"
            )
        words, matrix = tuple(self.words), matrix.astype(np.float32, copy=False)
        if subwords:
            with np.errstate(over="ignore"):  # what is beyond float32 is refused below
                subwords.mix(words, matrix)
        known = f"known already, such as {self._first_repeated!r}; the first vector stays"
        for numbers, what in (
            (self._repeated, known),
            (self._unreadable, "empty or no UTF-8, and left out"),
        ):
            if numbers:
                rows = f"{self.unit} {numbers[0]:,}"
                rows += f" and {len(numbers) - 1:,} more" if numbers[1:] else ""
                warnings.warn(f"in {self.path} the word of {rows} is {what}", stacklevel=4)
        try:
            return Vectors(words, matrix, counts, subwords)
        except InputError as error:
            raise InputError(f"{self.path} holds no word vectors: {error}") from None
