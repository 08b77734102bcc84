"""What stands between encoder and decoder, and the prior over it, by their knobs."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from saiki import cells
from saiki.errors import InputError
from saiki.experiment import Measures, Points
from saiki.experiments.groups.layers import CellChoice
from saiki.knobs import Knobs, knob
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.models.code_network import CodeNetwork
from saiki.models.code_prior import CodePrior
from saiki.models.sequence_code_prior import SequenceCodePrior
from saiki.models.vqvae import GaussianLatent, Latent, PlainLatent
from saiki.nn.quantise.quantised import GRADIENTS, Quantised, perplexity, usage
from saiki.nn.quantise.scalars import ScalarQuantizer
from saiki.nn.quantise.vectors import LEARNING, VectorQuantizer
from saiki.plots.curves import Curve, curves_of, draw_curves

EVERY = ("codes", "scalars", "gaussian", "plain")
USERS = {
    "quantiser": EVERY,
    "code_size": ("codes", "gaussian", "plain"),
    "levels": ("scalars",),
}
"""Which quantisers a knob is of; those that are not named are of codes."""


def known_labels(prior: CodeNetwork | None, labels: Tensor) -> Tensor | None:
    """The labels, where a prior has learned classes."""
    return labels if prior is not None and prior.classes else None


class Quantisation(Knobs):
    """Codes of a codebook, scalars that are rounded, or no codes at all."""

    quantiser: str = knob(
        "codes",
        "what becomes of a latent vector: the nearest of codes; each feature rounded (scalars); "
        "drawn from a Gaussian, as in a VAE; or plain, as it is",
        choices=EVERY,
    )
    code_size: int = knob(32, "features of a latent vector", minimum=1, maximum=4096)
    codes: int = knob(512, "of a codebook", minimum=1, maximum=2**16)
    heads: int = knob(
        1, "parts of a latent vector, each with a codebook of its own", minimum=1, maximum=64
    )
    stages: int = knob(
        1, "codebooks one after the other, each for what is left", minimum=1, maximum=32
    )
    cosine: bool = knob(False, "whether codes are compared by their angle")
    learning: str = knob(
        "average", "how codes are learned: as moving averages, or by gradient", choices=LEARNING
    )
    gradient: str = knob(
        "straight-through", "how it passes the choice of a code", choices=GRADIENTS
    )
    commitment: float = knob(0.25, "pull of latent vectors to their codes", minimum=0, maximum=1e3)
    decay: float = knob(0.95, "of the moving averages of codes", minimum=0, maximum=0.99999)
    kmeans: bool = knob(True, "whether codes begin as centres of the first batch")
    revive: bool = knob(True, "whether codes that are hardly given begin anew")
    levels: str = knob("8,8,8", "of each feature that is rounded, with commas between")

    def validate(self) -> None:
        of_codes = dict.fromkeys(self.to_dict(), ("codes",))
        self.refuse_unused("quantiser", {**of_codes, **USERS})
        with torch.device("meta"):  # what does not go together is refused; no number is drawn
            self.build()

    def build(self) -> Latent:
        """What makes :class:`saiki.nn.Quantised` of latent vectors.

        Raises:
            InputError: the knobs do not go together.
        """
        match self.quantiser:
            case "codes":
                return VectorQuantizer(
                    self.code_size, self.codes, self.heads, self.stages, self.cosine,
                    self.learning, self.gradient, self.commitment, self.decay, self.kmeans,
                    self.revive,
                )  # fmt: skip
            case "scalars":
                return ScalarQuantizer(self._levels())
            case "gaussian":
                return GaussianLatent(self.code_size)
        return PlainLatent(self.code_size)

    def _levels(self) -> tuple[int, ...]:
        parts = [part.strip() for part in self.levels.split(",")]
        if not all(part.isdecimal() for part in parts):
            raise InputError(f"levels must be whole numbers with commas, got {self.levels!r}")
        return tuple(map(int, parts))


class PriorKnobs(Knobs):
    """Whether there is a prior over codes, and what it reads."""

    prior: bool = knob(True, "whether a prior over the codes is learned, to draw new ones from")
    by_class: bool = knob(True, "whether it is told the class of an example")
    embedding_size: int = knob(64, "features of a code that it reads", minimum=1, maximum=8192)

    def known(self, classes: int) -> int:
        """How many classes it is told, of those there are."""
        return classes if self.by_class and classes > 1 else 0


class PriorChoice(CellChoice, PriorKnobs):
    """Recurrent layers that read codes in their order."""

    layers: int = knob(1, "recurrent layers of the prior", minimum=1, maximum=16)

    def build(self, places: Sequence[int], latent: Latent, classes: int) -> CodePrior | None:
        """The prior over rows and columns of codes; None where there are none."""
        if not (self.prior and latent.books):
            return None
        size, layers = self.embedding_size, list[Recurrent]()
        for _ in range(self.layers):
            layers.append(Recurrent(self.build_cell(size)))
            size = self.hidden_size
        recurrent = layers[0] if len(layers) == 1 else Stack(layers)
        codes: int = latent.codes
        return CodePrior((*places, latent.books), codes, recurrent, self.known(classes))


class SequencePriorChoice(PriorKnobs):
    """A recurrent layer, of the cell that an exercise has, that reads sequences of codes."""

    prior_size: int = knob(128, "units of the prior", minimum=1, maximum=8192)

    def build(self, cell: str, latent: Latent, classes: int) -> SequenceCodePrior | None:
        """The prior over codes and their end; None where there are none."""
        if not (self.prior and latent.books):
            return None
        recurrent = Recurrent(cells.make(cell, self.embedding_size, self.prior_size))
        return SequenceCodePrior(latent.books, latent.codes, recurrent, self.known(classes))


def coded_measures(latent: Quantised, loss: Tensor, error: Tensor, nll: Tensor | None) -> Measures:
    """What a batch tells of an autoencoder with codes, and of its prior where there is one."""
    measures = {"loss": loss, "reconstruction_error": error.detach()}
    if nll is not None:
        measures |= {"loss": loss + nll, "prior_nll": nll.detach()}
    if latent.counts.numel():
        measures |= {"batch_usage": latent.usage, "batch_perplexity": latent.perplexity}
    return measures


def codebook_figures(counts: Tensor) -> dict[str, float]:
    """How evenly codes are used."""
    return {
        "codebook_usage": usage(counts).item(),
        "codebook_perplexity": perplexity(counts).item(),
    }


def of_validation(figures: dict[str, float]) -> dict[str, float]:
    """Figures of an autoencoder, as curves of what validates."""
    error = {"validation_error": figures.pop("reconstruction_error")}
    return error | {f"validation_{name}": value for name, value in figures.items()}


def error_with_costs(error: str, latent: Latent, prior: str) -> str:
    """What training lowers, as an equation; ``prior`` is empty without one."""
    cost = f" + {latent.cost}" if latent.cost else ""
    return f"E = {error}{cost}{f' − ln p({prior})' if prior else ''}"


def draw_usage(points: Points, codes: int, path: Path, title: str) -> Path:
    """How much of the codebook is used over the course of a training, from its ``points``."""
    curves, lines = curves_of(points), dict[str, list[Curve]]()
    for name in ("usage", "perplexity"):
        if curve := curves.get(f"validation_codebook_{name}"):
            share = 1 if name == "usage" else codes
            lines[name] = [(curve[0], [value / share for value in curve[1]])]
    return draw_curves(path, lines, ylabel="share of the codes", kind="share", title=title)
