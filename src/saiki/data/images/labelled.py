"""Images in memory, each of a class, in parts to learn from, to validate and to test."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.data.skipped import Skipped
from saiki.errors import InputError

MOST_BYTES = 2**33
"""Of all images together in memory."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size and their classes.

    Args:
        pixels: bytes, ``(examples, channels, height, width)``.
        labels: the number of the class of each.
        classes: their names.
        names: of each example, or none at all.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, numbers: Tensor) -> "Images":
        """Those of these numbers, in their order."""
        names = tuple(self.names[i] for i in numbers.tolist()) if self.names else ()
        return Images(self.pixels[numbers], self.labels[numbers], self.classes, names)

    def some(self, count: int, seed: int) -> "Images":
        """``count`` of them drawn from ``seed``, of each class as many as of the others while it
        has so many; with the same seed fewer are among more."""
        return self if count >= len(self) else self[balanced(self.labels, count, seed)]


def balanced(labels: Tensor, count: int, seed: int) -> Tensor:
    """The numbers of ``count`` examples, in their order: see :meth:`Images.some`."""
    if count >= len(labels):
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    turn = torch.empty_like(shuffled)  # the how manyth of its class each is
    for label in labels.unique():
        of_class = shuffled == label
        turn[of_class] = torch.arange(int(of_class.sum()))
    return order[turn.argsort(stable=True)[:count]].sort().values


@dataclass(frozen=True, eq=False)
class Parts:
    """What is learned from, what the curves are measured by, and what is tested."""

    train: Images
    validation: Images
    test: Images
    skipped: tuple[Skipped, ...] = ()

    def in_words(self) -> str:
        """How many images there are, of which size and which classes."""
        channels, height, width = self.train.pixels.shape[1:]
        classes = self.train.classes
        names = f"{len(classes)} classes" if len(classes) > 1 else "one class"
        return (
            f"{len(self.train):,} images to learn from, {len(self.validation):,} to validate, "
            f"{len(self.test):,} to test; {width} × {height} pixels in "
            f"{'grey' if channels == 1 else 'colour'}, {names}"
        )

    def check_classes(self) -> None:
        """Raise :class:`InputError` where there is nothing to tell apart."""
        if len(self.train.classes) < 2:
            raise InputError(
                "all images are of one class; to tell classes apart, put those of each into a "
                "folder of their own"
            )


def check_memory(source: Path, count: int, channels: int, height: int, width: int) -> None:
    """Raise :class:`InputError` where so many images of this size are too many for memory."""
    if count * channels * height * width > MOST_BYTES:
        raise InputError(
            f"{count:,} images of {width} × {height} pixels, those of {source}, take more than "
            f"{MOST_BYTES >> 30} GiB; choose a smaller --side"
        )


def fitted(pixels: Tensor, side: int) -> Tensor:
    """Images ``(..., channels, height, width)`` cut to the square in their middle, and that scaled
    to ``side`` pixels; 0 leaves them as they are."""
    return cut_to(pixels, side, side) if side else pixels


def cut_to(pixels: Tensor, height: int, width: int) -> Tensor:
    """Images ``(..., channels, height, width)`` cut to the middle of the same proportions, and that
    scaled to this height and width."""
    rows, columns = pixels.shape[-2:]
    if (rows, columns) == (height, width):
        return pixels
    scale = min(rows / height, columns / width)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    row, column = (rows - tall) // 2, (columns - wide) // 2
    part = pixels[..., row : row + tall, column : column + wide]
    batch = part.reshape(-1, *part.shape[-3:])
    scaled = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return scaled.reshape(*part.shape[:-2], height, width)


def coloured(pixels: Tensor, colours: int) -> Tensor:
    """Images ``(..., channels, height, width)`` in 1 or 3 channels; 0 leaves them as they are."""
    channels = pixels.shape[-3]
    if colours in (0, channels):
        return pixels
    if colours == 3:
        return pixels.expand(*pixels.shape[:-3], 3, *pixels.shape[-2:])
    # the weights of Pillow and of television (ITU-R BT.601)
    weights = torch.tensor([0.299, 0.587, 0.114])
    grey = torch.einsum("...chw,c->...hw", pixels.to(torch.float32), weights)
    return grey.round().to(torch.uint8).unsqueeze(-3)
