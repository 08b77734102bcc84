"""What a network is told while it learns: softened targets, and what it goes on from."""

from collections.abc import Callable
from typing import Any

import numpy as np

from saiki.experiment import Experiment
from saiki.knobs import Knobs, knob


def label_smoothing(default: float = 0.1) -> Any:
    """The knob of Szegedy et al. (2016, §7)."""
    return knob(
        default, "share of the target spread evenly over all classes", minimum=0, maximum=0.9
    )


def tied() -> Any:
    """The knob of Press & Wolf (2017)."""
    return knob(True, "whether the last matrix is the table of embeddings")


class Forcing(Knobs):
    """How often what writes is told the truth (Williams & Zipser 1989; Bengio et al. 2015)."""

    teacher_forcing: float = knob(
        1.0,
        "probability that the decoder is told what came before in truth, not its own output",
        minimum=0,
        maximum=1,
    )


class ScheduledForcing(Forcing):
    """The same, less and less often."""

    forcing_schedule: str = knob(
        "constant",
        "of teacher_forcing: as it is, or along a line to 0 at the end",
        choices=("constant", "linear"),
    )

    def schedule(self, experiment: Experiment) -> Callable[[int], float]:
        """The probability at each update of a training, counted from 0."""
        if self.forcing_schedule == "constant":
            return lambda update: self.teacher_forcing

        def falling(update: int) -> float:
            return self.teacher_forcing * max(0.0, 1 - update / max(experiment.iterations - 1, 1))

        return falling

    @property
    def last(self) -> float:
        """The probability in the end."""
        return 0.0 if self.forcing_schedule == "linear" else self.teacher_forcing

    def equation(self) -> str:
        """Of the probability."""
        falls = ", falling along a line to 0" if self.forcing_schedule == "linear" else ""
        return f"ε is 1 with probability {self.teacher_forcing:g}{falls}"


def decoder_input(target: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """What a decoder of ``target: (rows, steps)`` is told at each step, ``(rows, steps, 2)``: the
    target of the step before, and whether it is told, which it is with probability ``share``."""
    before = np.zeros_like(target)
    before[:, 1:] = target[:, :-1]
    return np.stack((before, random.random(target.shape) < share), -1)
