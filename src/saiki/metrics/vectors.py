"""Measures of word vectors: analogies that are solved, and agreement with people on similarity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from saiki.data.text.word_tests import Analogies, Pairs, Question
from saiki.errors import InputError
from saiki.text.vectors import Vectors

Array = np.ndarray[Any, Any]
_COSINES = 1 << 24
"""Cosines that are in memory at once at most."""


@dataclass(frozen=True)
class Score:
    """Of questions of one section, or of all."""

    questions: int
    known: int
    """Those of which every word has a vector."""
    right: int

    @property
    def accuracy(self) -> float:
        """The share that is right of those that are known; NaN where none is."""
        return self.right / self.known if self.known else math.nan

    @property
    def unknown(self) -> int:
        """Questions with a word that has no vector."""
        return self.questions - self.known

    @property
    def coverage(self) -> float:
        """The share that is known of those that are asked; NaN where none is."""
        return self.known / self.questions if self.questions else math.nan

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.questions + other.questions, self.known + other.known, self.right + other.right
        )


def analogies(
    vectors: Vectors, questions: Analogies, *, restrict: int = 0, ignore_case: bool = False
) -> dict[str, Score]:
    """How many questions of each section are answered: the word with the largest cosine with
    b − a + c, all as unit vectors, without a, b and c, is the one that is asked for (3CosAdd; Levy
    & Goldberg, Linguistic Regularities in Sparse and Explicit Word Representations, 2014).

    ``sum(scores.values(), Score(0, 0, 0))`` is that of all.

    Args:
        restrict: only the first so many words are known and can be answers; 0 is all.
        ignore_case: whether ``Paris`` and ``paris`` are one word, of which the first vector is
            taken.

    Raises:
        InputError: ``restrict`` is below 0.
    """
    if restrict < 0:
        raise InputError(f"restrict must be 0, for all words, or a number of words, got {restrict}")
    count = min(restrict or len(vectors), len(vectors))
    matrix, lengths = vectors.matrix[:count], vectors.lengths[:count]
    rows_of = dict[str, list[int]]()
    for row, word in enumerate(vectors.words[:count]):
        rows_of.setdefault(_form(word, ignore_case), []).append(row)
    forms = {row: form for form, rows in rows_of.items() for row in rows}

    def answers(batch: Sequence[Question]) -> list[str]:
        a, b, c = (np.array([rows_of[each[i]][0] for each in batch], int) for i in range(3))
        units = [matrix[rows] / lengths[rows, None] for rows in (a, b, c)]
        cosines = (units[1] - units[0] + units[2]) @ matrix.T
        cosines /= lengths
        for i, each in enumerate(batch):
            for form in each[:3]:
                cosines[i, rows_of[form]] = -np.inf
        return [forms[row] for row in cosines.argmax(1).tolist()]

    scores, at_once = {}, max(1, _COSINES // count)
    for name, section in questions.sections.items():
        normalised = [tuple(_form(word, ignore_case) for word in each) for each in section]
        known = [(a, b, c, d) for a, b, c, d in normalised if {a, b, c, d} <= rows_of.keys()]
        right = 0
        for start in range(0, len(known), at_once):
            part = known[start : start + at_once]
            right += sum(answer == d for answer, (*_, d) in zip(answers(part), part, strict=True))
        scores[name] = Score(len(normalised), len(known), right)
    return scores


@dataclass(frozen=True)
class Agreement:
    """Of vectors with people on how similar words are."""

    rho: float
    """Spearman's rank correlation; NaN where it is not defined, as without pairs."""
    low: float
    high: float
    """Its interval; see :func:`interval`."""
    pairs: int
    known: int
    """Pairs of which both words have a vector."""

    @property
    def coverage(self) -> float:
        """The share of the pairs that are known."""
        return self.known / self.pairs


def agreement(
    vectors: Vectors, pairs: Pairs, *, ignore_case: bool = False, confidence: float = 0.95
) -> Agreement:
    """Spearman's rank correlation between the cosines of pairs and the scores that people gave
    them. Pairs with a word that has no vector are left out; where ``vectors`` knows n-grams, words
    that it does not hold have one all the same.

    Args:
        ignore_case: whether ``Paris`` and ``paris`` are one word, of which the first vector is
            taken.
        confidence: of the interval.
    """
    first = dict[str, str]()
    for word in vectors.words if ignore_case else ():
        first.setdefault(_form(word, True), word)
    vector_of = dict[str, Array]()
    for word in {word for row in pairs.rows for word in row[:2]}:
        vector = _vector(vectors, first.get(_form(word, ignore_case), word))
        if vector is not None:
            vector_of[word] = vector.astype(np.float64)
    known = [row for row in pairs.rows if row.a in vector_of and row.b in vector_of]
    cosines = [_cosine(vector_of[row.a], vector_of[row.b]) for row in known]
    rho = spearman(cosines, [row.score for row in known])
    return Agreement(rho, *interval(rho, len(known), confidence), len(pairs), len(known))


LEAST = 30
"""Pairs of a test that are known at least, if it is to say anything."""


@dataclass(frozen=True)
class Judgement:
    """Of vectors by tests, by the names of their sections and files."""

    sections: dict[str, Score]
    agreements: dict[str, Agreement]

    @property
    def total(self) -> Score:
        """Of all analogies."""
        return sum(self.sections.values(), Score(0, 0, 0))

    def __str__(self) -> str:
        """A line for each test of which something is known."""
        lines = [
            f"{name}: {score.right} of {score.known} right, {score.unknown} with unknown words"
            for name, score in self.sections.items()
            if score.known
        ]
        for name, agreement in self.agreements.items():
            lines.append(
                f"{name}: ρ {agreement.rho:.3f} ({agreement.low:.3f} to {agreement.high:.3f}), "
                f"{agreement.known} of {agreement.pairs} pairs known"
            )
        return "\n".join(lines)


def judge(vectors: Vectors, questions: Analogies, tests: Sequence[Pairs]) -> Judgement:
    """What tests say of vectors, ``Paris`` and ``paris`` being one word; of pairs, where
    :data:`LEAST` of them are known."""
    agreements = {pairs.name: agreement(vectors, pairs, ignore_case=True) for pairs in tests}
    known = {name: each for name, each in agreements.items() if each.known >= LEAST}
    return Judgement(analogies(vectors, questions, ignore_case=True), known)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, of which equal values share the mean.
    NaN where all values of one are equal.

    >>> spearman([1, 2, 3, 4], [10, 20, 40, 30])
    0.8
    """
    a, b = (_ranks(values) for values in (x, y))
    middle = (len(a) + 1) / 2  # the mean of any ranks
    a, b = a - middle, b - middle
    scale = math.sqrt((a @ a) * (b @ b))
    return min(1.0, max(-1.0, float(a @ b) / scale)) if scale else math.nan


def interval(rho: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a rank correlation of so many pairs, by Fisher's transformation

        tanh(artanh ρ ± z √((1 + ρ²/2) / (n − 3)))

    with the standard error of Bonett & Wright (Sample Size Requirements for Estimating Pearson,
    Kendall and Spearman Correlations, 2000), which covers what it should where that of Pearson's
    correlation, 1 / √(n − 3), is too small. It is a formula, where a bootstrap would draw, and it
    stays within −1 and 1. Fewer than four pairs say nothing.
    """
    if math.isnan(rho):
        return math.nan, math.nan
    if count < 4:
        return -1.0, 1.0
    if abs(rho) >= 1:
        return rho, rho
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    reach = z * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach)


def _form(word: str, ignore_case: bool) -> str:
    return word.casefold() if ignore_case else word


def _vector(vectors: Vectors, word: str) -> Array | None:
    if word in vectors:
        return vectors[word]
    return vectors.subwords.vector(word) if vectors.subwords else None


def _cosine(a: Array, b: Array) -> float:
    return float(a @ b) / (float(np.linalg.norm(a) * np.linalg.norm(b)) or 1.0)


def _ranks(values: Sequence[float]) -> Array:
    """From 1 on; equal values share the mean of theirs."""
    _, which, counts = np.unique(np.array(values, float), return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return ranks


def sharing(words: Sequence[str], matrix: Array, counts: Mapping[str, int]) -> list[list[str]]:
    """Groups of different words that are one vector, and not 0, in the order of how often a text
    holds the second most frequent word of each; in a group the most frequent word comes first.

    Args:
        matrix: the vectors of the words, ``(words, size)``.
        counts: how often words occur in the text; groups of which it holds none are left out.
    """
    _, group = np.unique(matrix, axis=0, return_inverse=True)
    members = dict[int, list[str]]()
    for i in np.flatnonzero(np.any(matrix, axis=1)).tolist():
        members.setdefault(int(group[i]), []).append(words[i])
    several = [
        sorted(cluster, key=lambda word: -counts.get(word, 0))
        for cluster in members.values()
        if len(cluster) > 1 and any(word in counts for word in cluster)
    ]
    return sorted(several, key=lambda cluster: -counts.get(cluster[1], 0))
