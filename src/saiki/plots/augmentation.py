"""What becomes of a picture: as it may come out, and by each technique, weak to strong."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from saiki.plots import canvas
from saiki.plots.fonts import columns
from saiki.plots.images import show, tiled

INCHES = 0.95
"""Of a side of a picture."""
Row = tuple[Sequence[str], Tensor]
"""What is said under each picture, and the pictures, ``(pictures, channels, height, width)`` from 0
to 1."""


def draw_variants(
    path: Path, pictures: Tensor, across: int, title: str = "", inches: float = INCHES
) -> Path:
    """A sheet of pictures, ``across`` of them in a row, each so many inches wide."""
    down = -(-len(pictures) // across)
    figure = canvas.new_figure(inches * across, inches * down, title)
    show(figure.subplots(), tiled(pictures, across))
    return canvas.save(figure, path)


def draw_techniques(
    path: Path, rows: Mapping[str, Row], title: str = "", inches: float = INCHES
) -> Path:
    """A row for each technique, beside its name, each picture over what is said of it."""
    longest = max(len(pictures) for _, pictures in rows.values())
    room = 0.08 * max(map(columns, rows)) + 0.3
    figure = canvas.new_figure(room + inches * longest, (inches + 0.22) * len(rows), title)
    grid = figure.subplots(len(rows), 1, squeeze=False)
    for (name, (captions, pictures)), axes in zip(rows.items(), grid[:, 0], strict=True):
        sheet = tiled(pictures, longest)
        show(axes, sheet)
        axes.set_anchor("E")
        pitch = sheet.shape[1] / longest
        axes.set_xticks([(i + 0.5) * pitch for i in range(len(captions))], captions, fontsize=7)
        axes.tick_params(length=0, pad=1)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return canvas.save(figure, path)
