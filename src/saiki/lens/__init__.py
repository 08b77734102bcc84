"""What happens inside recurrent layers over time: states, gates, gradients, saturation.

>>> import torch, saiki
>>> layer = saiki.Recurrent(saiki.cells.LSTM(3, 5))
>>> with watch(layer) as view:
...     y, _ = layer(torch.randn(2, 4, 3))
...     y[:, -1].sum().backward()
>>> len(view[""].gradient["h"])
4

``view["encoder"].gradient["h"][t]`` is the norm of ∂L/∂h at time step t of the layer ``encoder``.
Gates are seen by the names that ``step`` gives them: a cell that computes a tensor of rows and
calls it ``f`` shows it under that name, in any cell.
"""

from pathlib import Path

from saiki.lens.recording import watch, watchable
from saiki.lens.views import EDGE, LayerView, Statistics, View, saturated, statistics
from saiki.lens.words import EXPLODED, describe

__all__ = [
    "EDGE",
    "EXPLODED",
    "LayerView",
    "Statistics",
    "View",
    "describe",
    "draw",
    "saturated",
    "statistics",
    "watch",
    "watchable",
]


def draw(view: View, path: str | Path = "lens.png", title: str = "") -> Path:
    """Draw what was seen: the values of every state over time, on one scale of colours for all
    layers, the norm of the gradient at each step, and the means of gates beside the shares of them
    that are saturated.

    Args:
        path: of the picture, ``.png``, ``.jpg``, ``.svg`` or ``.pdf``.

    Raises:
        InputError: nothing was seen, or the picture is of another format.
    """
    from saiki.lens.drawing import draw_view  # Matplotlib takes a second, and most look at numbers

    return draw_view(Path(path), view, title)
