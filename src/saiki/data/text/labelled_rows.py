"""Labelled texts as rows of numbers, and batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saiki.text import UNKNOWN
from saiki.text.rows import padded

Batch = tuple[Tensor, Tensor, Tensor]
"""Numbers of words ``(batch, time)``, how many there are in each row, and targets ``(batch,
classes)``."""


@dataclass(frozen=True)
class LabelledRows:
    """The numbers of the words of each text, and what is to be said of it."""

    rows: list[list[int]]
    targets: np.ndarray
    """``(texts, classes)``."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if not row:  # a text without a word
                row.append(UNKNOWN)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, places: Sequence[int] | np.ndarray) -> Batch:
        """Some rows, padded to the longest of them."""
        tokens, lengths = padded([self.rows[i] for i in places])
        return tokens, lengths, torch.from_numpy(self.targets[np.asarray(places)])

    def by_length(self, batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
        """All rows, the shortest first, with their places."""
        order = np.argsort([len(row) for row in self.rows], kind="stable")
        for at in range(0, len(order), batch_size):
            yield order[at : at + batch_size], self.batch(order[at : at + batch_size])
