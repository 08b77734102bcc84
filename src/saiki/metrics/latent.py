"""Measures of what latent vectors are used for."""

from torch import Tensor

ACTIVE = 0.01
"""Variance over the data above which a unit counts as used."""


def active_units(means: Tensor) -> int:
    """Units whose posterior mean differs from example to example: those of which the variance over
    the data exceeds 0.01 (Burda, Grosse & Salakhutdinov 2016, §5).

    Args:
        means: of the posterior of each example, ``(examples, size)``.
    """
    return int((variances(means) > ACTIVE).sum())


def variances(means: Tensor) -> Tensor:
    """Over the examples, of each unit."""
    values = means.double()
    return (values - values.mean(0)).square().mean(0)
