"""Sentences in three parts, each of them once, and batches of them as rows of numbers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saiki.data.text.digests import place
from saiki.data.text.masking import TokenRows
from saiki.errors import InputError
from saiki.text import END, FIRST, UNKNOWN, Text

SHARE = 0.02
"""Of the sentences, those set apart to develop, and as many to test."""
EVALUATED = 64
"""Rows of a batch where nothing is learned."""


@dataclass(frozen=True)
class Sentences:
    """What to learn from, to develop and to test, and what a person should know of it."""

    train: list[str]
    development: list[str]
    test: list[str]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[list[str]]:
        return iter((self.train, self.development, self.test))

    @classmethod
    def parted(cls, sentences: Iterable[str], most: int = 0) -> "Sentences":
        """Each of the sentences once, in the part that a hash of its letters says: so it is always
        the same, whatever else there is, and no sentence is near to itself in another part, with a
        capital or a comma more.

        Args:
            most: learned from, evenly spread; 0: all.
        """
        lines = [" ".join(line.split()) for line in sentences]
        full = [line for line in lines if line]
        unlike = list(dict.fromkeys(full))
        parts: tuple[list[str], ...] = ([], [], [])
        for sentence in unlike:
            at = place([sentence])
            parts[1 if at < SHARE else 2 if at < 2 * SHARE else 0].append(sentence)
        for part, name in zip(parts, ("learn from", "develop", "test"), strict=True):
            if not part:
                raise InputError(
                    f"of {len(unlike):,} different sentences none is left to {name}; "
                    f"{SHARE:.0%} each are set apart, so give some hundreds"
                )
        notes = [f"{len(full) - len(unlike):,} that occur again left out"]
        train = parts[0]
        if 0 < most < len(train):
            notes.append(f"learned from {most:,} of {len(train):,}")
            train = [train[i] for i in np.linspace(0, len(train) - 1, most).astype(int).tolist()]
        return cls(train, parts[1], parts[2], tuple(n for n in notes if not n.startswith("0 ")))


class Rows(NamedTuple):
    """Sentences as numbers, each with its end."""

    tokens: Tensor
    """``(rows, time)``."""
    lengths: Tensor
    """With the end, ``(rows,)``."""


@dataclass(frozen=True)
class SentenceRows:
    """The sentences of all parts as numbers, but those that are too long or have no known token."""

    train: TokenRows
    development: TokenRows
    test: TokenRows
    left_out: int = 0

    @classmethod
    def of(cls, sentences: Sentences, text: Text, longest: int) -> "SentenceRows":
        """
        Args:
            longest: tokens of a sentence, without its end.
        """
        parts = list[TokenRows]()
        for part, name in zip(sentences, ("learn from", "develop", "test"), strict=True):
            ids = ([*text.encode(sentence), END] for sentence in part)
            rows = TokenRows.of(row for row in ids if len(row) <= longest + 1 and max(row) >= FIRST)
            if not len(rows):
                raise InputError(
                    f"of {len(part):,} sentences to {name} none is left: all have more than "
                    f"{longest} tokens, or none that is known; raise longest, or cut them otherwise"
                )
            parts.append(rows)
        train, development, test = parts
        left_out = sum(map(len, sentences)) - sum(map(len, parts))
        return cls(train, development, test, left_out)

    @property
    def unknown(self) -> float:
        """The share of what is learned from that the language does not know."""
        tokens = self.train.tokens
        return float((tokens == UNKNOWN).sum() / (tokens != END).sum())


def batch(rows: TokenRows, places: Sequence[int] | np.ndarray) -> Rows:
    """Some of the rows side by side."""
    tokens, lengths = rows.padded(places)
    return Rows(torch.from_numpy(tokens), torch.from_numpy(lengths))


def by_length(rows: TokenRows, size: int = EVALUATED) -> Iterator[tuple[np.ndarray, Rows]]:
    """All rows, the shortest first, and their places."""
    order = np.argsort(rows.lengths, kind="stable")
    for at in range(0, len(order), size):
        yield order[at : at + size], batch(rows, order[at : at + size])


def spread(rows: TokenRows, most: int) -> TokenRows:
    """So many of the rows at most, evenly spread over them; 0: all."""
    if not 0 < most < len(rows):
        return rows
    all_rows = list(rows.rows())
    return TokenRows.of(all_rows[i] for i in np.linspace(0, len(all_rows) - 1, most).astype(int))
