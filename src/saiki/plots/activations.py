"""Activation functions and their derivatives."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from saiki.activations import Activation
from saiki.plots import canvas


def draw_activations(path: Path, activations: Sequence[Activation]) -> Path:
    """Each function and its derivative, with its equation, on one sheet."""
    columns = min(3, len(activations))
    rows = math.ceil(len(activations) / columns)
    figure = canvas.new_figure(4.6 * columns, 3.4 * rows)
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
    return canvas.save(figure, path)


_GREEK = {"alpha": "α", "beta": "β"}


def _values(activation: Activation, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if activation.name != "softmax":
        return activation(x), activation.derivative(x)
    pairs = torch.stack((x, torch.zeros_like(x)), -1)  # the first of two inputs, the second at 0
    return activation(pairs)[:, 0], activation.derivative(pairs)[:, 0, 0]
