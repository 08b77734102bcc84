"""The training loop: one for all experiments."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from saiki import lens
from saiki.experiment import Experiment
from saiki.training.step import Step

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
    "adam": torch.optim.Adam,
}


@dataclass(frozen=True)
class Point:
    """One point of the curves: the iterations since the last one."""

    step: int
    loss: float
    """Mean over these iterations."""
    gradient_norm: float
    """Largest among these iterations, before clipping."""
    view: lens.View | None
    """The inside at the last of them, if it was watched."""

    def figures(self) -> dict[str, float]:
        return {"step": self.step, "loss": self.loss, "gradient_norm": self.gradient_norm}


class StoppedError(Exception):
    """The loss or the gradient is no longer a number. Says where it grew."""

    def __init__(self, step: int, sentence: str) -> None:
        super().__init__(sentence)
        self.step = step


def train(
    experiment: Experiment,
    model: nn.Module,
    on_point: Callable[[Point], None],
    watch: bool = False,
) -> None:
    """Train ``model`` as the knobs of ``experiment`` say, calling ``on_point`` along the way.

    Args:
        on_point: called every ``log_every`` iterations and after the last one.
        watch: look inside the recurrent layers at the first iteration and at each point.

    Raises:
        StoppedError: the loss or the gradient became NaN or infinite; the model keeps the weights
            it had before.
    """
    take = Step(experiment, model)
    optimiser = OPTIMISERS[experiment.optimiser](take.parameters, lr=experiment.learning_rate)
    losses: list[float] = []
    norms: list[float] = []
    batches = itertools.islice(experiment.batches(), experiment.iterations)
    for step, batch in enumerate(batches, 1):
        at_point = step % experiment.log_every == 0 or step == experiment.iterations
        view = None
        if watch and (at_point or step == 1):
            with lens.watch(model) as view, torch.random.fork_rng():
                model.zero_grad()
                experiment.loss(model, batch).backward()  # of its own: looking changes nothing
        loss, norm = take(batch)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise StoppedError(step, _what_happened(experiment, model, batch, step, loss))
        optimiser.step()
        losses.append(loss)
        norms.append(norm)
        if at_point or view is not None:
            on_point(Point(step, sum(losses) / len(losses), max(norms), view))
            losses, norms = [], []


def _what_happened(
    experiment: Experiment, model: nn.Module, batch: Any, step: int, loss: float
) -> str:
    """The same batch again under the lens, with the weights as they are before the update."""
    with lens.watch(model) as view:
        model.zero_grad()
        experiment.loss(model, batch).backward()
    what = f"the loss is {loss}" if not math.isfinite(loss) else "the gradient is not finite"
    return f"{what} at iteration {step}: {lens.describe([(step, view)])}"
