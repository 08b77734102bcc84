"""Layers on top of each other."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from saiki.cell import Cell
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent, refuse_memory
from saiki.saving.pretrained import DescribedModule


class Stack(DescribedModule, name="stack.v1"):
    """Layers on top of each other: each reads the output of the one below.

    ``y, states = layer(x)`` with one state for each layer, from the lowest.

    Args:
        layers: cells, :class:`Recurrent`, :class:`Bidirectional` or further stacks, lowest first.
        dropout: share of features set to zero between two layers while training, not after the
            last one.
    """

    def __init__(self, layers: Iterable[nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        parts = [as_layer(layer) for layer in layers]
        if not parts:
            raise InputError("Stack needs at least one layer")
        refuse_memory("Stack", parts)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), got {dropout}")
        for lower, upper in itertools.pairwise(parts):
            if lower.output_size != upper.input_size:
                raise InputError(
                    f"a layer with {lower.output_size} outputs lies below one with "
                    f"{upper.input_size} inputs"
                )
        self.layers = nn.ModuleList(parts)
        self.dropout = nn.Dropout(dropout)
        self.input_size: int = parts[0].input_size
        self.output_size: int = parts[-1].output_size

    def arguments(self) -> dict[str, Any]:
        """Those that make the layers as they now are, whatever they were made with."""
        if type(self).__init__ is not Stack.__init__:
            return super().arguments()
        return {"layers": self.layers, "dropout": self.dropout.p}

    def forward(
        self, x: Tensor, state: tuple[Any, ...] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Shapes as in :class:`Recurrent`; the state holds one entry for each layer."""
        states = []
        for i, (layer, before) in enumerate(zip(self.layers, self._states(state), strict=True)):
            x, end = layer(x if i == 0 else self.dropout(x), before, lengths)
            states.append(end)
        return x, tuple(states)

    def step(
        self, x: Tensor, state: tuple[Any, ...] | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """One step of a stream through all layers, as :meth:`Recurrent.step`; nothing is dropped.

        Raises:
            InputError: a layer reads both ways or from the last step on, or a shape does not fit.
        """
        states = []
        for layer, before in zip(self.layers, self._states(state), strict=True):
            x, end = as_layer(layer).step(x, before)
            states.append(end)
        return x, tuple(states)

    def _states(self, state: tuple[Any, ...] | None) -> Sequence[Any]:
        """One entry for each layer."""
        if state is None:
            return [None] * len(self.layers)
        if len(state) != len(self.layers):
            raise InputError(f"the state must hold {len(self.layers)} entries, got {len(state)}")
        return state

    def explain(self, passes: bool = False) -> str:
        """The plan of each layer in words, the lowest first; see :meth:`Recurrent.explain`."""
        plans = (as_layer(layer).explain(passes) for layer in self.layers)
        return "\n".join(f"layer {i}, {plan}" for i, plan in enumerate(plans))


Layer = Recurrent | Bidirectional | Stack


def as_layer(layer: nn.Module) -> Layer:
    """A cell as a :class:`Recurrent`; a layer as itself."""
    if isinstance(layer, Cell):
        return Recurrent(layer)
    if not isinstance(layer, Recurrent | Bidirectional | Stack):
        raise InputError(f"expected a Cell or a recurrent layer, got {type(layer).__name__}")
    return layer
