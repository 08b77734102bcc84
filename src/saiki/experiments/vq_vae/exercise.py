"""Images as codes: an autoencoder with a codebook, and new images from a prior over its codes."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from saiki.capabilities import Annotates, Draws, Exports, Monitors, Settles
from saiki.data.dataset import Draw
from saiki.data.images.dataset import ImageSource, LabelledImages, image_of
from saiki.data.images.files import Picture
from saiki.data.images.folder import IMAGE
from saiki.duration import Epochs
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.groups.comparison import compare, in_every_seed, in_words
from saiki.experiments.groups.quantisation import (
    PriorChoice,
    Quantisation,
    coded_measures,
    draw_usage,
    error_with_costs,
    known_labels,
    of_validation,
)
from saiki.experiments.vq_vae import measures as images
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics import classes
from saiki.models.image_networks import features_shape
from saiki.models.parts import Part, Parts
from saiki.models.vqvae import VQVAE
from saiki.optimisation import Optimisation
from saiki.plots.codes import draw_codes
from saiki.plots.images import draw_rows
from saiki.prediction import Prediction

REDUCED: Mapping[str, Value] = {"examples": 10_000, "epochs": 6.0, "judge": 200}
"""Fewer images and a smaller judge, so that all claims are decided within an hour."""
VAE: Mapping[str, Value] = {**REDUCED, "quantiser": "gaussian"}
WIDTHS = (16, 32, 64)
USED = 0.9
ALLOWED = 0.01
"""Of the accuracy of a probe, by which it may fall short."""


def _of(trial: Trial) -> str:
    name = "VAE" if trial.knobs.get("quantiser") == "gaussian" else "VQ-VAE"
    return f"{name} of width {trial.knobs['width']}"


def _sharper(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials
    sharper = compare(gaussian, codes, "sharpness")
    nearer = compare(gaussian, codes, "frechet_reconstructions")
    shown = in_words(trials, _of, "sharpness", "frechet_reconstructions", "frechet_samples")
    message = f"{shown}; sharper by {sharper}, farther by {nearer}"
    return sharper.is_more and nearer.is_less, message


def _carries_the_class(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials
    above = compare(gaussian, codes, "probe_accuracy", ALLOWED)
    return (
        above.is_more,
        f"{in_words(trials, _of, 'probe_accuracy')}; above what is asked by {above}",
    )


def _stays_in_use(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials[: len(WIDTHS)], trials[len(WIDTHS) :]
    in_use = in_every_seed(codes, "codebook_usage", lambda usage: usage >= USED)
    collapsed = in_every_seed(gaussian, "active_share", lambda share: share < USED)
    shown = (in_words(codes, _of, "codebook_usage"), in_words(gaussian, _of, "active_share", "kl"))
    return in_use and collapsed, "; ".join(shown)


CLAIMS = (
    Claim(
        "Images come back from codes with sharper contours than from the latent vectors of a VAE "
        "of equal size, and nearer to what they were in the eyes of a classifier",
        "good",
        (REDUCED, VAE),
        _sharper,
    ),
    Claim(
        "A linear layer reads the class out of codes as well as out of the latent vectors of a VAE "
        "of equal size, to 1 %",
        "good",
        (REDUCED, VAE),
        _carries_the_class,
    ),
    Claim(
        "Whether encoder and decoder have 16, 32 or 64 channels, 90 % of the codes are used, where "
        "a VAE of equal size leaves more than a tenth of its latent features to the prior",
        "good",
        tuple({**kind, "width": width} for kind in (REDUCED, VAE) for width in WIDTHS),
        _stays_in_use,
    ),
    Claim(
        "At least 90 % of 512 codes are used on held-out images",
        "good",
        (REDUCED,),
        lambda trials: (
            in_every_seed(trials, "codebook_usage", lambda usage: usage >= USED),
            in_words(trials, _of, "codebook_usage", "codebook_perplexity"),
        ),
    ),
)


Batch = tuple[Tensor, Tensor]
"""Images from 0 to 1, ``(batch, channels, height, width)``, and their classes, ``(batch,)``."""
SHOWN, NEW_OF_A_CLASS, VALIDATED = 10, 8, 1000
"""Images of a picture, new ones of a class, and those that the curves are measured by."""
SMALL: dict[str, Value] = {
    "examples": 5000,
    "epochs": 4.0,
    "width": 32,
    "hidden_size": 64,
    "judge": 100,
}
"""What teaches something within an hour."""


class ClassedImages(LabelledImages[Batch]):
    """Images and their classes, as they are."""

    def batch(self, draw: Draw) -> Batch:
        some = self.parts.train[torch.from_numpy(draw.own)]
        return some.pixels.to(self.dtype) / 255, some.labels


class VQVAEs(Annotates, Draws, Exports, Monitors, Settles, Experiment[VQVAE, Batch]):
    """An encoder makes a small image of codes from a large one, each the nearest of a codebook, and
    a decoder the image from the codes. Meanwhile a recurrent network learns in which order codes
    come, so that new images can be drawn, of a class if wanted. The default, also called ``good``,
    is for Fashion-MNIST: 7 × 7 codes, of 512.
    """

    images: ImageSource = ImageSource()
    width: int = knob(64, "channels of the features of an image", minimum=1, maximum=4096)
    halvings: int = knob(
        2, "times that height and width are halved on the way to codes", minimum=0, maximum=8
    )
    quantisation: Quantisation = Quantisation()
    code_prior: PriorChoice = PriorChoice(hidden_size=128)
    judge: int = knob(
        400,
        "updates of the classifier in whose features images are compared in the end; 0: none",
        minimum=0,
        maximum=10**6,
    )
    duration: Epochs = Epochs(epochs=4.0, updates=500)
    optimisation: Optimisation = Optimisation(
        batch_size=128, learning_rate=0.002, schedule="cosine", warmup=0.02
    )

    name = "vq-vae"
    summary = "learn a codebook of which images are made, and draw new ones"
    minutes = 5.0
    score = "psnr"
    selected_by = "validation_error"
    shown = ("loss", "validation_error", "validation_codebook_usage", "validation_prior_nll")
    takes = IMAGE
    points = 40
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL | {"updates": 150, "most_updates": 200},
        "rotation": {"gradient": "rotation"},
        "scalars": {"quantiser": "scalars"},
        "vae": {"quantiser": "gaussian"},
    }
    claims = CLAIMS

    @cached_property
    def data(self) -> ClassedImages:
        return ClassedImages(self.optimisation.batching, self.images, self.dtype)

    def model(self) -> VQVAE:
        return self.network(self.data.shape, self.data.parts.train.classes)

    def network(self, shape: Sequence[int] = (1, 4, 4), names: Sequence[str] = ("a", "b")) -> VQVAE:
        """A new model of images of this shape and these classes."""
        latent = self.quantisation.build()
        _, *places = features_shape(shape, self.width, self.halvings)
        prior = self.code_prior.build(places, latent, len(names))
        return VQVAE(shape, latent, self.width, self.halvings, prior, names)

    def measure(self, model: VQVAE, batch: Batch) -> Measures:
        x, labels = batch
        back, nll = model.autoencode(x), None
        if model.prior is not None:
            codes = back.latent.codes
            nll = model.prior.nll(codes, known_labels(model.prior, labels)).mean()
        return coded_measures(back.latent, back.loss, back.error, nll)

    def monitor(self, model: VQVAE) -> dict[str, float]:
        some = self.data.parts.validation.some(VALIDATED, 0)
        return of_validation(images.measured(model, some))

    def settle(self, model: VQVAE) -> None:
        images.fit_probe(model, self.data.parts.train)

    def evaluate(self, model: VQVAE) -> Figures:
        test = self.data.parts.test
        figures: Figures = {**images.measured(model, test), **self.data.skipped}
        error = figures["reconstruction_error"] or 0.0
        figures["psnr"] = -10 * math.log10(error) if error > 0 else None
        figures["probe_accuracy"] = images.probe_accuracy(model, test)
        return {
            **figures,
            **images.perceptual_figures(model, self.data.parts.train, test, self.judge),
        }

    @torch.no_grad()
    def draw(self, model: VQVAE, points: Points, folder: Path) -> list[Path]:
        x, _ = images.as_seen(self.data.parts.test.some(SHOWN, 0), model)
        autoencoded = model.autoencode(x)
        rows, title = {"image": x, "back": autoencoded.images}, self.title
        pictures = [draw_rows(folder / "reconstructions.png", rows, title)]
        if model.quantiser.books:
            seen = images.batches_of(model, self.data.parts.test)
            counts = torch.stack([model.latent(x).counts for x, _ in seen]).sum(0)
            of_picture = (x, autoencoded.latent.codes, autoencoded.images)
            pictures += [
                draw_codes(folder / "codes.png", counts, *of_picture, title),
                draw_usage(points, model.quantiser.codes, folder / "usage.png", title),
            ]
        if model.can_draw:
            pictures.append(draw_rows(folder / "samples.png", self._new(model), title))
        return pictures

    def _new(self, model: VQVAE) -> dict[str, Tensor]:
        """New images of each class, or of none in particular."""
        by_class = model.prior is not None and model.prior.classes > 0
        names = model.classes if by_class else ("new 1", "new 2", "new 3")
        labels = torch.arange(len(names)).repeat_interleave(NEW_OF_A_CLASS)
        return dict(zip(names, images.new_images(model, labels).split(NEW_OF_A_CLASS), strict=True))

    @torch.no_grad()
    def predict(self, model: VQVAE, text: str) -> Prediction:
        x = placed(image_of(text, model.shape).to(self.dtype) / 255, model)
        autoencoded = model.autoencode(x)
        back = autoencoded.images.clamp(0, 1)
        error = (back - x).square().mean().item()
        figures: dict[str, Any] = {"reconstruction_error": error}
        if model.quantiser.books:
            figures["codes"] = autoencoded.latent.codes[0].tolist()
        line = f"{text}: squared error {error:.4f} a pixel"
        if model.can_probe:
            best = classes.likeliest(model.classes, model.probed(autoencoded.latent.vectors)[0])
            figures |= {**best[0], "classes": best}
            line += f", {best[0]['label']} ({best[0]['probability']:.1%})"
        output = Picture((back[0] * 255).round().to("cpu", torch.uint8))
        return Prediction(input=text, output=output, figures=figures, text=line)

    def exported(self, model: VQVAE) -> Parts:
        x = torch.zeros(2, *model.shape, dtype=self.dtype)
        encoder, decoder = Part(model, "encode"), Part(model, "images")
        return {"encoder": (encoder, x), "decoder": (decoder, encoder(x))}

    def metadata(self, model: VQVAE) -> dict[str, str]:
        return {"shape": to_json(model.shape), "classes": to_json(model.classes)}

    def equations(self) -> str:
        model = untrained(self.network)
        prior = "codes" if model.prior is not None else ""
        return f"{model.equations()}\n{error_with_costs('|x − x̂|²', model.quantiser, prior)}"
