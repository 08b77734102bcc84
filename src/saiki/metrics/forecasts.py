"""How far forecasts are from what came: of numbers and of quantiles.

A truth is ``(origins, horizon, targets)``, or of any shape; quantiles have one more dimension at
the end, for their levels. A truth that is NaN is missing and left out
everywhere: what is measured of each value is NaN there, and means are over the others. A forecast
that is no number is infinitely wrong where there is a truth, and never counts as missing.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from saiki.errors import InputError


def seasonal_naive_error(training: Tensor, period: int = 1) -> Tensor:
    """How far the value of a period ago is from each value of the training part, on average:
    mean |xᵗ − xᵗ⁻ᵐ|, ``(targets,)``; NaN where no two values a period apart are known.

    Args:
        training: ``(time, targets)``.
        period: m steps; 1 compares with the value before.

    Raises:
        InputError: the training part is not longer than the period.
    """
    if not 1 <= period < len(training):
        raise InputError(
            f"the period must be from 1 to {len(training) - 1}, the training part having "
            f"{len(training)} rows, got {period}"
        )
    return (training[period:].double() - training[:-period].double()).abs().nanmean(0)


def quantile_loss(quantile: Tensor, level: float, truth: Tensor) -> Tensor:
    """ρ(y, q) = (τ − [y < q]) (y − q) of each value (Koenker & Bassett 1978), least on average
    where q is the quantile of level τ.

    >>> quantile_loss(torch.tensor([0.0, 0.0]), 0.9, torch.tensor([1.0, -1.0]))
    tensor([0.9000, 0.1000], dtype=torch.float64)
    """
    error = -errors(quantile, truth)
    return torch.maximum(level * error, (level - 1) * error)


def crps_of_quantiles(quantiles: Tensor, levels: Sequence[float], truth: Tensor) -> Tensor:
    """The continuous ranked probability score of each value, as an integral of quantile losses,
    2 ∫ ρ(y, q(τ)) dτ (Gneiting & Ranjan 2011, §2), where only some quantiles are known: each counts
    for the levels that are nearer to it than to its neighbours. In the units of the truth.

    Args:
        quantiles: ``(*truth.shape, levels)``.
        levels: between 0 and 1, rising.
    """
    _check(quantiles, levels, truth)
    between = [(a + b) / 2 for a, b in pairwise(levels)]
    edges = [0.0, *between, 1.0]
    score = torch.zeros(truth.shape, dtype=torch.float64, device=truth.device)
    for i, level in enumerate(levels):
        score += 2 * (edges[i + 1] - edges[i]) * quantile_loss(quantiles[..., i], level, truth)
    return score


def errors(forecast: Tensor, truth: Tensor) -> Tensor:
    """forecast − truth in double precision: NaN where the truth is missing, infinite where the
    forecast alone is no number.

    Raises:
        InputError: the shapes differ.
    """
    if forecast.shape != truth.shape:
        raise InputError(
            f"a forecast of the shape {tuple(forecast.shape)} has no truth of the shape "
            f"{tuple(truth.shape)}"
        )
    difference = forecast.double() - truth.double()
    return difference.masked_fill(forecast.isnan() & ~truth.isnan(), torch.inf)


def mean_of_known(values: Tensor) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    return float(values.double().nanmean())


def _check(quantiles: Tensor, levels: Sequence[float], truth: Tensor) -> None:
    if quantiles.shape != (*truth.shape, len(levels)):
        raise InputError(
            f"{len(levels)} quantiles of a truth of the shape {tuple(truth.shape)} have the shape "
            f"{(*truth.shape, len(levels))}, got {tuple(quantiles.shape)}"
        )
    rising = all(a < b for a, b in pairwise(levels))
    if not (levels and rising and levels[0] > 0 and levels[-1] < 1):
        raise InputError(f"levels must rise between 0 and 1, got {tuple(levels)}")
