"""Measures of texts and of what is predicted of them."""

from collections.abc import Sequence

import numpy as np
import torch


def perplexity(loss: float) -> float:
    """e to the power of a mean of −ln p; infinity where it is beyond every number."""
    return torch.tensor(loss, dtype=torch.float64).exp().item()


def edit_distance(a: str, b: str) -> int:
    """The least number of characters to insert, delete or replace that make ``b`` of ``a``
    (Levenshtein 1966).

    Row by row dᵢⱼ = min(dᵢ₋₁ⱼ + 1, dᵢ₋₁ⱼ₋₁ + [aᵢ ≠ bⱼ], dᵢⱼ₋₁ + 1), where the last term, which
    runs along the row, is a running minimum of dᵢⱼ − j.

    >>> edit_distance("teh fox", "the foxx")
    3
    """
    codes = np.array([ord(c) for c in b], np.int64)
    j = np.arange(len(b) + 1)
    row = j
    for i, c in enumerate(a, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (codes != ord(c)))
        row = np.minimum.accumulate(np.concatenate(([i], best)) - j) + j
    return int(row[-1])


def error_rate(texts: Sequence[str], wanted: Sequence[str]) -> float:
    """Characters to change, by those that are wanted."""
    distance = sum(edit_distance(a, b) for a, b in zip(texts, wanted, strict=True))
    return distance / sum(map(len, wanted))


def exact_match(texts: Sequence[str], wanted: Sequence[str]) -> float:
    """Share of the texts that are right as a whole."""
    return sum(a == b for a, b in zip(texts, wanted, strict=True)) / len(wanted)
