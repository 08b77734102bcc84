"""How probable an image is, given what a decoder says of each of its pixels.

The values of an image are from 0 to 1, and its pixels independent of each other once the decoder
has spoken. A decoder gives ``outputs`` numbers for each of them, as so many times the channels.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.saving.pretrained import DescribedModule

LEVELS = 256
"""Values that a pixel has in a file."""
SMALLEST = 0.5 / (LEVELS - 1)
"""Standard deviation of a Gaussian at least: half the step from one value to the next. Below it a
density of values that are really steps would grow without end."""
SHARPEST = -7.0
"""Log-scale of a logistic distribution at least (Salimans et al. 2017, code)."""


class Likelihood(DescribedModule, ABC, name="likelihood.v1"):
    """p(x | v)."""

    outputs: int = 1
    """Numbers that a decoder says of each value."""
    equation: ClassVar[str]

    @abstractmethod
    def log_prob(self, v: Tensor, x: Tensor) -> Tensor:
        """ln p(x | v), summed over the pixels: ``(batch,)``.

        Args:
            v: ``(…, batch, outputs · channels, height, width)``.
            x: ``(batch, channels, height, width)``.
        """

    @abstractmethod
    def mean(self, v: Tensor) -> Tensor:
        """The image that is expected, ``(…, batch, channels, height, width)``, from 0 to 1."""


class Bernoulli(Likelihood, name="bernoulli.v1"):
    """A pixel is 1 with probability σ(v), otherwise 0.

    Of pixels between, ln p is the cross-entropy of the two, which is no probability of anything,
    but says how alike they are.
    """

    equation = "ln p(x | z) = Σ x ln σ(v) + (1 − x) ln(1 − σ(v))"

    def log_prob(self, v: Tensor, x: Tensor) -> Tensor:
        return (x * v - F.softplus(v)).sum((-3, -2, -1))

    def mean(self, v: Tensor) -> Tensor:
        return v.sigmoid()


class Gaussian(Likelihood, name="gaussian_likelihood.v1"):
    """A pixel is normally distributed around v, with one standard deviation for each channel.

    Learned, the deviation weighs the error of the image against the divergence as the data ask for
    (Rybkin, Daniilidis & Levine 2021), so that no weight has to be looked for.

    Args:
        channels: of an image.
        deviation: the standard deviation; 0: it is learned.
    """

    equation = "ln p(x | z) = Σ −½ ((x − v) / s)² − ln s − ½ ln 2π"

    def __init__(self, channels: int, deviation: float = 0.0) -> None:
        super().__init__()
        start = torch.full((channels, 1, 1), math.log(deviation or 0.25))
        if deviation:
            self.register_buffer("log_deviation", start)
        else:
            self.log_deviation = nn.Parameter(start)
        self.smallest = 0.0 if deviation else SMALLEST

    @property
    def deviation(self) -> Tensor:
        """``(channels, 1, 1)``."""
        return self.log_deviation.exp() + self.smallest

    def log_prob(self, v: Tensor, x: Tensor) -> Tensor:
        s = self.deviation
        each = -0.5 * ((x - v) / s).square() - s.log() - 0.5 * math.log(2 * math.pi)
        return each.sum((-3, -2, -1))

    def mean(self, v: Tensor) -> Tensor:
        return v.clamp(0, 1)


class DiscretisedLogistic(Likelihood, name="discretised_logistic.v1"):
    """Each of the 256 values of a pixel has the probability that a mixture of logistic
    distributions gives to the half step on either side of it, the first and the last all that lies
    beyond (Salimans et al. 2017, §2.1; here each channel has a mixture of its own).

    Args:
        components: of the mixture.
    """

    equation = "p(x | z) = Π Σₖ πₖ (σ((x + ½ step − mₖ) / sₖ) − σ((x − ½ step − mₖ) / sₖ))"

    def __init__(self, components: int = 1) -> None:
        super().__init__()
        self.components = components
        self.outputs = 3 * components

    def _parts(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and log-scales, ``(…, components, channels, height, width)``, the
        values of an image being from −1 to 1."""
        weights, means, scales = v.unflatten(-3, (3, self.components, -1)).unbind(-5)
        return weights.log_softmax(-4), means, scales.clamp(min=SHARPEST)

    def log_prob(self, v: Tensor, x: Tensor) -> Tensor:
        weights, means, scales = self._parts(v)
        level = (x * (LEVELS - 1)).round().unsqueeze(-4)
        centred, half = 2 * level / (LEVELS - 1) - 1 - means, 1 / (LEVELS - 1)
        upper, lower = ((centred + side) * (-scales).exp() for side in (half, -half))
        # σ(a) − σ(b) = σ(a) σ(−b) (1 − exp(b − a)), of which no digit is lost
        above = torch.where(level == LEVELS - 1, 0.0, F.logsigmoid(upper))
        below = torch.where(level == 0, 0.0, F.logsigmoid(-lower))
        edge = (level == 0) | (level == LEVELS - 1)
        between = torch.where(edge, 0.0, (-torch.expm1(-2 * half * (-scales).exp())).log())
        return (weights + above + below + between).logsumexp(-4).sum((-3, -2, -1))

    def mean(self, v: Tensor) -> Tensor:
        weights, means, _ = self._parts(v)
        return ((weights.exp() * means.clamp(-1, 1)).sum(-4) + 1) / 2
