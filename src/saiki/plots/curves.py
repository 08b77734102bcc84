"""Curves over each other, such as what trainings measured over their iterations."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rcParams
from matplotlib.rcsetup import cycler

from saiki.experiment import Points
from saiki.plots import canvas

Curve = tuple[Sequence[float], Sequence[float]]
"""Horizontal and vertical coordinates of one line."""
BANDS = 4
"""With more lines than this their extremes would hide each other, and only means are drawn."""


def draw_curves(
    path: Path,
    lines: Mapping[str, Sequence[Curve]],
    *,
    ylabel: str,
    xlabel: str = "iteration",
    title: str = "",
) -> Path:
    """Curves over each other; several under one label show their mean and their extremes."""
    figure = canvas.new_figure()
    axes = figure.subplots()
    # when the colours are used up they come again, dashed and dotted
    axes.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * rcParams["axes.prop_cycle"])
    for label, all_members in lines.items():
        members = [curve for curve in all_members if len(curve[0])]
        if not members:
            continue
        longest, _ = max(members, key=lambda curve: len(curve[0]))
        at = [[values[i] for _, values in members if i < len(values)] for i in range(len(longest))]
        marker = "o" if len(longest) == 1 else None  # a line through one point would not be seen
        line = axes.plot(
            longest, [_mean(v) for v in at], label=label or None, linewidth=1.6, marker=marker
        )
        if len(members) > 1 and len(lines) <= BANDS:
            low, high = [min(v) for v in at], [max(v) for v in at]
            axes.fill_between(longest, low, high, color=line[0].get_color(), alpha=0.15, lw=0)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
    if not all(str(line.get_label()).startswith("_") for line in axes.lines):
        columns = 1 if max(map(len, lines)) > 40 else 2
        figure.set_figheight(4.2 + 0.2 * math.ceil(len(lines) / columns))
        figure.legend(loc="outside lower center", ncols=columns, fontsize=8)
    return canvas.save(figure, path)


def curves_of(points: Points) -> dict[str, Curve]:
    """Each figure of the points of a training over its iterations, where it was a number."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for point in points:
        for name, value in point.items():
            if name != "step" and value is not None and point["step"] is not None:
                steps, values = found.setdefault(name, ([], []))
                steps.append(point["step"])
                values.append(value)
    return dict(found)


def loss_curve(points: Points) -> Curve:
    """The training loss over the iterations, without those at which it was no number."""
    return curves_of(points).get("loss", ([], []))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
