"""``saiki.nn.VectorQuantizer`` beside that of vector-quantize-pytorch: a step of each, in turn, and
what both reach in the exercise vq-vae.

The steps are forward and backward passes in training, with moving averages, the revival of dead
codes and the straight-through gradient or the rotation trick; the medians of interleaved repeats
count. In the exercise encoder and decoder are the same to begin with, and so are the batches, the
optimiser and the number of steps; both begin from centres of the first batch. Neither the step nor
the error on test images may be more than theirs.
"""

import itertools
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

from saiki.bench.harness import Row, interleaved, row
from saiki.experiments.vq_vae.exercise import VQVAEs
from saiki.experiments.vq_vae.measures import measured
from saiki.models.vqvae import VQVAE
from saiki.nn import Quantised, VectorQuantizer
from saiki.nn.quantise.quantised import count

SIZES = ((128 * 49, 512, 32), (128 * 49, 512, 64), (32 * 256, 1024, 64), (4096, 8192, 16))
"""Vectors, codes, features."""
THEIRS = "vector-quantize-pytorch"
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
        self.quantiser = VectorQuantize(
            size, codes, decay=decay, commitment_weight=commitment, rotation_trick=trick,
            kmeans_init=True, threshold_ema_dead_code=DEAD,
        )  # fmt: skip

    def forward(self, z: Tensor) -> Quantised:
        vectors, codes, loss = self.quantiser(z.flatten(1, -2))
        counts = count(codes.reshape(1, -1), self.codes)
        loss = loss.sum() if self.training else z.new_zeros(())
        return Quantised(vectors.view_as(z), codes.view(*z.shape[:-1], 1), loss, counts)


def step(quantiser: nn.Module, z: Tensor) -> None:
    y = quantiser(z)
    (y.vectors.sum() + y.loss).backward()


def rows(repeats: int = 30, epochs: float = 4.0, seeds: int = 1) -> Iterator[Row]:
    for (vectors, codes, size), trick in itertools.product(SIZES, (False, True)):
        z = torch.randn(1, vectors, size, requires_grad=True)
        gradient = "rotation" if trick else "straight-through"
        steps = {
            "saiki": partial(step, VectorQuantizer(size, codes, gradient=gradient), z),
            THEIRS: partial(step, Theirs(size, codes, 0.25, 0.95, trick), z),
        }
        name = f"{vectors} vectors of {size}, {codes} codes, {gradient}"
        report = row(name, (vectors, codes, size), interleaved(steps, repeats))
        yield report | ({"missed": "slower"} if report["ratio"][THEIRS] < 1 else {})
    errors = dict.fromkeys(("saiki", THEIRS), 0.0)
    for seed, gradient in itertools.product(
        range(seeds if epochs else 0), ("straight-through", "rotation")
    ):
        measures = exercise(epochs, seed, gradient)
        for name, each in measures.items():
            errors[name] += each["reconstruction_error"]
        figures = {
            figure: {name: each[figure] for name, each in measures.items()}
            for figure in measures["saiki"]
        }
        missed = {"missed": "a larger error"} if errors["saiki"] > errors[THEIRS] else {}
        yield {"workload": f"vq-vae, seed {seed}, {gradient}", **figures, **missed}


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
    experiment = VQVAEs.from_dict(
        {"epochs": epochs, "seed": seed, "gradient": gradient, "prior": False}
    )
    knobs = experiment.quantisation
    torch.manual_seed(seed)
    ours = experiment.model()
    theirs = Theirs(
        knobs.code_size, knobs.codes, knobs.commitment, knobs.decay, gradient == "rotation"
    )
    other = VQVAE(ours.shape, theirs, experiment.width, experiment.halvings, None, ours.classes)
    for part in ("encoder", "decoder"):
        getattr(other, part).load_state_dict(getattr(ours, part).state_dict())
    return {name: train(experiment, model) for name, model in (("saiki", ours), (THEIRS, other))}
