"""Sheets of images."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from saiki.plots import canvas
from saiki.plots.fonts import columns as columns_of

INCHES = 0.62
"""Of an image in a sheet, at its longer side."""


def draw_rows(path: Path, rows: Mapping[str, Tensor], title: str = "") -> Path:
    """Rows of images over each other, each under its name.

    Args:
        rows: from 0 to 1, ``(images, channels, height, width)`` each, as many as you like.
    """
    longest = max(map(len, rows.values()))
    height, width = _inches(next(iter(rows.values())))
    room = 0.075 * max(map(columns_of, rows)) + 0.15  # what the names take, in inches
    figure = canvas.new_figure(room + width * longest, (height + 0.04) * len(rows), title)
    grid = figure.subplots(len(rows), 1, squeeze=False)
    for (name, images), axes in zip(rows.items(), grid[:, 0], strict=True):
        show(axes, tiled(images, longest))
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return canvas.save(figure, path)


def draw_sheet(path: Path, images: Tensor, columns: int, title: str = "") -> Path:
    """Images, ``(images, channels, height, width)`` from 0 to 1, row by row."""
    height, width = _inches(images)
    rows = math.ceil(len(images) / columns)
    figure = canvas.new_figure(max(4.0, width * columns), height * rows, title)
    show(figure.subplots(), tiled(images, columns))
    return canvas.save(figure, path)


def tiled(images: Tensor, columns: int) -> np.ndarray[Any, Any]:
    """One array ``(height, width, 3)`` of images ``(images, channels, height, width)``, with a line
    of white between them and white where there are none."""
    count, channels, height, width = images.shape
    rows, gap = math.ceil(count / columns), max(1, height // 28)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.float32)
    coloured = images.detach().float().cpu().expand(-1, 3, -1, -1) if channels == 1 else images
    for i, image in enumerate(coloured.detach().float().cpu().clamp(0, 1).movedim(1, 3).numpy()):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return sheet


def show(axes: Axes, sheet: np.ndarray[Any, Any], **options: Any) -> None:
    """An array of :func:`tiled` without a frame or numbers beside it."""
    axes.imshow(sheet, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _inches(images: Tensor) -> tuple[float, float]:
    height, width = images.shape[-2:]
    return INCHES * height / max(height, width), INCHES * width / max(height, width)
