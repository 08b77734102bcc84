"""Networks that read and write images, and what they say of a pixel, by their knobs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saiki.knobs import Knobs, knob
from saiki.models.autoencoder import VAE, Autoencoder
from saiki.models.image_networks import ENCODERS, decoder, encoder
from saiki.nn.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian, Likelihood


class LikelihoodChoice(Knobs):
    """What a decoder says of each pixel, and how pixels are told to it."""

    likelihood: str = knob(
        "gaussian",
        "of a pixel, given what the decoder says of it",
        choices=("bernoulli", "gaussian", "discretised-logistic"),
    )
    deviation: float = knob(
        0.0, "standard deviation of the Gaussian; 0: it is learned", minimum=0, maximum=100
    )
    components: int = knob(
        1, "logistic distributions that are mixed for a pixel", minimum=1, maximum=100
    )
    binarise: str = knob(
        "never",
        "pixels into 0 and 1: drawn with the grey value as probability, anew each time an image is "
        "learned from; or by whether they are above one half",
        choices=("never", "drawn", "threshold"),
    )

    def validate(self) -> None:
        users = {
            "binarise": ("bernoulli",),
            "deviation": ("gaussian",),
            "components": ("discretised-logistic",),
        }
        self.refuse_unused("likelihood", users)

    def seen(self, pixels: Tensor, dtype: torch.dtype, key: Sequence[int]) -> Tensor:
        """Bytes as a network sees them, from 0 to 1; what is drawn follows from the key."""
        x = pixels.to(dtype) / 255
        if self.binarise == "threshold":
            return (x > 0.5).to(dtype)
        if self.binarise == "drawn":
            uniform = np.random.default_rng(key).random(x.shape, np.float32)
            return (torch.from_numpy(uniform) < x).to(dtype)
        return x

    def build(self, channels: int) -> Likelihood:
        match self.likelihood:
            case "bernoulli":
                return Bernoulli()
            case "gaussian":
                return Gaussian(channels, self.deviation)
        return DiscretisedLogistic(self.components)


class ImageNetworks(Knobs):
    """An encoder, a decoder that mirrors it, and the code between them."""

    network: str = knob("convolutional", "that reads and that writes images", choices=ENCODERS)
    width: int = knob(
        64, "channels of the features, or units of the hidden layer", minimum=1, maximum=8192
    )
    latent_size: int = knob(32, "numbers of a code", minimum=1, maximum=8192)

    def build(
        self, shape: Sequence[int], likelihood: Likelihood, is_variational: bool
    ) -> Autoencoder:
        """The model of images of ``shape``."""
        size, channels = self.latent_size, shape[0] * likelihood.outputs
        reads = encoder(shape, 2 * size if is_variational else size, self.network, self.width)
        writes = decoder((channels, *shape[1:]), size, self.network, self.width)
        kind = VAE if is_variational else Autoencoder
        return kind(shape, size, reads, writes, likelihood)
