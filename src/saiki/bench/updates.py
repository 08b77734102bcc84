"""An update of an exercise beside the same network of others."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from saiki.bench.harness import interleaved
from saiki.experiment import Experiment
from saiki.training.step import Step, clip


def updates(
    experiment: Experiment,
    ours: nn.Module,
    peer: nn.Module,
    loss: Callable[[Any], Tensor],
    batches: Sequence[Any],
    repeats: int,
) -> dict[str, Any]:
    """Seconds of an update (forward pass, backward pass, clipping, rule) from the same batches in
    turn: the medians, the fastest and slowest, how many times as long the peer takes, and how many
    weights both have.

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

    found = interleaved({"saiki": saiki, "torch.nn": torch_nn}, repeats)
    each = {name: timing.divided(len(batches)) for name, timing in found.items()}
    seconds = {name: timing.median for name, timing in each.items()}
    return {
        "seconds": seconds,
        "spread": {name: (timing.fastest, timing.slowest) for name, timing in each.items()},
        "ratio": seconds["torch.nn"] / seconds["saiki"],
        "weights": {n: sum(p.numel() for p in m.parameters()) for n, m in models.items()},
    }


def in_words(found: dict[str, Any]) -> str:
    """What :func:`updates` found."""
    said = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in found["seconds"].items())
    weights = " and ".join(f"{count:,}" for count in found["weights"].values())
    return f"{said}, {found['ratio']:.2f}×; weights {weights}"
