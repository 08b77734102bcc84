"""Images as they might have been: what may be done to a picture, and what is.

How far each change may go is an :class:`Augmentation`; what was drawn for one picture are its
:class:`~saiki.data.images.changes.Changes`. torchvision does them, see
:mod:`saiki.data.images.augmenter`; here it is not needed.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from saiki.data.images.changes import Box, Changes
from saiki.errors import InputError
from saiki.files import write_json
from saiki.inputs import read_json
from saiki.knobs import Knobs, knob

if TYPE_CHECKING:
    from saiki.data.images.augmenter import Augmenter, Mixer

_RATIO = 4 / 3
"""How much longer one side of a crop may be made than the other (Szegedy et al. 2015, §6)."""
_SLIM = 3.3
"""The same of what is erased (Zhong et al. 2017, §4.4)."""
_ERASED = 0.5
"""How often something is erased (Zhong et al. 2017, §4.4)."""
_DRAWS = 24
Strengths = dict[str, Changes]
"""What is done, by what is said of it, the weakest first."""
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Of another picture that is mixed in."""


class Augmentation(Knobs):
    """How far each change of a picture may go; where it stands at 0, or at 1 for both ends of the
    contrast, there is none. Numbers are drawn evenly up to there, each change by itself.

    Half of the pictures have something erased. A crop lies anywhere, and may make one side up to a
    third longer. In a batch, a picture whose sides were exchanged is scaled back to its size.
    """

    flip_horizontal: float = knob(
        0.0, "probability that left and right are exchanged", minimum=0, maximum=1
    )
    flip_vertical: float = knob(
        0.0, "probability that above and below are exchanged", minimum=0, maximum=1
    )
    quarter_turns: int = knob(
        0, "most turns by 90°, none as likely as each other number", minimum=0, maximum=3
    )
    rotation: float = knob(0.0, "largest turn to either side, in °", minimum=0, maximum=180)
    shift: float = knob(
        0.0, "largest shift, as share of a side; so a crop of the picture with a border around it",
        minimum=0, maximum=1,
    )  # fmt: skip
    crop: float = knob(
        0.0, "largest share of the area cut away, before what is left is scaled to the whole",
        minimum=0, maximum=0.99,
    )  # fmt: skip
    brightness: float = knob(
        0.0, "largest change of the factor of all brightness, 1", minimum=0, maximum=1
    )
    contrast_from: float = knob(1.0, "smallest factor of the contrast", minimum=0, maximum=10)
    contrast_to: float = knob(1.0, "largest factor of the contrast", minimum=0, maximum=10)
    saturation: float = knob(
        0.0, "largest change of the factor of all saturation, 1", minimum=0, maximum=1
    )
    hue: float = knob(
        0.0, "largest turn around the circle of colours, which is 1", minimum=0, maximum=0.5
    )
    blur: float = knob(
        0.0, "largest deviation of a blur, as share of the shorter side", minimum=0, maximum=0.1
    )
    noise: float = knob(
        0.0, "largest deviation of noise, as share of full brightness", minimum=0, maximum=1
    )
    erasing: float = knob(
        0.0, "largest share of the area that is erased, in half of the pictures", minimum=0,
        maximum=1,
    )  # fmt: skip

    def validate(self) -> None:
        if self.contrast_from > self.contrast_to:
            raise InputError(
                f"contrast_from must not be above contrast_to, got {self.contrast_from} and "
                f"{self.contrast_to}"
            )

    @property
    def on(self) -> list[str]:
        """The names of the knobs that change something."""
        return [n for n, value in self.to_dict().items() if value != type(self).knob(n).default]

    def draw(self, *key: int) -> Changes:
        """What is done to the picture of this key, always the same. What one knob draws does not
        depend on the others."""
        u: Iterator[float] = iter(np.random.default_rng(key).random(_DRAWS).tolist())

        def signed(reach: float) -> float:
            return (2 * next(u) - 1) * reach

        return Changes(
            flip_horizontal=next(u) < self.flip_horizontal,
            flip_vertical=next(u) < self.flip_vertical,
            quarter_turns=int(next(u) * (self.quarter_turns + 1)),
            rotation=signed(self.rotation),
            shift_right=signed(self.shift),
            shift_down=signed(self.shift),
            brightness=1 + signed(self.brightness),
            contrast=self.contrast_from + next(u) * (self.contrast_to - self.contrast_from),
            saturation=1 + signed(self.saturation),
            hue=signed(self.hue),
            blur=next(u) * self.blur,
            noise=next(u) * self.noise,
            seed=int(next(u) * 2**31) * (self.noise > 0),
            crop=_box(1 - self.crop * next(u), _RATIO, u, self.crop > 0),
            erasing=_box(self.erasing * next(u), _SLIM, u, next(u) < _ERASED and self.erasing > 0),
        )

    def build(self) -> "Augmenter":
        """What does it: a transform of torchvision's, for images with their boxes and masks.

        Raises:
            InputError: torchvision is missing.
        """
        augmenter: Augmenter = _augmenters().Augmenter(self.draw)
        return augmenter


class Mixing(Knobs):
    """How the images of a batch, and their classes with them, are mixed in pairs. Where both are
    on, each batch draws one of them."""

    mixup: float = knob(
        0.0, "α of the Beta distribution of the share of each of two images, as in mixup; 0: off",
        minimum=0, maximum=100,
    )  # fmt: skip
    cutmix: float = knob(
        0.0, "the same, of the area that one puts into the other, as in CutMix; 0: off",
        minimum=0, maximum=100,
    )  # fmt: skip

    def build(self, classes: int) -> "Mixer | None":
        """What mixes batches; None where nothing does.

        Raises:
            InputError: torchvision is missing.
        """
        if not (self.mixup or self.cutmix):
            return None
        mixer: Mixer = _augmenters().Mixer(self.mixup, self.cutmix, classes)
        return mixer


REPORT = Augmentation(
    flip_horizontal=0.5, flip_vertical=0.5, contrast_from=0.4, contrast_to=0.6, brightness=0.8,
    quarter_turns=2, hue=0.1,
)  # fmt: skip
"""Flips, contrast from 0.4 to 0.6, brightness ± 0.8, turns by 0, 90 or 180°, hue ± 0.1."""


def write_policy(path: Path, augmentation: Augmentation, seed: int, **more: Any) -> Path:
    """Write what may be done, and from which seed it is drawn, as JSON."""
    return write_json(path, {"augmentation": augmentation.to_dict(), "seed": seed, **more})


def read_mixing(path: Path) -> Mixing:
    """How images of a batch are mixed by a policy that a run wrote."""
    policy = read_json(path)
    try:
        return Mixing.from_dict({n: policy[n] for n in Mixing.knobs() if n in policy})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_policy(path: Path) -> tuple[Augmentation, int]:
    """What :func:`write_policy` wrote of single images, and the seed."""
    policy = read_json(path)
    augmentation, seed = policy.get("augmentation"), policy.get("seed", 0)
    if not isinstance(augmentation, dict) or type(seed) is not int or seed < 0:
        raise InputError(f"{path} is no policy of augmentation, as saiki run augment writes one")
    try:
        return Augmentation.from_dict(augmentation), seed
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _box(area: float, ratio: float, u: Iterator[float], is_wanted: bool) -> Box | None:
    """A rectangle of this area; its shape and place are drawn, whether it is wanted or not."""
    shape, across, down = next(u), next(u), next(u)
    side = math.sqrt(area)
    stretch = math.exp((2 * shape - 1) * math.log(ratio) / 2)
    stretch = min(max(stretch, side), 1 / max(side, 1e-9))  # so that neither side exceeds 1
    width, height = min(1.0, side * stretch), min(1.0, side / stretch)
    return Box(across * (1 - width), down * (1 - height), width, height) if is_wanted else None


def _augmenters() -> ModuleType:
    try:
        from saiki.data.images import augmenter
    except ImportError:
        raise InputError(
            "to change images needs torchvision: pip install 'saiki[images]'"
        ) from None
    return augmenter


def techniques(seed: int) -> dict[str, Strengths]:
    """Each technique by itself, from weak to strong: the rows of a sheet, by their names.

    Args:
        seed: of whether a flip of some probability happens, and of the noise.
    """
    return {
        f"{direction} flip": {
            f"p = {p:.1f}": Augmentation(**{f"flip_{direction}": p}).draw(seed, i)
            for i, p in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
        }
        for direction in ("horizontal", "vertical")
    } | {
        "quarter turns": {f"{90 * n}°": Changes(quarter_turns=n) for n in range(4)},
        "rotation": {f"{x}°": Changes(rotation=x) for x in (10, 20, 45, 90, 135, 180)},
        "shift": {
            f"{x:.0%}": Changes(shift_right=x, shift_down=x)
            for x in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
        },
        "crop": {f"{x:.0%}": Changes(crop=_middle(1 - x)) for x in (0.1, 0.2, 0.4, 0.6, 0.8, 0.95)},
        "brightness": {f"× {x}": Changes(brightness=x) for x in (0.8, 1.2, 0.5, 1.5, 0.2, 1.8)},
        "contrast": {f"× {x}": Changes(contrast=x) for x in (0.8, 1.2, 0.5, 1.5, 0.2, 3.0)},
        "saturation": {f"× {x}": Changes(saturation=x) for x in (0.8, 1.2, 0.5, 1.5, 0.0, 3.0)},
        "hue": {f"+ {x}": Changes(hue=x) for x in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)},
        "blur": {f"{x:.1%}": Changes(blur=x) for x in (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)},
        "noise": {
            f"{x:.0%}": Changes(noise=x, seed=seed) for x in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
        },
        "erasing": {
            f"{x:.0%}": Changes(erasing=_middle(x)) for x in (0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
        },
    }


def _middle(area: float) -> Box:
    side = area**0.5
    return Box((1 - side) / 2, (1 - side) / 2, side, side)
