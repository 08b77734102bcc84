"""Sine and cosine over the same points."""

import math

import numpy as np

from saiki.data.series.windows import Array, Pair
from saiki.knobs import Knobs, knob

NAMES = ("sine", "cosine")
PHASES = 200


class Wave(Knobs):
    """A sine and its cosine."""

    points: int = knob(100, "of the wave", minimum=4, maximum=100_000)
    periods: float = knob(
        3.0, "of the wave, from −π to π times this", minimum=0.001, maximum=10_000
    )
    stretch: float = knob(
        1.0,
        "of the wave: its points lie wider or closer in training, by this factor at most",
        minimum=1,
        maximum=10,
    )

    @property
    def edge(self) -> float:
        return math.pi * self.periods

    def values(self) -> Array:
        """Both over all points, ``(points, 2)``."""
        return _both(np.linspace(-self.edge, self.edge, self.points))

    def stretched(self, begin: Array, steps: int, random: np.random.Generator) -> Pair:
        """Windows that begin at these points, or between them, and whose own points lie wider or
        closer by factors between 1 / ``stretch`` and ``stretch``."""
        wider = self.stretch ** random.uniform(-1, 1, (len(begin), 1))
        at = begin[:, None] + wider * np.arange(steps)
        waves = _both(2 * self.edge / (self.points - 1) * at - self.edge)
        return Pair(waves[..., 0], waves[..., 1])

    def between(self, steps: int) -> Pair:
        """Windows that begin between the points, at phases never trained on."""
        random = np.random.default_rng(0)
        return self.stretched(random.uniform(0, self.points - 1, PHASES), steps, random)


def _both(at: Array) -> Array:
    """Sine and cosine, side by side along a new last axis."""
    return np.stack((np.sin(at), np.cos(at)), -1)
