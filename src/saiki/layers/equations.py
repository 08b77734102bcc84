"""Layers as the equations that they compute, put together from those of their cells."""

import textwrap
from collections.abc import Sequence

from torch import nn

from saiki.cell import Cell
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack

MERGED = {"concat": "(h→, h←)", "sum": "h→ + h←", "mean": "½ (h→ + h←)", "mul": "h→ ∘ h←"}


def of_layer(layer: nn.Module, reads: str = "x", writes: str = "y") -> str:
    """What a layer makes of ``reads``, and below it the equations of its cell. Layers on each other
    that are alike are written once, with their number.

    >>> from saiki.cells import SimpleRNN
    >>> print(of_layer(Bidirectional(SimpleRNN(3, 5))))
    y = (h→, h←), SimpleRNN of 5 units each way over x
      h ← tanh(W x + U h + b)
    """
    layers = list(layer.layers) if isinstance(layer, Stack) else [layer]
    return of_layers(layers, reads, writes)


def of_layers(layers: Sequence[nn.Module], reads: str, writes: str) -> str:
    """The same of layers on each other."""
    alike: list[tuple[str, str, int]] = []
    for one in layers:
        head, lines = _of_one(one)
        if alike and alike[-1][:2] == (head, lines):
            alike[-1] = head, lines, alike[-1][2] + 1
        else:
            alike.append((head, lines, 1))
    written = []
    for head, lines, count in alike:
        repeated = f", {count} layers" if count > 1 else ""
        written += [f"{writes} = {head} over {reads}{repeated}", lines]
        reads = writes
    return "\n".join(written)


def of_cell(cell: Cell) -> str:
    """Its equations, moved in below a line that names it."""
    return textwrap.indent(cell.equations(), "  ")


def name_of(cell: Cell) -> str:
    """Its class and size, such as "LSTM of 64 units"."""
    return f"{type(cell).__name__} of {cell.hidden_size} units"


def _of_one(layer: nn.Module) -> tuple[str, str]:
    """How the directions of a layer are put together, and the equations of its cells."""
    if isinstance(layer, Bidirectional):
        cell, other = layer.forward_layer.cell, layer.backward_layer.cell
        how, lines, others = MERGED[layer.merge], of_cell(cell), of_cell(other)
        if (name_of(cell), lines) == (name_of(other), others):
            return f"{how}, {name_of(cell)} each way", lines
        how += f", {name_of(cell)} forward and {name_of(other)} backward"
        lines, others = (textwrap.indent(each, "  ") for each in (lines, others))
        return how, f"  h→\n{lines}\n  h←\n{others}"
    assert isinstance(layer, Recurrent)
    return f"{'h←' if layer.reverse else 'h→'}, {name_of(layer.cell)}", of_cell(layer.cell)
