"""Programs: what one time step of a loop does, in an order that any device can follow.

A program is a chain of stages, each some matrix products followed by pointwise work over features,
on arrays that say how they are laid out and nothing of where. The :class:`Scheduler` builds one
from what can be read at the start of a step and what must be written by its end.
"""

import operator
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import fx

from saiki.compiler.trace import is_extent, is_grid, is_row, label, unsupported, width
from saiki.errors import CompileError

aten = torch.ops.aten
Node = fx.Node
Kind = Literal["step", "row", "vector", "weight"]

PRODUCTS = {aten.mm.default}
SUMS = {aten.sum.dim_IntList, aten.amax.default, aten.amin.default}
CONSTANTS = {aten.full.default, aten.full_like.default, aten.scalar_tensor.default}
SLICES = {aten.slice.Tensor, operator.getitem}
RESHAPES = {aten.view.default, aten.unsqueeze.default, aten.squeeze.dims, aten.expand.default}
CHEAP = {
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.neg.default, aten.abs.default,
    aten.relu.default, aten.clamp.default, aten.where.self, aten.maximum.default,
    aten.minimum.default, aten.sign.default, aten._to_copy.default,
    *(getattr(getattr(aten, name), kind) for name in ("eq", "ne", "lt", "le", "gt", "ge")
      for kind in ("Scalar", "Tensor")),
    aten.logical_and.default, aten.logical_or.default, aten.logical_not.default,
    aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.bitwise_not.default,
    aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.bitwise_xor.Tensor,
    aten.logical_xor.default, aten.isnan.default,
    *CONSTANTS, *SLICES, *RESHAPES, aten.split_with_sizes.default,
}  # fmt: skip
"""Cheaper to do again in the backward loop than to write in one loop and read in the other."""


@dataclass(frozen=True, eq=False)
class Array:
    """Numbers that a loop reads or writes.

    ``step``: one row for each row of the batch at each time step; ``row``: one for each row of the
    batch; ``vector``: one for all; ``weight``: a matrix ``(inner, width)``. A ``row`` of memory may
    be such a matrix too.
    """

    name: str
    kind: Kind
    width: int
    inner: int = 1


@dataclass(frozen=True)
class Product:
    """target ← source · weight, from column ``column`` of the source on."""

    node: Node
    source: Array
    column: int
    weight: Array
    target: Array


@dataclass(frozen=True)
class Store:
    """array[:, column:] ← value, or += where it accumulates over time."""

    node: Node
    array: Array
    column: int = 0
    accumulate: bool = False


@dataclass
class Loop:
    """Pointwise work over ``width`` features, row by row; reductions over them end in ``sums``."""

    width: int
    stores: list[Store] = field(default_factory=list)
    sums: list[tuple[Node, Array]] = field(default_factory=list)


@dataclass
class Grid:
    """Pointwise work over ``outer`` times ``inner`` features, row by row, written nowhere as such:
    it ends in sums over one of them, or is added to what accumulates over time."""

    outer: int
    inner: int
    leaves: dict[Node, tuple[Array, int]] = field(default_factory=dict)
    """Where vectors are that lie beside all places of the other feature, and parameters."""
    over_inner: list[tuple[Node, Array]] = field(default_factory=list)
    over_outer: list[tuple[Node, Array]] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)


@dataclass
class Stage:
    products: list[Product] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)

    def loop(self, features: int) -> Loop:
        for loop in self.loops:
            if loop.width == features:
                return loop
        self.loops.append(Loop(features))
        return self.loops[-1]

    def grid(self, outer: int, inner: int) -> Grid:
        for grid in self.grids:
            if (grid.outer, grid.inner) == (outer, inner):
                return grid
        self.grids.append(Grid(outer, inner))
        return self.grids[-1]


@dataclass(frozen=True)
class Value:
    """Where a node can be read: the sum of ``arrays`` from ``column`` on, from ``stage`` on."""

    arrays: tuple[Array, ...]
    column: int
    stage: int


@dataclass
class Program:
    """What one time step does; ``copies`` end it, of 0 where there is no source."""

    arrays: list[Array] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    values: dict[Node, Value] = field(default_factory=dict)
    copies: list[tuple[Array | None, Array]] = field(default_factory=list)
    memory: dict[Node, Array] = field(default_factory=dict)
    """Memory of two sizes, row by row."""
    parameters: dict[Node, Array] = field(default_factory=dict)
    """What is the same for all rows, computed before the loop; a ``vector`` or ``weight`` each."""
    temporaries: list[Array] = field(default_factory=list)
    """What a step writes and reads again, and nobody else."""
    extents: tuple[int, ...] = ()
    """The numbers that stand for sizes which may be others in each call."""

    def cost(self, sizes: Mapping[int, int]) -> int:
        """What a row costs, about: multiplications, and eight of them for each feature stored.

        Args:
            sizes: of memory, by the numbers that stand for them.
        """
        products = (p for stage in self.stages for p in stage.products)
        loops = (loop for stage in self.stages for loop in stage.loops)
        grids = (grid for stage in self.stages for grid in stage.grids)
        return (
            sum(p.weight.inner * p.weight.width for p in products)
            + 8 * sum(sizes.get(o.width, o.width) * (len(o.stores) + len(o.sums)) for o in loops)
            + sum(
                sizes.get(g.outer, g.outer) * sizes.get(g.inner, g.inner)
                * (len(g.over_inner) + len(g.over_outer) + 8 * len(g.stores))
                for g in grids
            )
        )  # fmt: skip

    def __str__(self) -> str:
        def size(features: int) -> str:
            return "as many" if is_extent(features) else str(features)

        lines = []
        for i, stage in enumerate(self.stages, 1):
            for p in stage.products:
                lines.append(
                    f"  stage {i}: {p.target.name} = {_place(p.source, p.column, p.weight.inner)}"
                    f" · {p.weight.name} ({p.weight.inner}×{p.weight.width})"
                )
            for loop in stage.loops:
                names = [
                    f"{_place(s.array, s.column, loop.width)}{' +' if s.accumulate else ''}"
                    for s in loop.stores
                ]
                names += [f"Σ {array.name}" for _, array in loop.sums]
                lines.append(f"  stage {i}: {size(loop.width)} features into {', '.join(names)}")
            for grid in stage.grids:
                names = [f"{store.array.name} +" for store in grid.stores]
                names += [f"Σ {array.name}" for _, array in (*grid.over_inner, *grid.over_outer)]
                lines.append(
                    f"  stage {i}: {size(grid.outer)} × {size(grid.inner)} features into "
                    f"{', '.join(names)}"
                )
        return "\n".join(lines)


def _place(array: Array, column: int, size: int) -> str:
    return array.name if size == array.width else f"{array.name}[{column}:{column + size}]"


def is_slice(node: Node) -> bool:
    """Whether the value is a run of another's features."""
    if node.target is operator.getitem:
        return node.args[0].target is aten.split_with_sizes.default and is_row(node)
    return node.target in SLICES and is_row(node)


def sliced(node: Node) -> tuple[Node, int]:
    """The row tensor of which ``node`` is a run of features, and the first of them."""
    source: Any = node.args[0]
    if node.target is operator.getitem:
        index: Any = node.args[1]
        return source.args[0], sum(source.args[1][:index])
    start: Any = node.args[2] if len(node.args) > 2 and node.args[2] is not None else 0
    size = width(source)
    return source, min(max(0, start + size if start < 0 else start), size)


class Scheduler:
    """Builds a program from what can be read at the start of a step and what must be written.

    The level of a node is the first stage in which it can be used. What a product, a reduction or
    a concatenation yields is read from memory; anything pointwise is evaluated where it is used,
    and read from memory only in stages after the one that stored it.
    """

    def __init__(
        self, extents: Iterable[int], dtype: torch.dtype, of_rows: AbstractSet[Node]
    ) -> None:
        self.program = Program(extents=tuple(extents))
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

    def array(self, name: str, kind: Kind, size: int, inner: int = 1) -> Array:
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
        self.program.values[node] = Value(arrays, 0, 0)

    def read_memory(self, nodes: Mapping[str, Node]) -> dict[str, Array]:
        """Memory can be read from the start; the arrays it lies in."""
        self.reads_memory = bool(nodes)
        arrays = {}
        for name, node in nodes.items():
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
        if is_cat(node):
            for part in node.args[0]:
                self.settle(part, array, column)
                column += width(part)

    def home(self, node: Node) -> tuple[Array, int] | None:
        """Where ``node`` will be written, by itself or as parts that lie side by side."""
        if node in self.homes or not is_cat(node):
            return self.homes.get(node)
        parts = node.args[0]
        first = self.homes.get(parts[0])
        if first is None:
            return None
        array, column = first
        for part in parts:
            if self.homes.get(part) != (array, column):
                return None
            column += width(part)
        return first

    def write(self, node: Node, array: Array, column: int = 0, accumulate: bool = False) -> None:
        """``array`` ← the value of ``node`` at each step."""
        if is_cat(node):
            for part in node.args[0]:
                self.write(part, array, column, accumulate)
                column += width(part)
            return
        level = self.level(node)
        self.stage(level).loop(width(node)).stores.append(Store(node, array, column, accumulate))
        if self.homes.get(node) == (array, column):
            self.program.values.setdefault(node, Value((array,), column, level + 1))

    def stage(self, level: int) -> Stage:
        while len(self.program.stages) <= level:
            self.program.stages.append(Stage())
        return self.program.stages[level]

    def parameter(self, node: Node, kind: Literal["vector", "weight"]) -> Array:
        """The array of a value that is the same for all rows."""
        parameters = self.program.parameters
        if node not in parameters:
            shape = node.meta["val"].shape
            if node in self.of_rows:
                raise unsupported(node, "rows change their shape")
            if kind == "weight":
                array = self.array(label(node), kind, int(shape[1]), int(shape[0]))
            elif len(shape) > 2 or (len(shape) == 2 and shape[0] != 1):
                raise unsupported(node, f"a parameter of shape {tuple(shape)} meets rows")
            else:
                array = self.array(label(node), kind, int(shape[-1]) if shape else 1)
                self.program.values[node] = Value((array,), 0, 0)
            parameters[node] = array
        return parameters[node]

    def level(self, node: Node) -> int:
        """The first stage in which ``node`` can be used."""
        stack = [node]
        while stack:
            top = stack[-1]
            missing = [] if top in self.levels else self._unknown(top)
            if missing:
                stack += reversed(missing)
                continue
            if top not in self.levels:
                self.levels[top] = self._level(top)
            stack.pop()
        return self.levels[node]

    def _unknown(self, node: Node) -> list[Node]:
        """What must have a level before ``node`` can have one."""
        is_split = node.target is aten.split_with_sizes.default
        if node.target in CONSTANTS or not (is_row(node) or is_split):
            return []
        if self.reads_memory and node.target in SUMS and is_grid(node.args[0]):
            return []
        if is_slice(node):
            sources = [sliced(node)[0]]
        elif node.target is operator.getitem:
            return []  # of several results, which no kernel has
        else:
            sources = node.all_input_nodes[: 1 if node.target in PRODUCTS else None]
        return [n for n in sources if n not in self.levels]

    def _level(self, node: Node) -> int:
        if node.target in CONSTANTS:
            return 0
        if not is_row(node) and node.target is not aten.split_with_sizes.default:
            self.parameter(node, "vector")
            return 0
        if node.op != "call_function":
            raise unsupported(node, "a value from outside the step")
        if self.reads_memory and node.target in SUMS and is_grid(node.args[0]):
            return self._grid_sum(node)
        if is_row(node) and node.meta["val"].ndim > 2:
            raise unsupported(node, f"rows of {node.meta['val'].ndim - 1} dimensions")
        if node.target in PRODUCTS:
            return self._product(node)
        if node.target in SUMS:
            return self._sum(node)
        if is_cat(node):
            array, column, level = self.place(node)
            self.program.values[node] = Value((array,), column, level)
            return level
        if is_slice(node):
            return self.level(sliced(node)[0])
        supported(node, self.dtype)
        return max((self.level(n) for n in node.all_input_nodes), default=0)

    def place(self, node: Node) -> tuple[Array, int, int]:
        """The array and the column where ``node`` is or will be as a whole, and the first stage in
        which it is there; it is written if need be."""
        value = self.program.values.get(node)
        if value is not None and len(value.arrays) == 1:
            return value.arrays[0], value.column, value.stage
        if is_slice(node) and self.home(node) is None:
            source, start = sliced(node)
            array, column, level = self.place(source)
            return array, column + start, level
        home = self.home(node)
        if home is None:
            home = self.temporary(width(node)), 0
            self.settle(node, *home)
            self.write(node, *home)
        if is_cat(node):
            return *home, max(self.level(part) for part in node.args[0]) + 1
        return *home, self.level(node) + 1

    def _product(self, node: Node) -> int:
        left, right = node.args[0], node.args[1]
        if is_row(right) or not is_row(left):
            raise unsupported(node, "a matrix product needs a parameter on its right")
        for factor in (left, right):
            if factor.meta["val"].dtype != self.dtype:
                raise unsupported(node, f"a factor is of {factor.meta['val'].dtype}")
        source, column, level = self.place(left)
        target = self.temporary(width(node))
        weight = self.parameter(right, "weight")
        self.stage(level).products.append(Product(node, source, column, weight, target))
        self.program.values[node] = Value((target,), 0, level)
        return level

    def _sum(self, node: Node) -> int:
        source: Any = node.args[0]
        if not is_feature_sum(node):
            raise unsupported(node, "a reduction that is not over the features")
        level = self.level(source)
        array = self.temporary(1)
        self.stage(level).loop(width(source)).sums.append((node, array))
        self.program.values[node] = Value((array,), 0, level + 1)
        return level + 1

    def _grid_sum(self, node: Node) -> int:
        source: Any = node.args[0]
        dims: Any = node.args[1]
        level, grid = self._grid(source, *source.meta["val"].shape[1:])
        array = self.temporary(width(node))
        (grid.over_inner if dims == [2] else grid.over_outer).append((node, array))
        self.program.values[node] = Value((array,), 0, level + 1)
        return level + 1

    def accumulate(self, node: Node, array: Array) -> None:
        """``array``, of the shape of a memory, += the value of ``node`` at each step."""
        if not is_grid(node):
            self.write(node, array, accumulate=True)
            return
        _, grid = self._grid(node, array.inner, array.width)
        grid.stores.append(Store(node, array, accumulate=True))

    def _grid(self, node: Node, outer: int, inner: int) -> tuple[int, Grid]:
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
            if node in seen or node in self.program.memory or node.target in CONSTANTS:
                continue
            seen.add(node)
            vector: Any = node.args[0] if node.target is aten.unsqueeze.default else node
            if not is_row(vector):
                leaves[node] = self.parameter(vector, "vector"), 0
            elif vector is not node:
                array, column, stage = self.place(vector)
                leaves[node] = array, column
                level = max(level, stage)
            else:
                supported(node, self.dtype)
                stack.extend(node.all_input_nodes)
        return level


def is_cat(node: Node) -> bool:
    return node.target is aten.cat.default and is_row(node)


POINTWISE: set[Any] = CHEAP | {
    aten.div.Tensor, aten.exp.default, aten.expm1.default, aten.log.default, aten.log1p.default,
    aten.tanh.default, aten.sigmoid.default, aten.erf.default, aten.sin.default, aten.cos.default,
    aten.sqrt.default, aten.rsqrt.default, aten.reciprocal.default, aten.pow.Tensor_Scalar,
    aten.pow.Tensor_Tensor, aten.pow.Scalar, aten.floor.default, aten.ceil.default,
    aten.round.default, aten.trunc.default, aten.div.Scalar,
}  # fmt: skip


def is_feature_sum(node: Node) -> bool:
    """Whether a reduction is over the features of each row."""
    source: Any = node.args[0]
    dims: Any = node.args[1] if len(node.args) > 1 else ()
    return [d % 2 for d in dims] == [1] and source.meta["val"].ndim == 2


def is_supported(node: Node, dtype: torch.dtype) -> bool:
    """Whether ``node`` is pointwise work that an emitter knows."""
    try:
        supported(node, dtype)
    except CompileError:
        return False
    return True


def supported(node: Node, dtype: torch.dtype) -> None:
    """Raise unless ``node`` is pointwise work of that type that an emitter knows."""
    if node.target not in POINTWISE or (node.target is operator.getitem and not is_slice(node)):
        raise unsupported(node, "there is no kernel for it")
    value = node.meta["val"]
    if isinstance(value, torch.Tensor) and value.dtype != dtype:
        arithmetic = node.target in (aten.add.Tensor, aten.mul.Tensor, aten.sub.Tensor)
        chosen = node.target is aten.where.self and all(
            not isinstance(a, Node) or a.target in CONSTANTS for a in node.args[1:]
        )
        is_float = value.dtype.is_floating_point or value.dtype.is_complex
        if is_float or (not chosen and (value.dtype != torch.bool or arithmetic)):
            raise unsupported(node, f"it yields {value.dtype}")
    if node.target in RESHAPES:
        source = node.args[0]
        if isinstance(source, Node) and is_row(source) and width(source) not in (1, width(node)):
            raise unsupported(node, "rows change their shape")
    if node.target is aten.slice.Tensor and len(node.args) > 4 and node.args[4] != 1:
        raise unsupported(node, "a slice with a step")
