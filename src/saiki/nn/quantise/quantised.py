"""What a quantiser makes of vectors, and how much of its codebook that uses."""

from typing import NamedTuple

import torch
from torch import Tensor


class Quantised(NamedTuple):
    """Vectors after quantisation."""

    vectors: Tensor
    """``(…, size)``, what is handed on."""
    codes: Tensor
    """``(…, books)``, the number of the code that each codebook gave."""
    loss: Tensor
    """What training adds to the loss, a scalar."""
    counts: Tensor
    """``(books, codes)``, how often each code was given; in training in all processes together."""

    @property
    def usage(self) -> Tensor:
        return usage(self.counts)

    @property
    def perplexity(self) -> Tensor:
        return perplexity(self.counts)


def usage(counts: Tensor) -> Tensor:
    """The share of the codes that were given at all, from ``counts: (books, codes)``.

    >>> usage(torch.tensor([[3, 0, 1, 0]])).item()
    0.5
    """
    return (counts > 0).double().mean()


def perplexity(counts: Tensor) -> Tensor:
    """exp(−Σ p ln p) with p the share of each code: as many codes, all given equally often, would
    be as hard to guess. The mean over the codebooks, of ``counts: (books, codes)``.

    >>> perplexity(torch.tensor([[3, 3, 0]])).item()
    2.0
    """
    return entropy(counts).exp().mean()


def entropy(counts: Tensor) -> Tensor:
    """−Σ p ln p of each codebook, ``(books,)``, in nats, with p the share of each code, from
    ``counts: (books, codes)``.

    >>> entropy(torch.tensor([[3, 0, 1, 0], [1, 1, 1, 1]]))
    tensor([0.5623, 1.3863], dtype=torch.float64)
    """
    p = counts.double()
    p = p / p.sum(1, keepdim=True).clamp(min=1)
    found: Tensor = torch.special.entr(p).sum(1)
    return found


def count(codes: Tensor, size: int) -> Tensor:
    """How often each of ``size`` codes occurs ``(books, size)`` in ``codes: (books, vectors)``."""
    books = len(codes)
    first = torch.arange(books, device=codes.device)[:, None] * size
    return torch.bincount((codes + first).flatten(), minlength=books * size).view(books, size)
