"""A model as a graph of ONNX with a node for each layer."""

from typing import Any

import torch
from torch import Tensor, nn

from saiki.errors import ExportError, SaikiError
from saiki.export import scan
from saiki.export.capture import PLACEHOLDER, Capture
from saiki.export.nodes import OPERATORS
from saiki.export.translate import quiet, rename_sizes, simplify, translate
from saiki.layers.run import EXPORTER
from saiki.torch_internals import tree_map


def graph_of(
    model: nn.Module, arguments: tuple[Any, ...]
) -> tuple[torch.export.ExportedProgram, Any]:
    """The model as PyTorch exports it, and as an ``onnx_ir.Model``.

    Raises:
        ExportError: PyTorch cannot export it, or a layer would serve one batch or length only.
    """
    capture = Capture()
    token = EXPORTER.set(capture)
    try:
        with torch.no_grad(), quiet():
            exported = torch.export.export(
                model, arguments, dynamic_shapes=tree_map(_open_sizes, arguments), strict=False
            )
            graph = translate(exported)
            sizes = _name_layers(graph)
            scan.insert(graph, capture.scans)
            simplify(graph)
            rename_sizes(graph.graph, sizes)
    except SaikiError:
        raise
    except Exception as error:  # PyTorch has a class for each stage
        raise ExportError(f"{type(model).__name__} cannot be exported: {_cause(error)}") from error
    finally:
        EXPORTER.reset(token)
    return exported, graph


def _open_sizes(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return dict.fromkeys(range(leaf.ndim), torch.export.Dim.AUTO)
    return None


def _name_layers(model: Any) -> dict[str, str]:
    """Number the nodes of layers; returns which sizes are the batch and the time.

    Raises:
        ExportError: a layer's batch or time is fixed.
    """
    sizes: dict[str, str] = {}
    layers = [n for n in model.graph if n.op_type in OPERATORS or _is_placeholder(n)]
    for number, node in enumerate(layers):
        batch_first = _is_placeholder(node) and node.attributes["time_axis"].as_int() == 1
        node.name = f"{'scan' if _is_placeholder(node) else node.op_type.lower()}_{number}"
        order = ("batch", "time") if batch_first else ("time", "batch")
        for size, name in zip(node.inputs[0].shape, order, strict=False):
            if isinstance(size, int) and name == "time" and size > 1:
                continue  # the model itself makes a fixed number of steps of its input
            if isinstance(size, int):
                raise ExportError(
                    f"the {name} of a layer would be fixed to {size}: take an example with at "
                    "least 2 rows and 2 steps, and a model that serves any number of both"
                )
            if name not in sizes.values():
                sizes.setdefault(str(size), name)
    return sizes


def _is_placeholder(node: Any) -> bool:
    return bool((node.domain, node.op_type) == PLACEHOLDER)


def _cause(error: BaseException) -> str:
    """The first line of what went wrong in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
