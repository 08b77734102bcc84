"""Each technique of augmentation by itself, from weak to strong."""

from saiki.data.images.augmentation import Augmentation
from saiki.data.images.changes import Box, Changes

Strengths = dict[str, Changes]
"""What is done, by what is said of it, the weakest first."""
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Of another picture that is mixed in."""


def techniques(seed: int) -> dict[str, Strengths]:
    """The rows of a sheet, by the names of the techniques.

    Args:
        seed: of whether a flip of some probability happens, and of the noise.
    """
    return {
        "horizontal flip": {
            f"p = {p:.1f}": Augmentation(flip_horizontal=p).draw(seed, i)
            for i, p in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
        },
        "vertical flip": {
            f"p = {p:.1f}": Augmentation(flip_vertical=p).draw(seed, i)
            for i, p in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
        },
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
