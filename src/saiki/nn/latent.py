"""What a network knows of a latent vector: a Gaussian, drawn from and measured against a prior."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from saiki.nn.precision import at_least_float32

BOUND = 15.0
"""Of a log-variance: beyond it, numbers overflow before a network learns better."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Independent normal distributions, one a unit.

    Args:
        mean: ``(batch, size)``, or with other dimensions before them.
        log_variance: of the same shape; or the same number for all.
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, v: Tensor) -> "Gaussian":
        """From what a network says of it: the means, then the log-variances, ``(…, 2 · size)``."""
        mean, log_variance = at_least_float32(v).chunk(2, dim=-1)
        return cls(mean, log_variance.clamp(-BOUND, BOUND))

    @classmethod
    def standard(cls, like: Tensor) -> "Gaussian":
        """Mean 0 and variance 1."""
        zero = torch.zeros_like(like)
        return cls(zero, zero)

    def draw(self, *counts: int, generator: torch.Generator | None = None) -> Tensor:
        """z = μ + σ ε with ε from N(0, 1), so that gradients pass (Kingma & Welling 2014, §2.4).

        Args:
            counts: dimensions put before those of the mean, such as draws for each row.
            generator: of ε; that of PyTorch without.
        """
        like = self.mean
        noise = torch.randn(
            *counts, *like.shape, generator=generator, dtype=like.dtype, device=like.device
        )
        return self.at(noise)

    def at(self, noise: Tensor) -> Tensor:
        """z = μ + σ ε."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def log_density(self, z: Tensor) -> Tensor:
        """ln of the density at ``z``, summed over its units."""
        squared = (z - self.mean).square() * (-self.log_variance).exp()
        return -0.5 * (squared + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def divergence(self, prior: "Gaussian | None" = None) -> Tensor:
        """KL divergence from a prior, N(0, 1) without one, of each unit.

        KL = ½ (ln s² − ln σ² + (σ² + (μ − m)²) / s² − 1)   (Kingma & Welling 2014, appendix B)
        """
        mean, log_variance = self.mean, self.log_variance
        if prior is not None:
            mean = (mean - prior.mean) * (-0.5 * prior.log_variance).exp()
            log_variance = log_variance - prior.log_variance
        return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance)


@dataclass(frozen=True, eq=False)
class Bound:
    """What lower bounds of ln p(x) are made of.

    Args:
        log_likelihood: ln p(x | z) of each z drawn, ``(samples, batch)``.
        divergence: KL(q(z | x) ‖ p(z)) of each unit, ``(batch, size)``.
        log_ratio: ln p(z) − ln q(z | x), ``(samples, batch)``.
        code: what stands for each example, ``(batch, size)``: the mean of q, as many deviations of
            the prior from the mean of the prior.
    """

    log_likelihood: Tensor
    divergence: Tensor
    log_ratio: Tensor
    code: Tensor

    @classmethod
    def of(
        cls, log_likelihood: Tensor, z: Tensor, posterior: Gaussian, prior: Gaussian | None = None
    ) -> "Bound":
        """Of each ``z: (samples, batch, size)`` drawn from the posterior; the prior is N(0, 1)
        without another."""
        p = prior or Gaussian.standard(posterior.mean)
        log_ratio = p.log_density(z) - posterior.log_density(z)
        code = (posterior.mean - p.mean) * (-0.5 * p.log_variance).exp()
        return cls(log_likelihood, posterior.divergence(prior), log_ratio, code)

    @property
    def elbo(self) -> Tensor:
        """E ln p(x | z) − KL(q(z | x) ‖ p(z)), ``(batch,)`` (Kingma & Welling 2014, eq. 3)."""
        return self.log_likelihood.mean(0) - self.divergence.sum(1)

    @property
    def log_weights(self) -> Tensor:
        """ln p(x, z) − ln q(z | x), ``(samples, batch)``."""
        return self.log_likelihood + self.log_ratio

    @property
    def importance_weighted(self) -> Tensor:
        """See :func:`importance_bound`; with one sample the ELBO in the mean."""
        return importance_bound(self.log_weights)


def free_bits(divergence: Tensor, each: float) -> Tensor:
    """The divergence that training lowers: of each unit what its mean over the batch exceeds, but
    ``each`` nats at least, for which there is no gradient (Kingma et al. 2016, eq. 15).

    Σⱼ max(λ, mean of KLⱼ)

    Args:
        divergence: of each unit, ``(batch, size)``.
        each: λ, which a unit may cost without being pulled to its prior.
    """
    return divergence.mean(0).clamp(min=each).sum()


def annealed(beta: float, rise: float, cycles: int, step: int, updates: int) -> float:
    """The weight of the divergence at update ``step``, counted from 0, of ``updates``.

    It rises along a line to ``beta`` in the first part ``rise`` (Bowman et al. 2016, §3.1) of each
    of so many ``cycles`` (Fu et al. 2019, eq. 6), and stays there until the next.

    >>> [annealed(4.0, 0.5, 1, step, 8) for step in range(6)]
    [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    """
    at = (step * cycles / updates) % 1 if step < updates else 1.0
    return beta * min(1.0, at / rise) if rise else beta


def importance_bound(log_weights: Tensor) -> Tensor:
    """ln 1/K Σₖ wₖ, a lower bound of ln p(x) that rises with K in the mean (Burda, Grosse &
    Salakhutdinov 2016, eq. 8).

    Args:
        log_weights: ln p(x, zₖ) − ln q(zₖ | x) of each z drawn from q, ``(samples, batch)``.
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))
