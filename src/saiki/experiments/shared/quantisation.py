"""What stands between encoder and decoder, and the prior over it, by their knobs."""

from collections.abc import Sequence

import torch

from saiki.errors import InputError
from saiki.experiments.shared.layers import CellChoice
from saiki.knobs import Knobs, knob
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.models.code_prior import CodePrior
from saiki.models.vqvae import GaussianLatent, Latent, PlainLatent
from saiki.nn.quantise import GRADIENTS, ScalarQuantizer, VectorQuantizer
from saiki.nn.quantise.vectors import LEARNING

EVERY = ("codes", "scalars", "gaussian", "plain")
USERS = {
    "quantiser": EVERY,
    "code_size": ("codes", "gaussian", "plain"),
    "levels": ("scalars",),
}
"""Which quantisers a knob is of; those that are not named are of codes."""


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


class PriorChoice(CellChoice):
    """Recurrent layers that read codes in their order."""

    prior: bool = knob(True, "whether a prior over the codes is learned, to draw new images from")
    by_class: bool = knob(True, "whether it is told the class of an image")
    layers: int = knob(1, "recurrent layers of the prior", minimum=1, maximum=16)
    embedding_size: int = knob(64, "features of a code that it reads", minimum=1, maximum=8192)

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
        shape = (*places, latent.books)
        known = classes if self.by_class and classes > 1 else 0
        return CodePrior(shape, codes, recurrent, known)
