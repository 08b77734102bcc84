"""Flatten: features of any shape, wherever the rows stand, as vectors of features.

A step may see its state as heads, as a matrix, or with the rows in the middle. Each such tensor is
seen through a vector of features of each row (:mod:`saiki.compiler.plan.features`). What moves
entries about, as a transposition or a slice does, is done to the places of entries alone; work over
entries becomes work over features, a sum over some of them a fold, and a product of many matrices
several of one. No number is multiplied by 0 or 1 to move it.
"""

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.plan import features
from saiki.compiler.plan.cores import PLAIN
from saiki.compiler.plan.features import Features, Seen
from saiki.compiler.plan.partition import Parts
from saiki.compiler.trace import nodes
from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.nodes import ROWS, Node, aten
from saiki.errors import CompileError

PRODUCTS_AT_MOST = 64
"""Products of one matrix that one of many is made of."""


def flatten(trace: Trace) -> Trace:
    """See all that depends on the state as vectors of features, where that can be said; what cannot
    is left as it is, for the planner to refuse."""
    return _Flattening(trace).result()


def is_flat(trace: Trace) -> bool:
    """Whether the loops would hold vectors of features alone, and leave their order as it is."""
    parts = Parts(trace)
    needed = nodes.ancestors([*trace.new_states, *trace.recursion])
    in_loops = needed & (parts.of_state | parts.of_cotangent)
    return not any(map(_is_of_other_shape, in_loops))


class _Flattening:
    """Goes through a trace once, in order."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.features = Features(trace)
        self.emit = self.features.emit

    def result(self) -> Trace:
        f, t = self.features, self.trace
        for node in list(t.graph.nodes):
            if node.op != "call_function" or not f.inside.intersection(node.all_input_nodes):
                continue
            f.inside.add(node)
            f.here = node
            if _is_of_other_shape(node):
                try:
                    self._settle(node, self._lowered(node))
                except CompileError as error:
                    node.meta["refused"] = str(error)
        t.graph.eliminate_dead_code()
        return t.rewritten(constants=f.constants)

    def _settle(self, node: Node, lowered: Seen | Node) -> None:
        """Let ``lowered`` take the place of ``node``."""
        if isinstance(lowered, Node):
            node.replace_all_uses_with(lowered)
            return
        self.features.seen[node] = lowered
        shape = tuple(node.meta["val"].shape)
        if lowered.of_rows and shape[0] == ROWS and len(shape) <= 2:
            core = self.features.each(lowered, lowered.index)
            if len(shape) == 1:
                core = self.emit(aten.squeeze.dims, (core, [1]), shape)
            node.replace_all_uses_with(core)

    def _lowered(self, node: Node) -> Seen | Node:
        target: Any = node.target
        args: Any = node.args
        view = self.features.view
        if target in PLAIN:
            return self._pointwise(node)
        if target in nodes.SUMS:
            return self._reduced(node, view(args[0]), args[1] if len(args) > 1 else [])
        if target is aten.mm.default:
            a, b = (s.at(s.index, (1, *s.shape)) for s in map(view, args))
            return self._product(node, a, b)
        if target is aten.bmm.default:
            return self._product(node, *map(view, args))
        if target is aten.cat.default:
            return self._joined(node)
        if target in features.PUTS:
            return self._put(node)
        if target is operator.getitem and args[0].target is aten.split_with_sizes.default:
            split = args[0]
            seen, dim = view(split.args[0]), split.args[2] if len(split.args) > 2 else 0
            seen.keep_rows(node, [dim])
            part = seen.index.split(split.args[1], dim)[args[1]]
            return seen.at(part, node.meta["val"].shape)
        if target in features.MOVES:
            return self._moved(node)
        raise nodes.unsupported(node, "there is no kernel for it")

    def _moved(self, node: Node) -> Seen:
        """The same entries in other places."""
        target: Any = node.target
        args: Any = node.args
        seen, shape = self.features.view(args[0]), tuple(node.meta["val"].shape)
        if target is aten.view.default:
            return seen.viewed(node, shape)
        if target is aten.permute.default:
            return seen.permuted(args[1])
        if target is aten.expand.default:
            return seen.at(seen.index.expand(features.without_rows(shape)), shape)
        if target is aten.unsqueeze.default or (
            target is aten.slice.Tensor and shape == seen.shape
        ):
            return seen.at(seen.index, shape)
        seen.keep_rows(node, features.touched(node))
        rest = [self.features.constant(arg) if isinstance(arg, Node) else arg for arg in args[1:]]
        if target is aten.index.Tensor:
            places = [None if index is None else self.features.constant(index) for index in rest[0]]
            return seen.at(features.by_index(node, seen.index, places), shape)
        return seen.at(target(seen.index, *rest), shape)

    def _joined(self, node: Node) -> Seen:
        """Parts one after the other."""
        args: Any = node.args
        shape = tuple(node.meta["val"].shape)
        dim = (args[1] if len(args) > 1 else 0) % len(shape)
        parts = [self.features.view(part) for part in args[0]]
        row = features.common_row(node, [part for part in parts if part.row is not None])
        ahead = row.ahead
        if row.row == dim:  # all rows of one part, then all rows of the next
            if any(part.shape[dim] != ROWS for part in parts):
                raise nodes.unsupported(node, "rows meet other rows")
            ahead = len(parts)
        core, places = self.features.side_by_side(parts)
        return Seen(core, torch.cat(places, dim), shape, ahead)

    def _put(self, node: Node) -> Seen:
        """Some entries of one tensor in places of another."""
        args: Any = node.args
        f, shape = self.features, tuple(node.meta["val"].shape)
        is_index = node.target is aten.index_put.default
        base, part = f.view(args[0]), f.view(args[2 if is_index else 1])
        dtype = node.meta["val"].dtype
        core = self.emit(aten.scalar_tensor.default, (0,), (), dtype, {"dtype": dtype})
        zero = Seen(core, torch.zeros(1, dtype=torch.int64), (1,))
        if not is_index:
            base = features.common_row(node, [s for s in (base, part) if not s.is_number]).at(
                base.index, shape, base.core
            )
        base.keep_rows(node, features.touched(node))
        core, (of_base, of_part, of_zero) = f.side_by_side([base, part, zero])
        if not is_index:
            return base.at(features.put(node, of_base, of_part), shape, core)
        indices = [None if index is None else f.constant(index) for index in args[1]]
        met = features.by_index(node, torch.empty(shape, device="meta"), indices).shape
        if part.row is not None:
            features.common_row(node, [part, base.at(part.index, met)])
        first, *rest = features.put_by_index(node, of_base, of_part, int(of_zero), indices)
        total = base.at(first, shape, core)
        for index in rest:
            pair = [f.each(total, total.index), f.each(base.at(index, shape, core), index)]
            core_ = self.emit(aten.add.Tensor, tuple(pair), (ROWS, index.numel()))
            total = base.at(torch.arange(index.numel()), shape, core_)
        return total

    def _pointwise(self, node: Node) -> Seen:
        shape = tuple(node.meta["val"].shape)
        small = features.without_rows(shape)
        sources = [self.features.view(arg) for arg in node.args if isinstance(arg, Node)]
        row = features.common_row(node, [s for s in sources if s.row is not None])
        cores, index = self.features.meet(sources, small)
        if not any(map(nodes.is_row, cores)):
            raise nodes.unsupported(node, "all rows have it in common")
        operands = iter(cores)
        args = tuple(next(operands) if isinstance(arg, Node) else arg for arg in node.args)
        count = max(
            nodes.width(core) if nodes.is_row(core) else core.meta["val"].numel() for core in cores
        )
        dtype = node.meta["val"].dtype
        core = self.emit(node.target, args, (ROWS, count), dtype, dict(node.kwargs))
        return row.at(index if count > 1 else torch.zeros_like(index), shape, core)

    def _reduced(self, node: Node, seen: Seen, dims: Sequence[int]) -> Seen | Node:
        shape, ndim = tuple(node.meta["val"].shape), len(seen.shape)
        over = sorted({d % ndim for d in dims} if dims else range(ndim))
        if not seen.of_rows:
            raise nodes.unsupported(node, "all rows have it in common")
        if seen.row in over:
            return self._over_rows(node, seen, over)
        remaining = [d for d in range(ndim) if d not in over]
        index = seen.index.permute(*remaining, *over)
        index = index.reshape(math.prod(index.shape[: len(remaining)]), -1)
        return self._folded(node, node.target, seen, index, shape)

    def _folded(
        self, node: Node, target: Any, seen: Seen, index: Tensor, shape: tuple[int, ...]
    ) -> Seen:
        """A reduction over the last dimension of an index of ``(entries, those of each)``."""
        count, each = index.shape
        f, dtype = self.features, node.meta["val"].dtype
        place = torch.arange(count)
        if each == 1:
            if seen.core.meta["val"].dtype != dtype:
                raise nodes.unsupported(node, f"it yields {dtype}")
            return seen.at(index, shape)
        if count == 1:
            core = self.emit(target, (f.each(seen, index), [1], True), (ROWS, 1), dtype)
            return seen.at(place, shape, core)
        last, first = f.each(seen, index), f.each(seen, index.T)
        if nodes.is_take(first) and not nodes.is_take(last):
            core = self.emit(nodes.FOLDS[target], (last, count, each, 1), (ROWS, count), dtype)
        else:
            core = self.emit(nodes.FOLDS[target], (first, each, count, 0), (ROWS, count), dtype)
        return seen.at(place, shape, core)

    def _over_rows(self, node: Node, seen: Seen, over: Sequence[int]) -> Node:
        """The sum over all rows, and over some entries of each."""
        value = seen.core.meta["val"]
        if node.target is not aten.sum.dim_IntList or value.dtype == torch.bool:
            raise nodes.unsupported(node, "a reduction over rows")
        total = self.emit(aten.sum.dim_IntList, (seen.core, [0]), value.shape[1:])
        summed = self.features.matrix(Seen(total, seen.index, tuple(seen.index.shape)))
        shape = tuple(node.meta["val"].shape)
        small = [size for d, size in enumerate(seen.index.shape) if d not in over]
        if math.prod(small) < seen.index.numel():
            summed = self.emit(aten.sum.dim_IntList, (summed, list(over)), small)
        if tuple(summed.meta["val"].shape) != shape:
            summed = self.emit(aten.view.default, (summed, list(shape)), shape)
        return summed

    # products of (count, n, k) and (count, k, m)

    def _product(self, node: Node, a: Seen, b: Seen) -> Seen | Node:
        if a.is_number or b.is_number:
            raise nodes.unsupported(node, "all entries are the same number")
        if a.row in (0, 1) and b.row in (None, 0) and not b.of_rows:
            return self._by_matrices(node, a, b)
        if b.row in (0, 2) and a.row in (None, 0) and not a.of_rows:
            return self._by_matrices(node, b.permuted((0, 2, 1)), a.permuted((0, 2, 1)), True)
        if (a.row, b.row) == (0, 0):
            return self._by_rows(node, a, b)
        if (a.row, b.row) == (2, 1) and a.of_rows and b.of_rows:
            return self._gradient(node, a, b)
        raise nodes.unsupported(node, "a matrix product needs a parameter on its right")

    def _by_matrices(self, node: Node, a: Seen, b: Seen, turned: bool = False) -> Seen:
        """``a`` times ``b``, which all rows have in common."""
        count, n, _ = a.index.shape
        m = b.index.shape[2]
        if b.row is not None and b.ahead != a.ahead:
            raise nodes.unsupported(node, "rows meet other rows")
        if count * n > PRODUCTS_AT_MOST:
            raise nodes.unsupported(node, f"it is more than {PRODUCTS_AT_MOST} products")
        products = []
        for i in range(count):
            weight = self.features.matrix(Seen(b.core, b.index[i], tuple(b.index[i].shape)))
            for j in range(n):
                left = self.features.each(a, a.index[i, j])
                products.append(self.emit(aten.mm.default, (left, weight), (ROWS, m)))
        core = self.features.joined(products)
        index = torch.arange(count * n * m).view(count, n, m)
        product = a.at(index, (*a.shape[:2], m), core)
        if turned:
            product = product.permuted((0, 2, 1))
        return product.at(product.index, node.meta["val"].shape)

    def _by_rows(self, node: Node, a: Seen, b: Seen) -> Seen:
        """Products of matrices of single rows: work over all their entries, and sums."""
        features.common_row(node, [a, b])
        count, n, k = a.index.shape
        m = b.index.shape[2]
        shape = count, n, m, k
        pair = [a.at(a.index[:, :, None], (a.shape[0], n, 1, k))]
        pair.append(b.at(b.index.mT[:, None], (b.shape[0], 1, m, k)))
        cores, index = self.features.meet(pair, shape)
        wide = max(map(nodes.width, cores))
        core = self.emit(aten.mul.Tensor, tuple(cores), (ROWS, wide))
        index = (index if wide > 1 else torch.zeros_like(index)).reshape(-1, k)
        terms = Seen(core, index, a.shape, a.ahead)
        product = self._folded(node, aten.sum.dim_IntList, terms, index, node.meta["val"].shape)
        return dataclasses.replace(product, ahead=a.ahead)

    def _gradient(self, node: Node, a: Seen, b: Seen) -> Node:
        """Products summed over all rows, of which gradients of parameters are made."""
        if a.ahead != b.ahead:
            raise nodes.unsupported(node, "rows meet other rows")
        count, n, each = a.index.shape
        m = b.index.shape[2]
        if count * each > PRODUCTS_AT_MOST:
            raise nodes.unsupported(node, f"it is more than {PRODUCTS_AT_MOST} products")
        totals = []
        for i in range(count):
            total: Node | None = None
            for j in range(each):
                left = self.features.each(a, a.index[i, :, j])
                right = self.features.each(b, b.index[i, j])
                turned = self.emit(aten.permute.default, (left, [1, 0]), (n, ROWS))
                product = self.emit(aten.mm.default, (turned, right), (n, m))
                if total is not None:
                    product = self.emit(aten.add.Tensor, (total, product), (n, m))
                total = product
            assert total is not None
            totals.append(total)
        if node.target is aten.mm.default:
            return totals[0]
        totals = [self.emit(aten.unsqueeze.default, (total, 0), (1, n, m)) for total in totals]
        return self.emit(aten.cat.default, (totals, 0), (count, n, m))


def _is_of_other_shape(node: Node) -> bool:
    """Whether an operation has, or takes, another shape than a vector of features, or moves
    features about."""
    if node.op != "call_function" or node.target in nodes.CONSTANTS | {
        aten.split_with_sizes.default
    }:
        return False
    source = nodes.operand(node) if node.target is operator.getitem else node
    shapes = [
        tuple(value.shape)
        for value in (n.meta.get("val") for n in (node, *source.all_input_nodes))
        if isinstance(value, Tensor) and features.has_rows(value.shape)
    ]
    if any(len(shape) > 2 or shape[0] != ROWS for shape in shapes):
        return True
    steps = node.target is aten.slice.Tensor and len(node.args) > 4 and node.args[4] != 1
    return bool(shapes) and bool(steps or node.target in _OF_VECTORS)


_OF_VECTORS = features.PUTS | {
    aten.flip.default, aten.repeat.default, aten.index_select.default, aten.index.Tensor,
    aten.unfold.default, aten.diagonal.default, aten.permute.default,
}  # fmt: skip
"""What moves the features of a vector about, beside slices with a step."""
