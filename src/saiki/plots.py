"""Pictures: curves, the inside of a layer, activation functions, sounds, attention."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.mlab import specgram
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

from saiki import glyphs
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
    return save(figure, path)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def inside(path: Path, history: Sequence[tuple[int, View]], title: str = "") -> Path:
    """Iteration × time step: the norm of ∂L/∂h as a heat map, and the shares of saturated units."""
    layers = {name: state for _, view in history for name, state in view.items()}
    if len(layers) == 1:
        figure = new_figure(7.5, 6.0)
        grid = figure.subplots(2, 1).flatten()
    else:
        figure = new_figure(14.0, 3.0 * len(layers))
        grid = figure.subplots(len(layers), 2, width_ratios=[3, 2]).flatten()
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


def sounds(path: Path, waves: Mapping[str, np.ndarray], rate: int) -> Path:
    """Each wave above its spectrogram, side by side, under its name.

    Args:
        waves: ``(samples,)`` each.
        rate: samples of a second.
    """
    columns = min(3, len(waves))
    rows = math.ceil(len(waves) / columns)
    figure = new_figure(4.0 * columns, 3.6 * rows)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1, 2] * rows)
    for axes in grid.flatten():
        axes.set_axis_off()
    for i, (name, wave) in enumerate(waves.items()):
        row, column = divmod(i, columns)
        above, below = grid[2 * row, column], grid[2 * row + 1, column]
        seconds = len(wave) / rate
        above.set_axis_on()
        above.plot(np.arange(len(wave)) / rate, wave, lw=0.6)
        above.set(title=name if len(name) <= 40 else f"…{name[-39:]}", xlim=(0, seconds))
        above.title.set_fontsize(9)
        above.tick_params(labelbottom=False, labelsize=7)
        below.set_axis_on()
        size = min(256, len(wave))
        power, frequencies, times = map(
            np.asarray, specgram(wave, size, rate, noverlap=size * 3 // 4)
        )
        decibels = 10 * np.log10(np.maximum(power / max(power.max(), 1e-30), 1e-6))
        shown = below.pcolormesh(
            times, frequencies / 1000, decibels, cmap="magma", vmin=-60, vmax=0
        )
        shown.set_rasterized(True)
        below.set(xlim=(0, seconds), xlabel="seconds", ylabel="kHz", facecolor="black")
        below.tick_params(labelsize=7)
    return save(figure, path)


def confusion(
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
    figure = new_figure(side + (3.2 if rates else 0.6), side)
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
    return save(figure, path)


def attention(
    path: Path, maps: Sequence[tuple[Sequence[str], Sequence[str], torch.Tensor]]
) -> Path:
    """What was read where, as heat maps side by side: the source from left to right, what was
    written from top to bottom.

    Args:
        maps: source tokens, target tokens, and weights ``(target, source)``.
    """
    columns = min(2, len(maps))
    rows = math.ceil(len(maps) / columns)
    wide, high = (max(len(each[i]) for each in maps) for i in (0, 1))
    side = 0.3 if max(wide, high) < 40 else 12 / max(wide, high)
    figure = new_figure(columns * (side * wide + 2.2) + 0.8, rows * (side * high + 1.6))
    figure.set_layout_engine("compressed")  # what keeps room for labels beside square cells
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    for axes, (source, target, weights) in zip(grid, maps, strict=False):
        axes.set_axis_on()
        image = axes.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(range(len(source)), _shown(source), parse_math=False, rotation=90)
        axes.set_yticks(range(len(target)), _shown(target), parse_math=False)
        axes.xaxis.tick_top()
        for label, token in zip(
            [*axes.get_xticklabels(), *axes.get_yticklabels()], [*source, *target], strict=True
        ):
            label.set_fontproperties(glyphs.font(token)[0])
            label.set_fontsize(8)
            if len(token) == 1:
                label.set_rotation(0)
        axes.tick_params(length=0)
    figure.colorbar(image, ax=list(grid), label="weight", shrink=0.6)
    return save(figure, path)


def _shown(tokens: Sequence[str]) -> list[str]:
    """Tokens as their fonts can show them; a space would not be seen."""
    return [glyphs.font(token)[1].replace(" ", "␣") for token in tokens]


def written(
    path: Path,
    truth: np.ndarray,
    lines: Mapping[int, np.ndarray],
    names: Sequence[str],
) -> Path:
    """What is written from a few points of a series on, over what should be.

    Args:
        truth: ``(points,)``.
        lines: ``(steps,)`` each, by the point where it begins.
        names: of what is read and what is written.
    """
    read, wanted = names
    at = np.arange(min(lines), len(truth))
    figure = new_figure(9.0, 4.2)
    axes = figure.subplots()
    axes.plot(at, truth[at], color="lightgrey", lw=5, label=f"{wanted}, in truth")
    for start, y in lines.items():
        axes.plot(start + np.arange(len(y)), y, ".-", lw=1.2, ms=4, label=f"from {start}")
    axes.set(xlabel="point", ylabel=wanted, title=f"{wanted}, written after reading {read}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(lines) + 1, fontsize=8)
    return save(figure, path)


def marked(
    path: Path, counts: np.ndarray, names: Sequence[str], rates: Mapping[str, float]
) -> Path:
    """What each mistake of a text was taken for, and how well each kind is found.

    Args:
        counts: ``(made, marked)``, how often.
        names: of the kinds, in that order.
        rates: F1 of each kind.
    """
    figure = new_figure(9.5, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    left.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    left.set_xticks(range(len(names)), names)
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="marked", ylabel="made", title="places of the tested sentences")
    for (i, j), count in np.ndenumerate(counts):
        dark = count > 0.5 * counts[i].sum()
        left.text(j, i, f"{count:,}", ha="center", va="center", color="white" if dark else "black")
    shown = right.bar(list(rates), list(rates.values()), width=0.6)
    right.bar_label(shown, [f"{value:.3f}" for value in rates.values()], padding=2)
    right.set(ylim=(0, 1.1), ylabel="F1", title="right place and right kind")
    return save(figure, path)
