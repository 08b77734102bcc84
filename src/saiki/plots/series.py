"""What is written for a series, over what should be."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from saiki.plots import canvas


def draw_written(
    path: Path,
    truth: np.ndarray,
    lines: Mapping[int, np.ndarray],
    names: Sequence[str],
    title: str = "",
) -> Path:
    """What is written from a few points of a series on, over what should be.

    Args:
        truth: ``(points,)``.
        lines: ``(steps,)`` each, by the point where it begins.
        names: of what is read and what is written.
    """
    read, wanted = names
    at = np.arange(min(lines), len(truth))
    figure = canvas.new_figure(9.0, 4.2, title)
    axes = figure.subplots()
    axes.plot(at, truth[at], color="lightgrey", lw=5, label=f"{wanted}, in truth")
    for start, y in lines.items():
        axes.plot(start + np.arange(len(y)), y, ".-", lw=1.2, ms=4, label=f"from {start}")
    axes.set(xlabel="point", ylabel=wanted, title=f"{wanted}, written after reading {read}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(lines) + 1, fontsize=8)
    return canvas.save(figure, path)
