"""Errors of what is written step by step."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from saiki.plots.curves import draw_curves


def draw_errors(path: Path, errors: Mapping[str, np.ndarray], title: str = "") -> Path:
    """The root of the mean square of errors at each step of a decoder, by how it went on.

    Args:
        errors: ``(rows, steps)`` each.
    """
    lines = {
        name: [(range(1, values.shape[1] + 1), np.sqrt(np.square(values).mean(0)).tolist())]
        for name, values in errors.items()
    }
    return draw_curves(
        path,
        lines,
        xlabel="step of the decoder",
        ylabel="root mean square error",
        kind="magnitude",
        title=title,
    )
