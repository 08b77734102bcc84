"""Pictures: curves over each other, the inside of a layer, activation functions."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

from saiki.activations import Activation
from saiki.lens import LayerView, View
from saiki.runs import write

Curve = tuple[Sequence[float], Sequence[float]]
"""Horizontal and vertical coordinates of one line."""


def save(figure: Figure, path: Path) -> Path:
    """Write the picture whole or not at all."""
    return write(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"))


def new_figure(width: float = 7.0, height: float = 4.2) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


BANDS = 4
"""With more lines than this their extremes would hide each other, and only means are drawn."""


def curves(
    path: Path,
    lines: Mapping[str, Sequence[Curve]],
    *,
    ylabel: str,
    xlabel: str = "iteration",
    title: str = "",
) -> Path:
    """Curves over each other; several under one label show their mean and their extremes."""
    figure = new_figure()
    axes = figure.subplots()
    # when the colours are used up they come again, dashed and dotted
    axes.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * rcParams["axes.prop_cycle"])
    for label, all_members in lines.items():
        members = [curve for curve in all_members if len(curve[0])]
        if not members:
            continue
        longest, _ = max(members, key=lambda curve: len(curve[0]))
        at = [[values[i] for _, values in members if i < len(values)] for i in range(len(longest))]
        line = axes.plot(longest, [_mean(v) for v in at], label=label or None, linewidth=1.6)
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
    return save(figure, path)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def inside(path: Path, history: Sequence[tuple[int, View]], title: str = "") -> Path:
    """Iteration × time step: the norm of ∂L/∂h as a heat map, and the shares of saturated units."""
    layers = {name: state for _, view in history for name, state in view.items()}
    figure = new_figure(7.5, 6.0 * len(layers))
    grid = figure.subplots(2 * len(layers), 1, squeeze=False)[:, 0]
    for i, layer in enumerate(layers):
        frames = [(step, view[layer]) for step, view in history if layer in view]
        name = f"{layer}: " if len(layers) > 1 else ""
        _gradient_map(figure, grid[2 * i], frames, name)
        _saturation(grid[2 * i + 1], frames, name)
    figure.suptitle(title)
    return save(figure, path)


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
    figure.colorbar(mesh, ax=axes, label=f"‖∂L/∂{state}‖")
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


def activation_sheet(path: Path, activations: Sequence[Activation]) -> Path:
    """Each function and its derivative, with its equation, on one sheet."""
    columns = min(3, len(activations))
    rows = math.ceil(len(activations) / columns)
    figure = new_figure(4.6 * columns, 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    x = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    for axes, activation in zip(grid, activations, strict=False):
        y, slope = _values(activation, x)
        axes.axhline(0, color="grey", lw=0.6)
        axes.axvline(0, color="grey", lw=0.6)
        axes.plot(x, y, label="f(x)", lw=1.8)
        axes.plot(x, slope, "--", label="f′(x)", lw=1.4)
        settings = "".join(f", {_GREEK[k]} = {v:g}" for k, v in activation.parameters.items())
        axes.set_title(f"{activation.name}{settings}\n{activation.equation}", fontsize=10)
        low, high = (f"{bound:.3g}".replace("inf", "∞") for bound in activation.range)
        note = f"range ({low}, {high})\nsaturates on {activation.saturates}"
        axes.text(0.03, 0.96, note, transform=axes.transAxes, va="top", fontsize=8, color="dimgrey")
        axes.set_ylim(min(-1.2, float(slope.min()) - 0.1), max(2.6, float(slope.max()) + 0.1))
        axes.legend(loc="lower right", fontsize=8)
        axes.grid(alpha=0.2)
    for axes in figure.axes[len(activations) :]:
        axes.set_axis_off()
    return save(figure, path)


_GREEK = {"alpha": "α", "beta": "β"}


def _values(activation: Activation, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if activation.name != "softmax":
        return activation(x), activation.derivative(x)
    pairs = torch.stack((x, torch.zeros_like(x)), -1)  # the first of two inputs, the second at 0
    return activation(pairs)[:, 0], activation.derivative(pairs)[:, 0, 0]
