"""An update of an exercise beside the same network of others."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from saiki.bench.harness import Row, interleaved, row
from saiki.experiment import Experiment
from saiki.training.step import Step, clip


def updates(
    name: str,
    experiment: Experiment,
    ours: nn.Module,
    peer: nn.Module,
    loss: Callable[[Any], Tensor],
    batches: Sequence[Any],
    repeats: int,
) -> Row:
    """An update (forward pass, backward pass, clipping, rule) from the same batches in turn, and
    the number of weights of both.

    Args:
        experiment: whose rule, rate and clipping both have.
        loss: of a batch, by the peer.
        repeats: each does all of the batches.
    """
    models = {"saiki": ours.train(), "torch.nn": peer.train()}
    norm, step = experiment.optimisation.clip_norm, Step(experiment, ours)
    rules = {
        name: experiment.optimisation.build(list(model.parameters()))
        for name, model in models.items()
    }

    def saiki() -> None:
        for batch in batches:
            step([batch])
            rules["saiki"].step()

    def torch_nn() -> None:
        for batch in batches:
            rules["torch.nn"].zero_grad()
            loss(batch).backward()
            clip(list(peer.parameters()), 0.0, norm)
            rules["torch.nn"].step()

    each = interleaved({"saiki": saiki, "torch.nn": torch_nn}, repeats)
    size = experiment.optimisation.batching.batch_size
    report = row(name, size, {n: timing.divided(len(batches)) for n, timing in each.items()})
    weights = {n: sum(p.numel() for p in model.parameters()) for n, model in models.items()}
    return report | {"weights": weights}
