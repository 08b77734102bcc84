"""Schedule: in which stage of a program each value can be used, and where it is written."""

import operator
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

import torch

from saiki.compiler.plan import program
from saiki.compiler.plan.program import Array, ArrayKind
from saiki.compiler.trace import nodes
from saiki.compiler.trace.nodes import Node, aten


class Scheduler:
    """Builds a program from what can be read at the start of a step and what must be written.

    The level of a node is the first stage in which it can be used. What a product, a reduction or
    a concatenation yields is read from memory; anything pointwise is evaluated where it is used,
    and read from memory only in stages after the one that stored it.
    """

    def __init__(
        self, extents: Iterable[int], dtype: torch.dtype, of_rows: AbstractSet[Node]
    ) -> None:
        self.program = program.Program(extents=tuple(extents))
        self.dtype = dtype
        self.of_rows = of_rows
        """What differs from row to row, and so is no parameter."""
        self.levels: dict[Node, int] = {}
        self.homes: dict[Node, tuple[Array, int]] = {}
        self.inputs: dict[Node, tuple[Array, ...]] = {}
        """What is there at the start of a step: each the sum of some arrays."""
        self.results: list[tuple[Node, Array]] = []
        """What must be there at its end."""
        self.reads_memory = False

    def array(self, name: str, kind: ArrayKind, size: int, inner: int = 1) -> Array:
        self.program.arrays.append(Array(name, kind, size, inner))
        return self.program.arrays[-1]

    def temporary(self, size: int) -> Array:
        temporaries = self.program.temporaries
        temporaries.append(self.array(f"t{len(temporaries) + 1}", "row", size))
        return temporaries[-1]

    def read(self, node: Node, *arrays: Array) -> None:
        """``node`` can be read from the start: it is the sum of ``arrays``."""
        self.levels[node] = 0
        self.inputs[node] = arrays
        self.program.values[node] = program.Value(arrays, 0, 0)

    def read_memory(self, memory: Mapping[str, Node]) -> dict[str, Array]:
        """Memory can be read from the start; the arrays it lies in."""
        self.reads_memory = bool(memory)
        arrays = {}
        for name, node in memory.items():
            shape = [int(n) for n in node.meta["val"].shape[1:]]
            arrays[name] = array = self.array(f"memory {name}", "row", shape[-1], shape[0])
            if len(shape) > 1:
                self.program.memory[node] = array
            else:
                self.read(node, array)
        return arrays

    def settle(self, node: Node, array: Array, column: int = 0) -> None:
        """Decide that ``node`` will be written to ``array``, so that others can read it there."""
        if node in self.homes or node in self.program.values:
            return
        self.homes[node] = array, column
        if nodes.is_cat(node):
            for part in nodes.parts(node):
                self.settle(part, array, column)
                column += nodes.width(part)

    def home(self, node: Node) -> tuple[Array, int] | None:
        """Where ``node`` will be written, by itself or as parts that lie side by side."""
        if node in self.homes or not nodes.is_cat(node):
            return self.homes.get(node)
        first = self.homes.get(nodes.parts(node)[0])
        if first is None:
            return None
        array, column = first
        for part in nodes.parts(node):
            if self.homes.get(part) != (array, column):
                return None
            column += nodes.width(part)
        return first

    def write(self, node: Node, array: Array, column: int = 0, accumulate: bool = False) -> None:
        """``array`` ← the value of ``node`` at each step."""
        if nodes.is_cat(node):
            for part in nodes.parts(node):
                self.write(part, array, column, accumulate)
                column += nodes.width(part)
            return
        level = self.level(node)
        self.stage(level).loop(nodes.width(node)).stores.append(
            program.Store(node, array, column, accumulate)
        )
        if self.homes.get(node) == (array, column):
            self.program.values.setdefault(node, program.Value((array,), column, level + 1))

    def stage(self, level: int) -> program.Stage:
        while len(self.program.stages) <= level:
            self.program.stages.append(program.Stage())
        return self.program.stages[level]

    def parameter(self, node: Node, kind: Literal["vector", "weight"]) -> Array:
        """The array of a value that is the same for all rows."""
        parameters = self.program.parameters
        if node not in parameters:
            shape = node.meta["val"].shape
            if node in self.of_rows:
                raise nodes.unsupported(node, "rows change their shape")
            if kind == "weight":
                array = self.array(nodes.label(node), kind, int(shape[1]), int(shape[0]))
            elif len(shape) > 2 or (len(shape) == 2 and shape[0] != 1):
                raise nodes.unsupported(node, f"a parameter of shape {tuple(shape)} meets rows")
            else:
                array = self.array(nodes.label(node), kind, int(shape[-1]) if shape else 1)
                self.program.values[node] = program.Value((array,), 0, 0)
            parameters[node] = array
        return parameters[node]

    def level(self, node: Node) -> int:
        """The first stage in which ``node`` can be used."""
        return nodes.resolve(node, self.levels, self._needs, self._level)

    def _needs(self, node: Node) -> list[Node]:
        """What must have a level before ``node`` can have one."""
        is_split = node.target is aten.split_with_sizes.default
        if node.target in nodes.CONSTANTS or not (nodes.is_row(node) or is_split):
            return []
        if self.reads_memory and node.target in nodes.SUMS and nodes.is_grid(nodes.operand(node)):
            return []
        if nodes.is_slice(node):
            return [nodes.sliced(node)[0]]
        if node.target is operator.getitem:
            return []  # of several results, which no kernel has
        first_alone = node.target in nodes.PRODUCTS or nodes.is_take(node)
        return node.all_input_nodes[: 1 if first_alone else None]

    def _level(self, node: Node) -> int:
        if node.target in nodes.CONSTANTS:
            return 0
        if not nodes.is_row(node) and node.target is not aten.split_with_sizes.default:
            self.parameter(node, "vector")
            return 0
        if node.op != "call_function":
            raise nodes.unsupported(node, "a value from outside the step")
        if self.reads_memory and node.target in nodes.SUMS and nodes.is_grid(nodes.operand(node)):
            return self._grid_sum(node)
        if nodes.is_row(node) and node.meta["val"].ndim > 2:
            raise nodes.unsupported(node, f"rows of {node.meta['val'].ndim - 1} dimensions")
        if node.target in nodes.PRODUCTS:
            return self._product(node)
        if node.target in nodes.SUMS:
            return self._sum(node)
        if nodes.is_fold(node):
            return self._fold(node)
        if nodes.is_take(node):
            array, column, level = self.place(nodes.operand(node))
            self.program.takes[node] = array, column
            return level
        if nodes.is_cat(node):
            array, column, level = self.place(node)
            self.program.values[node] = program.Value((array,), column, level)
            return level
        if nodes.is_slice(node):
            return self.level(nodes.sliced(node)[0])
        nodes.supported(node, self.dtype)
        return max((self.level(n) for n in node.all_input_nodes), default=0)

    def place(self, node: Node) -> tuple[Array, int, int]:
        """The array and the column where ``node`` is or will be as a whole, and the first stage in
        which it is there; it is written if need be."""
        value = self.program.values.get(node)
        if value is not None and len(value.arrays) == 1:
            return value.arrays[0], value.column, value.stage
        if nodes.is_slice(node) and self.home(node) is None:
            source, start = nodes.sliced(node)
            array, column, level = self.place(source)
            return array, column + start, level
        home = self.home(node)
        if home is None:
            home = self.temporary(nodes.width(node)), 0
            self.settle(node, *home)
            self.write(node, *home)
        if nodes.is_cat(node):
            return *home, max(self.level(part) for part in nodes.parts(node)) + 1
        return *home, self.level(node) + 1

    def _product(self, node: Node) -> int:
        left, right = nodes.operand(node), nodes.operand(node, 1)
        if nodes.is_row(right) or not nodes.is_row(left):
            raise nodes.unsupported(node, "a matrix product needs a parameter on its right")
        for factor in (left, right):
            if factor.meta["val"].dtype != self.dtype:
                raise nodes.unsupported(node, f"a factor is of {factor.meta['val'].dtype}")
        source, column, level = self.place(left)
        target = self.temporary(nodes.width(node))
        weight = self.parameter(right, "weight")
        self.stage(level).products.append(program.Product(node, source, column, weight, target))
        self.program.values[node] = program.Value((target,), 0, level)
        return level

    def _sum(self, node: Node) -> int:
        source = nodes.operand(node)
        if not nodes.is_feature_sum(node):
            raise nodes.unsupported(node, "a reduction that is not over the features")
        level = self.level(source)
        array = self.temporary(1)
        self.stage(level).loop(nodes.width(source)).sums.append((node, array))
        self.program.values[node] = program.Value((array,), 0, level + 1)
        return level + 1

    def _fold(self, node: Node) -> int:
        source = nodes.operand(node)
        array, column, level = self.place(source)
        grid = self.stage(level).grid(nodes.argument(node, 1, int), nodes.argument(node, 2, int))
        grid.leaves[source] = array, column
        target = self.temporary(nodes.width(node))
        (grid.over_inner if nodes.argument(node, 3, int) else grid.over_outer).append(
            (node, target)
        )
        self.program.values[node] = program.Value((target,), 0, level + 1)
        return level + 1

    def _grid_sum(self, node: Node) -> int:
        source = nodes.operand(node)
        _, outer, inner = nodes.shape_of(source)
        level, grid = self._grid(source, outer, inner)
        array = self.temporary(nodes.width(node))
        (grid.over_inner if nodes.whole_numbers(node, 1) == [2] else grid.over_outer).append(
            (node, array)
        )
        self.program.values[node] = program.Value((array,), 0, level + 1)
        return level + 1

    def accumulate(self, node: Node, array: Array) -> None:
        """``array``, of the shape of a memory, += the value of ``node`` at each step."""
        if not nodes.is_grid(node):
            self.write(node, array, accumulate=True)
            return
        _, grid = self._grid(node, array.inner, array.width)
        grid.stores.append(program.Store(node, array, accumulate=True))

    def _grid(self, node: Node, outer: int, inner: int) -> tuple[int, program.Grid]:
        """The first stage in which the grid can be evaluated, and all that is done there."""
        leaves: dict[Node, tuple[Array, int]] = {}
        level = self._leaves(node, leaves)
        grid = self.stage(level).grid(outer, inner)
        grid.leaves |= leaves
        return level, grid

    def _leaves(self, root: Node, leaves: dict[Node, tuple[Array, int]]) -> int:
        """Where the vectors are from which the grid is made, and the stage when all are there."""
        level, stack, seen = 0, [root], set()
        while stack:
            node = stack.pop()
            if node in seen or node in self.program.memory or node.target in nodes.CONSTANTS:
                continue
            seen.add(node)
            vector = nodes.vector_of(node)
            if not nodes.is_row(vector):
                leaves[node] = self.parameter(vector, "vector"), 0
            elif vector is not node:
                array, column, stage = self.place(vector)
                leaves[node] = array, column
                level = max(level, stage)
            else:
                nodes.supported(node, self.dtype)
                stack.extend(node.all_input_nodes)
        return level
