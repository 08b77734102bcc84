"""What a quantiser makes of vectors, how much of its codebook that uses, and how gradients pass."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


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
    entropies: Tensor = torch.special.entr(p).sum(1)
    return entropies


def count(codes: Tensor, size: int) -> Tensor:
    """How often each of ``size`` codes occurs ``(books, size)`` in ``codes: (books, vectors)``."""
    books = len(codes)
    first = torch.arange(books, device=codes.device)[:, None] * size
    return torch.bincount((codes + first).flatten(), minlength=books * size).view(books, size)


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """q, whose gradient goes to z as it is (Bengio, Léonard & Courville 2013, §4).

    y = q + z − sg(z), where sg stops the gradient: the numbers of q to the last bit.
    """
    return q.detach() + (z - z.detach())


def rotated(z: Tensor, q: Tensor) -> Tensor:
    """q, as z rotated and scaled to it, so that the gradient tells where in its region of the space
    z lies (the rotation trick; Fifty et al. 2024, arXiv 2410.06424, §4.2).

    With ẑ = z/|z|, q̂ = q/|q| and w = (ẑ + q̂)/|ẑ + q̂|, of which no gradient is taken,

    y = |q|/|z| (z − 2 w wᵀz + 2 q̂ ẑᵀz)

    and the numbers are those of q. Shapes are ``(…, size)``; a z that is 0 gets no gradient.
    """
    q = q.detach()
    with torch.no_grad():
        a, b = F.normalize(z, dim=-1), F.normalize(q, dim=-1)
        w = F.normalize(a + b, dim=-1)
        length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        scale = torch.linalg.vector_norm(q, dim=-1, keepdim=True) / length.clamp(min=1e-12)
        scale = scale * (length > 0)
    along_w, along_a = (w * z).sum(-1, keepdim=True), (a * z).sum(-1, keepdim=True)
    return straight_through(scale * (z - 2 * along_w * w + 2 * along_a * b), q)


GRADIENTS = {"straight-through": straight_through, "rotation": rotated}
"""By the names that :class:`saiki.nn.VectorQuantizer` takes."""
