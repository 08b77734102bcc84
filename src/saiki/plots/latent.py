"""What lies in a latent space, and how it came to be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from torch import Tensor

from saiki.experiment import Points
from saiki.plots import canvas
from saiki.plots.curves import curves_of
from saiki.plots.images import show, tiled

Array = np.ndarray[Any, Any]
LEGIBLE = 20
"""Classes that are told apart by colours."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Two units of a latent space.

    Args:
        codes: of images, ``(images, 2)``.
        labels: the number of the class of each.
        classes: their names.
        units: the numbers of the two, from 0.
        walk: the images of codes on a square grid, row by row from the top left,
            ``(n · n, channels, height, width)``.
        at: the coordinates of its columns and, upwards, of its rows.
        prior: whether the codes are held to N(0, 1).
    """

    codes: Array
    labels: Array
    classes: Sequence[str]
    units: tuple[int, int]
    walk: Tensor
    at: tuple[Sequence[float], Sequence[float]]
    prior: bool


def draw_plane(path: Path, plane: Plane, title: str = "") -> Path:
    """Where the codes of images lie, by class, beside what is decoded on a walk over the same part
    of the plane."""
    figure = canvas.new_figure(9.0, 4.9, title)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    _scatter(left, plane)
    count = len(plane.at[0])
    edge = [value for ends in map(_edges, plane.at) for value in ends]
    show(right, tiled(plane.walk, count), extent=edge, aspect="auto")
    for axes in (left, right):
        axes.set(xlabel=f"unit {plane.units[0] + 1}", ylabel=f"unit {plane.units[1] + 1}")
    for axis, at in zip((right.xaxis, right.yaxis), plane.at, strict=True):
        axis.set_ticks([at[0], at[count // 2], at[-1]])
        axis.set_major_formatter("{x:.3g}")
    if 1 < len(plane.classes) <= LEGIBLE:
        figure.legend(loc="outside lower left", ncols=5, fontsize=8, markerscale=3)
    left.set_title("codes of test images", fontsize=9)
    right.set_title("what is decoded there", fontsize=9)
    return canvas.save(figure, path)


def _scatter(axes: Axes, plane: Plane) -> None:
    colours = colormaps["tab10" if len(plane.classes) <= 10 else "tab20"]
    for number, name in enumerate(plane.classes):
        x, y = plane.codes[plane.labels == number].T
        axes.scatter(x, y, s=5, lw=0, color=colours(number % LEGIBLE), label=name)
    (west, east), (south, north) = map(_edges, plane.at)
    axes.plot([west, east, east, west, west], [south, south, north, north, south], "k-", lw=0.8)
    if plane.prior:
        angle = np.linspace(0, 2 * np.pi, 200)
        for radius in (1, 2):
            axes.plot(radius * np.cos(angle), radius * np.sin(angle), "k:", lw=0.8)
        axes.set_aspect("equal")


def _edges(at: Sequence[float]) -> tuple[float, float]:
    """Where images begin and end whose middles are at these coordinates."""
    half = (at[-1] - at[0]) / (len(at) - 1) / 2
    return at[0] - half, at[-1] + half


def draw_course(path: Path, points: Points, divergence: Sequence[float], title: str = "") -> Path:
    """How the loss parts into reconstruction and divergence, and how many units are used, over the
    training; and what each unit costs in the end.

    Args:
        divergence: of each unit in nats, its mean over images.
    """
    figure = canvas.new_figure(10.0, 6.4, title)
    (upper_left, upper_right), (below, units) = figure.subplots(2, 2)
    curves = curves_of(points)
    labels = {"reconstruction": "−ln p(x | z), nats", "kl": "KL, nats"}
    for axes, (name, label) in zip((upper_left, upper_right), labels.items(), strict=True):
        for prefix, part in (("", "training"), ("validation_", "validation")):
            axes.plot(*curves.get(prefix + name, ((), ())), marker=".", ms=3, lw=1.3, label=part)
        axes.set(xlabel="iteration", ylabel=label)
        axes.legend(fontsize=8)
    below.plot(*curves.get("active_units", ((), ())), ".-", ms=3, lw=1.3)
    below.set(xlabel="iteration", ylabel="active units", ylim=(0, 1.05 * len(divergence)))
    units.bar(range(1, len(divergence) + 1), sorted(divergence, reverse=True))
    units.set(xlabel="units, the most used first", ylabel="KL in the end, nats")
    for axes in (upper_left, upper_right, below):
        axes.grid(alpha=0.3)
    return canvas.save(figure, path)
