"""What is done to one picture, as data: it can be written down, as in the table of an augmented
data set, and done again."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from saiki.errors import InputError
from saiki.files import write_text
from saiki.inputs import read_text

TABLE = "augmented.csv"
"""What the table is called, in the folder of the images."""
_COLUMNS = ("file", "source", "sha256", "copy")


@dataclass(frozen=True)
class Box:
    """A rectangle in a picture; all are shares of its width and height, from the left and above."""

    x: float
    y: float
    width: float
    height: float

    def pixels(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, x, height and width in a picture of this size; at least one pixel."""
        tall, wide = max(1, round(self.height * height)), max(1, round(self.width * width))
        y, x = round(self.y * height), round(self.x * width)
        return min(y, height - tall), min(x, width - wide), tall, wide

    def __str__(self) -> str:
        return f"{self.x:.4f} {self.y:.4f} {self.width:.4f} {self.height:.4f}"


@dataclass(frozen=True)
class Changes:
    """What is done to one picture, in this order; as it stands here, nothing.

    Args:
        quarter_turns: to the x.
        rotation: degrees to the right, about the middle.
        shift_right: share of the width; what comes in from the border is black.
        shift_down: share of the height.
        crop: what is x of the picture, scaled to its size again.
        brightness, contrast, saturation: factors; 0 is black, evenly grey, without colour.
        hue: turns around the circle of colours, from −½ to ½.
        blur: deviation of a Gaussian, share of the shorter side.
        noise: deviation of Gaussian noise, share of full brightness.
        erasing: what becomes grey.
        seed: of the noise.
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    quarter_turns: int = 0
    rotation: float = 0.0
    shift_right: float = 0.0
    shift_down: float = 0.0
    crop: Box | None = None
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    erasing: Box | None = None
    seed: int = 0

    def row(self) -> dict[str, str]:
        """Each of them as a cell of a table, empty where nothing is done."""
        return {
            each.name: "" if (value := getattr(self, each.name)) == each.default else _cell(value)
            for each in fields(self)
        }


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class AugmentedImage:
    """One image of an augmented data set.

    Args:
        file: its name below the folder.
        source: the file it was made of, below the folder it comes from.
        sha256: of the bytes of the source.
        copy: which copy it is, from 1 on; 0 is the source itself.
        changes: what was done to it.
    """

    file: str
    source: str
    sha256: str
    copy: int
    changes: Changes = Changes()


def write_table(folder: Path, images: Sequence[AugmentedImage]) -> Path:
    """Write the table into a folder, whole or not at all: a row for each image, a column for each
    thing that may be done, empty where it was not."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*_COLUMNS, *(each.name for each in fields(Changes))))
    for image in images:
        cells = image.changes.row().values()
        writer.writerow((image.file, image.source, image.sha256, image.copy, *cells))
    return write_text(folder / TABLE, buffer.getvalue())


def read_table(folder: Path) -> dict[str, AugmentedImage]:
    """The images of the table in a folder by their files, without what was done to them; none
    where there is no table."""
    path = folder / TABLE
    if not path.exists():
        return {}
    rows = csv.DictReader(io.StringIO(read_text(path)))
    try:
        is_table = {*_COLUMNS} <= {*(rows.fieldnames or ())}
        images = [
            AugmentedImage(row["file"], row["source"], row["sha256"], int(row["copy"]))
            for row in (rows if is_table else [{}])
        ]
    except (csv.Error, KeyError, ValueError, TypeError):
        raise InputError(
            f"{path} is not a table as saiki data augment writes it; it needs the columns "
            f"{', '.join(_COLUMNS)}"
        ) from None
    return {image.file: image for image in images}
