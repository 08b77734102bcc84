"""A cell in both directions of time."""

import copy
from typing import Any, Literal

import torch
from torch import Tensor

from saiki.cell import Cell
from saiki.errors import InputError
from saiki.layers.recurrent import Recurrent, refuse_memory
from saiki.layers.run import hooked, run_layers
from saiki.saving.pretrained import DescribedModule
from saiki.torch_internals import leaf

BOTH_WAYS = (
    "a layer that reads both ways needs the last step first, so it cannot go step by step; call it "
    "with the whole sequence"
)
MERGES = ("concat", "sum", "mean", "mul")


class Bidirectional(DescribedModule, name="bidirectional.v1"):
    """Two layers that read the same input in opposite directions (Schuster & Paliwal 1997).

    ``y, (forward_state, backward_state) = layer(x)``. At each step ``y`` merges what the forward
    layer knows of the past with what the backward layer knows of the future, that step included.

    Args:
        layer: a cell, or a :class:`Recurrent` that is not reversed.
        merge: ``"concat"`` (forward first), ``"sum"``, ``"mean"`` or ``"mul"``.
        backward: the cell or reversed :class:`Recurrent` of the other direction; without it, one
            like ``layer`` with parameters of its own.
    """

    def __init__(
        self,
        layer: Cell | Recurrent,
        merge: Literal["concat", "sum", "mean", "mul"] = "concat",
        backward: Cell | Recurrent | None = None,
    ) -> None:
        super().__init__()
        if merge not in MERGES:
            raise InputError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
        forward = Recurrent(layer) if isinstance(layer, Cell) else layer
        if not isinstance(forward, Recurrent) or forward.reverse:
            kind = "a reversed one" if isinstance(forward, Recurrent) else type(forward).__name__
            raise InputError(
                f"Bidirectional takes a Cell or a Recurrent that is not reversed, got {kind}"
            )
        refuse_memory("Bidirectional", [forward, backward])
        if backward is None:
            backward = Recurrent(fresh(forward.cell), reverse=True, backend=forward.backend)
        elif isinstance(backward, Cell):
            backward = Recurrent(backward, reverse=True, backend=forward.backend)
        if not isinstance(backward, Recurrent) or not backward.reverse:
            raise InputError("backward must be a Cell or a Recurrent with reverse=True")
        if forward.input_size != backward.input_size:
            raise InputError(
                f"both directions read the same input, got {forward.input_size} and "
                f"{backward.input_size} features"
            )
        sizes = forward.output_size, backward.output_size
        if merge != "concat" and sizes[0] != sizes[1]:
            raise InputError(f"merge={merge!r} needs outputs of one size, got {sizes}")
        self.forward_layer = forward
        self.backward_layer = backward
        self.merge = merge

    def arguments(self) -> dict[str, Any]:
        """Those that make the layer as it now is, whatever it was made with."""
        if type(self).__init__ is not Bidirectional.__init__:
            return super().arguments()
        directions = {"layer": self.forward_layer, "backward": self.backward_layer}
        return {**directions, "merge": self.merge}

    @property
    def input_size(self) -> int:
        return self.forward_layer.input_size

    @property
    def output_size(self) -> int:
        size = self.forward_layer.output_size
        return size + self.backward_layer.output_size if self.merge == "concat" else size

    def forward(
        self, x: Any, state: tuple[Any, Any] | None = None, lengths: Tensor | None = None
    ) -> Any:
        """Shapes as in :class:`Recurrent`; the state is a pair, forward and backward."""
        if not isinstance(x, Tensor):
            node = leaf(self, x, state, lengths)
            if node is not None:
                return node
        if state is not None and len(state) != 2:
            raise InputError(f"the state must be a pair, forward and backward, got {len(state)}")
        layers = self.forward_layer, self.backward_layer
        lengths = self.forward_layer.check_input(x, lengths)
        states = (None, None) if state is None else state
        if all(type(layer) is Recurrent and not hooked(layer) for layer in layers):
            starts = [layer.start(x, before) for layer, before in zip(layers, states, strict=True)]
            y, ends = run_layers(layers, x, starts, lengths)
            past, future = (end if len(end) > 1 else end[0] for end in ends)
        else:  # whoever watches a direction, or makes it another, wants it called
            a, past = layers[0](x, states[0], lengths)
            b, future = layers[1](x, states[1], lengths)
            y = torch.cat((a, b), -1)
        return merged(y, self.merge, layers[0].output_size), (past, future)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """There is none.

        Raises:
            InputError: always.
        """
        raise InputError(BOTH_WAYS)

    def explain(self, passes: bool = False) -> str:
        """The plan of each direction in words; see :meth:`Recurrent.explain`."""
        forward, backward = (
            each.explain(passes) for each in (self.forward_layer, self.backward_layer)
        )
        return f"forward, {forward}\nbackward, {backward}"

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"


def merged(y: Tensor, merge: str, size: int) -> Tensor:
    """Two outputs that lie side by side, ``size`` features the first, as one; see
    :class:`Bidirectional`."""
    if merge == "concat":
        return y
    a, b = y[..., :size], y[..., size:]
    match merge:
        case "sum":
            return a + b
        case "mean":
            return (a + b) / 2
    return a * b


def fresh(cell: Cell) -> Cell:
    """A copy of ``cell`` whose parameters are drawn anew: by its modules where they know how,
    otherwise by making the cell once more."""
    twin = copy.deepcopy(cell)
    reset: set[int] = set()
    for module in reversed(list(twin.modules())):
        redraw = getattr(module, "reset_parameters", None)
        if callable(redraw):
            redraw()
            reset.update(map(id, module.parameters()))
    remaining = {name: p for name, p in twin.named_parameters() if id(p) not in reset}
    if remaining:
        args, kwargs = copy.deepcopy(cell.__dict__["_saiki_given"])
        made = dict(type(cell)(*args, **kwargs).named_parameters())
        with torch.no_grad():
            for name, parameter in remaining.items():
                if name in made and made[name].shape == parameter.shape:
                    parameter.copy_(made[name])
    return twin
