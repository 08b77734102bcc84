"""From the outputs of all time steps to one vector for each row."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule

POOLINGS = ("attention", "mean", "max", "last")


def real_steps(y: Tensor, lengths: Tensor | None) -> Tensor:
    """Which steps of ``y: (batch, time, features)`` are real and not padding: ``(batch, time)``."""
    steps = torch.arange(y.shape[1], device=y.device)
    if lengths is None:
        return torch.ones_like(steps, dtype=torch.bool).expand(y.shape[:2])
    return steps < lengths.to(y.device)[:, None]


class AttentionPooling(DescribedModule, name="attention_pooling.v1"):
    """The mean over time, weighted by what the layer learns to look at (Yang et al. 2016, §2.2).

    aᵗ = softmaxₜ(vᵀ tanh(W yᵗ + b)),  u = Σₜ aᵗ yᵗ; steps beyond the length of a row weigh 0.

    Args:
        size: features of y.
        hidden_size: rows of W.
    """

    def __init__(self, size: int, hidden_size: int = 48) -> None:
        super().__init__()
        self.W = nn.Linear(size, hidden_size)
        self.v = nn.Linear(hidden_size, 1, bias=False)

    def weights(self, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """a, ``(batch, time)``; each row sums to 1."""
        scores: Tensor = self.v(torch.tanh(self.W(y))).squeeze(-1)
        return scores.masked_fill(~real_steps(y, lengths), -torch.inf).softmax(-1)

    def forward(self, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``y: (batch, time, size)`` to ``u: (batch, size)``."""
        u: Tensor = (self.weights(y, lengths)[..., None] * y).sum(1)
        return u


class MeanPooling(DescribedModule, name="mean_pooling.v1"):
    """The plain mean over the real steps: u = 1/T Σₜ yᵗ."""

    def forward(self, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``y: (batch, time, size)`` to ``u: (batch, size)``."""
        real = real_steps(y, lengths)[..., None]
        return (y * real).sum(1) / real.sum(1)


class MaxPooling(DescribedModule, name="max_pooling.v1"):
    """The largest value of each feature over the real steps (Collobert et al. 2011, §3.3.2):
    uᵢ = maxₜ yᵢᵗ."""

    def forward(self, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``y: (batch, time, size)`` to ``u: (batch, size)``."""
        return y.masked_fill(~real_steps(y, lengths)[..., None], -torch.inf).amax(1)


class LastPooling(DescribedModule, name="last_pooling.v1"):
    """Where each direction ends: its output after the last step that it reads.

    With features of a forward and a backward layer side by side, the first half is taken from the
    last real step and the second half from the first step.

    Args:
        bidirectional: whether y holds two directions.
    """

    def __init__(self, bidirectional: bool) -> None:
        super().__init__()
        self.bidirectional = bidirectional

    def forward(self, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``y: (batch, time, size)`` to ``u: (batch, size)``."""
        if lengths is None:
            last = y[:, -1]
        else:
            at = (lengths.to(y.device) - 1)[:, None, None].expand(-1, 1, y.shape[2])
            last = y.gather(1, at).squeeze(1)
        if not self.bidirectional:
            return last
        half = y.shape[2] // 2
        return torch.cat((last[:, :half], y[:, 0, half:]), -1)


class JoinedPooling(DescribedModule, name="joined_pooling.v1"):
    """Several poolings, their vectors side by side.

    Args:
        poolings: modules that take ``y`` and the lengths.
    """

    def __init__(self, poolings: Sequence[nn.Module]) -> None:
        super().__init__()
        self.poolings = nn.ModuleList(poolings)

    def forward(self, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``y: (batch, time, size)`` to ``u: (batch, poolings · size)``."""
        return torch.cat([pooling(y, lengths) for pooling in self.poolings], -1)


def make(names: str, size: int, bidirectional: bool) -> tuple[nn.Module, int]:
    """The pooling of a name in ``POOLINGS``, or of several with ``+`` between, such as
    ``attention+max``; and the features that come out of it.

    Args:
        size: features of y.
        bidirectional: whether they are those of two directions.

    Raises:
        InputError: there is no pooling of a name.
    """
    poolings = list[nn.Module]()
    for name in names.split("+"):
        match name:
            case "attention":
                poolings.append(AttentionPooling(size))
            case "mean":
                poolings.append(MeanPooling())
            case "max":
                poolings.append(MaxPooling())
            case "last":
                poolings.append(LastPooling(bidirectional))
            case _:
                raise InputError(
                    f"pooling must be one of {', '.join(POOLINGS)}, or several of them with + "
                    f"between, got {names!r}"
                )
    return (poolings[0] if len(poolings) == 1 else JoinedPooling(poolings)), size * len(poolings)
