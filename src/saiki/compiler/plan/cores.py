"""Cores: tensors of any shape as vectors and grids of each row.

A tensor is seen through its *core*: ``(rows, 1)``, a vector ``(rows, n)`` or a grid
``(rows, outer, inner)``, and for each of its dimensions the dimensions of the core it is made of.
"""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from saiki.compiler.trace.nodes import CONSTANTS, POINTWISE, RESHAPES, ROWS, Node, aten, unsupported

Group = tuple[int, ...]
Axis = tuple[int, int]

PLAIN = POINTWISE - RESHAPES - CONSTANTS - {
    aten.slice.Tensor, operator.getitem, aten.split_with_sizes.default,
}  # fmt: skip
"""Pointwise work that changes no shape."""


@dataclass(frozen=True)
class Seen:
    """A tensor through its core: of each dimension, which dimensions of the core make it up.

    A dimension of none has one entry, or the same at each place.
    """

    core: Node
    dims: tuple[Group, ...]
    shape: tuple[int, ...]

    @property
    def features(self) -> int:
        """Dimensions of the core but for the rows that have more than one place."""
        return sum(axis > 0 for group in self.dims for axis in group)


class Writer:
    """Writes into a graph, in front of the node that is being taken; the same thing once."""

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.inside: set[Node] = set()
        """What is followed, and all that is written of it."""
        self.here: Node
        """What is being taken."""
        self._known: dict[str, Node] = {}

    def emit(
        self,
        target: Any,
        args: tuple[Any, ...],
        shape: Sequence[int],
        dtype: torch.dtype | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Node:
        """The node that does this.

        Args:
            shape: of its value.
            dtype: of its value; that of the first node it takes where None.
        """
        key = repr((target, args, kwargs))
        if key not in self._known:
            with self.graph.inserting_before(self.here):
                node = self.graph.call_function(target, args, kwargs)
            if dtype is None:
                dtype = node.all_input_nodes[0].meta["val"].dtype
            node.meta["val"] = torch.empty(tuple(shape), dtype=dtype, device="meta")
            node.stack_trace = self.here.stack_trace
            if self.inside.intersection(node.all_input_nodes):
                self.inside.add(node)
            self._known[key] = node
        return self._known[key]

    def number(self, node: Node) -> Node:
        """The number that a constant holds everywhere."""
        value: Any = node.args[0 if node.target is aten.scalar_tensor.default else 1]
        dtype = node.meta["val"].dtype
        return self.emit(aten.scalar_tensor.default, (value,), (), dtype, {"dtype": dtype})

    def filled(self, number: Node, shape: Sequence[int]) -> Node:
        """A tensor that holds such a number everywhere."""
        dtype = number.meta["val"].dtype
        args = list(shape), number.args[0]
        return self.emit(aten.full.default, args, shape, dtype, {"dtype": dtype})


class Cores(Writer):
    """Writes cores into a graph; ``inside`` is what depends on memory."""

    def __init__(self, graph: fx.Graph) -> None:
        super().__init__(graph)
        self.seen: dict[Node, Seen] = {}
        """What has another shape than a vector of features, through its core."""

    def two(self, core: Node) -> Node:
        """``(rows, n)`` of a core that may be ``(rows,)``."""
        if core.meta["val"].ndim != 1:
            return core
        return self.emit(aten.unsqueeze.default, (core, 1), (ROWS, 1))

    def view(self, node: Node) -> Seen:
        """Any tensor through its core."""
        if node in self.seen:
            return self.seen[node]
        value = node.meta["val"]
        shape = tuple(value.shape)
        if node.target in CONSTANTS:
            return Seen(self.number(node), ((),) * len(shape), shape)
        first = 0 if shape and shape[0] == ROWS else None
        if first is None and any(size >= ROWS for size in shape):
            raise unsupported(node, "a size of memory where rows are meant")
        if first == 0 and len(shape) > 2:
            raise unsupported(node, f"rows of {len(shape) - 1} dimensions")
        groups = [(i,) if size > 1 else () for i, size in enumerate(shape)]
        return Seen(node, tuple(groups), shape)

    def align(
        self, node: Node, operands: Sequence[Seen]
    ) -> tuple[list[Node], Callable[[Node, Sequence[int]], Seen]]:
        """The cores of tensors of as many dimensions each, so that they meet place by place; and
        how to see what is made of them."""
        count = len(operands[0].dims)
        axes: dict[Axis, int] = {}
        places: list[dict[int, Axis]] = []
        rows: set[Axis] = set()
        for operand in operands:
            place: dict[int, Axis] = {}
            is_of_rows = is_rows(operand.core)
            for d, group in enumerate(operand.dims):
                for j, axis in enumerate(group):
                    size = operand.core.meta["val"].shape[axis]
                    if axes.setdefault((d, j), size) != size:
                        raise unsupported(node, "rows change their shape")
                    place[axis] = (d, j)
                    if is_of_rows and axis == 0:
                        rows.add((d, j))
            places.append(place)
        if len(rows) != 1:
            raise unsupported(node, "rows meet other rows")
        features = sorted(axes.keys() - rows)
        if len(features) > 2:
            raise unsupported(node, f"rows of {len(features)} dimensions")
        for operand, place in zip(operands, places, strict=True):
            if is_rows(operand.core) and operand.features == 2:
                features = [place[1], place[2]]
                break
        cores = [
            self._placed(node, operand.core, place, features)
            for operand, place in zip(operands, places, strict=True)
        ]
        order = {axis: i + 1 for i, axis in enumerate(features)} | dict.fromkeys(rows, 0)
        groups: list[Group] = []
        for d in range(count):
            groups.append(tuple(order[axis] for axis in sorted(axes) if axis[0] == d))

        def see(core: Node, shape: Sequence[int]) -> Seen:
            return Seen(core, tuple(groups), tuple(shape))

        return cores, see

    def _placed(self, node: Node, core: Node, place: dict[int, Axis], features: list[Axis]) -> Node:
        """``core`` so that it meets others at the axes ``features``."""
        shape = core.meta["val"].shape
        is_of_rows = is_rows(core)
        own = [features.index(axis) for i, axis in sorted(place.items()) if i or not is_of_rows]
        if len(features) < 2:
            if is_of_rows:
                return self.two(core)
            return (
                self.emit(aten.view.default, (core, [-1]), (math.prod(shape),))
                if (len(shape) > 1)
                else core
            )
        if is_of_rows:
            match own:
                case [0, 1]:
                    return core
                case [1, 0]:
                    return self.transposed(node, core)
                case [1]:
                    return self.broadcast(self.two(core), 1)
            return self.broadcast(self.two(core), 2)
        if len(own) == 2:
            raise unsupported(node, f"a parameter of shape {tuple(shape)} meets memory")
        if len(shape) > 1:
            core = self.emit(aten.view.default, (core, [-1]), (math.prod(shape),))
        return self.broadcast(core, 1) if own == [0] else core

    def broadcast(self, vector: Node, dim: int) -> Node:
        """The vector beside every place of the other feature of a grid."""
        shape = list(vector.meta["val"].shape)
        shape.insert(dim, 1)
        return self.emit(aten.unsqueeze.default, (vector, dim), shape)

    def transposed(self, node: Node, grid: Node) -> Node:
        """A grid with outer and inner exchanged."""
        rows, a, b = grid.meta["val"].shape
        if grid.target is aten.unsqueeze.default:
            vector: Any
            dim: Any
            vector, dim = grid.args
            return self.broadcast(vector, 3 - dim) if is_rows(vector) else vector
        if grid.target not in PLAIN:
            raise unsupported(node, "a memory meets its own transposition")
        args = tuple(self._turned_operand(node, arg) for arg in grid.args)
        return self.emit(grid.target, args, (rows, b, a), grid.meta["val"].dtype, dict(grid.kwargs))

    def _turned_operand(self, node: Node, arg: Any) -> Any:
        if not isinstance(arg, Node) or arg.meta["val"].ndim == 0:
            return arg
        if is_rows(arg) or arg.target is aten.unsqueeze.default:
            return self.transposed(node, arg)
        return self.broadcast(arg, 1) if arg.meta["val"].numel() > 1 else arg

    def written(self, seen: Seen, shape: tuple[int, ...]) -> Node:
        """A vector or less in the shape it has in the step."""
        core = seen.core
        if core.target is aten.scalar_tensor.default:
            return self.filled(core, shape)
        if len(shape) == 1:
            one = core.meta["val"].ndim == 1
            return core if one else self.emit(aten.squeeze.dims, (core, [1]), shape)
        core = self.two(core)
        if core.meta["val"].shape[1] == shape[1]:
            return core
        return self.emit(aten.expand.default, (core, list(shape)), shape)


def is_rows(node: Node) -> bool:
    shape = node.meta["val"].shape
    return len(shape) > 0 and shape[0] == ROWS


def common_shape(cores: Sequence[Node]) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*(core.meta["val"].shape for core in cores)))


Pairs = tuple[tuple[Node, Node], ...]


def memory_gradient(cores: Cores, node: Node | None) -> tuple[Node | None, Pairs]:
    """∂L/∂memory of a step as what is summed place by place, and pairs of vectors whose
    products, outer times inner, are the rest."""
    if node is None:
        return None, ()
    if node.meta["val"].ndim < 3:
        return node, ()
    seen = cores.view(node)
    shape = tuple(node.meta["val"].shape)
    if seen.features == 2:
        core = seen.core if seen.dims[1] == (1,) else cores.transposed(node, seen.core)
    elif seen.features == 1 and seen.dims[2] == (1,):
        core = cores.broadcast(cores.two(seen.core), 1)
    else:
        core = cores.broadcast(cores.two(seen.core), 2)
    rest: Node | None = None
    pairs: list[tuple[Node, Node]] = []
    for term in _terms(core):
        pair = _separated(cores, term)
        if pair is not None and all(isinstance(vector, Node) for vector in pair):
            pairs.append(pair)
        elif rest is None:
            rest = term
        else:
            rest = cores.emit(aten.add.Tensor, (rest, term), shape)
    return rest, tuple(pairs)


def _separated(cores: Cores, grid: Node) -> tuple[Any, Any] | None:
    """The vectors over outer and inner whose product the grid is: a vector, a number, or None
    for 1."""
    if grid.target is aten.unsqueeze.default and is_rows(grid):
        vector: Any = grid.args[0]
        return (vector, None) if grid.args[1] == 2 else (None, vector)
    if grid.target not in (aten.mul.Tensor, aten.mul.Scalar) or not is_rows(grid):
        return None
    parts: list[tuple[Any, Any]] = []
    for arg in grid.args:
        if isinstance(arg, Node) and is_rows(arg):
            part = _separated(cores, arg)
            if part is None:
                return None
            parts.append(part)
        elif isinstance(arg, int | float):
            parts.append((arg, None))
        else:
            return None
    (a, b), (c, d) = parts
    return _times(cores, a, c), _times(cores, b, d)


def _times(cores: Cores, a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if not isinstance(a, Node):
        a, b = b, a
    if not isinstance(a, Node):
        return a * b
    shapes = [v.meta["val"].shape for v in (a, b) if isinstance(v, Node)]
    return cores.emit(aten.mul.Tensor, (a, b), max(shapes, key=lambda s: s[1]))


def _terms(grid: Node) -> list[Node]:
    """The grids whose sum the grid is."""
    args: Any = grid.args
    is_sum = grid.target is aten.add.Tensor and not grid.kwargs
    if is_sum and all(isinstance(arg, Node) and is_rows(arg) for arg in args):
        return [term for arg in args for term in _terms(arg)]
    return [grid]
