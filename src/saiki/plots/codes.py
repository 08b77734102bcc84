"""Images of codes, and how often each code is given."""

from pathlib import Path

import numpy as np
from torch import Tensor

from saiki.plots import canvas
from saiki.plots.images import show, tiled


def draw_codes(
    path: Path, counts: Tensor, images: Tensor, codes: Tensor, back: Tensor, title: str = ""
) -> Path:
    """How often each code is given, the most frequent first, and below it images, the codes of
    their places, and the images that come back from these.

    Args:
        counts: of each code, ``(books, codes)``.
        images: from 0 to 1, ``(images, channels, height, width)``.
        codes: ``(images, rows, columns, books)``; those of the first book are shown.
        back: as ``images``.
    """
    count = len(images)
    figure = canvas.new_figure(1.05 * count + 0.8, 5.6, title)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.0, 1.45])[:, 0]
    axes = upper.subplots()
    for i, book in enumerate(counts.double().cpu()):
        share = (book / book.sum().clamp(min=1)).sort(descending=True).values
        label = f"codebook {i + 1}" if len(counts) > 1 else None
        axes.plot(range(1, len(share) + 1), share, drawstyle="steps-mid", lw=1.4, label=label)
    axes.axhline(1 / counts.shape[1], color="grey", lw=0.8, ls="--", label="all alike")
    axes.set(
        xlabel="code, by how often it is given", ylabel="share", xlim=(1, counts.shape[1] + 0.5)
    )
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    grid = lower.subplots(3, count, squeeze=False)
    for i in range(count):
        show(grid[0, i], tiled(images[i : i + 1], 1))
        places = np.asarray(codes[i, :, :, 0].cpu())
        grid[1, i].imshow(places, cmap="nipy_spectral", vmin=0, vmax=counts.shape[1] - 1)
        grid[1, i].set(xticks=[], yticks=[])
        show(grid[2, i], tiled(back[i : i + 1], 1))
    for row, name in zip(grid[:, 0], ("image", "codes", "back"), strict=True):
        row.set_ylabel(name, fontsize=9)
    return canvas.save(figure, path)
