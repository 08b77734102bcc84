"""The files of MNIST and of what is published like it: images and labels in four IDX files."""

import math
import struct
from pathlib import Path

import numpy as np
import torch

from saiki.data.images.labelled import Images, Parts, check_memory, coloured, fitted
from saiki.errors import InputError
from saiki.inputs import PACKED, open_bytes

FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
"""The classes of Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, table 2)."""
SIDE = 28
"""Pixels of a side of its images."""
VALIDATION = 12
"""One part in so many of what is learned from, the last, validates: 5,000 of 60,000."""
_BYTES = 0x08  # the type that the header calls so
_LARGEST = 2**32  # bytes of one file


def read_idx(path: Path) -> np.ndarray:
    """The array of bytes in an IDX file, packed or not.

    A header of two zeros, 8 for bytes, the number of dimensions, and each of them in 4 bytes, the
    highest first; then the array itself, the last dimension the fastest
    (http://yann.lecun.com/exdb/mnist/).
    """
    with open_bytes(path) as file:
        start = file.read(4)
        count = start[3] if len(start) == 4 else 0
        sizes = file.read(4 * count)
        if start[:3] != bytes((0, 0, _BYTES)) or len(sizes) < 4 * count or not 1 <= count <= 4:
            raise InputError(f"{path} is no IDX file of bytes")
        shape = struct.unpack(f">{count}I", sizes)
        size = math.prod(shape)
        if size > _LARGEST:
            raise InputError(
                f"{path} says that it holds {size:,} bytes; more than {_LARGEST:,} are not read"
            )
        data = file.read(size + 1)
    if len(data) != size:
        more = "more" if len(data) > size else "fewer"
        raise InputError(f"{path} holds {more} bytes than its header says; get it anew")
    return np.frombuffer(data, np.uint8).reshape(shape)


def is_in(folder: Path) -> bool:
    """Whether the folder holds files like those of MNIST."""
    return bool(_files(folder, "train-images"))


def read_parts(
    folder: Path, classes: tuple[str, ...] = (), side: int = 0, colours: int = 0
) -> Parts:
    """The images of the four files in a folder; the last of those to learn from validate.

    Args:
        classes: the names; without, the labels as they stand.
        side: see :func:`saiki.data.images.labelled.fitted`.
        colours: see :func:`saiki.data.images.labelled.coloured`.
    """
    arrays = {}
    for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        files = _files(folder, name)
        if not files:
            raise InputError(f"{folder} lacks the file {name}-idx{3 if 'im' in name else 1}-ubyte")
        arrays[name] = read_idx(files[0])
    learned, tested = (
        _images(folder, part, arrays, classes, side, colours) for part in ("train", "t10k")
    )
    count = len(learned) - max(1, len(learned) // VALIDATION)
    if count < 1 or len(tested) == 0:
        raise InputError(f"{folder} holds too few images: two to learn from and one to test")
    names = tuple(map(str, range(int(max(learned.labels.max(), tested.labels.max())) + 1)))
    parts = (learned[torch.arange(count)], learned[torch.arange(count, len(learned))], tested)
    train, validation, test = (Images(x.pixels, x.labels, classes or names) for x in parts)
    return Parts(train, validation, test)


def _files(folder: Path, name: str) -> list[Path]:
    """The file of that name as published, or as it is called with a dot, packed or not."""
    wanted = {
        f"{name}{dot}idx{n}-ubyte{end}" for dot in "-." for n in "13" for end in ("", *PACKED)
    }
    return sorted(path for path in folder.glob(f"{name}*") if path.name in wanted)


def _images(
    folder: Path, part: str, arrays: dict[str, np.ndarray], classes: tuple[str, ...], side: int,
    colours: int,
) -> Images:  # fmt: skip
    images, labels = arrays[f"{part}-images"], arrays[f"{part}-labels"]
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(
            f"{folder} holds {part}-images of shape {images.shape} and {part}-labels of shape "
            f"{labels.shape}; each image of (height, width) needs one label"
        )
    if images.size == 0:
        raise InputError(f"the file {part}-images of {folder} holds no image")
    if classes and labels.max() >= len(classes):
        raise InputError(
            f"{folder} has the label {labels.max()} in {part}-labels; there are {len(classes)} "
            "classes"
        )
    height, width = (side, side) if side else images.shape[1:]
    check_memory(folder, len(images), colours or 1, height, width)
    pixels = torch.from_numpy(images.copy())[:, None]
    numbers = torch.from_numpy(labels.astype(np.int64))
    return Images(coloured(fitted(pixels, side), colours), numbers, classes)
