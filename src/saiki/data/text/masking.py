"""Rows of numbers, and which of their words a model has to restore."""

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy

from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.text import FIRST, MASK, PAD


@dataclass(frozen=True)
class TokenRows:
    """Rows of numbers, stored end to end: a book has a million."""

    tokens: numpy.ndarray
    """Of all rows, one after another."""
    edges: numpy.ndarray
    """Where each row begins, and where the last one ends."""

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | numpy.ndarray]) -> Self:
        tokens, edges = array("i"), array("q", [0])
        for row in rows:
            tokens.extend(row)
            edges.append(len(tokens))
        return cls(numpy.array(tokens), numpy.array(edges))

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def lengths(self) -> numpy.ndarray:
        return numpy.diff(self.edges)

    def rows(self) -> Iterator[numpy.ndarray]:
        """Each row by itself."""
        for begin, end in itertools.pairwise(self.edges.tolist()):
            yield self.tokens[begin:end]

    def without(self, others: Self) -> Self:
        """Only the rows that ``others`` does not have."""
        mine = {row.tobytes() for row in self.rows()}
        both = {key for row in others.rows() if (key := row.tobytes()) in mine}
        return self.of(row for row in self.rows() if row.tobytes() not in both)

    def padded(self, indices: Sequence[int] | numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Some rows side by side, ``(rows, longest)``, PAD beyond their ends, and their lengths."""
        begin, lengths = self.edges[:-1][indices], self.lengths[indices]
        steps = numpy.arange(lengths.max(initial=0))
        real = steps < lengths[:, None]
        table = numpy.full(real.shape, PAD)
        table[real] = self.tokens[(begin[:, None] + steps)[real]]
        return table, lengths


def kept_apart(count: int, share: float, most: int, section: int = 100) -> numpy.ndarray:
    """Which of ``count`` sentences in a row are kept apart, ``(count,)``: whole sections of the
    text, evenly spread over it, so that hardly any is next to one that is learned from.

    Args:
        share: of the sentences.
        most: sentences, however many there are.
        section: sentences of a section; fewer in a short text, which has 1 / ``share`` of them.
    """
    parts = round(1 / share)
    section = max(1, min(section, count // parts))
    every = max(parts, -(-count // most))
    apart: numpy.ndarray = numpy.arange(count) // section % every == every // 2
    return apart


def choose(tokens: numpy.ndarray, share: float, draw: numpy.random.Generator) -> numpy.ndarray:
    """Which positions have to be restored, true in an array like ``tokens``: each word with
    probability ``share``, and one at least of each row that has any. What is special is no word,
    and an unknown word is special: nobody could say what it was.

    Args:
        tokens: ``(rows, longest)``.
    """
    words = tokens >= FIRST
    u = numpy.where(words, draw.random(tokens.shape), numpy.inf)
    chosen: numpy.ndarray = words & ((u < share) | (u == u.min(1, keepdims=True)))
    return chosen


class Masking(Knobs):
    """How many words are hidden, and how they are shown to a model that learns."""

    share: float = knob(0.15, "of the words that have to be restored", minimum=0, maximum=1)
    replaced: float = knob(0.1, "share of these shown as any word", minimum=0, maximum=1)
    kept: float = knob(
        0.1, "share of these shown as they are; the rest as [MASK]", minimum=0, maximum=1
    )

    def validate(self) -> None:
        if self.replaced + self.kept > 1:
            raise InputError(
                "replaced and kept are shares of the same words and must not exceed 1 together, "
                f"got {self.replaced} and {self.kept}"
            )

    def hide(
        self, tokens: numpy.ndarray, chosen: numpy.ndarray, vocabulary: int,
        draw: numpy.random.Generator,
    ) -> numpy.ndarray:  # fmt: skip
        """The tokens as a model reads them while it learns (Devlin et al. 2019, §3.1). As some of
        those chosen are any word and some are as they were, it cannot trust a word that it sees,
        and has to look at its surroundings always.

        Args:
            tokens: ``(rows, longest)``.
            chosen: where, as :func:`choose` says.
            vocabulary: entries, from which the words are drawn evenly.
        """
        u = draw.random(tokens.shape)
        others = draw.integers(FIRST, vocabulary, tokens.shape)
        bounds = [u < self.replaced, u < self.replaced + self.kept]
        return numpy.where(chosen, numpy.select(bounds, [others, tokens], MASK), tokens)

    def equation(self) -> str:
        """Of what is shown."""
        hidden = 1 - self.replaced - self.kept
        return (
            f"x = the words, {self.share:.0%} of them chosen: of these {hidden:.0%} [MASK], "
            f"{self.replaced:.0%} any word, {self.kept:.0%} as they are"
        )
