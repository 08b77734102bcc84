"""From a graph of PyTorch to one of ONNX, by PyTorch's own exporter."""

import importlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor

from saiki.errors import ExportError
from saiki.export.nodes import OPSET
from saiki.torch_internals import get_decompositions, translations_kept

aten = torch.ops.aten
FOLDED = 2**28
"""Entries of the largest constant that is computed while exporting."""
_SPLIT = (aten.elu, aten.leaky_relu, aten.mish, aten.softplus)
"""What onnxruntime lacks in float64, though not the operations it consists of."""


def require(*modules: str) -> None:
    """Refuse in one sentence if a package that export needs is missing."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise ExportError(f"this needs {module}: pip install 'saiki[onnx]'") from None


def translate(exported: torch.export.ExportedProgram) -> Any:
    """An ``onnx_ir.Model`` whose outputs are ``output_0``, ``output_1`` and so on."""
    called = {getattr(node.target, "overloadpacket", None) for node in exported.graph.nodes}
    values = [node.meta.get("val") for node in exported.graph.nodes if node.op == "placeholder"]
    is_double = any(isinstance(v, Tensor) and v.dtype == torch.float64 for v in values)
    if called & set(_SPLIT) and is_double:
        exported = exported.run_decompositions(get_decompositions(_SPLIT))
    count = len(exported.graph_signature.user_outputs)
    with translations_kept():
        program = torch.onnx.export(
            exported,
            (),
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table={aten.scalar_tensor.default: _scalar_tensor},
            output_names=[f"output_{i}" for i in range(count)],
            optimize=False,
            verbose=False,
        )
    assert program is not None
    return program.model


def _scalar_tensor(number: Any, dtype: int, **_: Any) -> Any:
    """A number in the type it is needed in; PyTorch's own translation rounds it to float32."""
    from onnx.helper import make_tensor
    from onnxscript import opset22

    if isinstance(number, int | float):
        return opset22.Constant(value=make_tensor("value", dtype, (), [number]))
    return opset22.Cast(number, to=dtype)


def simplify(model: Any) -> None:
    """Compute what is constant, such as reordered weights, and drop what nobody needs."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnxscript.optimizer import optimize

    optimize(model, input_size_limit=FOLDED, output_size_limit=FOLDED)
    ClearMetadataAndDocStringPass()(model)  # it names files of the machine


def rename_sizes(graph: Any, names: Mapping[str, str]) -> None:
    """Call the open sizes of an ``onnx_ir.Graph`` what ``names`` says.

    PyTorch writes a size that it found fixed, such as 3, as an open one called "3".
    """
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        for axis, size in enumerate(value.shape or ()):
            name = str(size)
            value.shape[axis] = int(name) if name.isdecimal() else names.get(name, name)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the notes of the exporter on its own affairs; what fails is told as an error,
    and what comes out is verified."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
