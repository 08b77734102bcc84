"""What attention read."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from saiki.plots import canvas
from saiki.plots.fonts import font


def draw_attention(
    path: Path, maps: Sequence[tuple[Sequence[str], Sequence[str], torch.Tensor]]
) -> Path:
    """What was read where, as heat maps side by side: the source from left to right, what was
    written from top to bottom.

    Args:
        maps: source tokens, target tokens, and weights ``(target, source)``.
    """
    columns = min(2, len(maps))
    rows = math.ceil(len(maps) / columns)
    wide, high = (max(len(each[i]) for each in maps) for i in (0, 1))
    side = 0.3 if max(wide, high) < 40 else 12 / max(wide, high)
    figure = canvas.new_figure(columns * (side * wide + 2.2) + 0.8, rows * (side * high + 1.6))
    figure.set_layout_engine("compressed")  # what keeps room for labels beside square cells
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    for axes, (source, target, weights) in zip(grid, maps, strict=False):
        axes.set_axis_on()
        image = axes.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(range(len(source)), _shown(source), parse_math=False, rotation=90)
        axes.set_yticks(range(len(target)), _shown(target), parse_math=False)
        axes.xaxis.tick_top()
        for label, token in zip(
            [*axes.get_xticklabels(), *axes.get_yticklabels()], [*source, *target], strict=True
        ):
            label.set_fontproperties(font(token)[0])
            label.set_fontsize(8)
            if len(token) == 1:
                label.set_rotation(0)
        axes.tick_params(length=0)
    figure.colorbar(image, ax=list(grid), label="weight", shrink=0.6)
    return canvas.save(figure, path)


def _shown(tokens: Sequence[str]) -> list[str]:
    """Tokens as their fonts can show them; a space would not be seen."""
    return [font(token)[1].replace(" ", "␣") for token in tokens]
