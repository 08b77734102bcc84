"""Grids: what a step does with memory, as work over one or two features of each row.

Views, transpositions and products of matrices of single rows are written anew as pointwise work on
``(rows, outer, inner)`` and sums over either feature. So ``keys[s] · h`` is a product of ``keys``
and ``h`` beside every key, summed over the inner feature, and a kernel never writes a grid down.

A tensor of any shape is seen through a *core*: ``(rows, 1)``, a vector ``(rows, n)`` or a grid
``(rows, outer, inner)``, and for each of its dimensions the dimensions of the core it is made of.
"""

import dataclasses
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from saiki.compiler.nodes import CONSTANTS, POINTWISE, RESHAPES, ROWS, SUMS, is_extent, unsupported
from saiki.compiler.trace import Trace
from saiki.errors import CompileError

aten = torch.ops.aten
Node = fx.Node
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


def lower_memory(trace: Trace) -> Trace:
    """The trace with all that memory takes part in as vectors and grids.

    Raises:
        CompileError: the step does what cannot be written so.
    """
    return _Lowering(trace).result() if trace.memory else trace


class _Lowering:
    """Goes through a trace once, in order."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.graph = trace.graph
        self.seen: dict[Node, Seen] = {}
        self.known: dict[str, Node] = {}
        self.of_memory = set(trace.memory.values())
        self.here: Node

    def result(self) -> Trace:
        output = next(node for node in self.graph.nodes if node.op == "output")
        for node in self.trace.memory.values():
            if node.meta["val"].ndim > 3:
                raise CompileError(
                    f"the memory {node.meta['label']!r} has more than two sizes above 1"
                )
            if node.meta["val"].ndim == 3:
                shape = tuple(node.meta["val"].shape)
                self.seen[node] = Seen(node, ((0,), (1,), (2,)), shape)
        for node in list(self.graph.nodes):
            if node.op != "call_function":
                continue
            if any(source in self.of_memory for source in node.all_input_nodes):
                self.of_memory.add(node)
            if self._concerns(node):
                self.here = node
                try:
                    self._take(node)
                except CompileError:
                    if node in self.of_memory:
                        raise
        self.here = output
        t = self.trace
        k, count = len(t.states), len(t.memory)
        results = _flat(output.args[0])
        gradients = results[k + 1 + k : k + 1 + k + count]
        pairs = [self._gradient(gradient) for gradient in gradients]
        kept = [node for rest, outer in pairs for node in (rest, *(n for p in outer for n in p))]
        rest = [*results[: k + 1 + k], *results[k + 1 + k + count :]]
        output.args = ((*rest, *kept),)
        self.graph.eliminate_dead_code()
        for node in self.graph.nodes:
            _check_sizes(node)
        names = list(t.memory)
        return dataclasses.replace(
            t,
            new_states=tuple(rest[:k]),
            d_x=rest[k],
            d_states=tuple(rest[k + 1 : k + 1 + k]),
            d_parameters=dict(zip(t.d_parameters, rest[k + 1 + k :], strict=True)),
            d_memory={name: d for name, (d, _) in zip(names, pairs, strict=True)},
            outer={name: outer for name, (_, outer) in zip(names, pairs, strict=True)},
        )

    def _concerns(self, node: Node) -> bool:
        """Whether the node has, or takes, a shape that a vector of features lacks."""
        if any(source in self.seen for source in node.all_input_nodes):
            return True
        parts: Any = node.args[0] if node.target is operator.getitem else None
        if parts is not None and parts.args[0] in self.seen:
            return True
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or not value.ndim:
            return False
        return value.shape[0] >= ROWS and (value.ndim > 2 or value.shape[0] > ROWS)

    def _take(self, node: Node) -> None:
        target: Any = node.target
        args: Any = node.args
        if target is aten.split_with_sizes.default:
            return
        if target in CONSTANTS:
            found = self._view(node)
        elif target in PLAIN:
            found = self._pointwise(node)
        elif target in SUMS:
            dims = args[1] if len(args) > 1 else []
            found = self._reduce(node, self._view(args[0]), dims, len(args) > 2 and args[2])
        elif target is aten.bmm.default:
            a, b = map(self._view, args)
            left = Seen(a.core, (*a.dims, ()), (*a.shape, 1))
            right = Seen(b.core, (b.dims[0], (), *b.dims[1:]), (b.shape[0], 1, *b.shape[1:]))
            found = self._reduce(node, self._multiply(node, left, right), [2], False)
        elif target is aten.mm.default:
            found = self._mm(node, *map(self._view, args))
        else:
            found = self._reshaped(node)
        self._settle(node, found)

    def _settle(self, node: Node, found: Seen | Node) -> None:
        """Let ``found`` take the place of ``node``."""
        if isinstance(found, Node):
            node.replace_all_uses_with(found)
            return
        shape = node.meta["val"].shape
        if len(shape) <= 2 and shape[0] == ROWS and found.features <= 1:
            node.replace_all_uses_with(self._written(found, tuple(shape)))
        else:
            self.seen[node] = found

    def _written(self, seen: Seen, shape: tuple[int, ...]) -> Node:
        """A vector or less in the shape it has in the step."""
        core = seen.core
        if core.target is aten.scalar_tensor.default:
            dtype = core.meta["val"].dtype
            return self._emit(
                aten.full.default, (list(shape), core.args[0]), shape, dtype, {"dtype": dtype}
            )
        if len(shape) == 1:
            one = core.meta["val"].ndim == 1
            return core if one else self._emit(aten.squeeze.dims, (core, [1]), shape)
        core = self._two(core)
        if core.meta["val"].shape[1] == shape[1]:
            return core
        return self._emit(aten.expand.default, (core, list(shape)), shape)

    # building

    def _emit(
        self,
        target: Any,
        args: tuple[Any, ...],
        shape: Sequence[int],
        dtype: torch.dtype | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Node:
        key = repr((target, args, kwargs))
        if key not in self.known:
            with self.graph.inserting_before(self.here):
                node = self.graph.call_function(target, args, kwargs)
            if dtype is None:
                dtype = args[0].meta["val"].dtype
            node.meta["val"] = torch.empty(tuple(shape), dtype=dtype, device="meta")
            node.stack_trace = self.here.stack_trace
            if any(source in self.of_memory for source in node.all_input_nodes):
                self.of_memory.add(node)
            self.known[key] = node
        return self.known[key]

    def _two(self, core: Node) -> Node:
        """``(rows, n)`` of a core that may be ``(rows,)``."""
        if core.meta["val"].ndim != 1:
            return core
        return self._emit(aten.unsqueeze.default, (core, 1), (ROWS, 1))

    def _view(self, node: Node) -> Seen:
        """Any tensor through its core."""
        if node in self.seen:
            return self.seen[node]
        value = node.meta["val"]
        shape = tuple(value.shape)
        if node.target in CONSTANTS:
            number: Any = node.args[0 if node.target is aten.scalar_tensor.default else 1]
            core = self._emit(
                aten.scalar_tensor.default, (number,), (), value.dtype, {"dtype": value.dtype}
            )
            return Seen(core, ((),) * len(shape), shape)
        first = 0 if shape and shape[0] == ROWS else None
        if first is None and any(size >= ROWS for size in shape):
            raise unsupported(node, "a size of memory where rows are meant")
        if first == 0 and len(shape) > 2:
            raise unsupported(node, f"rows of {len(shape) - 1} dimensions")
        groups = [(i,) if size > 1 else () for i, size in enumerate(shape)]
        return Seen(node, tuple(groups), shape)

    def _align(
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
            is_of_rows = _is_rows(operand.core)
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
            if _is_rows(operand.core) and operand.features == 2:
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
        is_of_rows = _is_rows(core)
        own = [features.index(axis) for i, axis in sorted(place.items()) if i or not is_of_rows]
        if len(features) < 2:
            if is_of_rows:
                return self._two(core)
            return (
                self._emit(aten.view.default, (core, [-1]), (math.prod(shape),))
                if (len(shape) > 1)
                else core
            )
        if is_of_rows:
            match own:
                case [0, 1]:
                    return core
                case [1, 0]:
                    return self._turned(node, core)
                case [1]:
                    return self._beside(self._two(core), 1)
            return self._beside(self._two(core), 2)
        if len(own) == 2:
            raise unsupported(node, f"a parameter of shape {tuple(shape)} meets memory")
        if len(shape) > 1:
            core = self._emit(aten.view.default, (core, [-1]), (math.prod(shape),))
        return self._beside(core, 1) if own == [0] else core

    def _beside(self, vector: Node, dim: int) -> Node:
        """The vector beside every place of the other feature of a grid."""
        shape = list(vector.meta["val"].shape)
        shape.insert(dim, 1)
        return self._emit(aten.unsqueeze.default, (vector, dim), shape)

    def _turned(self, node: Node, grid: Node) -> Node:
        """A grid with outer and inner exchanged."""
        rows, a, b = grid.meta["val"].shape
        if grid.target is aten.unsqueeze.default:
            vector: Any
            dim: Any
            vector, dim = grid.args
            return self._beside(vector, 3 - dim) if _is_rows(vector) else vector
        if grid.target not in PLAIN:
            raise unsupported(node, "a memory meets its own transposition")
        args = tuple(self._turned_operand(node, arg) for arg in grid.args)
        return self._emit(
            grid.target, args, (rows, b, a), grid.meta["val"].dtype, dict(grid.kwargs)
        )

    def _turned_operand(self, node: Node, arg: Any) -> Any:
        if not isinstance(arg, Node) or arg.meta["val"].ndim == 0:
            return arg
        if _is_rows(arg) or arg.target is aten.unsqueeze.default:
            return self._turned(node, arg)
        return self._beside(arg, 1) if arg.meta["val"].numel() > 1 else arg

    # operations

    def _pointwise(self, node: Node) -> Seen:
        shape = node.meta["val"].shape
        sources = [arg for arg in node.args if isinstance(arg, Node)]
        operands = []
        for source in sources:
            seen = self._view(source)
            missing = len(shape) - len(seen.dims)
            operands.append(
                Seen(seen.core, ((),) * missing + seen.dims, (1,) * missing + seen.shape)
            )
        cores, see = self._align(node, operands)
        found = iter(cores)
        args = tuple(next(found) if isinstance(arg, Node) else arg for arg in node.args)
        dtype = node.meta["val"].dtype
        core = self._emit(node.target, args, _shape(cores), dtype, dict(node.kwargs))
        return see(core, shape)

    def _multiply(self, node: Node, a: Seen, b: Seen) -> Seen:
        cores, see = self._align(node, [a, b])
        shape = [max(m, n) for m, n in zip(a.shape, b.shape, strict=True)]
        dtype = node.meta["val"].dtype
        return see(self._emit(aten.mul.Tensor, tuple(cores), _shape(cores), dtype), shape)

    def _reduce(self, node: Node, seen: Seen, dims: Sequence[int], keep: bool) -> Seen | Node:
        target = node.target if node.target in SUMS else aten.sum.dim_IntList
        count = len(seen.dims)
        over = {d % count for d in dims} if dims else set(range(count))
        core, groups = seen.core, list(seen.dims)
        scale = 1
        for d in over:
            if not groups[d] and seen.shape[d] > 1 and target is aten.sum.dim_IntList:
                scale *= seen.shape[d]
        if scale >= ROWS:
            raise unsupported(node, "it depends on the size of a memory")
        axes = sorted((axis for d in over for axis in groups[d]), reverse=True)
        if axes and not _is_rows(core):
            raise unsupported(node, "a reduction that is not over the features")
        for axis in (axis for axis in axes if axis):
            core = self._two(core)
            shape = list(core.meta["val"].shape)
            if len(shape) == 3:
                del shape[axis]
                core = self._emit(target, (core, [axis]), shape)
            else:
                core = self._emit(target, (core, [1], True), (ROWS, 1))
            groups = [tuple(a - (a > axis) for a in group if a != axis) for group in groups]
        if scale > 1:
            core = self._emit(aten.mul.Tensor, (core, scale), core.meta["val"].shape)
        if 0 in axes:
            return self._over_rows(node, core)
        kept = [d for d in range(count) if keep or d not in over]
        return Seen(
            core,
            tuple(() if d in over else groups[d] for d in kept),
            tuple(1 if d in over else seen.shape[d] for d in kept),
        )

    def _over_rows(self, node: Node, core: Node) -> Node:
        """The sum of a vector over all rows, in the shape of ``node``."""
        core = self._two(core)
        shape = tuple(node.meta["val"].shape)
        if core.meta["val"].ndim > 2 or node.target in (aten.amax.default, aten.amin.default):
            raise unsupported(node, "a sum over rows of what memory is made of")
        size = core.meta["val"].shape[1]
        total = self._emit(aten.sum.dim_IntList, (core, [0]), (size,))
        if math.prod(shape) != size:
            raise unsupported(node, "rows change their shape")
        if shape == (size,):
            return total
        return self._emit(aten.view.default, (total, list(shape)), shape)

    def _mm(self, node: Node, a: Seen, b: Seen) -> Seen | Node:
        shape = node.meta["val"].shape
        whole = a.features <= 1 and b.features <= 1
        of_rows = _is_rows(a.core), _is_rows(b.core)
        if (
            whole
            and of_rows == (True, False)
            and a.dims[0] == (0,)
            and b.core.meta["val"].ndim == 2
        ):
            left = self._written(a, (ROWS, a.shape[1]))
            product = self._emit(aten.mm.default, (left, b.core), (ROWS, shape[1]))
            return Seen(product, ((0,), (1,) if shape[1] > 1 else ()), tuple(shape))
        if whole and of_rows == (True, True) and a.dims[1] == b.dims[0] == (0,):
            left = self._written(Seen(a.core, a.dims[::-1], a.shape[::-1]), (ROWS, shape[0]))
            right = self._written(b, (ROWS, shape[1]))
            turned = self._emit(aten.permute.default, (left, [1, 0]), (shape[0], ROWS))
            return self._emit(aten.mm.default, (turned, right), shape)
        left = Seen(a.core, (*a.dims, ()), (*a.shape, 1))
        right = Seen(b.core, ((), *b.dims), (1, *b.shape))
        return self._reduce(node, self._multiply(node, left, right), [1], False)

    def _reshaped(self, node: Node) -> Seen:
        target: Any = node.target
        args: Any = node.args
        shape = tuple(node.meta["val"].shape)
        if target is aten.cat.default:
            return self._joined(node)
        if target is operator.getitem and args[0].target is aten.split_with_sizes.default:
            split = args[0]
            dim = split.args[2] if len(split.args) > 2 else 0
            start = sum(split.args[1][: args[1]])
            return self._slice(node, self._view(split.args[0]), dim, start)
        if target not in RESHAPES | {aten.permute.default, aten.slice.Tensor}:
            raise unsupported(node, "there is no kernel for it")
        seen = self._view(args[0])
        match target:
            case aten.view.default:
                return Seen(seen.core, self._regrouped(node, seen, shape), shape)
            case aten.permute.default:
                return Seen(seen.core, tuple(seen.dims[d] for d in args[1]), shape)
            case aten.unsqueeze.default:
                dims = list(seen.dims)
                dims.insert(args[1] % len(shape), ())
                return Seen(seen.core, tuple(dims), shape)
            case aten.squeeze.dims:
                gone = {d % len(seen.dims) for d in args[1]}
                kept = (g for d, g in enumerate(seen.dims) if d not in gone or seen.shape[d] > 1)
                return Seen(seen.core, tuple(kept), shape)
            case aten.expand.default:
                missing = len(shape) - len(seen.dims)
                return Seen(seen.core, ((),) * missing + seen.dims, shape)
            case aten.slice.Tensor:
                dim = args[1] if len(args) > 1 else 0
                size = seen.shape[dim]
                if len(args) > 4 and args[4] != 1:
                    raise unsupported(node, "a slice with a step")
                start, end, _ = slice(*(*args[2:4], None)[:2]).indices(size)
                if (start, end) == (0, size):
                    return seen
                return self._slice(node, seen, dim, start)
        raise unsupported(node, "there is no kernel for it")

    def _regrouped(self, node: Node, seen: Seen, shape: tuple[int, ...]) -> tuple[Group, ...]:
        """The groups of a view: the same places in the same order, otherwise parted."""
        items: list[tuple[int, Group]] = []
        for size, group in zip(seen.shape, seen.dims, strict=True):
            sizes = [seen.core.meta["val"].shape[axis] for axis in group]
            items += [(n, (axis,)) for n, axis in zip(sizes, group, strict=True)]
            if not group and size > 1:
                items.append((size, ()))
        items.reverse()
        groups: list[Group] = []
        for size in shape:
            taken: list[tuple[int, Group]] = []
            while math.prod(n for n, _ in taken) < size and items:
                taken.append(items.pop())
            group = tuple(axis for _, its in taken for axis in its)
            if math.prod(n for n, _ in taken) != size or 0 < len(group) < len(taken):
                raise unsupported(node, "rows change their shape")
            groups.append(group)
        return tuple(groups)

    def _slice(self, node: Node, seen: Seen, dim: int, start: int) -> Seen:
        """Some features of a vector, as many as ``node`` has."""
        shape = tuple(node.meta["val"].shape)
        dim %= len(shape)
        size, group = shape[dim], seen.dims[dim]
        if not group and not is_extent(seen.shape[dim]):
            return Seen(seen.core, seen.dims, shape)
        if group != (1,) or seen.features > 1 or is_extent(seen.shape[dim]):
            raise unsupported(node, "some positions of a memory")
        core = self._emit(aten.slice.Tensor, (seen.core, 1, start, start + size), (ROWS, size))
        dims = list(seen.dims)
        if size == 1:
            dims[dim] = ()
        return Seen(core, tuple(dims), shape)

    def _joined(self, node: Node) -> Seen:
        """Vectors side by side."""
        shape = tuple(node.meta["val"].shape)
        args: Any = node.args
        dim = (args[1] if len(args) > 1 else 0) % len(shape)
        cores: list[Node] = []
        dims: list[Group] | None = None
        for part in args[0]:
            seen = self._view(part)
            size, group = seen.shape[dim], seen.dims[dim]
            others = [g for d, g in enumerate(seen.dims) if d != dim]
            is_vector = group == (1,) or (not group and size == 1)
            rest = [g for g in others if g]
            if not is_vector or is_extent(size) or rest != [(0,)] or dims not in (None, others):
                raise unsupported(node, "parts that are not vectors of features")
            cores.append(self._two(seen.core))
            dims = others
        assert dims is not None
        core = self._emit(
            aten.cat.default, (cores, 1), (ROWS, shape[dim]), cores[0].meta["val"].dtype
        )
        dims.insert(dim, (1,))
        return Seen(core, tuple(dims), shape)

    # gradients of memory

    def _gradient(self, node: Node | None) -> tuple[Node | None, tuple[tuple[Node, Node], ...]]:
        """∂L/∂memory of a step as what is summed place by place, and pairs of vectors whose
        products, outer times inner, are the rest."""
        if node is None:
            return None, ()
        if node.meta["val"].ndim < 3:
            return node, ()
        seen = self._view(node)
        shape = tuple(node.meta["val"].shape)
        if seen.features == 2:
            core = seen.core if seen.dims[1] == (1,) else self._turned(node, seen.core)
        elif seen.features == 1 and seen.dims[2] == (1,):
            core = self._beside(self._two(seen.core), 1)
        else:
            core = self._beside(self._two(seen.core), 2)
        rest: Node | None = None
        pairs: list[tuple[Node, Node]] = []
        for term in _terms(core):
            pair = self._separated(term)
            if pair is not None and all(isinstance(vector, Node) for vector in pair):
                pairs.append(pair)
            elif rest is None:
                rest = term
            else:
                rest = self._emit(aten.add.Tensor, (rest, term), shape)
        return rest, tuple(pairs)

    def _separated(self, grid: Node) -> tuple[Any, Any] | None:
        """The vectors over outer and inner whose product the grid is: a vector, a number, or None
        for 1."""
        if grid.target is aten.unsqueeze.default and _is_rows(grid):
            vector: Any = grid.args[0]
            return (vector, None) if grid.args[1] == 2 else (None, vector)
        if grid.target not in (aten.mul.Tensor, aten.mul.Scalar) or not _is_rows(grid):
            return None
        parts: list[tuple[Any, Any]] = []
        for arg in grid.args:
            if isinstance(arg, Node) and _is_rows(arg):
                part = self._separated(arg)
                if part is None:
                    return None
                parts.append(part)
            elif isinstance(arg, int | float):
                parts.append((arg, None))
            else:
                return None
        (a, b), (c, d) = parts
        return self._times(a, c), self._times(b, d)

    def _times(self, a: Any, b: Any) -> Any:
        if a is None or b is None:
            return b if a is None else a
        if not isinstance(a, Node):
            a, b = b, a
        if not isinstance(a, Node):
            return a * b
        shapes = [v.meta["val"].shape for v in (a, b) if isinstance(v, Node)]
        return self._emit(aten.mul.Tensor, (a, b), max(shapes, key=lambda s: s[1]))


def _terms(grid: Node) -> list[Node]:
    """The grids whose sum the grid is."""
    args: Any = grid.args
    is_sum = grid.target is aten.add.Tensor and not grid.kwargs
    if is_sum and all(isinstance(arg, Node) and _is_rows(arg) for arg in args):
        return [term for arg in args for term in _terms(arg)]
    return [grid]


def _is_rows(node: Node) -> bool:
    shape = node.meta["val"].shape
    return len(shape) > 0 and shape[0] == ROWS


def _shape(cores: Sequence[Node]) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*(core.meta["val"].shape for core in cores)))


def _flat(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [leaf for value in values for leaf in _flat(value)]
    return [values]


def _check_sizes(node: Node) -> None:
    """Raise if the sizes of memory got where the kernel does not take them from memory."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor) or not value.ndim:
        return
    sizes = value.shape[1:] if value.shape[0] == ROWS else value.shape
    turned = len(sizes) == 2 and node.target is aten.permute.default
    if any(size >= ROWS and not is_extent(size) for size in sizes) and not turned:
        raise unsupported(node, "it depends on the size of a memory")
    if value.shape[0] != ROWS and any(is_extent(size) for size in sizes):
        raise unsupported(node, "it depends on the size of a memory")
    parts = node.target in (aten.cat.default, aten.slice.Tensor, operator.getitem)
    if parts and any(
        is_extent(n.meta["val"].shape[-1])
        for n in node.all_input_nodes
        if "val" in n.meta and isinstance(n.meta["val"], Tensor)
    ):
        raise unsupported(node, "some positions of a memory")
