"""How weights are learned: the rule of the update, the schedule of its rate, and what bounds it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.knobs import Knobs, knob

Rule = Callable[..., torch.optim.Optimizer]

RULES: dict[str, Rule] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, **options: torch.optim.SGD(parameters, momentum=0.9, **options),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class Batching(Knobs):
    """What an update of the weights is made from."""

    batch_size: int = knob(32, "examples of a batch, in each process", minimum=1, maximum=10**6)
    accumulate: int = knob(1, "batches for each update of the weights", minimum=1, maximum=10**4)


class Optimisation(Knobs):
    """From gradients to weights, and which of them are kept."""

    batching: Batching = Batching()
    optimiser: str = knob("adam", "rule of the update", choices=RULES)
    learning_rate: float = knob(0.01, "size of the update, at its largest", minimum=0, maximum=1e6)
    warmup: float = knob(
        0.0, "share of the training in which the learning rate rises to it", minimum=0, maximum=1
    )
    schedule: str = knob(
        "constant",
        "of the learning rate after that: to 0 along a line or half a cosine, or as it is",
        choices=("constant", "linear", "cosine"),
    )
    weight_decay: float = knob(
        0.0, "pull of the weights to 0; apart from Adam's in adamw", minimum=0
    )
    clip_value: float = knob(0.0, "bound on each entry of the gradient; 0: none", minimum=0)
    clip_norm: float = knob(0.0, "bound on the norm of the whole gradient; 0: none", minimum=0)
    average: float = knob(
        0.0,
        "decay of a running mean of the weights, used instead of them",
        minimum=0,
        maximum=0.9999,
    )
    patience: int = knob(
        0, "points of the curves without a better one after which training ends; 0: all", minimum=0
    )
    keep: str = knob(
        "last", "the weights kept: the last, or the best at a point", choices=("last", "best")
    )

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """The rule of the update, for ``parameters``."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        return RULES[self.optimiser](parameters, **options)

    @property
    def rate_varies(self) -> bool:
        """Whether the learning rate is another one from update to update."""
        return self.warmup > 0 or self.schedule != "constant"

    def rate(self, step: int, updates: int) -> float:
        """The learning rate of update ``step``, counted from 1, of n ``updates``.

        With w = ``warmup`` · n and s = max(step − 1 − w, 0) / (n − w), it is ``learning_rate``
        times step / w while step ≤ w, and after that 1, 1 − s (linear) or ½ (1 + cos π s) (cosine;
        Loshchilov & Hutter 2017, eq. 5, without restarts).
        """
        w = self.warmup * updates
        if step <= w:
            return self.learning_rate * step / w
        if self.schedule == "constant":
            return self.learning_rate
        s = max(step - 1 - w, 0) / max(updates - w, 1)
        factor = 1 - s if self.schedule == "linear" else (1 + math.cos(math.pi * s)) / 2
        return self.learning_rate * factor
