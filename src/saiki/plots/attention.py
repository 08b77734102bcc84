"""What attention read."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from saiki.plots import canvas
from saiki.plots.fonts import shortened

LONGEST, WIDE = 60, 30
"""Tokens of a text that are drawn, so that a picture is at most half a metre wide; and those up to
which two maps stand side by side."""


def draw_attention(
    path: Path,
    maps: Sequence[tuple[Sequence[str], Sequence[str], torch.Tensor]],
    title: str = "",
) -> Path:
    """What was read where, as heat maps side by side: the source from left to right, what was
    written from top to bottom. Of a longer text the first tokens are drawn, and the map says so.

    Args:
        maps: source tokens, target tokens, and weights ``(target, source)``.
    """
    wide, high = (min(LONGEST, max(len(each[i]) for each in maps)) for i in (0, 1))
    columns = min(2 if wide <= WIDE else 1, len(maps))
    rows = math.ceil(len(maps) / columns)
    side = min(0.3, 8 / max(wide, high, 1))
    if columns == 1:
        heights = [side * min(LONGEST, len(target)) + 1.6 for _, target, _ in maps]
    else:
        heights = [side * high + 1.6] * rows
    size = (columns * (side * wide + 2.2) + 0.8, sum(heights))
    figure = canvas.new_figure(*size, title)
    figure.set_layout_engine("compressed")  # what keeps room for labels beside square cells
    grid = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flatten()
    for axes in grid:
        axes.set_axis_off()
    for axes, (source, target, weights) in zip(grid, maps, strict=False):
        axes.set_axis_on()
        shown = weights[:LONGEST, :LONGEST].numpy()
        image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(range(shown.shape[1]), _shown(source), rotation=90)
        axes.set_yticks(range(shown.shape[0]), _shown(target))
        axes.xaxis.tick_top()
        for label in itertools.chain(axes.get_xticklabels(), axes.get_yticklabels()):
            label.set_fontsize(min(8.0, 60 * side))
            if len(label.get_text()) == 1:
                label.set_rotation(0)
        axes.tick_params(length=0)
        cut = [
            f"{min(LONGEST, len(tokens))} of {len(tokens)} tokens {verb}"
            for tokens, verb in ((source, "read"), (target, "written"))
            if len(tokens) > LONGEST
        ]
        if cut:
            axes.set_xlabel(f"the first {' and '.join(cut)}", fontsize=8)
    figure.colorbar(image, ax=list(grid), label="weight", shrink=0.6)
    return canvas.save(figure, path)


def _shown(tokens: Sequence[str]) -> list[str]:
    """The tokens that are drawn; a space would not be seen."""
    return [shortened(token.replace(" ", "␣"), 20) for token in tokens[:LONGEST]]
