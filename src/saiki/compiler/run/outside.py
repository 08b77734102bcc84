"""What PyTorch computes outside the loops: before them, and after the one backward."""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate, map_arg

from saiki.compiler.backend import Place
from saiki.compiler.plan.partition import Partition
from saiki.compiler.plan.plan import ForwardPlan, Plan
from saiki.compiler.plan.program import Array
from saiki.compiler.trace import nodes
from saiki.compiler.trace.nodes import Node, aten

Product = Callable[..., Tensor]
"""Of :class:`saiki.compiler.backend.Backend`."""
Pairs = Mapping[str, Sequence[tuple[Tensor, Tensor]]]
"""The pairs of vectors that the gradient of each memory is made of."""


class Operands(NamedTuple):
    """What a loop reads beside states."""

    x: Tensor
    """Rows of all steps, ``(total rows, input_size)``."""
    parameters: Sequence[Tensor]
    memory: Sequence[Tensor] = ()
    samples: Sequence[Tensor] = ()
    """Rows as those of x, of each operation that draws; none backward, which has what was saved."""


class Needs(NamedTuple):
    """Whether the gradient by each operand is needed."""

    x: bool
    parameters: tuple[bool, ...]
    memory: tuple[bool, ...] = ()


class Residuals:
    """How what a forward pass leaves for the backward pass lies in tensors, each of all rows of all
    steps.

    First what the loop writes at each step, side by side in one tensor; then what of it is as wide
    as a memory, and what was hoisted, in a tensor each.
    """

    def __init__(self, partition: Partition) -> None:
        of_steps = partition.step_residuals
        self.stacked = [node for node in of_steps if not nodes.is_extent(nodes.width(node))]
        *columns, self.stacked_width = accumulate(map(nodes.width, self.stacked), initial=0)
        self.wide = of_steps[len(self.stacked) :]
        self.hoisted = partition.hoisted_residuals
        self.of_steps = bool(self.stacked) + len(self.wide)
        self.count = self.of_steps + len(self.hoisted)
        self.places = {
            node: (0, column) for node, column in zip(self.stacked, columns, strict=True)
        }
        """In which tensor each value lies, and from which column on."""
        for i, node in enumerate((*self.wide, *self.hoisted), bool(self.stacked)):
            self.places[node] = i, 0

    def step_widths(self, sizes: Mapping[int, int]) -> list[int]:
        """Features of each tensor that the loop writes.

        Args:
            sizes: of memory, by the numbers that stand for them.
        """
        stacked = [self.stacked_width] if self.stacked else []
        return stacked + [sizes[nodes.width(node)] for node in self.wide]

    def put(
        self, arrays: dict[Array, Place], names: Mapping[Node, Array], tensors: Sequence[Tensor]
    ) -> None:
        """The arrays of some of these values lie in such tensors."""
        for node, array in names.items():
            index, column = self.places[node]
            arrays[array] = Place(tensors[index], column)


class Hoisted(NamedTuple):
    """What is computed before a loop forward."""

    streams: Sequence[Tensor]
    residuals: Sequence[Tensor]
    parameters: Sequence[Tensor]


class Before:
    """What comes before a loop forward."""

    def __init__(
        self, plan: Plan, forward: ForwardPlan, residuals: Sequence[Node], product: Product
    ) -> None:
        outputs = [*forward.streams, *residuals, *forward.program.parameters]
        self.function = function(extract([*plan.trace.inputs, *plan.trace.draws], outputs, product))
        self.constants = tuple(plan.trace.constants.values())
        self.streams = len(forward.streams)
        self.end = self.streams + len(residuals)

    def __call__(self, operands: Operands) -> Hoisted:
        x, *others = operands.x, *operands.parameters, *self.constants, *operands.samples
        values = self.function(x.shape[0], x, *others)
        return Hoisted(values[: self.streams], values[self.streams : self.end], values[self.end :])


class Finished(NamedTuple):
    """All that there is when the backward loop has run."""

    inputs: Sequence[Tensor]
    """x, parameters and constants."""
    residuals: Sequence[Tensor]
    passed: Mapping[Array, Tensor]
    """What the loop wrote at each step."""
    summed: Tensor
    """What it summed over time, summed over rows."""


class After:
    """What comes after the backward loop, for a choice of the gradients that are needed."""

    def __init__(self, plan: Plan, residuals: Residuals, needs: Needs, product: Product) -> None:
        trace = plan.trace
        gradients = [trace.d_x, *trace.d_parameters.values()]
        needed = (needs.x, *needs.parameters)
        wanted = [g if need else None for g, need in zip(gradients, needed, strict=True)]
        self.count = len(wanted)
        self.pairs: dict[str, int] = {}
        """Of each memory whose gradient is needed, the products of vectors it is made of."""
        for name, need in zip(trace.memory, needs.memory, strict=True):
            if need and (trace.d_memory[name] is not None or trace.outer[name]):
                self.pairs[name] = len(trace.outer[name])
                wanted += [vector for pair in trace.outer[name] for vector in pair]
        reads = _reads(plan, residuals)
        graph = extract(list(reads), wanted, product)
        _, *placeholders = (node for node in graph.nodes if node.op == "placeholder")
        self.reads = []
        for read, placeholder in zip(reads.values(), placeholders, strict=True):
            if placeholder.users:
                self.reads.append(read)
            else:
                graph.erase_node(placeholder)
        self.function = function(graph)

    def __call__(self, total: int, finished: Finished) -> tuple[Sequence[Tensor | None], Pairs]:
        """The gradients by x and parameters for ``total`` rows, and what those by memory are made
        of."""
        results = self.function(total, *(read(finished) for read in self.reads))
        rest = iter(results[self.count :])
        pairs = {
            name: [(next(rest), next(rest)) for _ in range(count)]
            for name, count in self.pairs.items()
        }
        return results[: self.count], pairs


Read = Callable[[Finished], Tensor]
"""Finds the value of a node."""


def _reads(plan: Plan, residuals: Residuals) -> dict[Node, Read]:
    """Where the values are that what comes after the loop may read."""
    reads = {node: _tensor("inputs", i) for i, node in enumerate(plan.trace.inputs)}
    for node, (index, column) in residuals.places.items():
        reads[node] = _columns(_tensor("residuals", index), node, column)
    for node, (array, column) in plan.backward.passed.items():
        reads[node] = _columns(_tensor("passed", array), node, column)
    for node, value in plan.partition.rows_summed.items():
        reads[node] = _sum(node, plan.backward.summed_columns[value])
    return reads


def _tensor(field: str, key: Any) -> Read:
    tensors = operator.attrgetter(field)
    return lambda finished: tensors(finished)[key]


def _columns(read: Read, node: Node, column: int) -> Read:
    """Some columns of a tensor of rows, in the shape and type of the node."""
    like, size = node.meta["val"], nodes.width(node)

    def columns(finished: Finished) -> Tensor:
        rows = read(finished)
        if rows.shape[1] != size and not nodes.is_extent(size):
            rows = rows.narrow(1, column, size)
        if like.ndim == 1:
            rows = rows.squeeze(1)
        return rows if rows.dtype == like.dtype else rows.to(like.dtype)

    return columns


def _sum(node: Node, column: int) -> Read:
    """Some columns of the sums, in the shape of the node."""
    shape = node.meta["val"].shape
    size = shape.numel()
    return lambda finished: finished.summed.narrow(0, column, size).view(shape)


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
        if node.op != "call_function":
            raise AssertionError(f"{node.name} is not among the inputs")
        copy = _copied(graph, node, copies, rows)
        if node.target is aten.mm.default:
            copy.target = product
        elif node.target is aten.addmm.default and not node.kwargs:
            added, left, right = copy.args
            copy.target, copy.args = product, (left, right, added)
        return copy

    def converted(node: Node | None) -> Node | None:
        return node and nodes.resolve(node, copies, lambda n: n.all_input_nodes, convert)

    graph.output(tuple(map(converted, outputs)))
    return graph


def _copied(graph: fx.Graph, node: Node, copies: dict[Node, Node], rows: Node) -> Node:
    """``node`` in another graph, for any number of rows and any layout of its inputs."""

    def sized(value: Any) -> Any:
        if isinstance(value, int) and value > 0 and value % nodes.ROWS == 0:
            times = value // nodes.ROWS
            return rows if times == 1 else graph.call_function(operator.mul, (rows, times))
        return value

    args, kwargs = map_aggregate(node.args, sized), map_aggregate(node.kwargs, sized)
    copy = graph.node_copy(node, copies.__getitem__)
    if node.target in STRIDED and not nodes.operand(node).meta["val"].is_contiguous():
        raise nodes.unsupported(node, "it depends on how a tensor lies in memory")
    if node.target in PLAIN:
        with graph.inserting_before(copy):
            plain = graph.call_function(aten.contiguous.default, (copies[nodes.operand(node)],))
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
