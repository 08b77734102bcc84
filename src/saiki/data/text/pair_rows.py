"""Pairs of texts as rows of numbers, and batches of them."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from saiki import processes
from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.tables.encoding import Encoding
from saiki.data.text.pairs import Corpus, Pairs, corpus
from saiki.data.text.tokens import Tokens
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.text import BEGIN, END, SPECIAL, TOKENISERS, Text
from saiki.text.rows import padded

Row = tuple[list[int], list[int]]
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Sources ``(batch, time)``, their lengths, targets from BEGIN to END, and theirs."""


@dataclass(frozen=True)
class PairRows:
    """Sources with their end, and targets with their begin and end."""

    rows: list[Row]

    @classmethod
    def of(cls, pairs: Pairs, source: Text, target: Text) -> Self:
        """Pairs of texts, cut and numbered."""
        texts = zip(pairs.source, pairs.target, strict=True)
        return cls([([*source.encode(x), END], [BEGIN, *target.encode(y), END]) for x, y in texts])

    @cached_property
    def mean_length(self) -> float:
        """Steps of a target, on average."""
        return sum(len(y) - 1 for _, y in self.rows) / len(self.rows)

    def by_length(self, batch_size: int) -> Iterator[Batch]:
        """The part of this process, the shortest rows first."""
        ordered = sorted(self.rows, key=lambda row: (len(row[1]), len(row[0])))
        own = ordered[processes.part(len(ordered))]
        for at in range(0, len(own), batch_size):
            yield _batch(own[at : at + batch_size])


class TextPairs(IndexedDataset[Batch]):
    """Texts, each with the one that is to be written for it."""

    prefetch = 2

    @cached_property
    @abstractmethod
    def corpus(self) -> Corpus:
        """All pairs."""

    @cached_property
    @abstractmethod
    def texts(self) -> tuple[Text, Text]:
        """How sources and targets are read and written."""

    @cached_property
    def rows(self) -> PairRows:
        """The pairs to learn from, as numbers."""
        return PairRows.of(self.corpus.train, *self.texts)

    def examples(self) -> tuple[int, int]:
        return len(self.corpus.train), len(self.corpus.development)

    @property
    def count(self) -> int:
        return len(self.corpus.train)

    @property
    def lengths(self) -> list[tuple[int, int]]:
        return [(len(y), len(x)) for x, y in self.rows.rows]

    def batch(self, draw: Draw) -> Batch:
        return _batch([self.rows.rows[i] for i in draw.own])

    def describe(self) -> str:
        source, target = (len(text.vocabulary) for text in self.texts)
        notes = f"\n{self.corpus.notes}" if self.corpus.notes else ""
        return f"{self.corpus.in_words()}; {source:,} and {target:,} tokens{notes}"

    def items(self) -> dict[str, Iterator[str]]:
        kinds = ("pairs to learn from", "pairs to develop", "pairs to test")
        return {
            kind: map("\t".join, zip(part.source, part.target, strict=True))
            for kind, part in zip(kinds, self.corpus, strict=True)
        }

    def example(self) -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(0)
        source, target = (torch.randint(len(SPECIAL), (3, 7), generator=random) for _ in range(2))
        return source, torch.tensor([4, 7, 2]), target, torch.tensor([7, 3, 5])

    def input_example(self) -> str:
        return self.corpus.development.source[0]


class ParallelSource(Knobs):
    """Pairs of sentences, and how they are cut."""

    data: str = knob(
        "",
        "table of two columns, or folder with train and dev files; small_parallel_enja without",
        is_path=True,
    )
    encoded: Encoding = Encoding()
    source: str = knob("ja", "language that is read: how the names of its files end")
    target: str = knob("en", "language that is written")
    source_tokens: str = knob("words", "how the source is cut", choices=TOKENISERS)
    target_tokens: str = knob("words", "how the target is cut", choices=TOKENISERS)
    known: Tokens = Tokens()

    def validate(self) -> None:
        if self.source == self.target:
            raise InputError(f"source and target must differ, got {self.source!r} twice")


class ParallelText(TextPairs):
    """Sentences of two languages.

    Args:
        seed: which of them are set apart, where nothing says it.
    """

    source: ParallelSource
    seed: int

    @cached_property
    def all_lengths(self) -> Corpus:
        """The pairs, long ones among them."""
        knobs = self.source
        path = Path(knobs.data) if knobs.data else None
        return corpus(path, knobs.source, knobs.target, self.seed, knobs.encoded.encoding)

    @cached_property
    def corpus(self) -> Corpus:
        source, target = self.texts
        return self.all_lengths.within(self.source.known.longest, source.split, target.split)

    @cached_property
    def texts(self) -> tuple[Text, Text]:
        train, known = self.all_lengths.train, self.source.known
        return (
            known.build(self.source.source_tokens, train.source),
            known.build(self.source.target_tokens, train.target),
        )


def _batch(rows: Sequence[Row]) -> Batch:
    return *padded([x for x, _ in rows]), *padded([y for _, y in rows])
