"""Sums of two numbers, written bit by bit, the least significant first.

A pair of numbers below 2^(bits−1) is one number, a · 2^(bits−1) + b.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saiki import processes
from saiki.data.dataset import Dataset

KEPT_APART = 2000
Numbers = np.ndarray[Any, Any]
Bits = tuple[Tensor, Tensor]
"""The bits of two numbers, ``(batch, bits, 2)``, and of their sum, ``(batch, bits)``."""


def encode(pairs: Numbers, bits: int) -> Bits:
    """Pairs as the bits of a and b and of a + b."""
    a, b = pairs >> (bits - 1), pairs & ((1 << (bits - 1)) - 1)
    places = np.arange(bits)
    x = np.stack([(n[:, None] >> places) & 1 for n in (a, b)], -1)
    t = ((a + b)[:, None] >> places) & 1
    return torch.from_numpy(x).float(), torch.from_numpy(t).float()


def kept_apart(bits: int) -> Numbers:
    """The pairs never trained on: 2,000 of them, or a quarter of all if there are few."""
    all_pairs = 4 ** (bits - 1)
    count = min(KEPT_APART, all_pairs // 4)
    random = np.random.default_rng(bits)
    if all_pairs <= 2**20:
        return random.permutation(all_pairs)[:count]
    pairs = np.unique(random.integers(0, all_pairs, 2 * count))
    return random.permutation(pairs)[:count]


class Sums(Dataset[Bits]):
    """Pairs that are drawn without end, but those kept apart."""

    bits: int

    def batches(self, seed: int, start: int = 0) -> Iterator[Bits]:
        return itertools.islice(self._from_the_first(seed), start, None)

    def _from_the_first(self, seed: int) -> Iterator[Bits]:
        size = self.batching.batch_size * processes.count()
        random = np.random.default_rng(seed)
        apart = np.sort(kept_apart(self.bits))
        part = processes.part(size)
        while True:
            pairs = random.integers(0, 4 ** (self.bits - 1), 4096 * max(1, size // 64))
            x, t = encode(pairs[~np.isin(pairs, apart)], self.bits)
            full = len(x) - len(x) % size
            for numbers, target in zip(x[:full].split(size), t[:full].split(size), strict=True):
                yield numbers[part], target[part]

    def example(self) -> Tensor:
        return encode(np.arange(2), self.bits)[0]

    def input_example(self) -> str:
        return "37 + 58"
