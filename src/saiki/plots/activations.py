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
        axes.axhline(0, color="grey", lw=0.6)
        axes.axvline(0, color="grey", lw=0.6)
        lines = _softmax(activation, x) if activation.name == "softmax" else _curves(activation, x)
        for i, (label, values) in enumerate(lines.items()):
            slope = i >= len(lines) // 2
            style, width = ("--", 1.4) if slope else ("-", 1.8)
            colour = f"C{i % 3 if len(lines) > 2 else i}"
            axes.plot(x, values, style, label=label, lw=width, color=colour)
        settings = "".join(f", {_GREEK[k]} = {v:g}" for k, v in activation.parameters.items())
        if activation.name == "softmax":
            settings = f" of the vector (x, {', '.join(f'{v:g}' for v in OTHERS)})"
        axes.set_title(f"{activation.name}{settings}\n{activation.equation}", fontsize=10)
        low, high = (f"{bound:.3g}".replace("inf", "∞") for bound in activation.range)
        note = f"range ({low}, {high})\nsaturates on {activation.saturates}"
        axes.text(0.03, 0.96, note, transform=axes.transAxes, va="top", fontsize=8, color="dimgrey")
        slopes = torch.stack([*lines.values()][len(lines) // 2 :])
        axes.set_ylim(min(-1.2, float(slopes.min()) - 0.1), max(2.6, float(slopes.max()) + 0.1))
        axes.legend(loc="lower right", fontsize=8, ncols=len(lines) // 2)
        axes.grid(alpha=0.2)
    for axes in figure.axes[len(activations) :]:
        axes.set_axis_off()
    return canvas.save(figure, path)


_GREEK = {"alpha": "α", "beta": "β"}
_INDEX = "₁₂₃"


OTHERS = (1.0, -1.0)
"""What the other inputs of softmax are while its first one changes."""


def _curves(activation: Activation, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"f(x)": activation(x), "f′(x)": activation.derivative(x)}


def _softmax(activation: Activation, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Each output for the vector (x, 1, −1), and its slope as x changes; the outputs add up to 1,
    and the slopes to 0."""
    vectors = torch.stack((x, *(torch.full_like(x, other) for other in OTHERS)), -1)
    y, slopes = activation(vectors), activation.derivative(vectors)[..., 0]
    lines = {f"y{_INDEX[i]}": y[:, i] for i in range(len(OTHERS) + 1)}
    return lines | {f"∂y{_INDEX[i]}/∂x": slopes[:, i] for i in range(len(OTHERS) + 1)}
