"""Laws of the next value of a series, as a network says them.

A network gives ``parameters`` numbers for each target, all first ones, then all second ones, of
which :meth:`SeriesLikelihood.of` makes a law; its mean, say, is ``(…, targets)``. A value that is
NaN is missing, and has the density NaN; :meth:`SeriesLikelihood.loss` leaves it out.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.nn.incomplete_beta import incomplete_beta
from saiki.nn.precision import at_least_float32

SMALLEST = 1e-4
"""Scale of a law at least, so that the density of a series that stands still does not grow without
end; in units of what the network forecasts, which are about 1."""
LEAST_MEAN = 1e-6
"""Of counts."""
NORMAL_FREEDOM = 1e4
"""Degrees of freedom from which on the expansion is exact to nine digits."""
MOST_COUNT = 2.0**62
NODES = 32
"""At which quantiles of Student's t are computed, from which all others follow."""


@dataclass(frozen=True, eq=False)
class SeriesLikelihood(ABC):
    """p(y), of each target for itself."""

    parameters: ClassVar[int]
    """Numbers that a network says of each target."""
    counts: ClassVar[bool] = False
    """Whether values are whole numbers from 0 on."""
    equation: ClassVar[str]

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """From what a network says, ``(…, parameters · targets)``; half precision becomes single.

        Raises:
            InputError: there are not so many features.
        """
        if features.shape[-1] % cls.parameters:
            raise InputError(
                f"{cls.__name__} takes {cls.parameters} features for each target, got "
                f"{features.shape[-1]}"
            )
        return cls._of(*at_least_float32(features).chunk(cls.parameters, -1))

    @classmethod
    @abstractmethod
    def _of(cls, *numbers: Tensor) -> Self: ...

    @abstractmethod
    def restored(self, shift: Tensor | float, scale: Tensor | float) -> Self:
        """The law of shift + scale · y, in the units of a user."""

    @abstractmethod
    def log_density(self, y: Tensor) -> Tensor:
        """ln p(y), ``(…, targets)``."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """What is expected."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """So many draws of each, ``(count, …, targets)``, through which no gradient passes."""

    @abstractmethod
    def quantiles(self, levels: Sequence[float]) -> Tensor:
        """``(…, targets, levels)``, of levels between 0 and 1; no gradient passes."""

    def loss(self, y: Tensor) -> Tensor:
        """−ln p(y), the mean over all that is known; 0 where nothing is. What is missing has the
        gradient 0."""
        known = ~y.isnan()
        density = torch.where(known, self.log_density(torch.where(known, y, self.mean.detach())), 0)
        return -density.sum() / known.sum().clamp(min=1)


@dataclass(frozen=True, eq=False)
class LocationScale(SeriesLikelihood):
    """A law that is moved and scaled."""

    location: Tensor
    scale: Tensor

    def restored(self, shift: Tensor | float, scale: Tensor | float) -> Self:
        return replace(self, location=shift + scale * self.location, scale=scale * self.scale)

    @property
    def mean(self) -> Tensor:
        return self.location


@dataclass(frozen=True, eq=False)
class Gaussian(LocationScale):
    """A normal distribution (Salinas et al. 2020, §3.1).

    Args:
        location: μ.
        scale: σ.
    """

    parameters = 2
    equation = "y ~ N(μ, σ²),  σ = softplus(s) + 0.0001"

    @classmethod
    def _of(cls, *numbers: Tensor) -> Self:
        location, scale = numbers
        return cls(location, F.softplus(scale) + SMALLEST)

    def log_density(self, y: Tensor) -> Tensor:
        z = (y - self.location) / self.scale
        return -0.5 * z.square() - self.scale.log() - 0.5 * math.log(2 * math.pi)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return self.location + self.scale * _normal(count, self.location, generator)

    @torch.no_grad()
    def quantiles(self, levels: Sequence[float]) -> Tensor:
        z: Tensor = torch.special.ndtri(_levels(levels, self.location)).to(self.location)
        return self.location[..., None] + self.scale[..., None] * z


@dataclass(frozen=True, eq=False)
class Student(LocationScale):
    """Student's t, moved and scaled: as a normal distribution with heavy tails, the heavier the
    fewer its degrees of freedom. There are more than 2, so that it has a variance.

    Args:
        location: μ.
        scale: σ.
        freedom: ν.
    """

    freedom: Tensor

    parameters = 3
    equation = "(y − μ) / σ ~ t(ν),  σ = softplus(s) + 0.0001,  ν = 2 + softplus(n)"

    @classmethod
    def _of(cls, *numbers: Tensor) -> Self:
        location, scale, freedom = numbers
        # no fewer than 2.0001, so that the variance is finite in single precision, too
        return cls(location, F.softplus(scale) + SMALLEST, 2 + SMALLEST + F.softplus(freedom))

    def log_density(self, y: Tensor) -> Tensor:
        z = (y - self.location) / self.scale
        freedom = self.freedom.double()  # the difference of two large numbers
        log_constant = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
        log_constant = log_constant - 0.5 * (freedom * math.pi).log()
        tail = 0.5 * (self.freedom + 1) * torch.log1p(z.square() / self.freedom)
        return log_constant.to(z) - self.scale.log() - tail

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        half = (self.freedom / 2).expand(count, *self.freedom.shape)
        spread = (half / torch._standard_gamma(half, generator=generator)).sqrt()
        return self.location + self.scale * spread * _normal(count, self.location, generator)

    @torch.no_grad()
    def quantiles(self, levels: Sequence[float]) -> Tensor:
        _levels(levels, self.location)
        t = student_quantiles(self.freedom, tuple(levels))
        return self.location[..., None] + self.scale[..., None] * t.to(self.location)


@dataclass(frozen=True, eq=False)
class NegativeBinomial(SeriesLikelihood):
    """Counts: a Poisson distribution whose rate varies (Salinas et al. 2020, §3.1).

    p(y) = Γ(y + 1/α) / (Γ(y + 1) Γ(1/α)) · (1 / (1 + α μ))^(1/α) · (α μ / (1 + α μ))^y

    with the mean μ and the variance μ + α μ².

    Args:
        rate: μ.
        dispersion: α.
    """

    rate: Tensor
    dispersion: Tensor

    parameters = 2
    counts = True
    equation = "y ~ NB(μ, α),  var y = μ + α μ²,  μ = softplus(m),  α = softplus(a)"

    @classmethod
    def _of(cls, *numbers: Tensor) -> Self:
        rate, dispersion = map(F.softplus, numbers)
        return cls(rate + LEAST_MEAN, dispersion + SMALLEST)

    def restored(self, shift: Tensor | float, scale: Tensor | float) -> Self:
        """Counts are scaled by their law: scale · μ, and α / √scale (ibid., §3.3). They cannot be
        shifted.

        Raises:
            InputError: the shift is not 0.
        """
        if bool(torch.as_tensor(shift != 0).any()):
            raise InputError("counts cannot be shifted: normalise them by a scale alone")
        root = torch.as_tensor(scale, dtype=self.rate.dtype, device=self.rate.device).sqrt()
        return type(self)(scale * self.rate, self.dispersion / root)

    def log_density(self, y: Tensor) -> Tensor:
        y, rate, dispersion = y.double(), self.rate.double(), self.dispersion.double()
        shape, ratio = 1 / dispersion, torch.log1p(dispersion * rate)
        log_binomial = torch.lgamma(y + shape) - torch.lgamma(y + 1) - torch.lgamma(shape)
        log = log_binomial - shape * ratio + y * ((dispersion * rate).log() - ratio)
        return log.to(self.rate)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        shape = (1 / self.dispersion.double()).expand(count, *self.dispersion.shape)
        rates = torch._standard_gamma(shape, generator=generator) * self.rate / shape
        return torch.poisson(rates, generator=generator).to(self.rate)

    @torch.no_grad()
    def quantiles(self, levels: Sequence[float]) -> Tensor:
        """The least whole number at or below which a value lies with the probability asked for."""
        rate, dispersion = (x.double()[..., None] for x in (self.rate, self.dispersion))
        wanted = _levels(levels, self.rate).expand(*self.rate.shape, -1)
        shape, odds = 1 / dispersion, dispersion * rate
        none, any_ = 1 / (1 + odds), odds / (1 + odds)

        def below(k: Tensor) -> Tensor:
            return incomplete_beta(shape, k + 1, none, any_)

        low = torch.full_like(wanted, -1.0)
        high = (rate + 4 * (rate + dispersion * rate.square()).sqrt()).ceil().expand_as(wanted)
        while bool((short := (below(high) < wanted) & (high < MOST_COUNT)).any()):
            low, high = torch.where(short, high, low), torch.where(short, 2 * high + 1, high)
        while bool((high - low > 1).any()):
            middle = ((low + high) / 2).floor()
            enough = below(middle) >= wanted
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        return high.to(self.rate)


LIKELIHOODS: dict[str, type[SeriesLikelihood]] = {
    "gaussian": Gaussian,
    "student": Student,
    "negative_binomial": NegativeBinomial,
}


@torch.no_grad()
def student_quantiles(freedom: Tensor, levels: tuple[float, ...]) -> Tensor:
    """:func:`student_quantile` at these levels, ``(…, levels)``, to ten digits and some hundred
    times as fast: as functions of 1 / ν they are smooth, so a few of their values give all others
    from 2 degrees of freedom on (Chebyshev interpolation; Trefethen 2013, ch. 3 to 5)."""
    turn = torch.acos((4 / freedom.double() - 1).clamp(-1, 1))
    series = _chebyshev(levels).to(turn.device)
    quantiles = torch.cos(turn[..., None] * torch.arange(NODES, device=turn.device)) @ series
    is_below_two = freedom < 2
    if bool(is_below_two.any()):
        rest = student_quantile(freedom[is_below_two][:, None], _levels(levels, freedom))
        quantiles[is_below_two] = rest
    return quantiles


@lru_cache
def _chebyshev(levels: tuple[float, ...]) -> Tensor:
    """Coefficients, ``(nodes, levels)``, in 4 / ν − 1."""
    angles = math.pi * (torch.arange(NODES, dtype=torch.float64) + 0.5) / NODES
    freedom = 4 / (1 + torch.cos(angles))
    values = student_quantile(freedom[:, None], torch.tensor(levels, dtype=torch.float64))
    series = 2 / NODES * torch.cos(torch.arange(NODES)[:, None] * angles) @ values
    series[0] /= 2
    return series


@torch.no_grad()
def student_quantile(freedom: Tensor, level: Tensor) -> Tensor:
    """What Student's t lies below with probability ``level``, in double precision, for 1 degree of
    freedom or more: by the expansion of Cornish & Fisher (1938), and below ``NORMAL_FREEDOM``
    degrees from there on by the method of Newton."""
    freedom, level = torch.broadcast_tensors(freedom.double(), level.double())
    tail = torch.minimum(level, 1 - level)
    z = -torch.special.ndtri(tail)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom.square())
    expansion, is_nearly_normal, freedom = (
        t,
        freedom > NORMAL_FREEDOM,
        freedom.clamp(max=NORMAL_FREEDOM),
    )
    log_constant = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
    log_constant = log_constant - 0.5 * (freedom * math.pi).log()
    half = torch.full_like(freedom, 0.5)
    for _ in range(60):
        square = t.square()
        beyond = 0.5 * incomplete_beta(
            freedom / 2, half, freedom / (freedom + square), square / (freedom + square)
        )
        density = (log_constant - 0.5 * (freedom + 1) * torch.log1p(square / freedom)).exp()
        step = (beyond - tail) / density
        t = (t + step).clamp(min=0)
        if not bool((step.abs() > 1e-10 * (1 + t)).any()):
            break
    t = torch.where(is_nearly_normal, expansion, t)
    return torch.where(level < 0.5, -t, t)


def _levels(levels: Sequence[float], like: Tensor) -> Tensor:
    if not all(0 < level < 1 for level in levels):
        raise InputError(f"levels must lie between 0 and 1, got {tuple(levels)}")
    return torch.tensor(tuple(levels), dtype=torch.float64, device=like.device)


def _normal(count: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(
        count, *like.shape, generator=generator, dtype=like.dtype, device=like.device
    )
