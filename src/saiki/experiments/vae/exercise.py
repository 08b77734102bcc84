"""Autoencoders of images: few numbers that an image becomes, and new images from such numbers."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from saiki.capabilities import Annotates, Draws, DrawsAnswers, Exports, Monitors
from saiki.data.dataset import Draw
from saiki.data.images.dataset import ImageDataset, ImageSource, image_of
from saiki.data.images.files import Picture
from saiki.data.images.folder import IMAGE
from saiki.data.images.labelled import balanced
from saiki.duration import Epochs
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.groups.comparison import Difference, compare, in_every_seed, in_words
from saiki.experiments.groups.latent import Divergence, between
from saiki.experiments.vae import measures as images
from saiki.experiments.vae.networks import ImageNetworks, LikelihoodChoice
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics.latent import active_units
from saiki.models.autoencoder import VAE, Autoencoder
from saiki.models.parts import Part, Parts
from saiki.optimisation import Optimisation
from saiki.plots.images import draw_rows, draw_sheet
from saiki.plots.latent import draw_course, draw_plane
from saiki.prediction import Prediction

REDUCED: Mapping[str, Value] = {
    "examples": 10_000,
    "epochs": 20.0,
    "learning_rate": 0.003,
    "nll_images": 200,
}
"""The published setting on fewer images, learned faster."""
STRONG: Mapping[str, Value] = {**REDUCED, "beta": 4.0}


STILL_ACTIVE = 36
"""Nine in ten of the 40 units."""


def _halves_the_units(trials: Sequence[Trial]) -> tuple[bool, str]:
    weak, strong = (trial.values("active_units") for trial in trials)
    beyond = Difference.of([b - a / 2 for a, b in zip(weak, strong, strict=True)])
    shown = in_words(trials, "beta", "active_units")
    return beyond.is_less, f"{shown}; beyond half of them {beyond}"


def _lowers_the_nll(trials: Sequence[Trial]) -> tuple[bool, str]:
    risen = compare(trials[0], trials[1], "nll")
    return risen.is_less, f"{in_words(trials, 'samples', 'nll')}; risen by {risen}"


CLAIMS = (
    Claim(
        "With a beta of 4 fewer than half as many units stay active as with 1",
        "published",
        (REDUCED, STRONG),
        _halves_the_units,
    ),
    Claim(
        "Even then at least nine in ten stay active where each has 0.1 nats free",
        "published",
        (STRONG, {**STRONG, "free_bits": 0.1}),
        lambda trials: (
            in_every_seed(trials[1:], "active_units", lambda units: units >= STILL_ACTIVE),
            in_words(trials, "free_bits", "active_units"),
        ),
    ),
    Claim(
        "The importance-weighted bound with 5 samples leads to a lower nll than the ELBO",
        "published",
        (REDUCED, {**REDUCED, "samples": 5}),
        _lowers_the_nll,
    ),
)


VALIDATED, SHOWN, BETWEEN = 1000, 12, 9
"""Images that validate, those of a row in a picture, and those from one image to another."""

Batch = tuple[Tensor, Tensor]
"""Images from 0 to 1, ``(batch, channels, height, width)``, and the weight of the divergence."""
SMALL: dict[str, Value] = {"examples": 20_000, "epochs": 3.0, "nll_images": 100}
"""What teaches something within an hour."""


class SeenImages(ImageDataset[Batch]):
    """Images as the network sees them.

    Args:
        weight: of the divergence, at each update.
    """

    _: KW_ONLY
    pixels: LikelihoodChoice
    weight: Callable[[int], float]

    def seen(self, pixels: Tensor, key: Sequence[int] = (0,)) -> Tensor:
        """See :meth:`LikelihoodChoice.seen`."""
        return self.pixels.seen(pixels, self.dtype, key)

    def batch(self, draw: Draw) -> Batch:
        x = self.seen(self.parts.train.pixels[torch.from_numpy(draw.rows)], draw.key)
        return x[draw.part], torch.tensor(self.weight(draw.update), dtype=self.dtype)


class Autoencoding(
    Annotates, Draws, DrawsAnswers, Exports, Monitors, Experiment[Autoencoder, Batch]
):
    """An encoder makes a few numbers of an image, and a decoder the image of the numbers. The
    variational one, which is the default, says a distribution of them and holds it to mean 0 and
    variance 1, so that numbers drawn from there become new images. The default is also called
    ``good``.
    """

    images: ImageSource = ImageSource()
    networks: ImageNetworks = ImageNetworks()
    variational: bool = knob(True, "whether codes are drawn, and held to mean 0 and variance 1")
    pixels: LikelihoodChoice = LikelihoodChoice()
    divergence: Divergence = Divergence()
    samples: int = knob(
        1,
        "codes drawn for each image in training; more than 1: the importance-weighted bound",
        minimum=1,
        maximum=10_000,
    )
    nll_samples: int = knob(
        200, "codes drawn for each image when nll is estimated", minimum=1, maximum=100_000
    )
    nll_images: int = knob(
        500, "test images that nll is estimated on, of each class alike; 0: all", minimum=0
    )
    duration: Epochs = Epochs(epochs=10.0, updates=500)
    optimisation: Optimisation = Optimisation(
        batch_size=128, learning_rate=0.003, warmup=0.05, schedule="cosine", clip_norm=100.0
    )

    name = "vae"
    summary = "learn what images are made of, and draw new ones"
    score = "elbo"
    selected_by = "validation_loss"
    shown = ("loss", "reconstruction", "kl", "active_units")
    takes = IMAGE
    minutes = 4.0
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "published": {
            "network": "fully-connected", "width": 400, "latent_size": 40,
            "likelihood": "bernoulli", "binarise": "drawn", "nll_images": 0, "epochs": 50.0,
            "batch_size": 100, "learning_rate": 0.001, "warmup": 0.0, "schedule": "constant",
            "clip_norm": 0.0,
        },
        "small": SMALL,
        "quick": SMALL | {"updates": 300, "most_updates": 500},
        "plane": {
            "network": "fully-connected", "width": 400, "latent_size": 2, "likelihood": "bernoulli",
        },
        "plain": {
            "network": "fully-connected", "width": 400, "latent_size": 2, "likelihood": "bernoulli",
            "variational": False,
        },
    }  # fmt: skip
    claims = CLAIMS

    def validate(self) -> None:
        self.divergence.check(self.variational, self.samples)

    @cached_property
    def data(self) -> SeenImages:
        batching, weight = self.optimisation.batching, self.divergence.schedule(self)
        return SeenImages(batching, self.images, self.dtype, pixels=self.pixels, weight=weight)

    def model(self) -> Autoencoder:
        return self.network(self.data.shape)

    def network(self, shape: Sequence[int] = (1, 4, 4)) -> Autoencoder:
        """A new model of images of this shape."""
        return self.networks.build(shape, self.pixels.build(shape[0]), self.variational)

    def measure(self, model: Autoencoder, batch: Batch) -> Measures:
        x, weight = batch
        bound = model.bound(x, self.samples)
        measures = self.divergence.measures(bound, weight)
        if self.samples > 1:
            measures["loss"] = -bound.importance_weighted.mean()
        return measures

    @cached_property
    def _validation(self) -> Tensor:
        return self.data.seen(self.data.parts.validation.some(VALIDATED, 0).pixels)

    def monitor(self, model: Autoencoder) -> dict[str, float]:
        return images.measure_images(model, self._validation).validation(self.divergence.beta)

    @cached_property
    def tested(self) -> Tensor:
        """The test images as the network sees them."""
        return self.data.seen(self.data.parts.test.pixels)

    def some(self, count: int) -> Tensor:
        """So many of the test images as the network sees them, of each class alike."""
        return self.tested[balanced(self.data.parts.test.labels, count, 0)]

    def evaluate(self, model: Autoencoder) -> Figures:
        measures = self.evaluated[model] = images.measure_images(model, self.tested)
        figures: Figures = {"elbo": None, "nll": None, "kl": None}
        if isinstance(model, VAE):
            figures["elbo"] = -measures.reconstruction - measures.kl
            some = self.some(self.nll_images or len(self.tested))
            figures["nll"] = images.nll(model, some, self.nll_samples)
            figures["kl"] = measures.kl
        figures["active_units"] = active_units(measures.codes)
        figures["samples_near"] = images.samples_near(
            model, self.data.parts.train.pixels, self.some(images.COMPARED)
        )
        figures |= self.data.skipped
        return {**figures, "reconstruction_error": measures.errors.mean().item()}

    @torch.no_grad()
    def draw(self, model: Autoencoder, points: Points, folder: Path) -> list[Path]:
        labels, classes = self.data.parts.test.labels, self.data.parts.test.classes
        measures = self.evaluated.get(model) or images.measure_images(model, self.tested)
        x = placed(self.some(SHOWN), model)
        new = model.sample(6 * SHOWN, torch.Generator(x.device).manual_seed(0))
        rows, title = {"image": x, "back": model(x)}, f"{self.title}, codes drawn from N(0, 1)"
        pictures = [
            draw_rows(folder / "reconstructions.png", rows, self.title),
            draw_sheet(folder / "samples.png", new, SHOWN, title),
        ]
        if model.latent_size > 1:
            plane = images.walked(model, measures.codes, labels, classes)
            pictures.append(draw_plane(folder / "plane.png", plane, self.title))
        if isinstance(model, VAE):
            cost = measures.divergences.mean(0).tolist()
            pictures.append(draw_course(folder / "course.png", points, cost, self.title))
        return pictures

    def read(self, model: Autoencoder, path: str) -> Tensor:
        """The image of a file as the model sees it, ``(1, *shape)``."""
        return placed(self.data.seen(image_of(path, model.shape)), model)

    @torch.no_grad()
    def predict(self, model: Autoencoder, text: str) -> Prediction:
        x = self.read(model, text)
        z = model.encode(x)
        back = model.decode(z)
        error = (back - x).square().mean().item()
        return Prediction(
            input=text,
            output=Picture((back[0] * 255).round().to("cpu", torch.uint8)),
            figures={"code": z[0].tolist(), "reconstruction_error": error},
            text=f"{text}: squared error {error:.4f} a pixel",
        )

    @torch.no_grad()
    def draw_answers(self, model: Autoencoder, texts: Sequence[str], path: Path) -> Path:
        x = torch.cat([self.read(model, text) for text in texts])
        z = model.encode(x)
        rows = {"image": x, "back": model.decode(z)}
        for i, codes in enumerate(itertools.pairwise(z), 1):
            rows[f"{i} to {i + 1}"] = model.decode(between(*codes, BETWEEN))
        return draw_rows(path, rows, self.title)

    def exported(self, model: Autoencoder) -> Parts:
        z = torch.zeros(2, model.latent_size, dtype=self.dtype)
        x = torch.zeros(2, *model.shape, dtype=self.dtype)
        return {"encoder": (Part(model, "encoding"), x), "decoder": (Part(model, "decode"), z)}

    def metadata(self, model: Autoencoder) -> dict[str, str]:
        return {"shape": to_json(model.shape), "binarise": self.pixels.binarise}

    def equations(self) -> str:
        model = untrained(self.network).equations()
        if not self.variational:
            return f"{model}\nE = −ln p(x | z)"
        if self.samples > 1:
            return f"{model}\nE = −ln 1/K Σₖ p(x, zₖ) / q(zₖ | x),  K = {self.samples}"
        return f"{model}\nE = −ln p(x | z) + {self.divergence.equation()}"
