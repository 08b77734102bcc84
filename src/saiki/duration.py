"""How long a training is, and how often its curves have a point."""

import math

from saiki.errors import InputError
from saiki.knobs import Knobs, knob

MOST = 10**9
"""Updates of a training that ends in a lifetime."""


LENGTHS = ("iterations", "epochs", "updates")
"""The knobs that a training may have more of, once it has begun."""


class Duration(Knobs):
    """Updates of the weights, of which each example is seen once in an ``epoch``, a number that
    need not be whole; infinity where examples are drawn without end."""

    def updates_of(self, epoch: float) -> int:
        """Updates of the whole training."""
        raise NotImplementedError

    def point_every(self, epoch: float, points: int) -> int:
        """Updates from one point of the curves to the next.

        Args:
            points: about as many as there are at most, where a knob does not say it.
        """
        raise NotImplementedError


class Updates(Duration):
    """A number of updates."""

    iterations: int = knob(3000, "updates of the weights", minimum=1, maximum=MOST)
    epochs: float = knob(
        0.0, "times that each example is seen, in place of iterations; 0: as iterations say",
        minimum=0, maximum=1e6,
    )  # fmt: skip
    log_every: int = knob(
        100, "iterations from one point of the curves to the next", minimum=1, maximum=MOST
    )

    def updates_of(self, epoch: float) -> int:
        if self.epochs and math.isinf(epoch):
            raise InputError(
                f"epochs {self.epochs:g} have no length here, where examples are drawn without "
                "end; say how long by iterations"
            )
        return max(1, math.ceil(self.epochs * epoch)) if self.epochs else self.iterations

    def point_every(self, epoch: float, points: int) -> int:
        return self.log_every


class Epochs(Duration):
    """A number of passes over the examples: more where they are few, fewer where they are many, or
    as many as make a number of updates."""

    epochs: float = knob(10.0, "times that each example is seen", minimum=0.01, maximum=1e6)
    iterations: int = knob(
        0, "updates of the weights, in place of epochs; 0: as epochs say", minimum=0, maximum=MOST
    )
    updates: int = knob(
        0, "of the weights at least, where there are few examples", minimum=0, maximum=MOST
    )
    most_updates: int = knob(
        0, "of the weights at most, where there are many examples; 0: no bound", minimum=0,
        maximum=MOST,
    )  # fmt: skip
    log_every: int = knob(
        0,
        "iterations from one point of the curves to the next; 0: an epoch, or more in a long "
        "training",
        minimum=0,
        maximum=MOST,
    )

    def validate(self) -> None:
        if 0 < self.most_updates < self.updates:
            raise InputError(
                f"most_updates must be 0 or at least updates, {self.updates}, got "
                f"{self.most_updates}"
            )

    def updates_of(self, epoch: float) -> int:
        if self.iterations:
            return self.iterations
        wanted = max(1, self.updates, math.ceil(self.epochs * epoch))
        return min(wanted, self.most_updates or MOST)

    def point_every(self, epoch: float, points: int) -> int:
        return self.log_every or max(math.ceil(epoch), self.updates_of(epoch) // points)
