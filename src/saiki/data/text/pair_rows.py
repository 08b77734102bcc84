"""Pairs of texts as rows of numbers, and batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from torch import Tensor

from saiki import processes
from saiki.data.order import buckets
from saiki.data.text.pairs import Pairs
from saiki.text import BEGIN, END, Text
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
        return cls(
            [
                ([*source.encode(x), END], [BEGIN, *target.encode(y), END])
                for x, y in zip(pairs.source, pairs.target, strict=True)
            ]
        )

    @cached_property
    def mean_length(self) -> float:
        """Steps of a target, on average."""
        return sum(len(y) - 1 for _, y in self.rows) / len(self.rows)

    def batches(self, batch_size: int, seed: int, start: int = 0) -> Iterator[Batch]:
        """Of similar lengths, without end, from number ``start`` on; the part of this process."""
        lengths = [(len(y), len(x)) for x, y in self.rows]
        for indices, _ in buckets(lengths, batch_size, seed, start):
            mine = indices[processes.part(len(indices))].tolist()
            yield _batch([self.rows[i] for i in mine])

    def by_length(self, batch_size: int) -> Iterator[Batch]:
        """The part of this process, the shortest rows first."""
        ordered = sorted(self.rows, key=lambda row: (len(row[1]), len(row[0])))
        own = ordered[processes.part(len(ordered))]
        for at in range(0, len(own), batch_size):
            yield _batch(own[at : at + batch_size])


def _batch(rows: Sequence[Row]) -> Batch:
    return *padded([x for x, _ in rows]), *padded([y for _, y in rows])
