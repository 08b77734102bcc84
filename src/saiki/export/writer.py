"""From a model to a verified ONNX file."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from saiki.errors import ExportError
from saiki.export import verify
from saiki.export.graph import graph_of
from saiki.export.translate import require
from saiki.files import write
from saiki.layers.recurrent import Recurrent
from saiki.nn.drop_in.layers import DropIn
from saiki.nn.drop_in.swapping import OURS, swap
from saiki.torch_internals import tree_leaves, tree_map

LARGEST = 2**31
"""Bytes that an ONNX file can hold."""


def onnx(
    model: nn.Module,
    example: Any,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write ``model`` to ``path`` as ONNX, opset 22, verified with onnxruntime.

    Layers of cells that ONNX has, those of ``torch.nn`` among them, become its RNN, LSTM and GRU,
    those of other cells a Scan over their equations, and everything else what PyTorch's exporter
    makes of it; ``docs/export.md`` has the table. The model is exported as it computes after
    ``eval()``. Batch and time stay open, as does every other size that the model does not fix. The
    arguments keep their names; the outputs are ``output_0``, ``output_1`` and so on, a tuple of
    states one by one.

    The file is run on the example and on arguments of other sizes. No entry may differ from the
    model's by more than 10⁻⁴ of the output's largest, in float64 10⁻⁶; otherwise nothing is left
    at ``path``.

    Args:
        example: the input, or a tuple of the arguments of ``model``, with at least two rows and
            two steps.
        metadata: words that go with the file, such as the names of classes.

    Raises:
        ExportError: a package is missing, the model cannot be exported, or the file does not
            compute what the model does.
        SaikiError: the file cannot be written.
    """
    require("onnx", "onnxruntime", "onnxscript")
    is_packed = isinstance(example, PackedSequence)
    arguments = example if isinstance(example, tuple) and not is_packed else (example,)
    if any(isinstance(argument, PackedSequence) for argument in arguments):
        raise ExportError("packed sequences cannot be exported: pass padded ones and lengths")
    arguments = tree_map(lambda a: a.detach().cpu() if isinstance(a, Tensor) else a, arguments)
    twin = copy.deepcopy(model).cpu().eval()
    _run_eagerly(twin)  # the oracle
    with torch.no_grad():
        outputs = tree_leaves(twin(*arguments))  # an argument that does not fit is told here
    others = {type(output).__name__ for output in outputs if not isinstance(output, Tensor)}
    if others:
        raise ExportError(f"only tensors can be exported, and the model returns {min(others)}")
    exported, graph = graph_of(_with_ours(twin, arguments), arguments)
    size = sum(value.const_value.nbytes for value in graph.graph.initializers.values())
    if size >= LARGEST:
        raise ExportError(f"the weights take {size / 2**30:.1f} GiB, and an ONNX file holds 2")

    graph.metadata_props.update(metadata or {})

    def save(temporary: Path) -> None:
        import onnx_ir

        onnx_ir.save(graph, temporary)
        verify.compare(twin, arguments, temporary)
        verify.compare(twin, verify.other_sizes(exported, arguments), temporary)

    return write(Path(path), save)


def _run_eagerly(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, Recurrent | DropIn):
            layer.backend = "eager"


def _with_ours(model: nn.Module, arguments: tuple[Any, ...]) -> nn.Module:
    """``model`` with layers of ours in place of those of ``torch.nn``, which PyTorch's exporter
    gets wrong where there are several on top of each other or projections; a copy, so that the
    file is judged by PyTorch's own."""
    if not any(type(module) in OURS for module in model.modules()):
        return model
    twin = copy.deepcopy(model)
    swap(twin)
    _run_eagerly(twin)
    with torch.no_grad():
        twin(*arguments)  # layers are built at their first call, and not while it is recorded
    return twin
