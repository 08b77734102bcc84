"""What stands in for running layers while a model is exported: the nodes of its graph."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saiki.cell import Cell
from saiki.errors import ExportError
from saiki.export.functions import OnnxFunction
from saiki.export.nodes import OPSET, Form, native, weights
from saiki.layers.recurrent import Recurrent

PLACEHOLDER = "saiki", "Cell"
"""Domain and name of the node that a Scan takes the place of."""


@dataclass(frozen=True)
class Direction:
    """One layer of a call."""

    cell: Cell
    reverse: bool
    start: tuple[Tensor, ...]
    tensors: dict[str, Tensor]
    """What the call gives for the parameters and buffers of the cell."""


@dataclass(frozen=True)
class Scanned:
    """A layer that becomes a Scan."""

    cell: Cell
    reverse: bool
    dtype: torch.dtype
    is_ragged: bool
    time_axis: int


class Capture:
    """Called as :func:`saiki.layers.run.run_layers`; records nodes of ONNX instead of running.

    The operators of ONNX are used in float32 only: onnxruntime has none of them in float64.
    """

    def __init__(self) -> None:
        self.scans: list[Scanned] = []

    def __call__(
        self,
        layers: Sequence[Recurrent],
        x: Tensor,
        starts: Sequence[tuple[Tensor, ...]],
        lengths: Tensor | None,
        tensors: Sequence[Sequence[Tensor]] | None,
        time_first: bool,
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        if x.ndim == 2:
            raise ExportError("packed sequences cannot be exported: pass padded ones and lengths")
        given = [None] * len(layers) if tensors is None else tensors
        directions = []
        for layer, start, its in zip(layers, starts, given, strict=True):
            cell = vars(layer)["_modules"]["cell"]  # layer.cell may be a stand-in of PyTorch's
            own = tensors_of(cell)
            named = own if its is None else dict(zip(own, its, strict=True))
            directions.append(Direction(cell, layer.reverse, start, named))
        forms = [
            native(d.cell, d.tensors) if x.dtype == torch.float32 else None for d in directions
        ]
        found = [form for form in forms if form is not None]
        alike = len(found) == len(directions) and all(form == found[0][0] for form, _ in found)
        if alike and [d.reverse for d in directions] in ([False], [True], [False, True]):
            functions = [f for _, its in found for f in its]
            return _operator(found[0][0], functions, directions, x, lengths, time_first)
        if len(layers) == 1:
            return self._scan(directions[0], x, lengths, time_first)
        parts = [
            self([layer], x, [d.start], lengths, [list(d.tensors.values())], time_first)
            for layer, d in zip(layers, directions, strict=True)
        ]
        return torch.cat([y for y, _ in parts], -1), [end for _, (end,) in parts]

    def _scan(
        self, direction: Direction, x: Tensor, lengths: Tensor | None, time_first: bool
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """A placeholder: x, which steps are real if rows are ragged, states and parameters."""
        cell, start = direction.cell, direction.start
        time_axis = 0 if time_first else 1
        inputs = [x]
        if lengths is not None:
            steps = torch.arange(x.shape[time_axis])
            inputs.append((steps < lengths[:, None])[..., None])
        scanned = Scanned(cell, direction.reverse, x.dtype, lengths is not None, time_axis)
        self.scans.append(scanned)
        *ends, y = torch.onnx.ops.symbolic_multi_out(
            "::".join(PLACEHOLDER),
            [*inputs, *start, *direction.tensors.values()],
            {"scan": len(self.scans) - 1, "time_axis": time_axis},
            dtypes=[x.dtype] * (len(start) + 1),
            shapes=[*(s.shape for s in start), (*x.shape[:2], cell.state_sizes[0])],
            version=1,
        )
        return y, [tuple(ends)]


def _operator(
    form: Form,
    functions: list[OnnxFunction],
    directions: list[Direction],
    x: Tensor,
    lengths: Tensor | None,
    time_first: bool,
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """One RNN, LSTM or GRU node for one direction or both."""
    count = len(directions)
    arrays = [weights(d.cell, d.tensors) for d in directions]
    W, R, B, P = (
        torch.stack(given) if (given := [a for a in of_both if a is not None]) else None
        for of_both in zip(*arrays, strict=True)
    )
    X = x if time_first else x.transpose(0, 1)
    states = [torch.stack(parts) for parts in zip(*(d.start for d in directions), strict=True)]
    steps, batch, _ = X.shape
    Y, *ends = torch.onnx.ops.symbolic_multi_out(
        f"::{form.operator}",
        [X, W, R, B, None if lengths is None else lengths.to(torch.int32), *states, P],
        form.attributes(functions, [d.reverse for d in directions]),
        dtypes=[x.dtype] * (1 + len(states)),
        shapes=[(steps, count, batch, form.hidden_size), *(s.shape for s in states)],
        version=OPSET,
    )
    y = Y.squeeze(1) if count == 1 else Y.transpose(1, 2).flatten(2)
    unstacked = [tuple(end[d] for end in ends) for d in range(count)]
    return y if time_first else y.transpose(0, 1), unstacked


def tensors_of(cell: Cell) -> dict[str, Tensor]:
    """Parameters and buffers, in the order in which ``run_layers`` takes them."""
    return dict((*cell.named_parameters(), *cell.named_buffers()))
