"""Which positions of a memory a step may attend to (Luong, Pham & Manning 2015, §3.2).

Positions s are counted among the real ones of each row, from 0 to S − 1; where padding stands only
at the end, they are the positions themselves. So every window holds a real position.

=========== ========================================= =============================================
window      positions                                 the exponentials of their scores are times
=========== ========================================= =============================================
``global``  all                                       1
``local-m`` abs(s − p) ≤ reach, p the step, cut to    1
            lie between 0 and S − 1
``local-p`` abs(s − p) ≤ reach, p = S σ(vᵀ tanh(W q)) exp(−(s − p)² / 2σ²) with σ = reach / 2
=========== ========================================= =============================================

Where Luong et al. multiply the softmax with the Gaussian, so that the weights do not sum to 1, ours
are divided by their sum.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.nn.precision import at_least_float32

Name = Literal["global", "local-m", "local-p"]
WINDOWS = ("global", "local-m", "local-p")


class Global(nn.Module):
    """All real positions."""

    def equation(self) -> str:
        """Which positions there are; nothing where it is all."""
        return ""

    def forward(self, query: Tensor, mask: Tensor, position: Tensor | None) -> Tensor:
        """What is added to the scores: ``(batch, time or 1, source)``, −∞ outside the window.

        Args:
            query: ``(batch, time, query_size)``.
            mask: ``(batch, source)``, True where a position is real; at least one of each row.
            position: ``(batch or 1, time)``, the step of each query.
        """
        return torch.where(mask, 0.0, -torch.inf)[:, None]


class Monotonic(nn.Module):
    """Around the position with the number of the step; the last one, when there are no more."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def equation(self) -> str:
        return f", |s − t| ≤ {self.reach}"

    def forward(self, query: Tensor, mask: Tensor, position: Tensor | None) -> Tensor:
        if position is None:
            raise InputError("the window 'local-m' is around the step of the query; give position")
        s = numbers(mask)
        p = torch.minimum(position.clamp_min(0)[..., None], s[..., -1:])
        return torch.where(mask[:, None] & ((s - p).abs() <= self.reach), 0.0, -torch.inf)


class Predictive(nn.Module):
    """Around a position that the query tells, the farther the less."""

    def __init__(self, query_size: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.W = nn.Linear(query_size, query_size, bias=False)
        self.v = nn.Linear(query_size, 1, bias=False)

    def equation(self) -> str:
        sigma = f"{self.reach / 2:g}"
        return (
            f" exp(−(s − u)² / 2 · {sigma}²), |s − u| ≤ {self.reach}, u = S σ(vᵀ tanh(W h)), "
            "divided by their sum"
        )

    def forward(self, query: Tensor, mask: Tensor, position: Tensor | None) -> Tensor:
        s = numbers(mask)
        p = (s[..., -1:] + 1) * at_least_float32(self.v(torch.tanh(self.W(query)))).sigmoid()
        within = mask[:, None] & ((s - p).abs() <= self.reach)
        return (-2 * ((s - p) / self.reach).square()).masked_fill(~within, -torch.inf)


def numbers(mask: Tensor) -> Tensor:
    """s of each real position, and in the end that of the last one: ``(batch, 1, source)``."""
    return (mask.cumsum(-1) - 1)[:, None]


def make(name: str, query_size: int, reach: int) -> Global | Monotonic | Predictive:
    """The window of that name; the arguments are those of :class:`saiki.nn.Attention`.

    Raises:
        InputError: there is no such window.
    """
    match name:
        case "global":
            return Global()
        case "local-m":
            return Monotonic(reach)
        case "local-p":
            return Predictive(query_size, reach)
    raise InputError(f"window must be one of {', '.join(WINDOWS)}, got {name!r}")
