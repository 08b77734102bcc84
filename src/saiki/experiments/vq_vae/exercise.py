"""Images as codes: an autoencoder with a codebook, and new images from a prior over its codes."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saiki.capabilities import Annotates, Draws, Exports, Monitors, Settles
from saiki.data.dataset import Draw
from saiki.data.images.dataset import ImageSource, LabelledImages, image_of
from saiki.data.images.files import Picture
from saiki.data.images.folder import IMAGE
from saiki.duration import Epochs
from saiki.experiment import Experiment, Figures, Measures, Points, placed, untrained
from saiki.experiments.groups.quantisation import (
    PriorChoice,
    Quantisation,
    draw_usage,
    known_labels,
)
from saiki.experiments.vq_vae.claims import CLAIMS
from saiki.experiments.vq_vae.measures import (
    as_seen,
    coded,
    drawn,
    fit_probe,
    measured,
    perceptual_figures,
    probe_accuracy,
)
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics import classes
from saiki.models.image_networks import features_shape
from saiki.models.vqvae import VQVAE, Decoding, Encoding
from saiki.optimisation import Optimisation
from saiki.plots.codes import draw_codes
from saiki.plots.images import draw_rows
from saiki.prediction import Prediction

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
        found = model.autoencode(x)
        latent, error = found.latent, found.error.detach()
        measures = {"loss": found.loss, "reconstruction_error": error}
        if model.prior is not None:
            nll = model.prior.nll(latent.codes, known_labels(model.prior, labels)).mean()
            measures |= {"loss": found.loss + nll, "prior_nll": nll.detach()}
        if latent.counts.numel():
            measures["batch_usage"], measures["batch_perplexity"] = latent.usage, latent.perplexity
        return measures

    def monitor(self, model: VQVAE) -> dict[str, float]:
        found = measured(model, self.data.parts.validation.some(VALIDATED, 0))
        return {"validation_error": found.pop("reconstruction_error")} | {
            f"validation_{name}": value for name, value in found.items()
        }

    def settle(self, model: VQVAE) -> None:
        fit_probe(model, self.data.parts.train)

    def evaluate(self, model: VQVAE) -> Figures:
        test = self.data.parts.test
        figures: Figures = {**measured(model, test), **self.data.skipped}
        error = figures["reconstruction_error"] or 0.0
        figures["psnr"] = -10 * math.log10(error) if error > 0 else None
        figures["probe_accuracy"] = probe_accuracy(model, test)
        return {**figures, **perceptual_figures(model, self.data.parts.train, test, self.judge)}

    @torch.no_grad()
    def draw(self, model: VQVAE, points: Points, folder: Path) -> list[Path]:
        x, _ = as_seen(self.data.parts.test.some(SHOWN, 0), model)
        found = model.autoencode(x)
        rows, title = {"image": x, "back": found.images}, self.title
        pictures = [draw_rows(folder / "reconstructions.png", rows, title)]
        if model.quantiser.books:
            counts, codes = self._counts(model), found.latent.codes
            path = folder / "codes.png"
            pictures.append(draw_codes(path, counts, x, codes, found.images, title))
            path = folder / "usage.png"
            pictures.append(draw_usage(points, model.quantiser.codes, path, title))
        if model.can_draw:
            pictures.append(draw_rows(folder / "samples.png", self._new(model), title))
        return pictures

    def _counts(self, model: VQVAE) -> Tensor:
        """Of each code on the test images."""
        return torch.stack([found.counts for _, found in coded(model, self.data.parts.test)]).sum(0)

    def _new(self, model: VQVAE) -> dict[str, Tensor]:
        """New images of each class, or of none in particular."""
        by_class = model.prior is not None and model.prior.classes > 0
        names = model.classes if by_class else ("new 1", "new 2", "new 3")
        labels = torch.arange(len(names)).repeat_interleave(NEW_OF_A_CLASS)
        return dict(zip(names, drawn(model, labels).split(NEW_OF_A_CLASS), strict=True))

    @torch.no_grad()
    def predict(self, model: VQVAE, text: str) -> Prediction:
        x: Tensor = placed(image_of(text, model.shape).to(self.dtype) / 255, model)
        found = model.autoencode(x)
        back = found.images.clamp(0, 1)
        error = (back - x).square().mean().item()
        figures: dict[str, Any] = {"reconstruction_error": error}
        if model.quantiser.books:
            figures["codes"] = found.latent.codes[0].tolist()
        line = f"{text}: squared error {error:.4f} a pixel"
        if model.can_probe:
            best = classes.likeliest(model.classes, model.probed(found.latent.vectors)[0])
            figures |= {**best[0], "classes": best}
            line += f", {best[0]['label']} ({best[0]['probability']:.1%})"
        output = Picture((back[0] * 255).round().to("cpu", torch.uint8))
        return Prediction(input=text, output=output, figures=figures, text=line)

    def exported(self, model: VQVAE) -> Mapping[str, tuple[nn.Module, Any]]:
        x = torch.zeros(2, *model.shape, dtype=self.dtype)
        encoding = Encoding(model)
        return {"encoder": (encoding, x), "decoder": (Decoding(model), encoding(x))}

    def metadata(self, model: VQVAE) -> dict[str, str]:
        return {"shape": to_json(model.shape), "classes": to_json(model.classes)}

    def equations(self) -> str:
        model = untrained(self.network)
        cost = f" + {model.quantiser.cost}" if model.quantiser.cost else ""
        prior = " − ln p(codes)" if model.prior is not None else ""
        return f"{model.equations()}\nE = |x − x̂|²{cost}{prior}"
