"""Which of several classes a whole sequence belongs to."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.stack import Stack
from saiki.nn.pooling import (
    AttentionPooling,
    JoinedPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    make,
    real_steps,
)
from saiki.saving.pretrained import DescribedModule

_POOLED: dict[type, str] = {
    AttentionPooling: "u = Σₜ aᵗ yᵗ, aᵗ = softmaxₜ(vᵀ tanh(W yᵗ + b))",
    MaxPooling: "u = maxₜ yᵗ, of each feature",
    MeanPooling: "u = 1/T Σₜ yᵗ",
    LastPooling: "u = (h→ after the last step, h← after the first)",
}
_SUB = "₁₂₃₄₅₆₇₈₉"


class SequenceClassifier(DescribedModule, name="sequence_classifier.v1"):
    """Features, recurrent layers over them, one vector from all steps, and a softmax layer.

    z = features(x),  y = recurrent(z),  u = pooling(y),  p = softmax(W u + b)

    Args:
        features: a module that makes ``(batch, time, size)`` of an input and its lengths, and the
            numbers of real steps, or None where all are.
        classes: the names of the classes.
        recurrent: the layers over time.
        pooling: such as ``"attention"``; see :func:`saiki.nn.pooling.make`.
        front: a module between features and recurrent layers, such as :class:`Convolution`.
        dropout: share of the features set to zero before the recurrent and the last layer.
        rate: samples of a second, where the input is sound.
    """

    def __init__(
        self,
        features: nn.Module,
        classes: Sequence[str],
        recurrent: nn.Module,
        pooling: str = "attention",
        front: nn.Module | None = None,
        dropout: float = 0.0,
        rate: int | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.classes = tuple(classes)
        self.rate = rate
        self.front = front
        self.dropout = nn.Dropout(dropout)
        self.recurrent = recurrent
        top = recurrent.layers[-1] if isinstance(recurrent, Stack) else recurrent
        width: int = recurrent.output_size  # type: ignore[assignment]
        self.pooling, size = make(pooling, width, isinstance(top, Bidirectional))
        self.readout = nn.Linear(size, len(classes))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The pre-activations of the softmax, ``(batch, classes)``, of inputs as ``features``
        takes them."""
        return self.classify(*self.features(x, lengths))

    def classify(self, z: Tensor, steps: Tensor | None) -> Tensor:
        """The same, of features ``z: (batch, time, size)`` and the real steps of each row."""
        if self.front is not None:
            z, steps = self.front(z, steps)
        y, _ = self.recurrent(self.dropout(z), lengths=steps)
        v: Tensor = self.readout(self.dropout(self.pooling(y, steps)))
        return v

    def equations(self) -> str:
        """What becomes of the features z."""
        front = []
        if isinstance(self.front, Convolution):
            front = ["z ← ReLU(W ReLU(norm(conv(ReLU(norm(conv(z)))))) + b)"]
        elif self.front is not None:
            front = [f"z ← {type(self.front).__name__}(z)"]
        several = self.pooling.poolings if isinstance(self.pooling, JoinedPooling) else None
        pooling = [_POOLED[type(each)] for each in several or [self.pooling]]
        if several:
            pooling = [line.replace("u =", f"u{_SUB[i]} =") for i, line in enumerate(pooling)]
            pooling.append(f"u = ({', '.join(f'u{_SUB[i]}' for i in range(len(pooling)))})")
        layers = equations.of_layer(self.recurrent, reads="z")
        return "\n".join((*front, layers, *pooling, "p = softmax(W u + b)"))


class Convolution(DescribedModule, name="convolution.v1"):
    """Two convolutions over time and bands, each halving the bands and the second one the time.

    z ← ReLU(W ReLU(norm(conv(ReLU(norm(conv(z)))))) + b)

    The norm is :class:`RecordingNorm`, and W makes ``output_size`` features of each frame.

    Args:
        bands: of each image.
        images: side by side in the features of a frame.
        output_size: features of a frame that come out.
        channels: of the two convolutions.
    """

    def __init__(
        self, bands: int, images: int, output_size: int, channels: Sequence[int] = (16, 32)
    ) -> None:
        super().__init__()
        first, second = channels
        self.bands, self.images = bands, images
        self.output_size = output_size
        self.conv_1 = nn.Conv2d(images, first, (5, 5), (1, 2), 2)
        self.conv_2 = nn.Conv2d(first, second, (3, 3), (2, 2), 1)
        halved = (bands + 1) // 2
        self.norm_1 = RecordingNorm(first)
        self.norm_2 = RecordingNorm(second)
        self.linear = nn.Linear(second * ((halved + 1) // 2), output_size)

    def forward(self, z: Tensor, steps: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``z: (batch, time, images · bands)`` to ``(batch, time / 2, output_size)``.

        Raises:
            InputError: there are other features.
        """
        if z.shape[2] != self.images * self.bands:
            raise InputError(
                f"the convolution reads {self.images * self.bands} features of a frame, got "
                f"{z.shape[2]}"
            )
        real = real_steps(z, steps)[:, None, :, None]
        z = z.unflatten(2, (self.images, -1)).transpose(1, 2)
        z = F.relu(self.norm_1(self.conv_1(z), real)) * real
        z = F.relu(self.norm_2(self.conv_2(z), real[:, :, ::2]))
        z = F.relu(self.linear(z.transpose(1, 2).flatten(2)))
        return z, None if steps is None else (steps + 1) // 2


class RecordingNorm(nn.Module):
    """Each channel of each recording with zero mean and unit variance over its real steps and its
    bands, then a learned scale and shift (instance normalisation; Ulyanov, Vedaldi & Lempitsky
    2016), so that neither padding nor the rest of the batch matters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """``x: (batch, channels, time, bands)``, and which steps are real, ``(batch, 1, time, 1)``;
        the others are ``bias`` afterwards."""
        count = real.sum(2, keepdim=True) * x.shape[3]
        mean = (x * real).sum((2, 3), keepdim=True) / count
        centred = (x - mean) * real
        variance = centred.square().sum((2, 3), keepdim=True) / count
        return centred * torch.rsqrt(variance + 1e-5) * self.weight + self.bias
