"""Words and their vectors, and what is asked of them."""

import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from saiki.errors import InputError
from saiki.text.vectors.subwords import SubWords, first_not_finite
from saiki.text.vocabulary import valid

Array = np.ndarray[Any, Any]
_SEARCHED = 50_000
"""Words, the first ones, among which a word like an unknown one is looked for."""


@dataclass(frozen=True, eq=False, repr=False)
class Vectors:
    """Words and a vector of each, the most frequent words first where that is known.

    >>> plane = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    >>> vectors = Vectors(("north", "northeast", "eastnorth", "east"), plane)
    >>> [word for word, _ in vectors.most_similar("north", n=2)]
    ['northeast', 'eastnorth']
    >>> vectors.doesnt_match(["northeast", "east", "north"])
    'east'
    >>> vectors["norht"]
    Traceback (most recent call last):
        ...
    saiki.errors.InputError: there is no vector of 'norht'; did you mean 'north'?

    Args:
        words: no two the same.
        matrix: ``(words, size)``, float32.
        counts: how often each occurs, ``(words,)``, int64.
        subwords: vectors of n-grams, of which unknown words get theirs.

    Raises:
        InputError: there is no word, one is empty, no text, or there twice, the sizes do not agree,
            or a number is not finite.
    """

    words: tuple[str, ...]
    matrix: Array
    counts: Array | None = None
    subwords: SubWords | None = None
    _places: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        words = tuple(self.words)
        matrix = np.asarray(self.matrix, np.float32).view()
        if matrix.ndim != 2 or len(words) != len(matrix) or not matrix.size:
            raise InputError(
                f"{len(words):,} words need a matrix ({len(words)}, size), got {matrix.shape}"
            )
        places = dict[str, int]()
        for i, word in enumerate(words):
            if not isinstance(word, str) or not word:
                raise InputError(f"the words of vectors must be text, got {word!r}")
            if places.setdefault(valid(word), i) != i:
                raise InputError(f"the word {word!r} is there twice")
        if (row := first_not_finite(matrix)) is not None:
            raise InputError(f"the vector of {words[row]!r} holds a number that is not finite")
        if self.counts is not None and self.counts.shape != (len(words),):
            raise InputError(f"{len(words):,} words need as many counts, got {self.counts.shape}")
        if self.subwords and self.subwords.buckets.shape[1] != matrix.shape[1]:
            raise InputError(
                f"vectors of {matrix.shape[1]} numbers need those of n-grams to have as many, got "
                f"{self.subwords.buckets.shape[1]}"
            )
        matrix.flags.writeable = False
        for name, value in (("words", words), ("matrix", matrix), ("_places", places)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Vectors({len(self):,} words, {self.size} numbers each)"

    @property
    def size(self) -> int:
        """Numbers of a vector."""
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Whether it is one of the words; whatever n-grams are known."""
        return word in self._places

    def __getitem__(self, words: str | Sequence[str]) -> Array:
        """The vector of a word, ``(size,)``, or those of several, ``(words, size)``. That of an
        unknown word is made of its n-grams, where those are known.

        Raises:
            InputError: there is none; words like it are told.
        """
        if not isinstance(words, str):
            return np.array([self[word] for word in words], np.float32).reshape(-1, self.size)
        if words in self._places:
            row: Array = self.matrix[self._places[words]]
            return row
        made = self.subwords.vector(words) if self.subwords else None
        if made is None:
            raise InputError(self._unknown(words))
        return made

    def place(self, word: str) -> int:
        """Its row in the matrix.

        Raises:
            InputError: it is none of the words.
        """
        if word not in self._places:
            raise InputError(self._unknown(word))
        return self._places[word]

    @cached_property
    def lengths(self) -> Array:
        """The Euclidean length of each vector, ``(words,)``, float32; 1 where it is 0, so that one
        can divide by it."""
        squares = np.einsum("ij,ij->i", self.matrix, self.matrix, dtype=np.float64)
        return np.where(squares > 0, np.sqrt(squares), 1).astype(np.float32)

    def units(self, words: Sequence[str]) -> Array:
        """The vectors of words, divided by their lengths, ``(words, size)``."""
        vectors = self[words]
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def similarity(self, a: str, b: str) -> float:
        """The cosine of the angle between two vectors; 0 where one of them is 0."""
        one, other = self.units([a, b]).astype(np.float64)
        return float(one @ other)

    def most_similar(
        self, positive: str | Sequence[str], negative: str | Sequence[str] = (), n: int = 10
    ) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine with the sum of the unit vectors of
        ``positive`` minus those of ``negative``, without these words; and the cosines.

        Raises:
            InputError: a word has no vector, none is given, or ``n`` is below 1.
        """
        positive, negative = ([w] if isinstance(w, str) else [*w] for w in (positive, negative))
        if n < 1 or not positive + negative:
            raise InputError(f"it takes a word at least, and n of at least 1; got n = {n}")
        target = self.units(positive).sum(0) - self.units(negative).sum(0)
        length = np.linalg.norm(target) or 1
        cosines = self.matrix @ (target / length).astype(np.float32) / self.lengths
        excluded = [self._places[word] for word in positive + negative if word in self._places]
        cosines[excluded] = -np.inf
        n = min(n, len(self) - len(set(excluded)))
        best = np.argpartition(-cosines, n - 1)[:n] if n else np.array([], int)
        best = best[np.lexsort((best, -cosines[best]))]
        return [(self.words[i], float(cosines[i])) for i in best]

    def analogy(self, a: str, b: str, c: str, n: int = 10) -> list[tuple[str, float]]:
        """What is to ``c`` as ``b`` is to ``a``: the words nearest to b − a + c in cosine, all as
        unit vectors (3CosAdd; Levy & Goldberg, Linguistic Regularities in Sparse and Explicit Word
        Representations, 2014, equation 1).

        Raises:
            InputError: see :meth:`most_similar`.
        """
        return self.most_similar([b, c], [a], n)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word whose vector has the smallest cosine with the mean of the unit vectors of all.

        Raises:
            InputError: a word has no vector, or none is given.
        """
        if not words:
            raise InputError("there must be a word at least")
        units = self.units(words)
        return words[int((units @ units.mean(0)).argmin())]

    def _unknown(self, word: str) -> str:
        forms = {unicodedata.normalize(form, word) for form in ("NFC", "NFKC")}
        forms |= {each for form in forms for each in (form.lower(), form.upper(), form.title())}
        near = sorted((form for form in forms if form in self), key=self._places.__getitem__)
        near = near or difflib.get_close_matches(word, self.words[:_SEARCHED], 3, 0.75)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "and none like it"
        return f"there is no vector of {word!r}{'; ' if near else ', '}{hint}"
