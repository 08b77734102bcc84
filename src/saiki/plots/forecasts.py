"""Forecasts over what came, how they get worse with time, and how far intervals hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from saiki.plots import canvas

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Fan:
    """One forecast.

    Args:
        title: of what.
        times: of the past and of what is forecast, ``(past + horizon,)``.
        past: what was known, ``(past,)``.
        truth: what came, ``(horizon,)``; none if nobody knows.
        mean: the point forecast, ``(horizon,)``.
        quantiles: rising, ``(horizon, levels)``; an odd number of them.
    """

    title: str
    times: Array
    past: Array
    truth: Array | None
    mean: Array
    quantiles: Array


def draw_fans(path: Path, fans: Sequence[Fan], levels: Sequence[float], title: str = "") -> Path:
    """Forecasts with their intervals, side by side, over what came."""
    columns = min(2, len(fans))
    rows = math.ceil(len(fans) / columns)
    figure = canvas.new_figure(5.2 * columns, 2.6 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[len(fans) :]:
        axes.set_axis_off()
    for axes, fan in zip(grid, fans, strict=False):
        _draw_fan(axes, fan, levels)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return canvas.save(figure, path)


def _draw_fan(axes: Axes, fan: Fan, levels: Sequence[float]) -> None:
    count = len(fan.past)
    before, after = fan.times[:count], fan.times[count:]
    axes.plot(before, fan.past, color="0.3", lw=1.0, label="known")
    is_single = len(after) == 1
    marker, pairs = "o" if is_single else None, len(levels) // 2
    for place in range(pairs):
        share = levels[-1 - place] - levels[place]
        low, high = fan.quantiles[:, place], fan.quantiles[:, -1 - place]
        # a band of one step has no width, so that its edge has to be seen
        axes.fill_between(after, low, high, color="C0", alpha=0.18, lw=6 if is_single else 0,
                          label=f"{share:.0%} interval")  # fmt: skip
    axes.plot(after, fan.mean, color="C0", lw=1.4, marker=marker, label="forecast")
    if fan.truth is not None:
        axes.plot(after, fan.truth, color="C3", lw=1.0, marker=marker, label="what came")
    axes.set_title(fan.title, fontsize=9)
    axes.grid(alpha=0.3)
    dates_below(axes, fan.times)
    axes.tick_params(labelsize=8)


def dates_below(axes: Axes, times: Array) -> None:
    """Few and short dates below, where times are dates."""
    if np.issubdtype(times.dtype, np.datetime64):
        locator = AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def draw_horizon(
    path: Path, errors: Mapping[str, Sequence[float]], coverage: Mapping[str, Sequence[float]],
    title: str = "",
) -> Path:  # fmt: skip
    """The error by steps ahead of several forecasts, and beside it how many values lie within the
    intervals of the first, by steps ahead.

    Args:
        errors: mean squared errors in deviations, by the names of forecasts.
        coverage: by the share that each interval is to hold, such as ``"80 %"``.
    """
    figure = canvas.new_figure(9.6, 3.8, title)
    left, right = figure.subplots(1, 2)
    for name, values in errors.items():
        left.plot(range(1, len(values) + 1), values, lw=1.4, label=name,
                  marker="o" if len(values) == 1 else None)  # fmt: skip
    left.set(xlabel="steps ahead", ylabel="mean squared error, in variances", ylim=(0, None))
    for share, values in coverage.items():
        line = right.plot(range(1, len(values) + 1), values, lw=1.4, label=f"within {share}",
                          marker="o" if len(values) == 1 else None)  # fmt: skip
        wanted = float(share.rstrip(" %")) / 100
        right.axhline(wanted, color=line[0].get_color(), lw=0.8, ls="--")
    right.set(xlabel="steps ahead", ylabel="share of what came", ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return canvas.save(figure, path)
