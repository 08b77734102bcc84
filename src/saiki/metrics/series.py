"""Measures of numbers over time."""

from typing import Any

import numpy as np
from torch import Tensor


def rms(errors: np.ndarray[Any, Any]) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.square(errors).mean()))


def exact_sum_rate(v: Tensor, target: Tensor) -> float:
    """Share of the sums with every bit right, from the pre-activations of the bits."""
    return ((v > 0) == (target > 0.5)).all(1).float().mean().item()
