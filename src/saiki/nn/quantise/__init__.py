"""Vectors by the nearest of a few, and what that loses and uses."""

from saiki.nn.quantise.quantised import (
    GRADIENTS,
    Quantised,
    perplexity,
    rotated,
    straight_through,
    usage,
)
from saiki.nn.quantise.scalars import ScalarQuantizer
from saiki.nn.quantise.vectors import VectorQuantizer

__all__ = [
    "GRADIENTS",
    "Quantised",
    "ScalarQuantizer",
    "VectorQuantizer",
    "perplexity",
    "rotated",
    "straight_through",
    "usage",
]
