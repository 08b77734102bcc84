"""Which class was taken for which."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from saiki.plots import canvas
from saiki.plots.fonts import LONGEST, columns


def draw_confusion(
    path: Path,
    pairs: Sequence[tuple[str, str]],
    classes: Sequence[str],
    rates: Mapping[str, float],
    title: str = "",
) -> Path:
    """How often each class was taken for each other, and the accuracy for each speaker.

    Args:
        pairs: what it was, and what was said.
        rates: the accuracy of each speaker; none where nobody is known.
    """
    numbers = {label: i for i, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), int)
    for label, predicted in pairs:
        counts[numbers[label], numbers[predicted]] += 1
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(14.0, max(5.0, 0.5 * len(classes) + 1.5))
    # what the names beside the matrix take, in inches
    widest = min(LONGEST, max(map(columns, classes), default=0))
    room = 0.07 * widest if widest > 3 else 0.0
    figure = canvas.new_figure(side + room + (3.2 if rates else 0.6), side + room, title)
    panels = figure.subplots(
        1, 2 if rates else 1, squeeze=False, width_ratios=[3, 1][: 1 + bool(rates)]
    )
    axes = panels[0, 0]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 10 if len(classes) <= 60 else max(2, 600 // len(classes))
    axes.set_xticks(range(len(classes)), classes, rotation=90 if widest > 3 else 0, fontsize=size)
    axes.set_yticks(range(len(classes)), classes, fontsize=size)
    right = counts.trace() / max(counts.sum(), 1)
    axes.set(xlabel="said", ylabel="was", title=f"{right:.1%} of {counts.sum():,} right")
    if len(classes) <= 30:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8, color=colour)
    if rates:
        bars = panels[0, 1].barh(range(len(rates)), list(rates.values()), height=0.6)
        panels[0, 1].set_yticks(range(len(rates)), list(rates))
        panels[0, 1].bar_label(
            bars, [f"{rate:.1%}" for rate in rates.values()], padding=2, fontsize=8
        )
        panels[0, 1].set(xlim=(0, 1.3), xticks=[0, 0.5, 1], title="right, by speaker")
        panels[0, 1].set_ylim(max(len(rates), 4) - 0.5, -0.5)
    return canvas.save(figure, path)
