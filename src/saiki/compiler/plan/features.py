"""Features: tensors of any shape through a vector of features of each row."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import map_arg

from saiki.compiler.plan.cores import Writer
from saiki.compiler.trace import nodes
from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.nodes import ROWS, Node, aten


def has_rows(shape: Iterable[int]) -> bool:
    """Whether rows are along one of the dimensions, alone or with entries of each."""
    return any(size and size % ROWS == 0 for size in shape)


def without_rows(shape: Iterable[int]) -> list[int]:
    """The shape for one row."""
    return [size // ROWS if size and size % ROWS == 0 else size for size in shape]


@dataclass(frozen=True)
class Seen:
    """A tensor through features of each row.

    Attributes:
        core: ``(rows, n)``, or ``(n,)`` where all rows have the same, or a number.
        index: of each entry of a row its feature, in the shape of the tensor for one row.
        shape: of the tensor.
        ahead: along the dimension of the rows, which may hold some entries of each, how many of
            them come before the next row is begun.
    """

    core: Node
    index: Tensor
    shape: tuple[int, ...]
    ahead: int = 1

    @property
    def of_rows(self) -> bool:
        """Whether the rows differ."""
        return nodes.is_row(self.core)

    @property
    def is_number(self) -> bool:
        return self.core.target in nodes.CONSTANTS

    @property
    def row(self) -> int | None:
        """The dimension of the rows."""
        return next((d for d, size in enumerate(self.shape) if has_rows([size])), None)

    def at(self, index: Tensor, shape: Sequence[int], core: Node | None = None) -> "Seen":
        """Other entries, or the same in other places, in a tensor of that shape."""
        return Seen(core or self.core, index.reshape(without_rows(shape)), tuple(shape), self.ahead)

    def permuted(self, order: Sequence[int]) -> "Seen":
        return self.at(self.index.permute(*order), [self.shape[d] for d in order])

    def viewed(self, node: Node, shape: tuple[int, ...]) -> "Seen":
        """The same entries in the same order, otherwise parted."""
        index = self.index.reshape(without_rows(shape))
        d, at = (_row(node, s) for s in (self.shape, shape))
        if d is None or at is None:
            return Seen(self.core, index, shape)
        before, outside = math.prod(self.shape[:d]) * self.ahead, math.prod(shape[:at])
        ahead = before // outside
        if before % outside or shape[at] // ROWS % ahead:
            raise nodes.unsupported(node, "rows change their shape")
        return Seen(self.core, index, shape, ahead)

    def keep_rows(self, node: Node, dims: Iterable[int]) -> None:
        """Raise if one of the dimensions is that of the rows."""
        if self.row in {d % len(self.shape) for d in dims}:
            raise nodes.unsupported(node, "rows meet other rows")


def _row(node: Node, shape: Sequence[int]) -> int | None:
    at = [d for d, size in enumerate(shape) if has_rows([size])]
    if len(at) > 1 or any(size % ROWS**2 == 0 for size in shape if size):
        raise nodes.unsupported(node, "rows meet other rows")
    return at[0] if at else None


def common_row(node: Node, seen: Sequence[Seen]) -> Seen:
    """One of several tensors, whose rows meet those of the others."""
    places = set()
    for s in seen:
        d = _row(node, s.shape)
        places.add(None if d is None else (d - len(s.shape), s.ahead, s.shape[d]))
    if len(places) != 1 or None in places:
        raise nodes.unsupported(node, "rows meet other rows")
    return seen[0]


class Features(Writer):
    """Writes features into the graph of a trace; ``inside`` is what depends on the state or the
    gradient by it, or may be done in the loop anyway."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.graph)
        self.constants = dict(trace.constants)
        inline = (n for n in trace.graph.nodes if nodes.is_inline(n, trace.inline_weights))
        self.inside |= {*trace.states, *trace.cotangents, *inline}
        self.seen: dict[Node, Seen] = {}
        self._places: dict[tuple[int, ...], Node] = {}

    def view(self, node: Node) -> Seen:
        """Any tensor through features."""
        if node in self.seen:
            return self.seen[node]
        value = node.meta["val"]
        shape = tuple(value.shape)
        small = without_rows(shape)
        if node.target in nodes.CONSTANTS:
            return Seen(self.number(node), torch.zeros(small, dtype=torch.int64), shape)
        count = math.prod(small)
        index, d = torch.arange(count).view(small), _row(node, shape)
        if d is None:
            if len(shape) != 1:
                node = self.emit(aten.view.default, (node, [count]), (count,))
            return Seen(node, index, shape)
        if shape[d] != ROWS:
            raise nodes.unsupported(node, "rows change their shape")
        if d:
            order = [d, *(other for other in range(len(shape)) if other != d)]
            node = self.emit(aten.permute.default, (node, order), [shape[i] for i in order])
        if len(shape) != 2:
            node = self.emit(aten.view.default, (node, [ROWS, count]), (ROWS, count))
        return Seen(node, index, shape)

    def constant(self, node: Node) -> Tensor:
        """The numbers of what is the same in all calls."""
        if node in self.constants:
            return self.constants[node]
        if node.op != "call_function" or has_rows(node.meta["val"].shape):
            raise nodes.unsupported(self.here, "an index that may be another in the next call")
        known = {source: self.constant(source) for source in node.all_input_nodes}
        args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)
        target: Any = torch.reshape if node.target is aten.view.default else node.target
        value: Tensor = target(*args, **kwargs)
        return value

    def some(self, seen: Seen, index: Tensor) -> Node:
        """Some features: as :meth:`each`, but one for all where they are the same, and what all
        rows have in common as ``(n,)`` or a number."""
        places = index.flatten().tolist()
        if seen.is_number:
            return seen.core
        if len(set(places)) == 1:
            places = places[:1]
        return self._select(seen, places)

    def each(self, seen: Seen, index: Tensor) -> Node:
        """Some features one by one, ``(rows, n)``."""
        places = index.flatten().tolist()
        shape = ROWS, len(places)
        if seen.is_number:
            return self.filled(seen.core, shape)
        if seen.of_rows and len(set(places)) == 1 < len(places):
            core = self._select(seen, places[:1])
            return self.emit(aten.expand.default, (core, list(shape)), shape)
        core = self._select(seen, places)
        if seen.of_rows:
            return core
        return self.emit(aten.expand.default, (core, list(shape)), shape)

    def matrix(self, seen: Seen) -> Node:
        """What all rows have in common, in the shape of its index."""
        core = self._select(seen, seen.index.flatten().tolist())
        shape = list(seen.index.shape)
        if list(core.meta["val"].shape) == shape:
            return core
        return self.emit(aten.view.default, (core, shape), shape)

    def _select(self, seen: Seen, places: list[int]) -> Node:
        core, count, dim = seen.core, len(places), int(seen.of_rows)
        shape = (ROWS, count) if dim else (count,)
        if core.meta["val"].ndim == 0:
            core = self.emit(aten.view.default, (core, [1]), (1,))
        while dim and (
            nodes.is_take(core) or (nodes.is_slice(core) and core.target is aten.slice.Tensor)
        ):
            if nodes.is_take(core):
                own = core.meta["places"]
                core, places = nodes.operand(core), [own[place] for place in places]
            else:
                core, start = nodes.sliced(core)
                places = [start + place for place in places]
        first = places[0]
        if _is_run(places):
            if count == core.meta["val"].shape[dim]:
                return core
            return self.emit(aten.slice.Tensor, (core, dim, first, first + count), shape)
        args = core, dim, self._constant_places(tuple(places))
        node = self.emit(aten.index_select.default, args, shape, core.meta["val"].dtype)
        if dim:
            node.meta["places"] = tuple(places)
        return node

    def _constant_places(self, places: tuple[int, ...]) -> Node:
        if places not in self._places:
            first = next(node for node in self.graph.nodes if node.op == "call_function")
            with self.graph.inserting_before(first):
                node = self.graph.placeholder(f"places_{len(self._places)}")
            node.meta["val"] = torch.empty(len(places), dtype=torch.int64, device="meta")
            self.constants[node] = torch.tensor(places)
            self._places[places] = node
        return self._places[places]

    def meet(self, seen: Sequence[Seen], shape: Sequence[int]) -> tuple[list[Node], Tensor]:
        """The features of tensors that meet entry by entry, in the order in which the fewest must
        be moved; and the place in it of each entry."""
        indices = [s.index.expand(*shape).flatten() for s in seen]
        plain = torch.arange(math.prod(shape))
        orders = [plain]
        for s, index in zip(seen, indices, strict=True):
            if s.of_rows and len(plain) == nodes.width(s.core) and index.sort().values.equal(plain):
                orders.append(index.argsort())

        def moved(order: Tensor) -> int:
            """How many of them have to be put into another order, and are not one for all."""
            listed = (index[order].tolist() for index in indices)
            return sum(len({*places}) > 1 and not _is_run(places) for places in listed)

        order = min(orders, key=moved)
        cores = [self.some(s, index[order]) for s, index in zip(seen, indices, strict=True)]
        return cores, order.argsort().view(*shape)

    def joined(self, cores: Sequence[Node]) -> Node:
        if len(cores) == 1:
            return cores[0]
        shape = ROWS, sum(map(nodes.width, cores))
        return self.emit(aten.cat.default, (list(cores), 1), shape)

    def side_by_side(self, seen: Sequence[Seen]) -> tuple[Node, list[Tensor]]:
        """The entries of several tensors one after the other, and where those of each lie."""
        cores = [self.each(s, s.index) for s in seen]
        *starts, _ = accumulate(map(nodes.width, cores), initial=0)
        places = [
            torch.arange(start, start + s.index.numel()).view(s.index.shape)
            for start, s in zip(starts, seen, strict=True)
        ]
        return self.joined(cores), places


def _is_run(places: Sequence[int]) -> bool:
    """Whether each place follows the one before."""
    return list(places) == list(range(places[0], places[0] + len(places)))


MOVES: set[Any] = {
    aten.view.default, aten.permute.default, aten.expand.default, aten.unsqueeze.default,
    aten.squeeze.dims, aten.slice.Tensor, aten.flip.default, aten.repeat.default,
    aten.unfold.default, aten.diagonal.default, aten.index_select.default, aten.index.Tensor,
}  # fmt: skip
"""What puts entries of a tensor into other places."""
PUTS: set[Any] = {
    aten.slice_scatter.default, aten.select_scatter.default, aten.diagonal_scatter.default,
    aten.index_put.default,
}  # fmt: skip
"""What puts entries of one tensor into places of another."""
ADDED_AT_MOST = 16
"""Entries that an index adds to one place."""


def touched(node: Node) -> Sequence[int]:
    """The dimensions along which a node moves entries."""
    args: Any = node.args
    match node.target:
        case aten.index.Tensor | aten.index_put.default:
            return [d for d, index in enumerate(args[1]) if index is not None]
        case aten.squeeze.dims | aten.flip.default:
            return list(args[1])
        case aten.repeat.default:
            missing = len(args[1]) - args[0].meta["val"].ndim
            return [d - missing for d, times in enumerate(args[1]) if times != 1 and d >= missing]
        case aten.diagonal.default:
            return (*args[1:], *(0, 0, 1)[len(args) - 1 :])[1:]
        case aten.diagonal_scatter.default:
            return (*args[2:], *(0, 0, 1)[len(args) - 2 :])[1:]
    start = 2 if node.target in PUTS else 1
    return [args[start] if len(args) > start else 0]


def by_index(node: Node, places: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    if any(i is not None and i.dtype == torch.bool for i in indices):
        raise nodes.unsupported(node, "flags as an index")
    indexed: Tensor = aten.index.Tensor(places, list(indices))
    return indexed


def put(node: Node, base: Tensor, part: Tensor) -> Tensor:
    """The places of what comes out."""
    target: Any = node.target
    merged: Tensor = target(base, part, *node.args[2:])
    return merged


def put_by_index(
    node: Node, base: Tensor, part: Tensor, zero: int, indices: Sequence[Tensor | None]
) -> list[Tensor]:
    """The places of what comes out, and of what is added to that; ``zero`` is a place of 0."""
    adds = bool((*node.args[3:], False)[0])
    where = by_index(node, torch.arange(base.numel()).view(base.shape), indices)
    entries: dict[int, list[int]] = {}
    for to, of in zip(
        where.flatten().tolist(), part.expand(where.shape).flatten().tolist(), strict=True
    ):
        entries.setdefault(to, []).append(of)
    most = max(map(len, entries.values()), default=0)
    if most > (ADDED_AT_MOST if adds else 1):
        raise nodes.unsupported(node, f"an index that names a place {most} times")
    rounds = [base] if adds else []
    for turn in range(most):
        others = base.flatten().tolist() if not adds else [zero] * base.numel()
        for to, of in entries.items():
            others[to] = of[turn] if turn < len(of) else zero
        rounds.append(torch.tensor(others).view(base.shape))
    return rounds or [base]
