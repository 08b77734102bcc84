"""Settings compared with each other over seeds, each of which both of them have."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saiki.experiment import Trial
from saiki.metrics.significance import paired_t_test

LEVEL = 0.05
"""How often a difference may be found where there is none."""


@dataclass(frozen=True)
class Difference:
    """What one setting has more than another, and how probable that is by chance.

    Args:
        values: of each seed.
        p: see :func:`saiki.metrics.significance.paired_t_test`; raised where there are several
            comparisons.
    """

    values: tuple[float, ...]
    p: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Difference":
        return cls(tuple(values), paired_t_test(values))

    @property
    def is_more(self) -> bool:
        """Whether it is above 0 by more than chance."""
        return self.p < LEVEL and math.fsum(self.values) > 0

    @property
    def is_less(self) -> bool:
        """Whether it is below 0 by more than chance."""
        return self.p < LEVEL and math.fsum(self.values) < 0

    def __str__(self) -> str:
        return f"{spread(self.values, sign='+')} (p = {self.p:.2g})"


def compare(first: Trial, second: Trial, figure: str, allowed: float = 0.0) -> Difference:
    """What the second has more of a figure than the first, seed by seed.

    Args:
        allowed: added to it: by so much the second may fall short.
    """
    pairs = zip(first.values(figure), second.values(figure), strict=True)
    return Difference.of([b - a + allowed for a, b in pairs])


def in_every_seed(trials: Sequence[Trial], figure: str, holds: Callable[[float], bool]) -> bool:
    """Whether it holds of the figure of all trials and seeds, of which there are several."""
    return all(len(t.results) > 1 and all(map(holds, t.values(figure))) for t in trials)


def spread(values: Sequence[float], sign: str = "") -> str:
    """The mean of several seeds and their standard deviation; of one seed the number alone."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:{sign}.4g} (one seed)"
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{mean:{sign}.4g} ± {deviation:.2g}"


def in_words(trials: Sequence[Trial], label: str | Callable[[Trial], str], *figures: str) -> str:
    """The figures of each trial, with their spread over the seeds.

    Args:
        label: of a trial; of a knob its name and value.
    """
    parts = []
    for trial in trials:
        name = f"{label} {trial.knobs[label]}" if isinstance(label, str) else label(trial)
        values = ", ".join(f"{figure} {spread(trial.values(figure))}" for figure in figures)
        parts.append(f"{name}: {values}")
    return "; ".join(parts)
