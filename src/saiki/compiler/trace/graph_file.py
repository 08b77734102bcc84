"""The graph of a step as text, and back: on disk, for the next process, what tracing it once more
would find."""

import json
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from saiki.compiler import shelf
from saiki.compiler.trace.draws import Draw
from saiki.compiler.trace.graph import Trace
from saiki.compiler.watch.lasting import PassingError, lasting_tokens
from saiki.compiler.watch.watch import Watch

_KINDS = {"dtype": torch.dtype, "layout": torch.layout, "memory format": torch.memory_format}
"""What PyTorch calls by names of its own."""


class UnwrittenError(Exception):
    """The graph holds what has no text."""


def to_text(trace: Trace) -> str:
    """A trace as :func:`from_text` takes it, fresh from the step.

    Raises:
        UnwrittenError: it holds tensors, or operations that are not PyTorch's.
    """
    if trace.constants or trace.outer:
        raise UnwrittenError("tensors that the step made")
    numbers: dict[fx.Node, int] = {}
    nodes, write = [], _Writer(numbers)
    for node in trace.graph.nodes:
        line = {
            "op": node.op, "name": node.name, "target": _name(node), "args": write(node.args),
            "kwargs": write(node.kwargs), "value": _shape(node.meta.get("val")),
            "label": node.meta.get("label"), "stack": node.stack_trace,
        }  # fmt: skip
        nodes.append(line)
        numbers[node] = len(numbers)
    fields = {
        name: write(getattr(trace, name))
        for name in (
            "dtype", "inline_weights", "x", "states", "parameters", "draws", "memory", "extents",
            "cotangents", "new_states", "d_x", "d_states", "d_parameters", "d_memory",
        )
    }  # fmt: skip
    return json.dumps({"nodes": nodes, "trace": fields})


def from_text(text: str) -> Trace:
    """What :func:`to_text` was given, in a graph of its own."""
    data = json.loads(text)
    graph = fx.Graph()
    nodes: list[fx.Node] = []
    read = _Reader(nodes)
    for line in data["nodes"]:
        target = _target(line["op"], line["target"])
        node = graph.create_node(
            line["op"], target, read(line["args"]), read(line["kwargs"]), line["name"]
        )
        if line["value"] is not None:
            node.meta["val"] = _value(line["value"])
        if line["label"] is not None:
            node.meta["label"] = line["label"]
        if line["stack"] is not None:
            node.stack_trace = line["stack"]
        nodes.append(node)
    return Trace(graph=graph, constants={}, **{k: read(v) for k, v in data["trace"].items()})


class _Writer:
    """Arguments as JSON: numbers and strings as they are, all else under the name of its kind."""

    def __init__(self, numbers: dict[fx.Node, int]) -> None:
        self.numbers = numbers

    def __call__(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, fx.Node):
            return {"node": self.numbers[value]}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        for name, kind in _KINDS.items():
            if isinstance(value, kind):
                return {name: str(value).removeprefix("torch.")}
        if isinstance(value, dict):
            return {"dict": [[self(key), self(item)] for key, item in value.items()]}
        if isinstance(value, Draw):
            return {"draw": [*map(self, value)]}
        if isinstance(value, tuple):
            return {"tuple": [*map(self, value)]}
        if isinstance(value, list):
            return [*map(self, value)]
        raise UnwrittenError(f"a {type(value).__name__}")


class _Reader:
    """The way back."""

    def __init__(self, nodes: list[fx.Node]) -> None:
        self.kinds: dict[str, Callable[[Any], Any]] = {
            "node": nodes.__getitem__,
            "device": torch.device,
            "complex": lambda parts: complex(*parts),
            "dict": lambda pairs: {self(key): self(item) for key, item in pairs},
            "draw": lambda fields: Draw(*map(self, fields)),
            "tuple": lambda items: tuple(map(self, items)),
            **dict.fromkeys(_KINDS, lambda name: getattr(torch, name)),
        }

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [*map(self, value)]
        if isinstance(value, dict):
            ((kind, inner),) = value.items()
            return self.kinds[kind](inner)
        return value


def _name(node: fx.Node) -> str:
    if node.op != "call_function":
        return str(node.target)
    if node.target is operator.getitem:
        return "getitem"
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    raise UnwrittenError(f"the operation {node.target}")


def _target(op: str, name: str) -> Any:
    if op != "call_function":
        return name
    if name == "getitem":
        return operator.getitem
    return operator.attrgetter(name)(torch.ops)


def _shape(value: Any) -> Any:
    """Of the value of a node what the compiler asks for."""
    match value:
        case None:
            return None
        case Tensor():
            dtype = str(value.dtype).removeprefix("torch.")
            return {"shape": list(value.shape), "stride": list(value.stride()), "dtype": dtype}
        case list() | tuple():
            return [*map(_shape, value)]
    raise UnwrittenError(f"a value that is a {type(value).__name__}")


def _value(shape: Any) -> Any:
    if isinstance(shape, list):
        return [*map(_value, shape)]
    dtype = getattr(torch, shape["dtype"])
    return torch.empty_strided(shape["shape"], shape["stride"], dtype=dtype, device="meta")


KIND = "trace"
"""Of what is kept on the shelf."""


def lasting_key(watch: Watch, dtype: torch.dtype, inline_weights: int) -> str | None:
    """What names the trace in any process; None where nothing does."""
    try:
        depends = lasting_tokens(watch.fingerprint)
    except PassingError:
        return None
    return shelf.key("trace", depends, str(dtype), str(inline_weights))


def read_trace(key: str | None) -> Trace | None:
    """The trace that was put on the shelf under that name, when all that a step depends on was as
    it is now; None where there is none."""
    text = None if key is None else shelf.get(KIND, key)
    if key is None or text is None:
        return None
    try:
        return from_text(text.decode())
    except Exception:  # whatever it holds, the step can be traced anew
        shelf.drop(key)
        return None


def put_trace(key: str | None, trace: Trace) -> None:
    """Put a trace on the shelf, where it has a name and can be written."""
    if key is None:
        return
    try:
        text = to_text(trace)
    except UnwrittenError:
        return
    shelf.put(KIND, key, text.encode())
