"""Where the codes of sentences lie."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from saiki.metrics.latent import variances
from saiki.plots import canvas


def draw_by_length(path: Path, codes: Tensor, lengths: Sequence[int], title: str = "") -> Path:
    """The two units in which codes differ most, each sentence a dot in the colour of its length.

    Args:
        codes: ``(sentences, units)``, of two units at least.
        lengths: tokens of each.
    """
    first, second = sorted(variances(codes).argsort(descending=True)[:2].tolist())
    figure = canvas.new_figure(6.4, 5.2, title)
    axes = figure.subplots()
    x, y = codes[:, first].tolist(), codes[:, second].tolist()
    dots = axes.scatter(x, y, c=list(lengths), s=8, lw=0, cmap="viridis")
    axes.set(xlabel=f"unit {first + 1}", ylabel=f"unit {second + 1}")
    axes.grid(alpha=0.3)
    figure.colorbar(dots, ax=axes, label="tokens of the sentence")
    return canvas.save(figure, path)
