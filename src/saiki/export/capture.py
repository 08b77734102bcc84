"""What stands in for running layers while a model is exported: the nodes of its graph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from saiki.call import Call, Results
from saiki.cell import Cell
from saiki.errors import ExportError
from saiki.export.functions import OnnxFunction
from saiki.export.nodes import OPSET, Form, native, weights

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
    """Called in place of layers; records nodes of ONNX instead of running.

    The operators of ONNX are used in float32 only: onnxruntime has none of them in float64.
    """

    def __init__(self) -> None:
        self.scans: list[Scanned] = []

    def __call__(self, call: Call) -> Results:
        if any(part.memory for part in call.parts):
            raise ExportError("a cell with memory cannot be exported")
        if call.x.ndim == 2:
            raise ExportError("packed sequences cannot be exported: pass padded ones and lengths")
        directions = []
        for layer, part in zip(call.layers, call.parts, strict=True):
            cell = vars(layer)["_modules"]["cell"]  # layer.cell may be a stand-in of PyTorch's
            named = tensors_of(cell)
            if part.parameters:
                named = dict(zip(named, part.parameters, strict=True))
            directions.append(Direction(cell, part.reverse, tuple(part.states), named))
        dtype = call.x.dtype
        forms = [native(d.cell, d.tensors) if dtype == torch.float32 else None for d in directions]
        native_forms = [form for form in forms if form is not None]
        is_one_form = len(native_forms) == len(directions) and all(
            form == native_forms[0][0] for form, _ in native_forms
        )
        if is_one_form and [d.reverse for d in directions] in ([False], [True], [False, True]):
            functions = [f for _, of_one in native_forms for f in of_one]
            return _operator(native_forms[0][0], functions, directions, call)
        if len(directions) == 1:
            return self._scan(directions[0], call)
        results = [self(one) for one in call.alone()]
        return torch.cat([y for y, _ in results], -1), [end for _, (end,) in results]

    def _scan(self, direction: Direction, call: Call) -> Results:
        """A placeholder: x, which steps are real if rows are ragged, states and parameters."""
        cell, start = direction.cell, direction.start
        x, lengths = call.x, call.lengths
        time_axis = 0 if call.time_first else 1
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
    form: Form, functions: list[OnnxFunction], directions: list[Direction], call: Call
) -> Results:
    """One RNN, LSTM or GRU node for one direction or both."""
    count = len(directions)
    arrays = [weights(d.cell, d.tensors) for d in directions]
    W, R, B, P = (
        torch.stack(present) if (present := [a for a in of_both if a is not None]) else None
        for of_both in zip(*arrays, strict=True)
    )
    X = call.x if call.time_first else call.x.transpose(0, 1)
    lengths = None if call.lengths is None else call.lengths.to(torch.int32)
    states = [torch.stack(parts) for parts in zip(*(d.start for d in directions), strict=True)]
    steps, batch, _ = X.shape
    Y, *ends = torch.onnx.ops.symbolic_multi_out(
        f"::{form.operator}",
        [X, W, R, B, lengths, *states, P],
        form.attributes(functions, [d.reverse for d in directions]),
        dtypes=[X.dtype] * (1 + len(states)),
        shapes=[(steps, count, batch, form.hidden_size), *(s.shape for s in states)],
        version=OPSET,
    )
    y = Y.squeeze(1) if count == 1 else Y.transpose(1, 2).flatten(2)
    unstacked = [tuple(end[d] for end in ends) for d in range(count)]
    return y if call.time_first else y.transpose(0, 1), unstacked


def tensors_of(cell: Cell) -> dict[str, Tensor]:
    """Parameters and buffers, in the order in which a call has them."""
    return dict((*cell.named_parameters(), *cell.named_buffers()))
