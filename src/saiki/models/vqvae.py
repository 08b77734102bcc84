"""Autoencoders whose latent vectors are codes of a codebook."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.metrics.linear_probe import linear_probe
from saiki.models.code_prior import CodePrior
from saiki.models.image_networks import features, features_shape, from_features
from saiki.nn.latent import Gaussian
from saiki.nn.quantise.quantised import Quantised
from saiki.saving.pretrained import DescribedModule


@runtime_checkable
class Latent(Protocol):
    """What stands between encoder and decoder, such as :class:`saiki.nn.VectorQuantizer`."""

    input_size: int
    """Features of each place that it takes."""
    size: int
    """Features that it hands on."""
    books: int
    """Codes of each place; 0 where there are none."""

    codes: int
    """Different ones of a codebook."""

    @property
    def cost(self) -> str: ...
    def __call__(self, z: Tensor) -> Quantised: ...
    def encode(self, z: Tensor) -> Tensor: ...
    def decode(self, codes: Tensor) -> Tensor: ...
    def equations(self) -> str: ...


class Autoencoded(NamedTuple):
    """Images after encoder and decoder."""

    images: Tensor
    """``(batch, *shape)``, not bounded."""
    latent: Quantised
    """Its vectors are ``(batch, rows, columns, size)``."""
    error: Tensor
    """The mean square of the difference of a value, a scalar."""
    loss: Tensor
    """What training lowers: the error, and what the latent vectors cost."""


class VQVAE(DescribedModule, name="vqvae.v1"):
    """An autoencoder whose latent image consists of codes (van den Oord, Vinyals & Kavukcuoglu
    2017, arXiv 1711.00937), with a prior over them, from which new images are drawn.

    z = encoder(x),  q = quantiser(z),  x̂ = decoder(q),  E = |x − x̂|² + E of the quantiser

    The encoder halves height and width some times, and the decoder mirrors it. The prior learns
    from the codes, and no gradient of it reaches them.

    Args:
        shape: of an image: channels, height, width.
        quantiser: such as :class:`saiki.nn.VectorQuantizer`, :class:`saiki.nn.ScalarQuantizer`,
            or, to compare with, :class:`GaussianLatent` or :class:`PlainLatent`.
        width: channels of the features.
        halvings: of height and width.
        prior: over the codes; see :func:`code_shape`.
        classes: names of the classes, for the probe.
    """

    probe_weight: Tensor
    probe_bias: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        quantiser: Latent,
        width: int = 64,
        halvings: int = 2,
        prior: CodePrior | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.classes = tuple(classes)
        _, *self.places = features_shape(shape, width, halvings)
        self.encoder = nn.Sequential(
            features(shape, width, halvings), nn.ReLU(), nn.Conv2d(width, quantiser.input_size, 1)
        )
        self.quantiser = quantiser
        self.decoder = nn.Sequential(
            nn.Conv2d(quantiser.size, width, 1), nn.ReLU(), from_features(shape, width, halvings)
        )
        self.prior = prior
        numbers = self.places[0] * self.places[1] * quantiser.size
        self.register_buffer("probe_weight", torch.zeros(len(classes), numbers))
        self.register_buffer("probe_bias", torch.zeros(len(classes)))

    def latent(self, x: Tensor) -> Quantised:
        """What the quantiser makes of images ``(batch, *shape)``."""
        return self.quantiser(self.encoder(x).movedim(1, -1))

    def decode(self, vectors: Tensor) -> Tensor:
        """Images of latent vectors ``(batch, rows, columns, size)``."""
        images: Tensor = self.decoder(vectors.movedim(-1, 1))
        return images

    def autoencode(self, x: Tensor) -> Autoencoded:
        """Images to codes and back."""
        latent = self.latent(x)
        images = self.decode(latent.vectors)
        error = F.mse_loss(images, x)
        return Autoencoded(
            images, latent, error, with_cost(error, self.quantiser, latent.loss, x[0].numel())
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images as they come back, from 0 to 1."""
        return self.autoencode(x).images.clamp(0, 1)

    @property
    def can_draw(self) -> bool:
        """Whether new images can be drawn."""
        return self.prior is not None or isinstance(self.quantiser, GaussianLatent)

    def encode(self, x: Tensor) -> Tensor:
        """The codes of images, ``(batch, rows, columns, books)``, or their latent vectors where
        there are no codes."""
        return self.quantiser.encode(self.encoder(x).movedim(1, -1))

    def images(self, codes: Tensor) -> Tensor:
        """The images, from 0 to 1, of what :meth:`encode` gives."""
        return self.decode(self.quantiser.decode(codes)).clamp(0, 1)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """New images, ``(count, *shape)`` from 0 to 1: of codes drawn from the prior, see
        :meth:`CodePrior.sample`, or of vectors drawn from N(0, 1) where they are Gaussian.

        Raises:
            InputError: there is no prior, or it has learned classes and there are no labels.
        """
        if self.prior is not None:
            return self.images(self.prior.sample(count, labels, temperature, generator))
        if not self.can_draw:
            raise InputError("the model has no prior to draw from")
        like = next(self.parameters())
        shape = (count, *self.places, self.quantiser.size)
        noise = torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
        return self.decode(temperature * noise).clamp(0, 1)

    @property
    def can_probe(self) -> bool:
        """Whether the probe has learned classes."""
        return len(self.classes) > 1 and bool(self.probe_weight.any())

    @torch.no_grad()
    def fit_probe(self, vectors: Tensor, labels: Tensor) -> None:
        """Have a linear layer learn the class from latent vectors ``(examples, …)``."""
        weight, bias = linear_probe(vectors.flatten(1), labels, len(self.classes))
        self.probe_weight.copy_(weight)
        self.probe_bias.copy_(bias)

    def probed(self, vectors: Tensor) -> Tensor:
        """The probabilities of the classes, ``(batch, classes)``, that the probe sees in latent
        vectors."""
        return F.linear(vectors.flatten(1), self.probe_weight, self.probe_bias).softmax(1)

    def equations(self) -> str:
        lines = ["z ← encoder(x), of each place", self.quantiser.equations(), "x̂ ← decoder(q)"]
        if self.prior is not None:
            lines.append(self.prior.equations())
        return "\n".join(lines)


class GaussianLatent(DescribedModule, name="gaussian_latent.v1"):
    """The latent vectors of a variational autoencoder in place of codes, each held to N(0, 1):

    q = μ + σ ε,  (μ, ln σ²) = z,  E = KL(N(μ, σ²) ‖ N(0, 1)), summed over an example

    In evaluation q = μ.

    Args:
        size: features of a vector.
    """

    books = codes = 0
    cost = "2/D sg(|x − x̂|²) KL"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.input_size = size, 2 * size

    def forward(self, z: Tensor) -> Quantised:
        """``z: (batch, …, 2 · size)``."""
        posterior = Gaussian.of(z)
        vectors = posterior.draw() if self.training else posterior.mean
        return _uncoded(vectors, posterior.divergence().sum() / len(z))

    def encode(self, z: Tensor) -> Tensor:
        """μ."""
        return Gaussian.of(z).mean

    def decode(self, codes: Tensor) -> Tensor:
        return codes

    def equations(self) -> str:
        return "μ, ln σ² ← z\nq ← μ + σ ε, ε from N(0, 1)\nKL = Σ ½ (σ² + μ² − 1 − ln σ²)"


class PlainLatent(DescribedModule, name="plain_latent.v1"):
    """Latent vectors as the encoder gives them: a plain autoencoder.

    Args:
        size: features of a vector.
    """

    books = codes = 0
    cost = ""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = self.input_size = size

    def forward(self, z: Tensor) -> Quantised:
        """``z: (batch, …, size)``."""
        return _uncoded(z, z.new_zeros(()))

    def encode(self, z: Tensor) -> Tensor:
        return z

    def decode(self, codes: Tensor) -> Tensor:
        return codes

    def equations(self) -> str:
        return "q ← z"


def with_cost(error: Tensor, quantiser: Latent, loss: Tensor, values: int) -> Tensor:
    """What training lowers: the error, and the loss of the latent vectors.

    Where these are Gaussian, their loss is the divergence in nats, and

    E = |x − x̂|² + 2/D sg(|x − x̂|²) KL,

    with D values for which there is one divergence: its gradient is, up to a factor, that of the
    negative ELBO with the variance of the values at its best (Rybkin, Daniilidis & Levine 2021,
    §3.2).
    """
    if isinstance(quantiser, GaussianLatent):
        loss = 2 * error.detach() / values * loss
    return error + loss


def _uncoded(vectors: Tensor, loss: Tensor) -> Quantised:
    """Vectors without codes."""
    codes = torch.zeros(*vectors.shape[:-1], 0, dtype=torch.long, device=vectors.device)
    return Quantised(vectors, codes, loss, codes.new_zeros(0, 1))
