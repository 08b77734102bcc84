"""Autoencoders of images: plain, and variational ones, whose latent vectors have a distribution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saiki.nn.latent import Bound, Gaussian
from saiki.nn.likelihoods import Likelihood
from saiki.saving.pretrained import DescribedModule


class Autoencoder(DescribedModule, name="autoencoder.v1"):
    """An image as a few numbers, and the image that these lead back to.

    z = encoder(x),  v = decoder(z),  x̂ = mean of p(x | v)

    Args:
        shape: of an image: channels, height, width.
        latent_size: numbers of the code z.
        encoder: from ``(batch, *shape)`` to ``(batch, latent_size)``.
        decoder: from ``(batch, latent_size)`` to ``likelihood.outputs`` times the channels.
        likelihood: what the decoder says of each pixel.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_size: int,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.latent_size = latent_size
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood

    def encode(self, x: Tensor) -> Tensor:
        """The code of each image, ``(batch, latent_size)``."""
        z: Tensor = self.encoder(x)
        return z

    def encoding(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """All that the encoder says of each image: its code."""
        return self.encode(image)

    def decode(self, code: Tensor) -> Tensor:
        """The image of each code, ``(batch, *shape)``, from 0 to 1."""
        return self.likelihood.mean(self.decoder(code))

    def forward(self, x: Tensor) -> Tensor:
        """Each image as it comes back, ``(batch, *shape)``."""
        return self.decode(self.encode(x))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """ln p(x | z) of images ``(batch, *shape)`` and codes ``(…, batch, latent_size)``."""
        v: Tensor = self.decoder(z.flatten(0, -2))
        return self.likelihood.log_prob(v.unflatten(0, z.shape[:-1]), x)

    def bound(self, x: Tensor, samples: int = 1, generator: torch.Generator | None = None) -> Bound:
        """ln p(x | z) of the code of each image; there is nothing that it diverges from."""
        z = self.encode(x)
        likelihood = self.log_likelihood(x, z[None])
        return Bound(likelihood, z.new_zeros(len(z), 0), torch.zeros_like(likelihood), z)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """The images of codes drawn from N(0, 1), ``(count, *shape)``; new ones, where the codes of
        images are held to that."""
        like = next(self.parameters())
        z = torch.randn(
            count, self.latent_size, generator=generator, dtype=like.dtype, device=like.device
        )
        return self.decode(z)

    def equations(self) -> str:
        return f"z ← encoder(x)\nv ← decoder(z)\n{self.likelihood.equation}"


class VAE(Autoencoder, name="vae.v1"):
    """A variational autoencoder (Kingma & Welling 2014): codes have a distribution, and are held to
    mean 0 and variance 1, so that a code drawn from N(0, 1) is that of an image.

    q(z | x) = N(μ, σ²),  (μ, ln σ²) = encoder(x)
    ln p(x) ≥ E ln p(x | z) − KL(q(z | x) ‖ N(0, 1)),  z from q    (the ELBO)

    The encoder gives ``2 · latent_size`` numbers. The rest is as in :class:`Autoencoder`; the code
    of an image is the mean μ.
    """

    def posterior(self, x: Tensor) -> Gaussian:
        """q(z | x) of each image."""
        return Gaussian.of(self.encoder(x))

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x).mean

    def encoding(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code of each image."""
        posterior = self.posterior(image)
        return posterior.mean, posterior.log_variance

    def bound(self, x: Tensor, samples: int = 1, generator: torch.Generator | None = None) -> Bound:
        """Of ``samples`` codes drawn for each image from its posterior."""
        posterior = self.posterior(x)
        z = posterior.draw(samples, generator=generator)
        return Bound.of(self.log_likelihood(x, z), z, posterior)

    def equations(self) -> str:
        return (
            "μ, ln σ² ← encoder(x)\nz ← μ + σ ε,  ε from N(0, 1)\nv ← decoder(z)\n"
            f"{self.likelihood.equation}\nKL = Σ ½ (σ² + μ² − 1 − ln σ²)"
        )
