"""The incomplete beta function, of which the distributions of Student and of counts are made."""

import torch
from torch import Tensor

STEPS = 10_000
"""Of the fraction at most; the square root of the larger argument is enough."""


@torch.no_grad()
def incomplete_beta(a: Tensor, b: Tensor, x: Tensor, rest: Tensor | None = None) -> Tensor:
    """I(a, b, x) = ∫₀ˣ tᵃ⁻¹ (1 − t)ᵇ⁻¹ dt / B(a, b), in double precision, by its continued fraction
    (DLMF 8.17.22, with the method of Lentz 1976).

    Args:
        a: above 0.
        b: above 0.
        x: from 0 to 1.
        rest: 1 − x, where it is known more exactly.
    """
    a, b, x = torch.broadcast_tensors(a.double(), b.double(), x.double())
    rest = 1 - x if rest is None else rest.double().expand_as(x)
    turned = x > (a + 1) / (a + b + 2)  # where the fraction of 1 − I(b, a, 1 − x) is shorter
    a, b = torch.where(turned, b, a), torch.where(turned, a, b)
    x, rest = torch.where(turned, rest, x), torch.where(turned, x, rest)
    log_beta = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
    front = (log_beta + torch.xlogy(a, x) + torch.xlogy(b, rest)).exp() / a
    share = front * _fraction(a, b, x)
    return torch.where(turned, 1 - share, share).clamp(0, 1)


def _fraction(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    d = 1 / _nonzero(1 - (a + b) * x / (a + 1))
    c, value = torch.ones_like(x), d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            value = value * d * c
        if m % 8 == 0 and not bool(((d * c - 1).abs() > 1e-14).any()):
            break
    return value


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1e-300, 1e-300, x)
