"""How long a training is, and how often its curves have a point."""

import math

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
    log_every: int = knob(
        100, "iterations from one point of the curves to the next", minimum=1, maximum=MOST
    )

    def updates_of(self, epoch: float) -> int:
        return self.iterations

    def point_every(self, epoch: float, points: int) -> int:
        return self.log_every


class Epochs(Duration):
    """A number of passes over the examples."""

    epochs: float = knob(10.0, "times that each example is seen", minimum=0.01, maximum=1e6)
    log_every: int = knob(
        0,
        "iterations from one point of the curves to the next; 0: an epoch, or more in a long "
        "training",
        minimum=0,
        maximum=MOST,
    )

    def updates_of(self, epoch: float) -> int:
        return max(1, math.ceil(self.epochs * epoch))

    def point_every(self, epoch: float, points: int) -> int:
        return self.log_every or max(math.ceil(epoch), self.updates_of(epoch) // points)


class EpochsAtLeast(Epochs):
    """The same, and more passes where examples are few."""

    updates: int = knob(
        2000, "of the weights at least, where there are few examples", minimum=0, maximum=MOST
    )

    def updates_of(self, epoch: float) -> int:
        return max(self.updates, super().updates_of(epoch))
