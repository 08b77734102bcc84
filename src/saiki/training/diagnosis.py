"""What went wrong, where, and what to try, in a sentence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saiki import lens
from saiki.experiment import Experiment
from saiki.torch_internals import tree_leaves
from saiki.training.step import Objective


def explain(
    experiment: Experiment,
    model: nn.Module,
    batches: Sequence[Any],
    step: int,
    figures: Mapping[str, float],
) -> str:
    """Why the figures of iteration ``step`` are not all numbers.

    The same batches are looked at again under the lens, with the weights as they are before the
    update, in the same precision and with the random numbers that the caller has begun anew:
    whether they are numbers themselves, in which layer and at which time step a state or its
    gradient grew, or else which parameter's gradient is not finite.
    """
    start = f"{_broken_figure(figures)} at iteration {step}: "
    if any(_is_broken(leaf) for leaf in tree_leaves(list(batches))):
        return start + "the batch itself holds NaN or infinite numbers; look at the data"
    if experiment.updates_itself:  # there is no gradient to look at
        return f"{start}try a learning_rate below {experiment.optimisation.learning_rate:g}"
    place = ""
    model.zero_grad()
    for batch in batches:
        with lens.watch(model) as view:
            Objective(experiment, model)(batch)["loss"].backward()
        place = _worst(view, step) or place
    if not place:
        spoilt = (
            n for n, p in model.named_parameters() if p.grad is not None and _is_broken(p.grad)
        )
        name = next(spoilt, None)
        place = f"the gradient of {name} is not finite" if name else "no gradient shows where"
    rate, bound = experiment.optimisation.learning_rate, experiment.optimisation.clip_norm
    clip = f"a clip_norm below {bound:g}" if bound else "clip_norm 1"
    return f"{start}{place}; try a learning_rate below {rate:g} or {clip}"


def _broken_figure(figures: Mapping[str, float]) -> str:
    """The figure that is no number: the loss, if it is none, or else the gradient."""
    loss, norm = figures["loss"], figures.get("gradient_norm", 0.0)
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(norm):
        return "the gradient is not finite"
    name = next(name for name, value in figures.items() if not math.isfinite(value))
    return f"{name} is {figures[name]}"


def _is_broken(value: Any) -> bool:
    return isinstance(value, Tensor) and not bool(torch.isfinite(value).all())


def _worst(view: lens.View, step: int) -> str:
    """The layer whose states or gradients grew the most, in the words of the lens."""

    def badness(name: str) -> tuple[bool, float]:
        layer = view[name]
        norms = next(iter(layer.gradient.values()))
        largest = max((math.inf if math.isnan(n) else n for n in norms), default=0.0)
        return layer.first_infinite is not None, largest

    if not view:
        return ""
    name = max(view, key=badness)
    overflowed, largest = badness(name)
    if not overflowed and largest < lens.EXPLODED:
        return ""
    layer = f"in {name}, " if name else ""
    return layer + lens.describe([(step, {name: view[name]})])
