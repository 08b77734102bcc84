"""What a value of an ONNX graph is, whatever the model is given: initialisers, and what the graph
computes from nothing else, such as a weight behind Transpose, Slice and Concat."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from saiki.errors import InputError

_RANDOM = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip


def unknown(value: Any) -> list[Any]:
    """The values on which ``value``, one of ``onnx_ir``, depends and that the graph does not fix.

    They are inputs of the graph, those of the body of a loop, and what is drawn at random.
    """
    return [v for v in _upstream(value) if v.const_value is None and not _is_computed(v)]


def evaluate(value: Any, opsets: Mapping[str, int], title: str) -> np.ndarray[Any, Any]:
    """``value`` where nothing is :func:`unknown`, by the reference implementation of ONNX.

    Raises:
        InputError: it has no such operator, or the file is broken; ``title`` says what is sought.
    """
    from onnx import helper
    from onnx.reference import ReferenceEvaluator
    from onnx_ir import serde

    upstream = _upstream(value)
    for each in upstream:
        _check_file(each.const_value, title)
    try:
        if value.const_value is not None:
            return np.array(value.const_value.numpy())
        nodes = dict.fromkeys(v.producer() for v in upstream if v.const_value is None)
        fixed = {v.name: v.const_value for v in upstream if v.const_value is not None}
        graph = helper.make_graph(
            [serde.serialize_node(node) for node in nodes],
            "constants",
            [helper.make_tensor_value_info(name, v.dtype, None) for name, v in fixed.items()],
            [helper.make_tensor_value_info(value.name, 0, None)],
        )
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))
        (array,) = evaluator.run(None, {name: v.numpy() for name, v in fixed.items()})
    except Exception as error:  # each operator has errors of its own
        reason = " ".join(str(error).split())
        raise InputError(f"{title} cannot be computed: {type(error).__name__}: {reason}") from error
    return np.array(array)


def _check_file(tensor: Any, title: str) -> None:
    """Raise unless a tensor that lies in a file of its own lies there whole; a pipe would be waited
    for without end."""
    from onnx_ir import ExternalTensor

    if not isinstance(tensor, ExternalTensor):
        return
    path = Path(tensor.base_dir, tensor.location)
    where = f"{tensor.name!r}, of which {title} is made, lies in {path}, which"
    if not path.resolve().is_relative_to(Path(tensor.base_dir).resolve()):
        raise InputError(f"{where} is outside the folder of the model")
    if not path.is_file():
        raise InputError(f"{where} {'is no file' if path.exists() else 'is missing'}")
    needed = (tensor.offset or 0) + (tensor.nbytes if tensor.length is None else tensor.length)
    if path.stat().st_size < needed:
        raise InputError(f"{where} is cut short: {path.stat().st_size:,} of {needed:,} bytes")


def _is_computed(value: Any) -> bool:
    node = value.producer()
    return node is not None and node.op_type not in _RANDOM


def _upstream(value: Any) -> list[Any]:
    """``value`` and all it depends on, each after everything that it needs itself."""
    order: list[Any] = []
    seen = {value}
    stack = [(value, iter(_needs(value)))]
    while stack:
        current, needs = stack[-1]
        for needed in needs:
            if needed not in seen:
                seen.add(needed)
                stack.append((needed, iter(_needs(needed))))
                break
        else:
            order.append(current)
            stack.pop()
    return order


def _needs(value: Any) -> Iterable[Any]:
    if value.const_value is not None or not _is_computed(value):
        return ()
    node = value.producer()
    needed = [v for v in node.inputs if v is not None]
    for attribute in node.attributes.values():
        if attribute.type.name == "GRAPH":
            needed += _captured(attribute.as_graph())
    return needed


def _captured(graph: Any) -> list[Any]:
    """What a graph within a node sees of the graphs around it."""
    from onnx_ir.traversal import RecursiveGraphIterator

    graphs = [graph]
    nodes = list(RecursiveGraphIterator(graph, enter_graph=graphs.append))
    own = {v for node in nodes for v in node.outputs}
    for part in graphs:
        own.update(part.inputs, part.initializers.values())
    read = [v for node in nodes for v in node.inputs if v is not None]
    read += [v for part in graphs for v in part.outputs]
    return [v for v in read if v not in own]
