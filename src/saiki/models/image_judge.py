"""A classifier that looks at images, to tell what other models make of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.models.image_networks import encoder

FEATURES, TOGETHER, BATCH = 64, 500, 128
SEED = 0
"""Of its weights and of the order in which it sees images, so that all are judged alike."""


class ImageJudge(nn.Module):
    """Convolutions, 64 features of an image, and a softmax layer over them.

    u = ReLU(encoder(x)),  p = softmax(W u + b)

    Args:
        shape: of an image.
        classes: how many there are.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.encoder = encoder(shape, FEATURES)
        self.readout = nn.Linear(FEATURES, classes)

    @classmethod
    def fitted(cls, pixels: Tensor, labels: Tensor, classes: int, updates: int) -> "ImageJudge":
        """One that has learned the classes of images by Adam in so many updates.

        Args:
            pixels: bytes, ``(images, *shape)``.
            labels: ``(images,)``.
        """
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(SEED)
            judge = cls(tuple(pixels.shape[1:]), classes)
            optimiser = torch.optim.Adam(judge.parameters(), lr=1e-3)
            for _ in range(updates):
                rows = torch.randint(len(pixels), (BATCH,))
                v = judge.readout(judge(pixels[rows] / 255))
                optimiser.zero_grad()
                F.cross_entropy(v, labels[rows]).backward()
                optimiser.step()
        return judge.eval()

    def forward(self, x: Tensor) -> Tensor:
        """The features of images from 0 to 1, ``(images, 64)``."""
        return F.relu(self.encoder(x))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """The same of many, some at a time."""
        return torch.cat([self(x.float()) for x in images.split(TOGETHER)])
