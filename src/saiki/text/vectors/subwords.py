"""Vectors of the n-grams of characters of which words are made (Bojanowski et al. 2017)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saiki.errors import InputError
from saiki.text.vocabulary import valid

Array = np.ndarray[Any, Any]
END_OF_LINE = "</s>"
"""The word that fastText puts at the end of each line; it is made of no n-grams."""
_OFFSET, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class SubWords:
    """Vectors of n-grams, each found by a hash, so that several n-grams may share one.

    Args:
        buckets: ``(buckets, size)``, float32.
        min_n: characters of an n-gram at least.
        max_n: characters of an n-gram at most.

    Raises:
        InputError: there is no bucket, a number is not finite, or the bounds allow no n-gram.
    """

    buckets: Array
    min_n: int = 3
    max_n: int = 6

    def __post_init__(self) -> None:
        if self.buckets.ndim != 2 or not self.buckets.size or self.buckets.dtype != np.float32:
            raise InputError(
                "the buckets of n-grams must be a float32 array (buckets, size) that holds some, "
                f"got {self.buckets.dtype} {self.buckets.shape}"
            )
        if not 1 <= self.min_n <= self.max_n:
            raise InputError(
                "n-grams must have at least one character, and min_n must not be above max_n; got "
                f"min_n {self.min_n} and max_n {self.max_n}"
            )
        if (row := first_not_finite(self.buckets)) is not None:
            raise InputError(f"bucket {row} of n-grams holds a number that is not finite")

    def vector(self, word: str) -> Array | None:
        """The mean of the vectors of its n-grams, ``(size,)``; None if it has none."""
        rows, _ = ngram_rows([word], self.min_n, self.max_n, len(self.buckets))
        return (
            np.add.accumulate(self.buckets[rows])[-1] / np.float32(len(rows)) if len(rows) else None
        )

    def mix(self, words: Sequence[str], matrix: Array) -> None:
        """Make of each row of ``matrix``, ``(words, size)``, which is what was learned of a word as
        a whole, the mean of it and the vectors of the word's n-grams."""
        for here, parts, ngrams in self._parts(words, matrix):
            for more, vectors in ngrams:
                here[more] += vectors
            here /= parts

    def unmix(self, words: Sequence[str], matrix: Array) -> None:
        """Undo :meth:`mix`, as far as rounding allows."""
        for here, parts, ngrams in self._parts(words, matrix):
            here *= parts
            for more, vectors in ngrams:
                here[more] -= vectors

    def _parts(
        self, words: Sequence[str], matrix: Array
    ) -> Iterator[tuple[Array, Array, Iterator[tuple[Array, Array]]]]:
        """Rows of the matrix, of how many vectors each is the mean, and the n-grams, the first one
        of each word, then the second, as fastText adds them: rows that have one, and its vector."""
        for start in range(0, len(words), _AT_ONCE):
            part = words[start : start + _AT_ONCE]
            rows, counts = ngram_rows(part, self.min_n, self.max_n, len(self.buckets))
            first = np.cumsum(counts) - counts
            having = (np.flatnonzero(counts > k) for k in range(counts.max()))
            ngrams = ((more, self.buckets[rows[first[more] + k]]) for k, more in enumerate(having))
            parts = (counts + 1).astype(np.float32)[:, None]
            yield matrix[start : start + len(part)], parts, ngrams


def ngram_rows(words: Sequence[str], min_n: int, max_n: int, buckets: int) -> tuple[Array, Array]:
    """The buckets of the n-grams of words, one word after the other, and how many each word has.

    As in fastText a word stands in ``<`` and ``>``, of which neither is an n-gram alone; n-grams
    come by where they begin, the shorter ones first; and the bucket of one is the FNV-1a hash of
    its bytes in UTF-8, each taken for a signed number of 8 bits, modulo ``buckets``.
    """
    starts = range(0, max(1, len(words)), _AT_ONCE)
    parts = [_hashes(words[start : start + _AT_ONCE], min_n, max_n) for start in starts]
    hashes, counts = (np.concatenate(each) for each in zip(*parts, strict=True))
    return hashes % np.int64(buckets), counts


def _hashes(words: Sequence[str], min_n: int, max_n: int) -> tuple[Array, Array]:
    """Hashes of all n-grams, and the number of each word's."""
    shown = ["" if word == END_OF_LINE else f"<{valid(word)}>" for word in words]
    data = np.frombuffer("".join(shown).encode(), np.uint8)
    signed = data.astype(np.int8).astype(np.int32).view(np.uint32)
    starts = np.append(np.flatnonzero(data & 0xC0 != 0x80), len(data))  # of each character
    sizes = np.array([len(each) for each in shown])
    of = np.repeat(np.arange(len(words)), sizes)  # the word of each character
    last = np.cumsum(sizes)[of] - 1
    at = np.arange(len(of))
    first = last - sizes[of] + 1
    hashes = np.full(len(of), _OFFSET)
    by_length, is_ngram = [], []
    for n in range(1, max_n + 1):
        # hashes of the n characters from each on, a byte of the last one at a time
        end = at + n - 1
        fits = end <= last
        if not fits.any():
            break
        begin, stop = starts[np.where(fits, end, 0)], starts[np.where(fits, end, 0) + 1]
        for k in range(4):
            more = fits & (begin + k < stop)
            hashes[more] = (hashes[more] ^ signed[begin[more] + k]) * _PRIME
        if n >= min_n:
            by_length.append(hashes.copy())
            is_ngram.append(fits & ((n > 1) | ((at > first) & (at < last))))
    if not by_length or not len(of):
        return np.zeros(0, np.int64), np.zeros(len(words), np.int64)
    chosen = np.stack(is_ngram, 1)
    counts = np.bincount(of, chosen.sum(1), minlength=len(words)).astype(np.int64)
    return np.stack(by_length, 1)[chosen].astype(np.int64), counts


def first_not_finite(matrix: Array) -> int | None:
    """The first row that holds NaN or infinity."""
    for start in range(0, len(matrix), 4096):
        finite = np.isfinite(matrix[start : start + 4096]).all(1)
        if not finite.all():
            return start + int(finite.argmin())
    return None
