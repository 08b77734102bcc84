"""Parts of a trace as functions of tensors."""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate, map_arg

from saiki.compiler.trace.nodes import ROWS, Node, aten, operand, unsupported

STRIDED = {aten.as_strided.default, aten.as_strided_scatter.default}
"""Operations whose result depends on how a tensor lies in memory."""
PLAIN = {
    *STRIDED, aten.view_as_complex.default, aten.view.dtype, aten.native_group_norm.default,
}  # fmt: skip
"""Operations that take contiguous tensors only, or depend on it."""

QUICK: dict[Any, Any] = {
    aten.permute.default: torch.permute, aten.view.default: torch.reshape,
    aten.split_with_sizes.default: torch.split_with_sizes, aten.cat.default: torch.cat,
    aten.add.Tensor: torch.add, aten.mul.Tensor: torch.mul,
}  # fmt: skip
"""Operations by functions that do the same and take half as long to call."""


def extract(
    inputs: Sequence[Node], outputs: Sequence[Node | None], product: Callable[..., Tensor]
) -> fx.Graph:
    """The part of the graph from ``inputs`` to ``outputs``, with the number of rows in front of
    its inputs, and products of matrices by ``product``."""
    graph = fx.Graph()
    rows = graph.placeholder("rows")
    copies: dict[Node, Node] = {node: graph.placeholder(node.name) for node in inputs}

    def convert(node: Node) -> Node:
        stack = [node]
        while stack:
            top = stack[-1]
            if top in copies:
                stack.pop()
                continue
            missing = [n for n in top.all_input_nodes if n not in copies]
            if missing:
                stack.extend(missing)
                continue
            if top.op != "call_function":
                raise AssertionError(f"{top.name} is not among the inputs")
            copies[top] = _copied(graph, top, copies, rows)
            if top.target is aten.mm.default:
                copies[top].target = product
            elif top.target is aten.addmm.default and not top.kwargs:
                added, left, right = copies[top].args
                copies[top].target, copies[top].args = product, (left, right, added)
            stack.pop()
        return copies[node]

    graph.output(tuple(None if node is None else convert(node) for node in outputs))
    return graph


def _copied(graph: fx.Graph, node: Node, copies: dict[Node, Node], rows: Node) -> Node:
    """``node`` in another graph, for any number of rows and any layout of its inputs."""

    def sized(value: Any) -> Any:
        if isinstance(value, int) and value > 0 and value % ROWS == 0:
            times = value // ROWS
            return rows if times == 1 else graph.call_function(operator.mul, (rows, times))
        return value

    args, kwargs = map_aggregate(node.args, sized), map_aggregate(node.kwargs, sized)
    copy = graph.node_copy(node, copies.__getitem__)
    if node.target in STRIDED and not operand(node).meta["val"].is_contiguous():
        raise unsupported(node, "it depends on how a tensor lies in memory")
    if node.target in PLAIN:
        with graph.inserting_before(copy):
            plain = graph.call_function(aten.contiguous.default, (copies[operand(node)],))
        args = (plain, *args[1:])
    copy.args = map_arg(args, lambda n: copies.get(n, n))
    copy.kwargs = map_arg(kwargs, lambda n: copies.get(n, n))
    copy.target = QUICK.get(copy.target, copy.target)
    return copy


def function(graph: fx.Graph) -> Callable[..., Any]:
    """What ``graph`` computes, as a function that leaves nothing behind when it is dropped; the
    source of every ``fx.GraphModule`` is kept as long as the process lives."""
    code = graph.python_code("self")
    namespace: dict[str, Any] = dict(code.globals)
    exec(compile(code.src, "<graph>", "exec"), namespace)
    return partial(namespace["forward"], None)
