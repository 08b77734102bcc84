"""The inside of layers as they learn: gradients over time, and saturated units."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from saiki.lens import LayerView, View
from saiki.plots import canvas
from saiki.plots.canvas import Decades


def draw_inside(path: Path, history: Sequence[tuple[int, View]], title: str = "") -> Path:
    """Iteration × time step: the norm of ∂L/∂h as a heat map, and the shares of saturated units."""
    layers = {name: state for _, view in history for name, state in view.items()}
    if len(layers) == 1:
        figure = canvas.new_figure(7.5, 6.0, title)
        grid = figure.subplots(2, 1).flatten()
    else:
        figure = canvas.new_figure(14.0, 3.0 * len(layers), title)
        grid = figure.subplots(len(layers), 2, width_ratios=[3, 2]).flatten()
    for i, layer in enumerate(layers):
        frames = [(step, view[layer]) for step, view in history if layer in view]
        name = f"{layer}: " if len(layers) > 1 else ""
        _gradient_map(figure, grid[2 * i], frames, name)
        _saturation(grid[2 * i + 1], frames, name)
    return canvas.save(figure, path)


def _gradient_map(
    figure: Figure, axes: Axes, frames: Sequence[tuple[int, LayerView]], name: str
) -> None:
    state = next(iter(frames[0][1].gradient))
    steps = [step for step, _ in frames]
    longest = max(len(view.gradient[state]) for _, view in frames)
    norms = torch.full((longest, len(frames)), math.nan)
    for i, (_, view) in enumerate(frames):
        norms[: len(view.gradient[state]), i] = torch.tensor(view.gradient[state])
    shown = norms[norms.isfinite() & (norms > 0)]
    if len(shown) == 0:
        axes.text(0.5, 0.5, "every gradient is 0 or not finite", ha="center", va="center")
        axes.set_axis_off()
        return
    scale = LogNorm(shown.min().item(), max(shown.max().item(), shown.min().item() * 1.01))
    edges = [steps[0] - 0.5, *((a + b) / 2 for a, b in itertools.pairwise(steps))]
    edges.append(steps[-1] + 0.5)
    times = [t + 0.5 for t in range(len(norms) + 1)]
    axes.set_facecolor("lightgrey")  # shows through where the norm is 0 or not finite
    masked = norms.masked_fill(~(norms > 0), math.nan).numpy()
    mesh = axes.pcolormesh(edges, times, masked, norm=scale, cmap="viridis")
    bar = figure.colorbar(mesh, ax=axes, label=f"‖∂L/∂{state}‖", format=Decades())
    bar.minorformatter = Decades()
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(
        xlabel="iteration", ylabel="time step", title=f"{name}gradient over time; grey: exactly 0"
    )


def _saturation(axes: Axes, frames: Sequence[tuple[int, LayerView]], name: str) -> None:
    shares = {n for _, view in frames for n, s in view.values.items() if s.saturated is not None}
    for quantity in sorted(shares):
        seen = [(step, view.values.get(quantity)) for step, view in frames]
        known = [(step, s.saturated) for step, s in seen if s and s.saturated is not None]
        axes.plot(*zip(*known, strict=True), label=quantity)
    axes.set(xlabel="iteration", ylabel="share", title=f"{name}saturated units", ylim=(0, 1))
    axes.grid(alpha=0.3)
    if shares:
        axes.legend()
