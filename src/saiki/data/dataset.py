"""What an exercise learns from and is judged by, and what is common to all of it, such as the order
in which examples come.

A dataset is made of knobs, and reads nothing before it is asked for something.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, dataclass_transform

import numpy as np

from saiki import processes
from saiki.errors import InputError
from saiki.optimisation import Batching

Batch = TypeVar("Batch")
Order = Iterator[tuple[np.ndarray, tuple[int, ...]]]
"""The numbers of the examples of each batch of all processes, and what else is random in it follows
from."""
POOL = 100
"""Batches whose rows are sorted by length together."""


class Parts(Protocol):
    """What is learned from, and what the final figures are of."""

    @property
    def train(self) -> Sized: ...
    @property
    def test(self) -> Sized: ...


@dataclass_transform(frozen_default=True, eq_default=False)
class _Dataclass:
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(frozen=True, eq=False)(cls)


class Dataset(_Dataclass, ABC, Generic[Batch]):
    """Parts of data, and batches of what is learned from. A subclass tells what it is made of as
    fields, and is a frozen dataclass without being called one.

    Args:
        batching: how many examples a batch has, and how many batches an update of the weights.
    """

    batching: Batching

    prefetch: ClassVar[int] = 0
    """Batches that a thread of its own prepares while the model learns; 0: no such thread."""

    @property
    def parts(self) -> Parts | None:
        """The examples of each part; None where they are made without end."""
        return None

    def examples(self) -> tuple[int, int] | None:
        """How many there are to learn from, and how many that the final figures are of; None where
        they are made without end."""
        return None if self.parts is None else (len(self.parts.train), len(self.parts.test))

    @property
    def epoch(self) -> float:
        """Updates of the weights in which each example is seen once; infinity where examples are
        made without end."""
        return math.inf

    @abstractmethod
    def batches(self, seed: int, start: int = 0) -> Iterator[Batch]:
        """Training batches without end from number ``start`` on, the same for the same seed.

        Where several processes train, each batch is the part of this process, ``batch_size``
        examples, of one for all of them: see :func:`saiki.processes.part`.
        """

    def describe(self) -> str:
        """What a person should know of the data before the training begins; nothing if empty.

        Raises:
            InputError: they cannot be read, or nothing can be learned from them.
        """
        return ""

    def items(self) -> Mapping[str, Iterable[str | bytes]]:
        """What is learned from and judged by, where it does not follow from the knobs: items in
        their order under the name of their kind, a plural. A run that goes on must find the same.
        """
        return {}

    def example(self) -> Any:
        """Two or more inputs of the model, as an export needs them, made without any data; here the
        first part of a batch."""
        batch: Any = next(self.batches(0))
        return batch[0] if isinstance(batch, tuple) else batch

    def input_example(self) -> str:
        """What a user may give the trained model, from the data where there are any."""
        return "INPUT"


class Draw(NamedTuple):
    """The examples of one batch."""

    seed: int
    number: int
    """Of the batch."""
    update: int
    """The number of the update of the weights that it is part of."""
    rows: np.ndarray
    """The numbers of the examples, those of all processes."""
    key: tuple[int, ...]
    """From which all follows that is random in the batch."""

    @property
    def part(self) -> slice:
        """Which of the rows are of this process."""
        return processes.part(len(self.rows))

    @property
    def own(self) -> np.ndarray:
        """The rows of this process."""
        return self.rows[self.part]


class IndexedDataset(Dataset[Batch]):
    """Examples that have numbers. A subclass says what a batch of some of them is."""

    @abstractmethod
    def batch(self, draw: Draw) -> Batch:
        """The part of this process of a batch."""

    @property
    def count(self) -> int | None:
        """Examples of an epoch; None where there are new ones without end."""
        return None if self.parts is None else len(self.parts.train)

    @property
    def lengths(self) -> Sequence[tuple[int, ...]] | np.ndarray | None:
        """Of each example, where those of a batch are to be similar; see
        :func:`buckets`."""
        return None

    @property
    def epoch(self) -> float:
        if self.count is None:
            return math.inf
        return batches_of(self.count, self.batching.batch_size) / self.batching.accumulate

    def order(self, seed: int, start: int) -> Order:
        """The numbers of the examples of each batch, from number ``start`` on."""
        size = self.batching.batch_size
        if self.count is None:
            return endless(size, seed, start)
        if (lengths := self.lengths) is None:
            return passes(self.count, size, seed, start)
        return buckets(lengths, size, seed, start)

    def batches(self, seed: int, start: int = 0) -> Iterator[Batch]:
        for number, (rows, key) in enumerate(self.order(seed, start), start):
            update = number // self.batching.accumulate
            yield self.batch(Draw(seed, number, update, rows, key))


def endless(batch_size: int, seed: int, start: int = 0) -> Order:
    """Examples of which there are new ones without end, one after another."""
    size = batch_size * processes.count()
    for number in itertools.count(start):
        yield np.arange(number * size, (number + 1) * size), (seed, number)


def shuffled(count: int, size: int, seed: int, start: int = 0) -> Iterator[np.ndarray]:
    """Batches of ``size`` pairs (place, index), epoch after epoch without a gap.

    Each epoch is a new permutation of the ``count`` indices, drawn from the seed and its number,
    and the epochs lie end to end: place p of the endless row belongs to batch p // size. So all
    batches are of one size, and number ``start`` is known without those before it.
    """
    epoch, order = -1, np.empty(0, np.int64)
    for batch in itertools.count(start):
        places = np.arange(batch * size, (batch + 1) * size)
        indices = np.empty_like(places)
        for i, place in enumerate(places.tolist()):
            if place // count != epoch:
                epoch = place // count
                order = np.random.default_rng((seed, epoch)).permutation(count)
            indices[i] = order[place % count]
        yield np.stack((places, indices), 1)


def batches_of(count: int, batch_size: int) -> int:
    """Batches of an epoch of :func:`passes`."""
    return math.ceil(count / (batch_size * processes.count()))


def passes(count: int, batch_size: int, seed: int, start: int = 0) -> Order:
    """Each epoch is a new permutation of ``count`` examples. Its last batch is smaller, but gives
    each process as much."""
    first, place = divmod(start, batches_of(count, batch_size))
    size = batch_size * processes.count()
    for epoch in itertools.count(first):
        order = np.random.default_rng((seed, 0, epoch)).permutation(count)
        for at in range(place * size, count, size):
            rows = order[at : at + size]
            shares = math.ceil(len(rows) / processes.count())
            yield np.resize(rows, shares * processes.count()), (seed, 1, epoch, at)
        place = 0


def buckets(
    lengths: Sequence[tuple[int, ...]] | np.ndarray, batch_size: int, seed: int, start: int = 0
) -> Order:
    """Rows of similar lengths, epoch after epoch.

    Each epoch has ⌈rows / size⌉ batches, in which each row is once. Their sizes differ by one at
    most, so that no batch is much smaller than the others. Rows are shuffled in every epoch; those
    of ``POOL`` batches are sorted by length together and cut, and the batches shuffled again.

    Args:
        lengths: of each row: one, or several of which the first counts most.
    """
    if not len(lengths):
        raise InputError("there are no rows to make batches of")
    sides = np.asarray(lengths).reshape(len(lengths), -1)
    count = batches_of(len(sides), batch_size)
    for epoch in itertools.count(start // count):
        draw = np.random.default_rng((seed, epoch))
        order = draw.permutation(len(sides))
        edges = np.arange(count + 1) * len(sides) // count
        for at in range(0, count, POOL):
            pool = order[edges[at] : edges[min(at + POOL, count)]]
            pool[:] = pool[np.lexsort(sides[pool].T[::-1])]
        batches = np.split(order, edges[1:-1])
        for number in draw.permutation(count)[max(0, start - epoch * count) :].tolist():
            yield batches[number], (seed, epoch, number)
