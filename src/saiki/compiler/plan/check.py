"""A program is checked before it becomes code: read after written, in bounds, of known kind.

The checker goes through a program in the order of an emitter, with no numbers: of each array it
knows which features of which values lie in which columns. What a product, a sum or pointwise work
reads must lie there already, and be what the equations say. The rules are written here once more,
on purpose: a mistake of the scheduler is not repeated by the checker.
"""

from collections.abc import Iterator

import torch
from torch import fx

from saiki.compiler.plan.plan import Plan
from saiki.compiler.plan.program import Array, Grid, Loop, Product, Value
from saiki.compiler.plan.schedule import Scheduler
from saiki.compiler.trace import nodes
from saiki.errors import CompileError

aten = torch.ops.aten
Node = fx.Node
Run = tuple[int, int, Node, int]
"""Columns from one to before another hold a value, from one of its features on."""


class ProgramError(CompileError):
    """A program would not compute what it says: a fault of the planner, and so never run."""


def check(plan: Plan) -> Plan:
    """Hold each program to reading only what has been written, where it has been written.

    Raises:
        ProgramError: it does not.
    """
    for loop in (plan.inference, plan.training, plan.backward):
        Checker(loop.scheduler).run()
    return plan


class Checker:
    """Goes through a program in the order of an emitter."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.program = scheduler.program
        self.scheduler = scheduler
        self.dtype = scheduler.dtype
        self.contents: dict[Array, list[Run]] = {array: [] for array in self.program.arrays}
        self.sums: dict[Node, tuple[Array, ...]] = scheduler.inputs
        self.weights = {array: node for node, array in self.program.parameters.items()}

    def run(self) -> None:
        for node, arrays in self.scheduler.inputs.items():
            for array in arrays if len(arrays) == 1 else ():
                self._write(array, 0, node, nodes.width(node))
        for node, array in self.program.parameters.items():
            if node in self.scheduler.of_rows:
                raise self._error(node, "differs from row to row and is read as a parameter")
            size = node.meta["val"].numel()
            if array.kind == "weight":
                if tuple(node.meta["val"].shape) != (array.inner, array.width):
                    raise self._error(node, "is no matrix of the size of its array")
            elif size != array.width:
                raise self._error(node, f"has {size} features in an array of {array.width}")
        for number, stage in enumerate(self.program.stages):
            for product in stage.products:
                self._product(product)
            written: list[tuple[Array, int, Node, int]] = []
            for loop in stage.loops:
                written += self._loop(loop, number)
            for grid in stage.grids:
                written += self._grid(grid)
            for array, column, node, size in written:
                self._write(array, column, node, size)
        results = {array for _, array in self.scheduler.results}
        for source, target in self.program.copies:
            if source is not None and (source.width != target.width or source not in results):
                raise ProgramError(f"the planner is wrong: {target.name} is copied from nothing")
        for node, array in self.scheduler.results:
            self._expect(array, 0, node, 0, nodes.width(node))

    def _error(self, node: Node, problem: str) -> ProgramError:
        return ProgramError(f"the planner is wrong: {nodes.label(node)} {problem}")

    def _write(self, array: Array, column: int, node: Node, size: int) -> None:
        if column < 0 or column + size > array.width:
            raise self._error(node, f"is written beyond the {array.width} columns of {array.name}")
        for begin, end, other, _ in self.contents[array]:
            if begin < column + size and column < end:
                raise self._error(node, f"is written over {nodes.label(other)} in {array.name}")
        at = column
        for part, start, length in _sources(node, 0, size):
            self.contents[array].append((at, at + length, part, start))
            at += length

    def _expect(self, array: Array, column: int, node: Node, start: int, size: int) -> None:
        """Raise unless the columns hold the features of ``node`` from ``start`` on."""
        if column < 0 or column + size > array.width:
            raise self._error(node, f"is read beyond the {array.width} columns of {array.name}")
        for part, first, length in _sources(node, start, size):
            remaining, at, feature = length, column, first
            while remaining > 0:
                run = next((r for r in self.contents[array] if r[0] <= at < r[1]), None)
                if run is None:
                    raise self._error(node, f"is read from {array.name} before it is written")
                begin, end, value, offset = run
                if value is not part or offset + at - begin != feature:
                    raise self._error(
                        node, f"is read from {array.name}, where {nodes.label(value)} lies"
                    )
                taken = min(remaining, end - at)
                remaining, at, feature = remaining - taken, at + taken, feature + taken
            column += length

    def _product(self, product: Product) -> None:
        node, weight = product.node, product.weight
        left, right = nodes.operand(node), nodes.operand(node, 1)
        if self.weights.get(weight) is not right or weight.kind != "weight":
            raise self._error(node, "is made with another weight")
        if left.meta["val"].ndim != 2 or nodes.width(left) != weight.inner:
            raise self._error(node, "is made of a vector of another size than its weight")
        if {left.meta["val"].dtype, right.meta["val"].dtype} != {self.dtype}:
            raise self._error(node, "is made of numbers of another type")
        self._expect(product.source, product.column, left, 0, weight.inner)
        self._write(product.target, 0, node, nodes.width(node))

    def _loop(self, loop: Loop, stage: int) -> Iterator[tuple[Array, int, Node, int]]:
        seen: set[tuple[Node, int]] = set()
        for store in loop.stores:
            if nodes.width(store.node) != loop.width:
                raise self._error(store.node, "is stored by a loop over another number of features")
            self._evaluated(store.node, loop.width, stage, seen)
            if not store.accumulate:
                yield store.array, store.column, store.node, loop.width
            elif store.column + loop.width > store.array.width:
                raise self._error(store.node, f"is added beyond the columns of {store.array.name}")
        for node, array in loop.sums:
            source = nodes.operand(node)
            if nodes.width(source) != loop.width or source.meta["val"].ndim != 2:
                raise self._error(node, "is a sum over another number of features")
            self._evaluated(source, loop.width, stage, seen)
            yield array, 0, node, 1

    def _evaluated(self, root: Node, size: int, stage: int, seen: set[tuple[Node, int]]) -> None:
        """Go through all that is read and computed for ``size`` features of ``root``."""
        stack: list[tuple[Node, int, int]] = [(root, 0, size)]
        while stack:
            node, start, count = stack.pop()
            if (node, start) in seen:
                continue
            seen.add((node, start))
            value = self.program.values.get(node)
            if value is not None and value.stage <= stage:
                self._read(node, value, start, count)
            elif node.target in nodes.CONSTANTS:
                continue
            elif nodes.is_slice(node):
                source, first = nodes.sliced(node)
                stack.append((source, start + first, count))
            elif nodes.is_take(node):
                self._taken(node, start, count)
            else:
                stack += self._operands(node, start, count)

    def _read(self, node: Node, value: Value, start: int, count: int) -> None:
        if not nodes.is_row(node):  # a parameter, which lies in an array of its own
            if self.program.parameters.get(node) is not value.arrays[0]:
                raise self._error(node, "is read from the array of another parameter")
            if start + count > value.arrays[0].width:
                raise self._error(node, "is read beyond its features")
            return
        if len(value.arrays) > 1:
            if self.sums.get(node) != value.arrays:
                raise self._error(node, "is read as a sum of other arrays")
            return
        self._expect(value.arrays[0], value.column + start, node, start, count)

    def _taken(self, node: Node, start: int, count: int) -> None:
        source, places = nodes.operand(node), node.meta["places"]
        if start + count > len(places) or not all(0 <= p < nodes.width(source) for p in places):
            raise self._error(node, "takes features that there are not")
        if node not in self.program.takes:
            raise self._error(node, "takes features of what lies nowhere")
        self._expect(*self.program.takes[node], source, 0, nodes.width(source))

    def _operands(self, node: Node, start: int, count: int) -> Iterator[tuple[Node, int, int]]:
        if node.target not in nodes.POINTWISE or not nodes.is_row(node):
            raise self._error(node, "is computed in a loop, which no loop can")
        value = node.meta["val"]
        if value.ndim > 2 or (value.dtype != self.dtype and value.dtype.is_floating_point):
            raise self._error(node, f"is of {value.ndim} dimensions and of {value.dtype}")
        for source in node.all_input_nodes:
            shape = source.meta["val"].shape
            size = nodes.width(source) if nodes.is_row(source) else source.meta["val"].numel()
            if nodes.is_row(source) and len(shape) > 2:
                raise self._error(source, f"is of {len(shape)} dimensions")
            if not nodes.is_row(source) and (len(shape) > 2 or (len(shape) == 2 and shape[0] != 1)):
                raise self._error(source, f"of shape {tuple(shape)} meets rows")
            if size == 1 and nodes.width(node) != 1:
                yield source, 0, 1
            elif size == nodes.width(node):
                yield source, start, count
            else:
                raise self._error(node, f"of {nodes.width(node)} features is made of {size}")

    def _grid(self, grid: Grid) -> Iterator[tuple[Array, int, Node, int]]:
        for node, (array, column) in grid.leaves.items():
            vector = nodes.vector_of(node)
            flat = grid.outer * grid.inner if vector is node else None
            if nodes.is_row(vector) and flat not in (None, nodes.width(vector)):
                raise self._error(vector, f"is seen as {grid.outer} times {grid.inner} features")
            if nodes.is_row(vector):
                self._expect(array, column, vector, 0, nodes.width(vector))
        roots = [nodes.operand(node) for node, _ in (*grid.over_inner, *grid.over_outer)]
        self._grid_values(grid, [*roots, *(store.node for store in grid.stores)])
        for node, array in (*grid.over_inner, *grid.over_outer):
            yield array, 0, node, nodes.width(node)

    def _grid_values(self, grid: Grid, roots: list[Node]) -> None:
        stack, seen = list(roots), set()
        while stack:
            node = stack.pop()
            known = (
                node in grid.leaves or node in self.program.memory or node.target in nodes.CONSTANTS
            )
            if node in seen or known:
                continue
            seen.add(node)
            if node.target not in nodes.POINTWISE - nodes.RESHAPES:
                raise self._error(node, "is computed in a grid, which no grid can")
            if node.meta["val"].dtype not in (self.dtype, torch.bool):
                raise self._error(node, f"is of {node.meta['val'].dtype}")
            stack.extend(node.all_input_nodes)


def _sources(node: Node, start: int, size: int) -> Iterator[tuple[Node, int, int]]:
    """Of which values, from which feature on, so many features of ``node`` are."""
    stack = [(node, start, size)]
    while stack:
        top, first, count = stack.pop()
        if nodes.is_slice(top):
            source, offset = nodes.sliced(top)
            stack.append((source, first + offset, count))
        elif nodes.is_cat(top):
            inner, begin = [], 0
            for part in nodes.parts(top):
                end = begin + nodes.width(part)
                low, high = max(first, begin), min(first + count, end)
                if low < high:
                    inner.append((part, low - begin, high - low))
                begin = end
            stack += reversed(inner)
        elif top.target in nodes.RESHAPES and _is_same(top):
            stack.append((nodes.operand(top), first, count))
        else:
            yield top, first, count


def _is_same(node: Node) -> bool:
    """Whether a reshaped row tensor has the features of its source, one for one."""
    source = nodes.operand(node)
    return (
        nodes.is_row(source)
        and source.meta["val"].ndim <= 2
        and nodes.width(source) == nodes.width(node)
    )
