"""Networks from an image to numbers and back, for any size and any number of channels.

A shape is (channels, height, width). Odd heights and widths come back as they were.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule

SMALLEST = 8
"""Pixels of the longer side down to which a convolutional network halves an image by itself."""
FEWEST = 16
"""Channels of a convolution at least, where the whole has as many."""


class DenseEncoder(DescribedModule, name="dense_encoder.v1"):
    """Fully connected layers over all pixels at once.

    u₁ = ReLU(W₁ x + b₁),  …,  y = W uₙ + b

    Args:
        shape: of an image.
        outputs: numbers that come out.
        width: units of a hidden layer.
        layers: hidden layers.
    """

    def __init__(
        self, shape: Sequence[int], outputs: int, width: int = 400, layers: int = 1
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.layers = nn.Sequential(
            nn.Flatten(), *_dense([math.prod(shape), *[width] * layers, outputs])
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, height, width)`` to ``(batch, outputs)``."""
        check_shape(x, self.shape)
        y: Tensor = self.layers(x)
        return y


class DenseDecoder(DescribedModule, name="dense_decoder.v1"):
    """The same from ``inputs`` numbers to an image of ``shape``."""

    def __init__(
        self, shape: Sequence[int], inputs: int, width: int = 400, layers: int = 1
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_dense([inputs, *[width] * layers, math.prod(shape)]), nn.Unflatten(1, tuple(shape))
        )

    def forward(self, z: Tensor) -> Tensor:
        """``(batch, inputs)`` to ``(batch, channels, height, width)``."""
        y: Tensor = self.layers(z)
        return y


class ConvolutionalEncoder(DescribedModule, name="convolutional_encoder.v1"):
    """:func:`features` of an image, and a linear layer over them.

    y = W ReLU(features(x)) + b

    Args:
        shape: of an image.
        outputs: numbers that come out.
        width: channels of the features.
        halvings: of height and width; those of :func:`halvings_of` without.
    """

    def __init__(
        self, shape: Sequence[int], outputs: int, width: int = 64, halvings: int | None = None
    ) -> None:
        super().__init__()
        halvings = halvings_of(shape) if halvings is None else halvings
        size = math.prod(features_shape(shape, width, halvings))
        self.shape = tuple(shape)
        self.features = features(shape, width, halvings)
        self.readout = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(size, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, height, width)`` to ``(batch, outputs)``."""
        check_shape(x, self.shape)
        y: Tensor = self.readout(self.features(x))
        return y


class ConvolutionalDecoder(DescribedModule, name="convolutional_decoder.v1"):
    """The same from ``inputs`` numbers to an image of ``shape``.

    x = from_features(ReLU(W z + b))
    """

    def __init__(
        self, shape: Sequence[int], inputs: int, width: int = 64, halvings: int | None = None
    ) -> None:
        super().__init__()
        halvings = halvings_of(shape) if halvings is None else halvings
        inner = features_shape(shape, width, halvings)
        self.begin = nn.Sequential(
            nn.Linear(inputs, math.prod(inner)), nn.Unflatten(1, inner), nn.ReLU()
        )
        self.image = from_features(shape, width, halvings)

    def forward(self, z: Tensor) -> Tensor:
        """``(batch, inputs)`` to ``(batch, channels, height, width)``."""
        y: Tensor = self.image(self.begin(z))
        return y


Network = TypeVar("Network", bound=nn.Module)
Kinds = Mapping[str, Callable[[Sequence[int], int, int], Network]]

ENCODERS: Kinds[ConvolutionalEncoder | DenseEncoder] = {
    "convolutional": ConvolutionalEncoder,
    "fully-connected": DenseEncoder,
}
DECODERS: Kinds[ConvolutionalDecoder | DenseDecoder] = {
    "convolutional": ConvolutionalDecoder,
    "fully-connected": DenseDecoder,
}


def encoder(
    shape: Sequence[int], outputs: int, kind: str = "convolutional", width: int = 64
) -> ConvolutionalEncoder | DenseEncoder:
    """From an image of ``shape`` to ``outputs`` numbers.

    Args:
        kind: one of :data:`ENCODERS`.
        width: channels of the innermost convolution, or units of the hidden layer.

    >>> import torch
    >>> encoder((3, 17, 30), 5)(torch.zeros(2, 3, 17, 30)).shape
    torch.Size([2, 5])
    """
    return _of_kind(ENCODERS, kind)(shape, outputs, width)


def decoder(
    shape: Sequence[int], inputs: int, kind: str = "convolutional", width: int = 64
) -> ConvolutionalDecoder | DenseDecoder:
    """From ``inputs`` numbers to an image of ``shape``, mirroring :func:`encoder`.

    >>> import torch
    >>> decoder((3, 17, 30), 5)(torch.zeros(2, 5)).shape
    torch.Size([2, 3, 17, 30])
    """
    return _of_kind(DECODERS, kind)(shape, inputs, width)


def features(shape: Sequence[int], width: int = 64, halvings: int = 2) -> nn.Sequential:
    """Convolutions from an image to ``(batch, width, h, w)``, height and width halved ``halvings``
    times and rounded up.

    Each halving is a convolution of 3 × 3 with stride 2, and a ReLU; a convolution of 3 × 3 comes
    last, after which the features are any numbers.
    """
    channels = _channels(width, halvings)
    layers = list[nn.Module]()
    for read, written in itertools.pairwise([shape[0], *channels]):
        layers += [nn.Conv2d(read, written, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d([shape[0], *channels][-1], width, 3, 1, 1))


def from_features(shape: Sequence[int], width: int = 64, halvings: int = 2) -> nn.Sequential:
    """From what :func:`features` makes back to an image of ``shape``: a convolution of 3 × 3, then
    transposed convolutions of 4 × 4 with stride 2, whose products overlap evenly (Odena, Dumoulin &
    Olah 2016). Where a side is odd, what is one pixel too long is cut."""
    channels = _channels(width, halvings)
    layers: list[nn.Module] = [nn.Conv2d(width, [shape[0], *channels][-1], 3, 1, 1)]
    for i in reversed(range(halvings)):
        written = channels[i - 1] if i else shape[0]
        layers += [nn.ReLU(), nn.ConvTranspose2d(channels[i], written, 4, 2, 1)]
        layers.append(_Cut(*features_shape(shape, width, i)[1:]))
    return nn.Sequential(*layers)


def features_shape(shape: Sequence[int], width: int, halvings: int) -> tuple[int, int, int]:
    """(width, h, w) of what :func:`features` makes of an image of ``shape``.

    >>> features_shape((1, 28, 29), 64, 2)
    (64, 7, 8)
    """
    height, breadth = (-(-side // 2**halvings) for side in shape[1:])
    return width, height, breadth


def check_shape(x: Tensor, shape: Sequence[int]) -> None:
    """Raise :class:`InputError` unless ``x`` is a batch of images of ``shape``."""
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(shape):
        wanted = ", ".join(map(str, shape))
        raise InputError(
            f"the encoder reads images (batch, {wanted}), got a tensor of shape {tuple(x.shape)}"
        )


def halvings_of(shape: Sequence[int]) -> int:
    """How often an image is halved until its longer side has :data:`SMALLEST` pixels at most."""
    return max(0, math.ceil(math.log2(max(shape[1:]) / SMALLEST)))


def _channels(width: int, halvings: int) -> list[int]:
    """After each halving: half as many as after the next one, but not fewer than a few."""
    return [max(width >> (halvings - 1 - i), min(width, FEWEST)) for i in range(halvings)]


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers between these sizes, with ReLU between them."""
    layers = list[nn.Module]()
    for read, written in itertools.pairwise(sizes):
        layers += [nn.ReLU(), nn.Linear(read, written)]
    return layers[1:]


def _of_kind(kinds: Kinds[Network], kind: str) -> Callable[[Sequence[int], int, int], Network]:
    try:
        return kinds[kind]
    except KeyError:
        raise InputError(f"kind must be one of {', '.join(kinds)}, got {kind!r}") from None


class _Cut(nn.Module):
    """The first rows and columns of an image."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]
