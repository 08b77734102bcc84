"""What an exercise learns from and is judged by, and what is common to all of it.

A dataset is made of knobs, and reads nothing before it is asked for something.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, dataclass_transform

import numpy as np

from saiki import processes
from saiki.data.order import Order, batches_of, buckets, endless, passes
from saiki.optimisation import Batching

Batch = TypeVar("Batch")


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
        :func:`saiki.data.order.buckets`."""
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
