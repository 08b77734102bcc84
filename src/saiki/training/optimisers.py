"""Rules of the update and schedules of the learning rate."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.experiment import Experiment

Rule = Callable[..., torch.optim.Optimizer]

RULES: dict[str, Rule] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, **options: torch.optim.SGD(parameters, momentum=0.9, **options),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def optimiser(experiment: Experiment, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """The rule that the knobs name, for ``parameters``."""
    rule = RULES[experiment.optimiser]
    return rule(parameters, lr=experiment.learning_rate, weight_decay=experiment.weight_decay)


def learning_rate(experiment: Experiment, step: int) -> float:
    """The learning rate of iteration ``step``, counted from 1.

    With n iterations, w = ``warmup`` · n and s = max(step − 1 − w, 0) / (n − w), it is
    ``learning_rate`` times step / w while step ≤ w, and after that 1, 1 − s (linear) or
    ½ (1 + cos π s) (cosine; Loshchilov & Hutter 2017, eq. 5, without restarts).
    """
    n = experiment.iterations
    w = experiment.warmup * n
    if step <= w:
        return experiment.learning_rate * step / w
    if experiment.schedule == "constant":
        return experiment.learning_rate
    s = max(step - 1 - w, 0) / max(n - w, 1)
    factor = 1 - s if experiment.schedule == "linear" else (1 + math.cos(math.pi * s)) / 2
    return experiment.learning_rate * factor


def settings(
    optimiser: torch.optim.Optimizer, names: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What an optimiser remembers: tensors by parameter and name, and the numbers beside them."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for i, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            kind = tensors if isinstance(value, Tensor) else numbers
            kind[f"{names[i]}/{key}"] = value
    return tensors, numbers


def restore(
    optimiser: torch.optim.Optimizer,
    names: Sequence[str],
    tensors: dict[str, Tensor],
    numbers: dict[str, Any],
) -> None:
    """Give an optimiser back what :func:`settings` took from it."""
    numbered = {name: i for i, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for path, value in {**tensors, **numbers}.items():
        name, _, key = path.rpartition("/")
        state.setdefault(numbered[name], {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
