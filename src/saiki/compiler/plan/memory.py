"""Memory: what a step does with it, as work over one or two features of each row.

Views, transpositions and products of matrices of single rows are written anew as pointwise work on
``(rows, outer, inner)`` and sums over either feature. So ``keys[s] · h`` is a product of ``keys``
and ``h`` beside every key, summed over the inner feature, and a kernel never writes a grid down.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from saiki.compiler.plan.cores import (
    PLAIN,
    Cores,
    Group,
    Seen,
    common_shape,
    is_rows,
    memory_gradient,
)
from saiki.compiler.trace import nodes
from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.nodes import ROWS, Node, aten
from saiki.errors import CompileError


def lower_memory(trace: Trace) -> Trace:
    """See all that memory takes part in as vectors and grids.

    Raises:
        CompileError: the step does what cannot be written so.
    """
    return _Lowering(trace).result()


class _Lowering:
    """Goes through a trace once, in order."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.graph = trace.graph
        self.cores = Cores(trace.graph)
        self.cores.inside |= set(trace.memory.values())

    def result(self) -> Trace:
        for node in self.trace.memory.values():
            if node.meta["val"].ndim > 3:
                raise CompileError(
                    f"the memory {node.meta['label']!r} has more than two sizes above 1"
                )
            if node.meta["val"].ndim == 3:
                shape = tuple(node.meta["val"].shape)
                self.cores.seen[node] = Seen(node, ((0,), (1,), (2,)), shape)
        for node in list(self.graph.nodes):
            if node.op != "call_function":
                continue
            if any(source in self.cores.inside for source in node.all_input_nodes):
                self.cores.inside.add(node)
            if self._concerns(node):
                self.cores.here = node
                try:
                    self._lower(node)
                except CompileError:
                    if node in self.cores.inside:
                        raise
        return self._lowered()

    def _lowered(self) -> Trace:
        """The trace over the graph as it now is, with the gradients of memory in their parts."""
        t = self.trace
        self.cores.here = output = t.output
        results = t.results
        first = 2 * len(t.states) + 1
        outer: dict[str, tuple[tuple[Node, Node], ...]] = {}
        for i, name in enumerate(t.memory, first):
            results[i], outer[name] = memory_gradient(self.cores, results[i])
        vectors = [node for pairs in outer.values() for pair in pairs for node in pair]
        output.args = ((*results, *vectors),)
        self.graph.eliminate_dead_code()
        for node in self.graph.nodes:
            _check_sizes(node)
        return t.rewritten(outer=outer)

    def _concerns(self, node: Node) -> bool:
        """Whether the node has, or takes, a shape that a vector of features lacks."""
        if any(source in self.cores.seen for source in node.all_input_nodes):
            return True
        parts: Any = node.args[0] if node.target is operator.getitem else None
        if parts is not None and parts.args[0] in self.cores.seen:
            return True
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or not value.ndim:
            return False
        return value.shape[0] >= ROWS and (value.ndim > 2 or value.shape[0] > ROWS)

    def _lower(self, node: Node) -> None:
        target: Any = node.target
        args: Any = node.args
        if target is aten.split_with_sizes.default:
            return
        lowered: Seen | Node
        if target in nodes.CONSTANTS:
            lowered = self.cores.view(node)
        elif target in PLAIN:
            lowered = self._pointwise(node)
        elif target in nodes.SUMS:
            dims = args[1] if len(args) > 1 else []
            lowered = self._reduce(node, self.cores.view(args[0]), dims, len(args) > 2 and args[2])
        elif target is aten.bmm.default:
            a, b = map(self.cores.view, args)
            left = Seen(a.core, (*a.dims, ()), (*a.shape, 1))
            right = Seen(b.core, (b.dims[0], (), *b.dims[1:]), (b.shape[0], 1, *b.shape[1:]))
            lowered = self._reduce(node, self._multiply(node, left, right), [2], False)
        elif target is aten.mm.default:
            lowered = self._mm(node, *map(self.cores.view, args))
        else:
            lowered = self._reshaped(node)
        self._settle(node, lowered)

    def _settle(self, node: Node, lowered: Seen | Node) -> None:
        """Let ``lowered`` take the place of ``node``."""
        if isinstance(lowered, Node):
            node.replace_all_uses_with(lowered)
            return
        shape = node.meta["val"].shape
        if len(shape) <= 2 and shape[0] == ROWS and lowered.features <= 1:
            node.replace_all_uses_with(self.cores.written(lowered, tuple(shape)))
        else:
            self.cores.seen[node] = lowered

    def _pointwise(self, node: Node) -> Seen:
        shape = node.meta["val"].shape
        operands = []
        for seen in (self.cores.view(arg) for arg in node.args if isinstance(arg, Node)):
            missing = len(shape) - len(seen.dims)
            operands.append(
                Seen(seen.core, ((),) * missing + seen.dims, (1,) * missing + seen.shape)
            )
        cores, see = self.cores.align(node, operands)
        sources = iter(cores)
        args = tuple(next(sources) if isinstance(arg, Node) else arg for arg in node.args)
        dtype = node.meta["val"].dtype
        core = self.cores.emit(node.target, args, common_shape(cores), dtype, dict(node.kwargs))
        return see(core, shape)

    def _multiply(self, node: Node, a: Seen, b: Seen) -> Seen:
        cores, see = self.cores.align(node, [a, b])
        shape = [max(m, n) for m, n in zip(a.shape, b.shape, strict=True)]
        dtype = node.meta["val"].dtype
        return see(
            self.cores.emit(aten.mul.Tensor, tuple(cores), common_shape(cores), dtype), shape
        )

    def _reduce(self, node: Node, seen: Seen, dims: Sequence[int], keep: bool) -> Seen | Node:
        target = node.target if node.target in nodes.SUMS else aten.sum.dim_IntList
        count = len(seen.dims)
        over = {d % count for d in dims} if dims else set(range(count))
        core, groups = seen.core, list(seen.dims)
        scale = 1
        for d in over:
            if not groups[d] and seen.shape[d] > 1 and target is aten.sum.dim_IntList:
                scale *= seen.shape[d]
        if scale >= ROWS:
            raise nodes.unsupported(node, "it depends on the size of a memory")
        axes = sorted((axis for d in over for axis in groups[d]), reverse=True)
        if axes and not is_rows(core):
            raise nodes.unsupported(node, "a reduction that is not over the features")
        for axis in (axis for axis in axes if axis):
            core = self.cores.two(core)
            shape = list(core.meta["val"].shape)
            if len(shape) == 3:
                del shape[axis]
                core = self.cores.emit(target, (core, [axis]), shape)
            else:
                core = self.cores.emit(target, (core, [1], True), (ROWS, 1))
            groups = [tuple(a - (a > axis) for a in group if a != axis) for group in groups]
        if scale > 1:
            core = self.cores.emit(aten.mul.Tensor, (core, scale), core.meta["val"].shape)
        if 0 in axes:
            return self._over_rows(node, core)
        remaining = [d for d in range(count) if keep or d not in over]
        return Seen(
            core,
            tuple(() if d in over else groups[d] for d in remaining),
            tuple(1 if d in over else seen.shape[d] for d in remaining),
        )

    def _over_rows(self, node: Node, core: Node) -> Node:
        """The sum of a vector over all rows, in the shape of ``node``."""
        core = self.cores.two(core)
        shape = tuple(node.meta["val"].shape)
        if core.meta["val"].ndim > 2 or node.target in (aten.amax.default, aten.amin.default):
            raise nodes.unsupported(node, "a sum over rows of what memory is made of")
        size = core.meta["val"].shape[1]
        total = self.cores.emit(aten.sum.dim_IntList, (core, [0]), (size,))
        if math.prod(shape) != size:
            raise nodes.unsupported(node, "rows change their shape")
        if shape == (size,):
            return total
        return self.cores.emit(aten.view.default, (total, list(shape)), shape)

    def _mm(self, node: Node, a: Seen, b: Seen) -> Seen | Node:
        shape = node.meta["val"].shape
        whole = a.features <= 1 and b.features <= 1
        of_rows = is_rows(a.core), is_rows(b.core)
        if (
            whole
            and of_rows == (True, False)
            and a.dims[0] == (0,)
            and b.core.meta["val"].ndim == 2
        ):
            rows = self.cores.written(a, (ROWS, a.shape[1]))
            product = self.cores.emit(aten.mm.default, (rows, b.core), (ROWS, shape[1]))
            return Seen(product, ((0,), (1,) if shape[1] > 1 else ()), tuple(shape))
        if whole and of_rows == (True, True) and a.dims[1] == b.dims[0] == (0,):
            outer = self.cores.written(Seen(a.core, a.dims[::-1], a.shape[::-1]), (ROWS, shape[0]))
            inner = self.cores.written(b, (ROWS, shape[1]))
            turned = self.cores.emit(aten.permute.default, (outer, [1, 0]), (shape[0], ROWS))
            return self.cores.emit(aten.mm.default, (turned, inner), shape)
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
            return self._slice(node, self.cores.view(split.args[0]), dim, start)
        if target not in nodes.RESHAPES | {aten.permute.default, aten.slice.Tensor}:
            raise nodes.unsupported(node, "there is no kernel for it")
        seen = self.cores.view(args[0])
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
                dims = [g for d, g in enumerate(seen.dims) if d not in gone or seen.shape[d] > 1]
                return Seen(seen.core, tuple(dims), shape)
            case aten.expand.default:
                missing = len(shape) - len(seen.dims)
                return Seen(seen.core, ((),) * missing + seen.dims, shape)
            case aten.slice.Tensor:
                dim = args[1] if len(args) > 1 else 0
                size = seen.shape[dim]
                if len(args) > 4 and args[4] != 1:
                    raise nodes.unsupported(node, "a slice with a step")
                start, end, _ = slice(*(*args[2:4], None)[:2]).indices(size)
                if (start, end) == (0, size):
                    return seen
                return self._slice(node, seen, dim, start)
        raise nodes.unsupported(node, "there is no kernel for it")

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
            group = tuple(axis for _, axes in taken for axis in axes)
            if math.prod(n for n, _ in taken) != size or 0 < len(group) < len(taken):
                raise nodes.unsupported(node, "rows change their shape")
            groups.append(group)
        return tuple(groups)

    def _slice(self, node: Node, seen: Seen, dim: int, start: int) -> Seen:
        """Some features of a vector, as many as ``node`` has."""
        shape = tuple(node.meta["val"].shape)
        dim %= len(shape)
        size, group = shape[dim], seen.dims[dim]
        if not group and not nodes.is_extent(seen.shape[dim]):
            return Seen(seen.core, seen.dims, shape)
        if group != (1,) or seen.features > 1 or nodes.is_extent(seen.shape[dim]):
            raise nodes.unsupported(node, "some positions of a memory")
        core = self.cores.emit(aten.slice.Tensor, (seen.core, 1, start, start + size), (ROWS, size))
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
            seen = self.cores.view(part)
            size, group = seen.shape[dim], seen.dims[dim]
            others = [g for d, g in enumerate(seen.dims) if d != dim]
            is_vector = group == (1,) or (not group and size == 1)
            rest = [g for g in others if g]
            if (
                not is_vector
                or nodes.is_extent(size)
                or rest != [(0,)]
                or dims not in (None, others)
            ):
                raise nodes.unsupported(node, "parts that are not vectors of features")
            cores.append(self.cores.two(seen.core))
            dims = others
        assert dims is not None
        core = self.cores.emit(
            aten.cat.default, (cores, 1), (ROWS, shape[dim]), cores[0].meta["val"].dtype
        )
        dims.insert(dim, (1,))
        return Seen(core, tuple(dims), shape)


def _check_sizes(node: Node) -> None:
    """Raise if the sizes of memory got where the kernel does not take them from memory."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor) or not value.ndim:
        return
    sizes = value.shape[1:] if value.shape[0] == ROWS else value.shape
    turned = len(sizes) == 2 and node.target is aten.permute.default
    if any(size >= ROWS and not nodes.is_extent(size) for size in sizes) and not turned:
        raise nodes.unsupported(node, "it depends on the size of a memory")
    if value.shape[0] != ROWS and any(nodes.is_extent(size) for size in sizes):
        raise nodes.unsupported(node, "it depends on the size of a memory")
    parts = node.target in (aten.cat.default, aten.slice.Tensor, operator.getitem)
    if parts and any(
        nodes.is_extent(n.meta["val"].shape[-1])
        for n in node.all_input_nodes
        if "val" in n.meta and isinstance(n.meta["val"], Tensor)
    ):
        raise nodes.unsupported(node, "some positions of a memory")
