"""A map of words: those with similar vectors lie near each other."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from saiki.errors import InputError
from saiki.plots import canvas
from saiki.plots.fonts import fit

Array = np.ndarray[Any, Any]
MAPS = ("pca", "tsne")
_FAR = 4.0
"""Points (1/72 inch) from a dot to its label."""
_DOT = 2.0
"""The radius of a dot, in points; no label covers another's dot."""
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""Where a label may lie, the better place first: right, left, above, below, and the corners."""


def draw_words(
    path: Path, words: Sequence[str], matrix: Array, *, method: str = "pca", title: str = ""
) -> Path:
    """The words on a plane, each a dot with its label. Labels are placed in the order of the words,
    so the most frequent ones should come first; one for which no place is left is left out, and its
    dot is pale.

    Args:
        matrix: the vectors of the words, ``(words, size)``; only their directions count.
        method: one of :data:`MAPS`; see :func:`plane`.

    Raises:
        InputError: see :func:`plane`.
    """
    if len(words) != len(matrix):
        raise InputError(f"{len(words)} words need as many vectors, got {len(matrix)}")
    points, names = plane(matrix, method)
    figure = canvas.new_figure(9.0, 7.5, title)
    axes = figure.subplots()
    dots = axes.scatter(points[:, 0], points[:, 1], s=np.pi * _DOT**2, linewidths=0)
    axes.margins(0.08)
    axes.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    fit(figure)
    figure.draw_without_rendering()  # from now on, the places of the dots are known
    figure.set_layout_engine("none")
    labelled = _label(figure, axes, words, points)
    dots.set_color(["tab:blue" if each else "lightsteelblue" for each in labelled])
    return canvas.save(figure, path)


def plane(matrix: Array, method: str = "pca") -> tuple[Array, tuple[str, str]]:
    """Unit vectors laid on a plane, ``(words, 2)``, and what its axes are called.

    ``pca`` keeps the two directions in which they vary most, by the singular value decomposition of
    the centred matrix. ``tsne`` keeps neighbours together (van der Maaten & Hinton, Visualizing
    Data using t-SNE, 2008), and needs scikit-learn. Both give the same from run to run.

    Raises:
        InputError: there is no such method, scikit-learn is missing, or there are too few vectors.
    """
    if method not in MAPS:
        raise InputError(f"the maps of words are {' and '.join(MAPS)}, got {method!r}")
    if not len(matrix):
        raise InputError("a map of words needs a word at least")
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    unit = matrix / np.where(lengths > 0, lengths, 1)
    return _principal(unit) if method == "pca" else _neighbours(unit)


def _principal(unit: Array) -> tuple[Array, tuple[str, str]]:
    u, s, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    points = np.zeros((len(unit), 2))
    dimensions = min(2, len(s))
    points[:, :dimensions] = u[:, :dimensions] * s[:dimensions]
    # either sign is right, and each library has its own
    points *= np.where(points[np.abs(points).argmax(0), range(2)] < 0, -1, 1)
    shares = np.zeros(2)
    shares[:dimensions] = s[:dimensions] ** 2 / max((s**2).sum(), 1e-300)
    first, second = (
        f"component {i + 1}, {share:.0%} of the variance" for i, share in enumerate(shares)
    )
    return points, (first, second)


def _neighbours(unit: Array) -> tuple[Array, tuple[str, str]]:
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise InputError(
            "the map tsne needs scikit-learn: pip install 'saiki[maps]'; pca needs nothing"
        ) from None
    if len(unit) < 5:
        raise InputError(f"the map tsne needs 5 words at least, got {len(unit)}; pca takes any")
    perplexity = min(30.0, (len(unit) - 1) / 3)
    start = _principal(unit)[0]
    start *= 1e-4 / max(start[:, 0].std(), 1e-12)  # as small as t-SNE wants it
    # without approximation where that takes no time
    how = "exact" if len(unit) <= 300 else "barnes_hut"
    model = TSNE(perplexity=perplexity, init=start.astype(np.float32), method=how, random_state=0)
    return model.fit_transform(unit.astype(np.float32)), ("", "")


def _label(figure: Figure, axes: Axes, words: Sequence[str], points: Array) -> list[bool]:
    """Put a label beside each point where there is room; whether there was."""
    pixels = figure.dpi / 72
    at = axes.transData.transform(points)
    inside = axes.get_window_extent()
    taken = np.concatenate([at - _DOT * pixels, at + _DOT * pixels], 1)  # left, low, right, high
    labelled = []
    labels = [_annotation(axes, word, point) for word, point in zip(words, points, strict=True)]
    fit(figure)
    for i, label in enumerate(labels):
        box = label.get_window_extent()
        others = np.delete(taken, i, 0)  # a label may touch its own dot
        for side, room in _places(at[i], box.width + 2, box.height + 1, _FAR * pixels):
            fits = inside.x0 < room[0] and room[2] < inside.x1
            fits = fits and inside.y0 < room[1] and room[3] < inside.y1
            apart = (room[2:] <= others[:, :2]) | (others[:, 2:] <= room[:2])
            if fits and apart.any(1).all():
                _put(label, side)
                taken = np.concatenate([taken, room[None]])
                labelled.append(True)
                break
        else:
            label.remove()
            labelled.append(False)
    return labelled


def _annotation(axes: Axes, word: str, point: Array) -> Annotation:
    return axes.annotate(
        word,
        (float(point[0]), float(point[1])),
        (0.0, 0.0),
        textcoords="offset points",
        fontsize=8,
        parse_math=False,
    )


def _places(
    dot: Array, width: float, height: float, far: float
) -> Iterator[tuple[tuple[int, int], Array]]:
    """Sides of a dot, and the room that a label takes there."""
    size = np.array([width, height])
    for x, y in _SIDES:
        side = np.array([x, y])
        reach = far if 0 in (x, y) else far * 0.7
        middle = dot + side * (reach + size / 2)
        yield (x, y), np.concatenate([middle - size / 2, middle + size / 2])


def _put(label: Annotation, side: tuple[int, int]) -> None:
    x, y = side
    reach = _FAR if 0 in side else _FAR * 0.7
    label.set_position((x * reach, y * reach))
    label.set_horizontalalignment("center" if x == 0 else "left" if x > 0 else "right")
    label.set_verticalalignment("center" if y == 0 else "bottom" if y > 0 else "top")
