"""Which mistakes of a text were found, and what they were taken for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from saiki.plots import canvas


def draw_marks(
    path: Path,
    counts: np.ndarray,
    names: Sequence[str],
    rates: Mapping[str, float],
    title: str = "",
) -> Path:
    """What each mistake of a text was taken for, and how well each kind is found.

    Args:
        counts: ``(made, marked)``, how often.
        names: of the kinds, in that order.
        rates: F1 of each kind.
    """
    figure = canvas.new_figure(9.5, 4.2, title)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    left.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    left.set_xticks(range(len(names)), names)
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="marked", ylabel="made", title="places of the tested sentences")
    for (i, j), count in np.ndenumerate(counts):
        dark = count > 0.5 * counts[i].sum()
        left.text(j, i, f"{count:,}", ha="center", va="center", color="white" if dark else "black")
    shown = right.bar(range(len(rates)), list(rates.values()), width=0.6)
    right.set_xticks(range(len(rates)), list(rates))
    right.bar_label(shown, [f"{value:.3f}" for value in rates.values()], padding=2)
    right.set(
        ylim=(0, 1.08), yticks=np.linspace(0, 1, 6), ylabel="F1", title="right place and right kind"
    )
    return canvas.save(figure, path)


def draw_trade_off(
    path: Path, kinds: Mapping[str, Sequence[tuple[float, float]]], chosen: int | None, label: str
) -> Path:
    """What marking less sure mistakes costs and brings, a curve for each kind of text.

    Args:
        kinds: for each threshold the share of clean sentences that are changed, and the share of
            those with mistakes that come out right.
        chosen: the place of the threshold that is used, if it is among them.
        label: what it is called.
    """
    figure = canvas.new_figure()
    axes = figure.subplots()
    for number, (name, points) in enumerate(kinds.items()):
        touched, right = zip(*points, strict=True)
        [line] = axes.plot(touched, right, label=name, linewidth=1.6)
        if chosen is not None:
            caption = label if number == 0 else None
            axes.plot(*points[chosen], "o", color=line.get_color(), label=caption)
    axes.set(xlabel="share of clean sentences that are changed")
    axes.set(ylabel="share of those with mistakes that come right")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return canvas.save(figure, path)
