"""Where the images of an exercise come from."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor

from saiki.data import store
from saiki.data.images import folder, idx
from saiki.data.images.files import read_image
from saiki.data.images.labelled import Images, Parts, cut_to
from saiki.data.skipped import in_words, strict
from saiki.errors import InputError
from saiki.knobs import Knobs, knob

SEED_OF_EXAMPLES = 0
"""The seed that says which examples, where not all are learned from."""


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
    strict: bool = strict()
    examples: int = knob(
        0, "examples to learn from at most, of each class alike; 0: all", minimum=0
    )

    def validate(self) -> None:
        if self.colours == 2:
            raise InputError("colours must be 1, 3, or 0 for those the images have, got 2")

    @cached_property
    def parts(self) -> Parts:
        """All images there are."""
        if not self.data:
            found = store.locate("fashion-mnist")
            return idx.read_parts(found, idx.FASHION, self.side, self.colours)
        path = Path(self.data)
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if path.is_dir() and idx.is_in(path):
            return idx.read_parts(path, (), self.side, self.colours)
        return folder.read_parts(path, self.side, self.colours, self.strict)

    def drawn(self, seed: int) -> Images:
        """What is learned from: ``examples`` of them, which a seed chooses."""
        train = self.parts.train
        return train.some(self.examples, seed) if self.examples else train

    @cached_property
    def train(self) -> Images:
        return self.drawn(SEED_OF_EXAMPLES)

    @property
    def validation(self) -> Images:
        return self.parts.validation

    @property
    def test(self) -> Images:
        return self.parts.test

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width; no image is read where that is known without."""
        channels = self.colours or (0 if self.data else 1)
        side = self.side or (0 if self.data else idx.SIDE)
        if channels and side:
            return channels, side, side
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def describe(self, learned: Images) -> str:
        """How many images there are, and of how many of them is learned."""
        fewer = len(learned) < len(self.parts.train)
        said = self.parts.in_words() + (f"; learns from {len(learned):,}" if fewer else "")
        return "\n".join((said, *in_words(self.parts.skipped)))

    @property
    def skipped(self) -> dict[str, float | None]:
        """How many files are left out, as a figure."""
        return {"skipped_files": float(len(self.parts.skipped))}

    def example(self) -> str:
        """The path of a test image, where images are files."""
        names = self.test.names if self.data else ()
        return str(Path(self.data, names[0])) if names else "image.png"


def image_of(path: str, shape: Sequence[int]) -> Tensor:
    """The image of a file, cut and scaled to what a model sees: bytes, ``(1, *shape)``.

    Raises:
        InputError: it cannot be read.
    """
    channels, height, width = shape
    return cut_to(read_image(path, channels), height, width)[None]
