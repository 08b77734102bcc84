"""``saiki.nn.VectorQuantizer`` beside that of vector-quantize-pytorch: a step of each, in turn, and
what both reach in the exercise vq-vae.

    python benchmarks/quantiser.py --epochs 4 --json benchmarks/results/quantiser.json

The steps are forward and backward passes in training, with moving averages, the revival of dead
codes and the straight-through gradient or the rotation trick; the medians of interleaved repeats
count. In the exercise encoder and decoder are the same to begin with, and so are the batches, the
optimiser and the number of steps; both begin from centres of the first batch. Neither the step nor
the error on test images may be more than theirs.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

from saiki.bench.harness import interleaved, machine
from saiki.experiments.vq_vae.exercise import VQVAEs
from saiki.experiments.vq_vae.measures import measured
from saiki.models.vqvae import VQVAE
from saiki.nn import Quantised, VectorQuantizer
from saiki.nn.quantise.quantised import count

SIZES = ((128 * 49, 512, 32), (128 * 49, 512, 64), (32 * 256, 1024, 64), (4096, 8192, 16))
"""Vectors, codes, features."""
DEAD = 2
"""The moving count below which a code of theirs begins anew, as their documentation has it."""


class Theirs(nn.Module):
    """Their quantiser in the place of ours."""

    books = 1
    cost = ""

    def __init__(self, size: int, codes: int, commitment: float, decay: float, trick: bool) -> None:
        super().__init__()
        self.size = self.input_size = size
        self.codes = codes
        self.its = VectorQuantize(
            size, codes, decay=decay, commitment_weight=commitment, rotation_trick=trick,
            kmeans_init=True, threshold_ema_dead_code=DEAD,
        )  # fmt: skip

    def forward(self, z: Tensor) -> Quantised:
        vectors, codes, loss = self.its(z.flatten(1, -2))
        counts = count(codes.reshape(1, -1), self.codes)
        loss = loss.sum() if self.training else z.new_zeros(())
        return Quantised(vectors.view_as(z), codes.view(*z.shape[:-1], 1), loss, counts)


def step(quantiser: nn.Module, z: Tensor) -> None:
    found = quantiser(z)
    (found.vectors.sum() + found.loss).backward()


def steps(repeats: int) -> Iterator[dict[str, Any]]:
    for (vectors, codes, size), trick in ((s, t) for s in SIZES for t in (False, True)):
        z = torch.randn(1, vectors, size, requires_grad=True)
        gradient = "rotation" if trick else "straight-through"
        ours = VectorQuantizer(size, codes, gradient=gradient)
        other = Theirs(size, codes, 0.25, 0.95, trick)
        turns = {
            "saiki": partial(step, ours, z),
            "vector-quantize-pytorch": partial(step, other, z),
        }
        found = interleaved(turns, repeats)
        medians = {name: 1000 * timing.median for name, timing in found.items()}
        spread = {name: (1000 * t.fastest, 1000 * t.slowest) for name, t in found.items()}
        ratio = medians["vector-quantize-pytorch"] / medians["saiki"]
        shown = f"{vectors} vectors of {size}, {codes} codes, {gradient}"
        print(
            f"{shown}: {', '.join(f'{n} {ms:.2f} ms' for n, ms in medians.items())}, {ratio:.2f}×"
        )
        yield {"step": shown, "milliseconds": medians, "spread": spread, "ratio": ratio}


def train(experiment: VQVAEs, model: VQVAE) -> dict[str, float]:
    """What a model reaches on test images."""
    optimisation, last = experiment.optimisation, experiment.iterations
    optimiser = optimisation.build(list(model.train().parameters()))
    for step, batch in zip(
        range(1, last + 1), experiment.data.batches(experiment.seed), strict=False
    ):
        torch.manual_seed(step)
        optimiser.param_groups[0]["lr"] = optimisation.rate(step, last)
        optimiser.zero_grad()
        experiment.measure(model, batch)["loss"].backward()
        optimiser.step()
    return measured(model.eval(), experiment.data.parts.test)


def exercise(epochs: float, seed: int, gradient: str) -> dict[str, dict[str, float]]:
    knobs = {"epochs": epochs, "seed": seed, "gradient": gradient, "prior": False}
    experiment = VQVAEs.from_dict(knobs)
    its = experiment.quantisation
    torch.manual_seed(seed)
    ours = experiment.model()
    theirs = Theirs(its.code_size, its.codes, its.commitment, its.decay, gradient == "rotation")
    other = VQVAE(ours.shape, theirs, experiment.width, experiment.halvings, None, ours.classes)
    for part in ("encoder", "decoder"):
        getattr(other, part).load_state_dict(getattr(ours, part).state_dict())
    found = {}
    for name, model in (("saiki", ours), ("vector-quantize-pytorch", other)):
        found[name] = train(experiment, model)
        said = ", ".join(f"{figure} {value:.5g}" for figure, value in found[name].items())
        print(f"seed {seed}, {gradient}, {name}: {said}", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--epochs", type=float, default=4.0, help="of the exercise; 0: none")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    about, rows = machine(), list(steps(options.repeats))
    runs = [
        {"seed": seed, "gradient": gradient, **exercise(options.epochs, seed, gradient)}
        for seed in range(options.seeds if options.epochs else 0)
        for gradient in ("straight-through", "rotation")
    ]
    if options.json:
        record = {"machine": about, "steps": rows, "exercise": runs}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    errors = [
        sum(run[name]["reconstruction_error"] for run in runs)
        for name in ("saiki", "vector-quantize-pytorch")
    ]
    return int(min(row["ratio"] for row in rows) < 1 or errors[0] > errors[1])


if __name__ == "__main__":
    sys.exit(main())
