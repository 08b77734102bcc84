"""Which class was taken for which."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from saiki.plots import canvas


def draw_confusion(
    path: Path,
    pairs: Sequence[tuple[str, str]],
    classes: Sequence[str],
    rates: Mapping[str, float],
) -> Path:
    """How often each class was taken for each other, and the accuracy for each speaker.

    Args:
        pairs: what it was, and what was said.
        rates: the accuracy of each speaker; none where nobody is known.
    """
    numbers = {label: i for i, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), int)
    for label, said in pairs:
        counts[numbers[label], numbers[said]] += 1
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(14.0, max(5.0, 0.5 * len(classes) + 1.5))
    figure = canvas.new_figure(side + (3.2 if rates else 0.6), side)
    panels = figure.subplots(
        1, 2 if rates else 1, squeeze=False, width_ratios=[3, 1][: 1 + bool(rates)]
    )
    axes = panels[0, 0]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 4 else 90)
    axes.set_yticks(range(len(classes)), classes)
    right = counts.trace() / max(counts.sum(), 1)
    axes.set(xlabel="said", ylabel="was", title=f"{right:.1%} of {counts.sum():,} right")
    if len(classes) <= 30:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8, color=colour)
    if rates:
        bars = panels[0, 1].barh(list(rates), list(rates.values()), color="C0", height=0.6)
        panels[0, 1].bar_label(
            bars, [f"{rate:.1%}" for rate in rates.values()], padding=2, fontsize=8
        )
        panels[0, 1].set(xlim=(0, 1.3), xticks=[0, 0.5, 1], title="right, by speaker")
        panels[0, 1].set_ylim(max(len(rates), 4) - 0.5, -0.5)
    return canvas.save(figure, path)
