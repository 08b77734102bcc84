"""A classifier that looks at images, to tell what other models make of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.models.image_classifier import ImageClassifier

TOGETHER, BATCH = 500, 128
SEED = 0
"""Of its weights and of the order in which it sees images, so that all are judged alike."""


class ImageJudge(nn.Module):
    """The features of an :class:`ImageClassifier`, the means of its last channels over the image.

    Args:
        classifier: that has learned.
    """

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    @classmethod
    def fitted(cls, pixels: Tensor, labels: Tensor, classes: int, updates: int) -> "ImageJudge":
        """One that has learned the classes of images by Adam in so many updates.

        Args:
            pixels: bytes, ``(images, *shape)``.
            labels: ``(images,)``.
        """
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(SEED)
            model = ImageClassifier([str(i) for i in range(classes)], pixels.shape[1:])
            optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
            for _ in range(updates):
                rows = torch.randint(len(pixels), (BATCH,))
                optimiser.zero_grad()
                F.cross_entropy(model(pixels[rows] / 255), labels[rows]).backward()
                optimiser.step()
        return cls(model).eval()

    def forward(self, x: Tensor) -> Tensor:
        """The features of images from 0 to 1, ``(images, size)``."""
        z: Tensor = self.classifier.blocks(2 * x - 1)
        return z.mean((-2, -1))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """The same of many, some at a time."""
        return torch.cat([self(x.float()) for x in images.split(TOGETHER)])
