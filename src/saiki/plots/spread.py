"""Figures of several settings with their spread over seeds."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from saiki.plots import canvas

Values = Sequence[float]
"""Of one figure, one for each seed."""


def draw_spread(
    path: Path,
    lines: Mapping[str, Mapping[float, Values]],
    gains: Mapping[str, Values],
    *,
    xlabel: str,
    ylabel: str,
    gained: str,
    title: str = "",
) -> Path:
    """Lines through the means of a figure, with each seed as a dot and bars of one deviation; and
    beside them what single changes gain, seed by seed.

    Args:
        lines: the figure at each place of the horizontal axis, which is logarithmic.
        gains: differences of the figure, by what made them; none, and that panel is left out.
        gained: what they are called.
    """
    panels = [name for name, values in (("lines", lines), ("gains", gains)) if values]
    height = max(3.8, 0.9 + 0.28 * len(gains))
    figure = canvas.new_figure(5.2 * len(panels), height, title)
    for name, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        if name == "lines":
            _draw_lines(axes, lines)
            axes.set(xlabel=xlabel, ylabel=ylabel)
        else:
            _draw_gains(axes, gains)
            axes.set(xlabel=gained)
    return canvas.save(figure, path)


def _draw_lines(axes: Axes, lines: Mapping[str, Mapping[float, Values]]) -> None:
    places = sorted({x for points in lines.values() for x in points})
    for number, (label, points) in enumerate(lines.items()):
        xs, colour = sorted(points), f"C{number}"
        means = [statistics.fmean(points[x]) for x in xs]
        axes.errorbar(xs, means, [_deviation(points[x]) for x in xs], color=colour, capsize=3,
                      marker="o", ms=4, label=label)  # fmt: skip
        for x in xs:
            axes.plot([x] * len(points[x]), points[x], ".", color=colour, alpha=0.35, ms=5)
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{x:,.0f}" for x in places])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _draw_gains(axes: Axes, gains: Mapping[str, Values]) -> None:
    ordered = sorted(gains.items(), key=lambda gain: statistics.fmean(gain[1]))
    means = [statistics.fmean(values) for _, values in ordered]
    colours = ["C2" if mean > 0 else "C3" for mean in means]
    axes.barh(range(len(ordered)), means, color=colours, alpha=0.6, height=0.6,
              xerr=[_deviation(values) for _, values in ordered], capsize=2)  # fmt: skip
    for place, (_, values) in enumerate(ordered):
        axes.plot(values, [place] * len(values), ".", color="black", alpha=0.5, ms=4)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered], fontsize=8)
    axes.set_ylim(-0.7, max(len(ordered), 4) - 0.3)
    axes.axvline(0, color="black", lw=0.8)
    axes.grid(axis="x", alpha=0.3)


def _deviation(values: Values) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
