"""What is done to one picture, as data: it can be written down and done again."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Box:
    """A rectangle in a picture; all are shares of its width and height, from the left and above."""

    left: float
    top: float
    width: float
    height: float

    def pixels(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width in a picture of this size; at least one pixel."""
        tall, wide = max(1, round(self.height * height)), max(1, round(self.width * width))
        top, left = round(self.top * height), round(self.left * width)
        return min(top, height - tall), min(left, width - wide), tall, wide

    def __str__(self) -> str:
        return f"{self.left:.4f} {self.top:.4f} {self.width:.4f} {self.height:.4f}"


@dataclass(frozen=True)
class Changes:
    """What is done to one picture, in this order; as it stands here, nothing.

    Args:
        quarter_turns: to the left.
        rotation: degrees to the right, about the middle.
        shift_right: share of the width; what comes in from the border is black.
        shift_down: share of the height.
        crop: what is left of the picture, scaled to its size again.
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
