"""Images to learn from: where they come from, and which of them are taken."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from saiki.data import store
from saiki.data.dataset import Batch, IndexedDataset
from saiki.data.images import folder, idx
from saiki.data.images.files import read_image
from saiki.data.images.labelled import Parts, cut_to
from saiki.data.skipped import Unusable, in_words
from saiki.errors import InputError
from saiki.knobs import Knobs, knob


class ImageSource(Knobs):
    """Fashion-MNIST, or a folder of images."""

    data: str = knob(
        "",
        "folder of images, one subfolder a class, or of the four files of MNIST; Fashion-MNIST "
        "without",
        is_path=True,
    )
    side: int = knob(
        0,
        "pixels of a side; images are cut to the square in their middle and scaled to it; 0: as "
        "they are",
        minimum=0,
        maximum=4096,
    )
    colours: int = knob(
        0, "channels of an image, 1 (grey) or 3; 0: as they are", minimum=0, maximum=3
    )
    unusable: Unusable = Unusable()
    examples: int = knob(
        0, "examples to learn from at most, of each class alike; 0: all", minimum=0
    )

    def validate(self) -> None:
        if self.colours == 2:
            raise InputError("colours must be 1, 3, or 0 for those the images have, got 2")

    def read(self) -> Parts:
        """All images there are."""
        if not self.data:
            fashion = store.locate("fashion-mnist")
            return idx.read_parts(fashion, idx.FASHION, self.side, self.colours)
        path = Path(self.data)
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if path.is_dir() and idx.is_in(path):
            return idx.read_parts(path, (), self.side, self.colours)
        return folder.read_parts(path, self.side, self.colours, self.unusable.strict)


class ImageDataset(IndexedDataset[Batch]):
    """Images in three parts.

    Args:
        seed: which of them are learned from, where not all are.
    """

    source: ImageSource
    dtype: torch.dtype
    seed: int = 0

    @cached_property
    def every(self) -> Parts:
        """All images there are."""
        return self.source.read()

    @cached_property
    def parts(self) -> Parts:
        train, count = self.every.train, self.source.examples
        return replace(self.every, train=train.some(count, self.seed) if count else train)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width; no image is read where that is known without."""
        knobs = self.source
        channels = knobs.colours or (0 if knobs.data else 1)
        side = knobs.side or (0 if knobs.data else idx.SIDE)
        if channels and side:
            return channels, side, side
        channels, height, width = self.parts.train.pixels.shape[1:]
        return channels, height, width

    def describe(self) -> str:
        count = len(self.parts.train)
        fewer = f"; learns from {count:,}" if count < len(self.every.train) else ""
        return "\n".join((self.every.in_words() + fewer, *in_words(self.every.skipped)))

    def items(self) -> dict[str, Iterable[str | bytes]]:
        parts = self.parts.train, self.parts.validation, self.parts.test
        return {"images": (image.numpy().tobytes() for part in parts for image in part.pixels)}

    @property
    def skipped(self) -> dict[str, float | None]:
        """How many files are left out, as a figure."""
        return {"skipped_files": float(len(self.every.skipped))}

    def example(self) -> Tensor:
        return torch.zeros(2, *self.shape, dtype=self.dtype)

    def input_example(self) -> str:
        names = self.parts.test.names if self.source.data else ()
        return str(Path(self.source.data, names[0])) if names else "image.png"


class LabelledImages(ImageDataset[Batch]):
    """Images, whose classes count, too."""

    def items(self) -> dict[str, Iterable[str | bytes]]:
        parts = self.parts.train, self.parts.validation, self.parts.test
        labels = (part.labels.numpy().tobytes() for part in parts)
        return {**super().items(), "classes": self.parts.train.classes, "labels": labels}


def image_of(path: str, shape: Sequence[int]) -> Tensor:
    """The image of a file, cut and scaled to what a model sees: bytes, ``(1, *shape)``."""
    channels, height, width = shape
    return cut_to(read_image(path, channels), height, width)[None]
