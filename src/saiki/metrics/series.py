"""Measures of numbers over time."""

from typing import Any

import numpy as np
from torch import Tensor


def rms(errors: np.ndarray[Any, Any]) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.square(errors).mean()))


def r2(errors: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> float | None:
    """The share of the variance of ``target`` that is explained, 1 − Σ error² / Σ (target − mean)²;
    None where the target never changes.

    >>> r2(np.array([0.0, 1.0]), np.array([1.0, 5.0]))
    0.875
    """
    variance = target.var()
    return float(1 - np.square(errors).mean() / variance) if variance else None


def exact_sum_rate(v: Tensor, target: Tensor) -> float:
    """Share of the sums with every bit right, from the pre-activations of the bits."""
    return ((v > 0) == (target > 0.5)).all(1).float().mean().item()
