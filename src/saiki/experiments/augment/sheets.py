"""Sheets of what augmentation makes of one photo."""

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.data.images.augmentation import SHARES, Augmentation, Mixing, techniques
from saiki.plots.augmentation import Row

ACROSS, VARIANTS, SIDE = 6, 36, 128
"""Pictures in a row of a sheet, in a whole one, and pixels of the longer side of each."""


def reduced(photo: Tensor, side: int = SIDE) -> Tensor:
    """The photo, bytes ``(channels, height, width)``, no larger than a sheet shows it."""
    height, width = photo.shape[1:]
    scale = side / max(height, width)
    if scale >= 1:
        return photo
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return F.interpolate(photo[None], size, mode="bilinear", antialias=True)[0]


def variants(photo: Tensor, augmentation: Augmentation, seed: int) -> Tensor:
    """What may become of a photo, ``(36, channels, side, side)``, always the same for a seed."""
    augmenter = augmentation.build()
    every_change = (augmentation.draw(seed, number) for number in range(VARIANTS))
    return _on_squares([augmenter.changed(photo, changes) for changes in every_change])


def by_technique(photo: Tensor, seed: int) -> dict[str, Row]:
    """A row for each technique, from weak to strong; what is mixed in is the photo itself, upside
    down."""
    augmenter, mixer = Augmentation().build(), Mixing(mixup=1.0).build(2)
    assert mixer is not None
    rows: dict[str, Row] = {}
    for name, strengths in techniques(seed).items():
        pictures = [augmenter.changed(photo, changes) for changes in strengths.values()]
        rows[name] = list(strengths), _on_squares(pictures)
    pair = torch.stack([photo, photo.flip(1, 2)]) / 255
    for name, cut in (("mixup", False), ("CutMix", True)):
        pictures = [mixer.pair(pair, share, cut) for share in SHARES]
        rows[name] = [f"{share:.0%}" for share in SHARES], _on_squares(pictures)
    return rows


def _on_squares(pictures: list[Tensor]) -> Tensor:
    """Pictures from 0 to 1 in the middle of white squares of one size."""
    side = max(max(x.shape[1:]) for x in pictures)
    squares = torch.ones(len(pictures), pictures[0].shape[0], side, side)
    for square, x in zip(squares, pictures, strict=True):
        height, width = x.shape[1:]
        row, column = (side - height) // 2, (side - width) // 2
        share = x / 255 if x.dtype == torch.uint8 else x
        square[:, row : row + height, column : column + width] = share
    return squares
