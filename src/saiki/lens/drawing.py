"""The inside of layers: as they learn, and in one pass through them."""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from saiki.errors import InputError
from saiki.lens.views import LayerView, View
from saiki.plots import canvas
from saiki.plots.canvas import Decades
from saiki.plots.curves import DECADES


def draw_inside(path: Path, history: Sequence[tuple[int, View]], title: str = "") -> Path:
    """Iteration × time step: the norm of ∂L/∂h as a heat map, on one scale for all layers, and the
    shares of saturated units beside their means. A single iteration is drawn as :func:`draw_view`
    draws it."""
    if len(history) == 1:
        [(step, view)] = history
        return draw_view(path, view, f"{title}, iteration {step}" if title else "")
    layers = {name: state for _, view in history for name, state in view.items()}
    if len(layers) == 1:
        figure = canvas.new_figure(7.5, 8.0, title)
        grid = figure.subplots(3, 1, height_ratios=[3, 2, 2], squeeze=False).T
    else:
        figure = canvas.new_figure(16.0, 3.0 * len(layers), title)
        grid = figure.subplots(len(layers), 3, width_ratios=[3, 2, 2], squeeze=False)
    norms = (
        n
        for _, view in history
        for layer_view in view.values()
        for n in _first(layer_view.gradient)
    )
    scale = _decades(norms)
    for layer, (above, middle, below) in zip(layers, grid, strict=True):
        frames = [(step, view[layer]) for step, view in history if layer in view]
        name = f"{layer}: " if len(layers) > 1 else ""
        _gradient_map(figure, above, frames, name, scale)
        _gates(middle, frames, f"{name}saturated units", "saturated")
        _gates(below, frames, f"{name}means", "mean")
    return canvas.save(figure, path)


def draw_view(path: Path, view: View, title: str = "") -> Path:
    """One pass, a row a layer: each state over time, on one scale for all layers; the norm of the
    gradient at each step; and the mean of each gate beside the share of it that is saturated.

    Raises:
        InputError: nothing was seen.
    """
    if not view:
        raise InputError("there is nothing to draw: no recurrent layer ran while it was watched")
    most = max(len(layer.states) for layer in view.values())
    # rows in themselves: states, gradient, gates
    figure = canvas.new_figure(4.4 * (most + 2), 0.6 + 2.6 * len(view), title)
    grid = figure.subplots(len(view), most + 2, squeeze=False)
    finite = [s[s.isfinite()].abs() for layer in view.values() for s in layer.states.values()]
    bound = max((float(s.max()) for s in finite if len(s)), default=0.0) or 1.0
    scale = Normalize(-bound, bound)
    for (name, layer), row in zip(view.items(), grid, strict=True):
        prefix = f"{name}: " if name else ""
        for axes, (state, values) in zip(row, layer.states.items(), strict=False):
            _state(figure, axes, values, f"{prefix}{state}", scale)
        for axes in row[len(layer.states) : most]:
            axes.set_axis_off()
        _gradient_norms(row[most], layer, prefix)
        _gate_bars(row[most + 1], layer, prefix)
    return canvas.save(figure, path)


def _first(gradient: dict[str, list[float]]) -> list[float]:
    """Of the first state, which is the output."""
    return next(iter(gradient.values()))


def _decades(norms: Iterable[float]) -> LogNorm | None:
    """A logarithmic scale of the norms that have a size; None if none has."""
    sizes = [norm for norm in norms if 0 < norm < math.inf]
    return LogNorm(min(sizes), max(max(sizes), min(sizes) * 1.01)) if sizes else None


def _gradient_map(
    figure: Figure,
    axes: Axes,
    frames: Sequence[tuple[int, LayerView]],
    name: str,
    scale: LogNorm | None,
) -> None:
    state = next(iter(frames[0][1].gradient))
    steps = [step for step, _ in frames]
    longest = max(len(view.gradient[state]) for _, view in frames)
    norms = torch.full((longest, len(frames)), math.nan)
    for i, (_, view) in enumerate(frames):
        norms[: len(view.gradient[state]), i] = torch.tensor(view.gradient[state])
    has_size = norms.isfinite() & (norms > 0)
    if not bool(has_size.any()):
        axes.text(0.5, 0.5, "every gradient is 0 or not finite", ha="center", va="center")
        axes.set_axis_off()
        return
    edges = [steps[0] - 0.5, *((a + b) / 2 for a, b in itertools.pairwise(steps))]
    edges.append(steps[-1] + 0.5)
    times = [t + 0.5 for t in range(len(norms) + 1)]
    axes.set_facecolor("lightgrey")  # shows through where the norm is 0 or not finite
    shown = norms.masked_fill(~has_size, math.nan).numpy()
    mesh = axes.pcolormesh(edges, times, shown, norm=scale, cmap="viridis")
    mesh.set_rasterized(True)
    bar = figure.colorbar(mesh, ax=axes, label=f"‖∂L/∂{state}‖", format=Decades())
    bar.minorformatter = Decades()
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    grey = "" if bool(has_size.all()) else "; grey: 0 or not finite"
    axes.set(xlabel="iteration", ylabel="time step", title=f"{name}gradient over time{grey}")


def _gates(axes: Axes, frames: Sequence[tuple[int, LayerView]], title: str, figure: str) -> None:
    """A figure of every quantity that an activation with a bound made, over the iterations."""
    gates = {n for _, view in frames for n, s in view.values.items() if s.saturated is not None}
    for gate in sorted(gates):
        seen = [(step, view.values.get(gate)) for step, view in frames]
        known = [(step, getattr(s, figure)) for step, s in seen if s and s.saturated is not None]
        axes.plot(*zip(*known, strict=True), label=gate)
    axes.set(xlabel="iteration", ylabel="share" if figure == "saturated" else "mean", title=title)
    if figure == "saturated":
        axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    if gates:
        axes.legend(fontsize=8)


def _state(figure: Figure, axes: Axes, values: torch.Tensor, title: str, scale: Normalize) -> None:
    """Time from left to right, a row a unit."""
    shown = values.T.double().cpu().masked_fill(~values.T.cpu().isfinite(), math.nan).numpy()
    axes.set_facecolor("lightgrey")
    units, steps = shown.shape
    reach = (0.5, steps + 0.5, units + 0.5, 0.5)
    image = axes.imshow(
        shown, cmap="RdBu_r", norm=scale, aspect="auto", interpolation="nearest", extent=reach
    )
    figure.colorbar(image, ax=axes)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="time step", ylabel="unit", title=f"{title} over time")


def _gradient_norms(axes: Axes, layer: LayerView, prefix: str) -> None:
    sizes = []
    for state, norms in layer.gradient.items():
        known = [(t, n) for t, n in enumerate(norms, 1) if 0 < n < math.inf]
        if known:
            axes.plot(*zip(*known, strict=True), ".-", label=f"‖∂L/∂{state}‖")
        sizes += [n for _, n in known]
    axes.set_title(f"{prefix}gradient over time")
    if not sizes:
        axes.text(0.5, 0.5, "every gradient is 0 or not finite", ha="center", va="center")
        axes.set_axis_off()
        return
    axes.set(xlabel="time step", xlim=(0.5, len(norms) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    if max(sizes) >= DECADES * min(sizes):
        canvas.make_logarithmic(axes)
    else:
        axes.set_ylim(bottom=0)


def _gate_bars(axes: Axes, layer: LayerView, prefix: str) -> None:
    gates = {name: s for name, s in layer.values.items() if s.saturated is not None}
    if not gates:
        axes.text(0.5, 0.5, "no activation with a bound", ha="center", va="center")
        axes.set_axis_off()
        return
    at = range(len(gates))
    means = [s.mean for s in gates.values()]
    shares = [s.saturated or 0.0 for s in gates.values()]
    axes.bar([i - 0.2 for i in at], means, 0.4, label="mean")
    axes.bar([i + 0.2 for i in at], shares, 0.4, label="share saturated")
    axes.axhline(0, color="grey", lw=0.6)
    axes.set_xticks(at, list(gates))
    low, high = min(0.0, *means), max(0.0, *means, *shares)
    axes.set(title=f"{prefix}gates", ylim=(1.1 * low, 1.3 * high or 1.0))  # the legend is above
    axes.legend(fontsize=8, loc="upper right", ncols=2)
