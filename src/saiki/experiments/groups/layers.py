"""Recurrent layers by their knobs."""

from typing import Any

from saiki import cells
from saiki.cell import Cell
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, Stack
from saiki.models.encoder import Encoder


def bidirectional(default: bool) -> Any:
    """The knob of Schuster & Paliwal (1997)."""
    return knob(default, "whether what reads does so in both directions")


class CellChoice(Knobs):
    """A cell of some family."""

    cell: str = knob("lstm", "the recurrent cell", choices=cells.FAMILIES)
    hidden_size: int = knob(64, "units of a layer, in each direction", minimum=1, maximum=8192)

    def build_cell(self, input_size: int) -> Cell:
        return cells.make(self.cell, input_size, self.hidden_size)


class Layers(CellChoice):
    """Layers of such cells, each with all of its units in either direction."""

    layers: int = knob(1, "recurrent layers", minimum=1, maximum=16)
    dropout: float = knob(
        0.0, "share of features set to 0, between layers too", minimum=0, maximum=0.95
    )

    def build(self, input_size: int) -> Layer:
        """The layers, the lowest of which takes ``input_size`` features."""
        stack = list[Layer]()
        for _ in range(self.layers):
            stack.append(self.build_layer(input_size))
            input_size = stack[-1].output_size
        return stack[0] if len(stack) == 1 else Stack(stack, self.dropout)

    def build_layer(self, input_size: int) -> Layer:
        return Bidirectional(self.build_cell(input_size))

    def build_cells(self, input_size: int) -> list[Cell]:
        """As many cells on each other, all with all of the units, for what writes."""
        cells = list[Cell]()
        for _ in range(self.layers):
            cells.append(self.build_cell(input_size))
            input_size = cells[-1].state_sizes[0]
        return cells


class DirectedLayers(Layers):
    """Layers that read in one direction, or share their units among two."""

    hidden_size: int = knob(
        512, "units of a layer; in both directions half of them each", minimum=1, maximum=8192
    )
    bidirectional: bool = bidirectional(True)

    def validate(self) -> None:
        if self.bidirectional and self.hidden_size % 2:
            raise InputError(
                f"hidden_size must be even, half for each direction, got {self.hidden_size}"
            )

    def build_layer(self, input_size: int) -> Layer:
        if not self.bidirectional:
            return Recurrent(self.build_cell(input_size))
        return Bidirectional(cells.make(self.cell, input_size, self.hidden_size // 2))


class TokenLayers(DirectedLayers):
    """Such layers over tokens."""

    embedding_size: int = knob(256, "features of a token", minimum=1, maximum=8192)

    def build_encoder(self, vocabulary: int) -> Encoder:
        """What reads the numbers of ``vocabulary`` tokens."""
        layers = self.build(self.embedding_size)
        return Encoder(vocabulary, self.embedding_size, layers, self.dropout)
