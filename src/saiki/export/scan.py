"""Cells that ONNX lacks: a Scan whose body is one step of the cell."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saiki.cell import as_states, holding
from saiki.export.capture import PLACEHOLDER, Scanned, tensors_of
from saiki.export.translate import rename_sizes, translate

BATCH = 3
"""Rows of the example from which a body is made; it serves any number."""


class Step(nn.Module):
    """One step of a cell in the form of the body of a Scan.

    ``forward(*states, x, keep?, *tensors)`` takes ``keep: (batch, 1)``, whether the row has this
    step, if rows are ragged; ``tensors`` take the place of the parameters of the cell. It returns
    the new states and the output of the step.
    """

    def __init__(self, scanned: Scanned) -> None:
        super().__init__()
        self.scanned = (scanned,)  # in a tuple, so that the cell's own parameters are left out

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (scanned,) = self.scanned
        cell = scanned.cell
        count = len(cell.state_sizes)
        states, (x, *rest) = inputs[:count], inputs[count:]
        keep, tensors = (rest[0], rest[1:]) if scanned.is_ragged else (None, rest)
        with holding(cell, dict(zip(tensors_of(cell), tensors, strict=True))):
            new = as_states(cell.step(x, *states))
        y = new[0]
        if keep is not None:
            y = torch.where(keep, y, 0.0)
            new = tuple(torch.where(keep, a, b) for a, b in zip(new, states, strict=True))
        return *new, y


def insert(model: Any, scans: Sequence[Scanned]) -> None:
    """Replace each placeholder in ``model``, an ``onnx_ir.Model``, with the Scan it stands for."""
    for node in list(model.graph):
        if (node.domain, node.op_type) == PLACEHOLDER:
            _replace(model.graph, node, scans[node.attributes["scan"].as_int()])


def _replace(graph: Any, node: Any, scanned: Scanned) -> None:
    import onnx_ir as ir

    body = _body(scanned, node.name)
    states = len(scanned.cell.state_sizes)
    sequences = 2 if scanned.is_ragged else 1
    operands = *node.inputs[sequences : sequences + states], *node.inputs[:sequences]
    parameters = node.inputs[sequences + states :]
    for outer, inner in zip(reversed(parameters), reversed(list(body.inputs)), strict=False):
        ir.convenience.replace_all_uses_with(inner, outer)  # a body sees the values around it
        body.inputs.pop()
    back, axis = int(scanned.reverse), scanned.time_axis
    new = ir.node(
        "Scan",
        operands,
        {
            "body": body,
            "num_scan_inputs": sequences,
            "scan_input_axes": [axis, 1][:sequences],
            "scan_input_directions": [back] * sequences,
            "scan_output_axes": [axis],
            "scan_output_directions": [back],
        },
        num_outputs=states + 1,
        name=node.name,
    )
    ir.convenience.replace_nodes_and_values(graph, node, [node], [new], node.outputs, new.outputs)


def _body(scanned: Scanned, name: str) -> Any:
    """The graph of one step, its values named after the Scan: names are shared with the graph
    around it."""
    cell, rows = scanned.cell, {0: torch.export.Dim.DYNAMIC}
    sizes = [*cell.state_sizes, cell.input_size]
    example = [torch.zeros(BATCH, size, dtype=scanned.dtype) for size in sizes]
    if scanned.is_ragged:
        example.append(torch.ones(BATCH, 1, dtype=torch.bool))
    tensors = [torch.zeros(t.shape, dtype=t.dtype) for t in tensors_of(cell).values()]
    shapes = [*(rows for _ in example), *({} for _ in tensors)]
    exported = torch.export.export(
        Step(scanned), (*example, *tensors), dynamic_shapes={"inputs": tuple(shapes)}, strict=False
    )
    graph = translate(exported).graph
    rename_sizes(graph, {str(graph.inputs[0].shape[0]): "batch"})
    for value in (*graph.inputs, *graph.initializers.values()):
        value.name = f"{name}/{value.name}"
    for node in graph.all_nodes():
        for value in node.outputs:
            value.name = f"{name}/{value.name}"
    return graph
