"""What PyTorch computes outside the loops: before them, and after the one backward."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor

from saiki.compiler.backend import Place
from saiki.compiler.plan.partition import Partition
from saiki.compiler.plan.plan import ForwardPlan, Plan
from saiki.compiler.plan.program import Array
from saiki.compiler.run.function import extract, function
from saiki.compiler.trace.nodes import Node, is_extent, width

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
    drawn: Sequence[Tensor] = ()
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
        self.stacked = [node for node in of_steps if not is_extent(width(node))]
        *columns, self.stacked_width = accumulate(map(width, self.stacked), initial=0)
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
        return stacked + [sizes[width(node)] for node in self.wide]

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
        x = operands.x
        given = *operands.parameters, *self.constants, *operands.drawn
        found = self.function(x.shape[0], x, *given)
        return Hoisted(found[: self.streams], found[self.streams : self.end], found[self.end :])


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
    reads: dict[Node, Read] = {node: _input(i) for i, node in enumerate(plan.trace.inputs)}
    for node, (index, column) in residuals.places.items():
        reads[node] = _residual(node, index, column)
    for node, (array, column) in plan.backward.passed.items():
        reads[node] = _passed(node, array, column)
    for node, value in plan.partition.rows_summed.items():
        reads[node] = _sum(node, plan.backward.summed_columns[value])
    return reads


def _input(index: int) -> Read:
    return lambda finished: finished.inputs[index]


def _residual(node: Node, index: int, column: int) -> Read:
    columns = _columns_of(node, column)
    return lambda finished: columns(finished.residuals[index])


def _passed(node: Node, array: Array, column: int) -> Read:
    columns = _columns_of(node, column)
    return lambda finished: columns(finished.passed[array])


def _columns_of(node: Node, column: int) -> Callable[[Tensor], Tensor]:
    """Some columns of a tensor of rows, in the shape and type of the node."""
    like, size = node.meta["val"], width(node)

    def columns(rows: Tensor) -> Tensor:
        if rows.shape[1] != size and not is_extent(size):
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
