"""Images made here: patterns that say which way is up, in files of every kind."""

from pathlib import Path

import numpy as np
from PIL import Image


def pattern(height=24, width=32):
    """Red at the left above, green at the right above, blue below."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 250
    pixels[: height // 2, width // 2 :, 1] = 250
    pixels[height // 2 :, :, 2] = 250
    return Image.fromarray(pixels)


def noise(seed, side=8, mode="RGB"):
    random = np.random.default_rng(seed)
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    return Image.fromarray(random.integers(0, 256, shape).astype(np.uint8))


def classes(folder: Path, names=("cat", "dog"), count=4, side=8):
    """A subfolder for each class, with different images."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            noise(100 * number + i, side).save(folder / name / f"{i}.png")
    return folder
