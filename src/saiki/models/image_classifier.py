"""Which of several classes an image belongs to."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from saiki.saving.pretrained import DescribedModule

BLOCKS = 3
"""Convolutions."""
GROUP = 4
"""Channels that are normalised together."""


class ImageClassifier(DescribedModule, name="image_classifier.v1"):
    """Convolutions that halve the image three times, and a softmax layer over what is left.

    z ← max₂ₓ₂ ReLU(norm(conv₃ₓ₃(z))), thrice from z = 2 x − 1;  p = softmax(W z + b)

    The normalisation is that of groups of channels of one image (Wu & He 2018), so that an answer
    does not depend on the rest of the batch.

    Args:
        classes: the names of the classes.
        shape: channels, height and width of an image.
        width: channels after the first convolution, a multiple of four; after each other twice as
            many as before.
        dropout: share of the last z set to zero.
    """

    def __init__(
        self, classes: Sequence[str], shape: Sequence[int], width: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.shape = tuple(shape)
        blocks, channels = list[nn.Module](), self.shape[0]
        for block in range(BLOCKS):
            wider = width * 2**block
            blocks += [
                nn.Conv2d(channels, wider, 3, padding=1, bias=False),
                nn.GroupNorm(wider // GROUP, wider),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
            channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        rows, columns = (math.ceil(side / 2**BLOCKS) for side in self.shape[1:])
        self.readout = nn.Linear(channels * rows * columns, len(self.classes))

    def forward(self, x: Tensor) -> Tensor:
        """The pre-activations of the softmax, ``(batch, classes)``, of images from 0 to 1,
        ``(batch, channels, height, width)``."""
        z = self.blocks(2 * x.reshape(-1, *self.shape) - 1)
        v: Tensor = self.readout(self.dropout(z.flatten(1)))
        return v

    def equations(self) -> str:
        return (
            f"z = 2 x − 1\nz ← max₂ₓ₂ ReLU(norm(conv₃ₓ₃(z))), {BLOCKS} times\np = softmax(W z + b)"
        )
