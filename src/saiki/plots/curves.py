"""Curves over each other, such as what trainings measured over their iterations."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.rcsetup import cycler

from saiki.experiment import Points
from saiki.numbers import number
from saiki.plots import canvas
from saiki.plots.fonts import columns, shortened

Curve = tuple[Sequence[float], Sequence[float]]
"""Horizontal and vertical coordinates of one line."""
BANDS = 4
"""With more lines than this their extremes would hide each other, and only means are drawn."""
DECADES = 100.0
"""A magnitude that changes by this factor is drawn on a logarithmic axis."""
Kind = Literal["magnitude", "share", "score"]
"""Of a figure: a magnitude such as a loss, where half of it is half as much wherever it is; a share
of a whole; or any other."""


def draw_curves(
    path: Path,
    lines: Mapping[str, Sequence[Curve]],
    *,
    ylabel: str,
    kind: Kind,
    xlabel: str = "iteration",
    title: str = "",
) -> Path:
    """Curves over each other; several under one label show their mean and their extremes. Where no
    line has two points, their values are written in words."""
    figure = canvas.new_figure(title=title)
    axes = figure.subplots()
    if max((len(curve[0]) for members in lines.values() for curve in members), default=0) < 2:
        axes.text(0.5, 0.5, _in_words(lines, ylabel, xlabel), ha="center", va="center")
        axes.set_axis_off()
        return canvas.save(figure, path)
    # when the colours are used up they come again, dashed and dotted
    axes.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * rcParams["axes.prop_cycle"])
    lines_drawn = {}
    for label, all_members in lines.items():
        members = [curve for curve in all_members if len(curve[0])]
        if not members:
            continue
        longest, _ = max(members, key=lambda curve: len(curve[0]))
        at = [[values[i] for _, values in members if i < len(values)] for i in range(len(longest))]
        marker = "o" if len(longest) == 1 else None  # a line through one point would not be seen
        [line] = axes.plot(longest, [_mean(v) for v in at], lw=1.6, marker=marker, label=label)
        lines_drawn[label] = line
        if len(members) > 1 and len(lines) <= BANDS:
            low, high = [min(v) for v in at], [max(v) for v in at]
            axes.fill_between(longest, low, high, color=line.get_color(), alpha=0.15, lw=0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _scale(axes, lines, kind)
    axes.grid(alpha=0.3)
    names = [shortened(label, 100) for label in lines_drawn if label]
    if names:
        wide = 1 if max(map(columns, names)) > 40 else 2
        figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(names) / wide))
        handles = [line for label, line in lines_drawn.items() if label]
        figure.legend(handles, names, loc="outside lower center", ncols=wide, fontsize=8)
    return canvas.save(figure, path)


def _scale(axes: Axes, lines: Mapping[str, Sequence[Curve]], kind: Kind) -> None:
    """The vertical axis: of shares from 0 to 1, of magnitudes that differ by decades logarithmic,
    of others with the 0 on it, so that a small gain does not look large."""
    values = [y for members in lines.values() for curve in members for y in curve[1]]
    if kind == "share":
        axes.set_ylim(-0.02, 1.02)
    elif kind == "magnitude" and min(values) > 0 and max(values) >= DECADES * min(values):
        canvas.make_logarithmic(axes)
    else:
        axes.set_ylim(bottom=0.0 if min(values) >= 0 else None)


def _in_words(lines: Mapping[str, Sequence[Curve]], ylabel: str, xlabel: str) -> str:
    """What single points say."""
    sentences = [
        f"{label + ': ' if label else ''}{ylabel} {number(y)} at {xlabel} {number(x)}"
        for label, members in lines.items()
        for xs, ys in members
        for x, y in zip(xs, ys, strict=True)
    ]
    return "\n".join(shortened(line, 80) for line in sentences[:12]) or f"no {ylabel} was measured"


def curves_of(points: Points) -> dict[str, Curve]:
    """Each figure of the points of a training over its iterations, where it was a number."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for point in points:
        for name, value in point.items():
            if name != "step" and value is not None and point["step"] is not None:
                steps, values = curves.setdefault(name, ([], []))
                steps.append(point["step"])
                values.append(value)
    return dict(curves)


def loss_curve(points: Points) -> Curve:
    """The training loss over the iterations, without those at which it was no number."""
    return curves_of(points).get("loss", ([], []))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
