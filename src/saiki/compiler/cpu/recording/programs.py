"""What a recorder sees, as programs like those of loops, each bound to where its tensors lie."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from saiki.compiler.backend import Place, Walk
from saiki.compiler.cpu import threads
from saiki.compiler.cpu.emit import emit_all
from saiki.compiler.cpu.jit import Compiled, compiled
from saiki.compiler.cpu.loop import CompiledLoop
from saiki.compiler.cpu.machine import machine
from saiki.compiler.cpu.product import packing
from saiki.compiler.cpu.threads import Job
from saiki.compiler.plan.program import Array, Grid, Loop, Product, Program, Stage, Store, Value
from saiki.compiler.trace.nodes import ROWS, Node, aten, fold_amax, fold_amin, fold_sum
from saiki.errors import CompileError

COPY = aten._to_copy.default
REDUCTIONS: dict[str, tuple[Any, Any]] = {
    "sum": (aten.sum.dim_IntList, fold_sum),
    "amax": (aten.amax.default, fold_amax),
    "amin": (aten.amin.default, fold_amin),
}
"""Over the features of each row, and over the outer ones of a vector seen as a grid."""
Operand = tuple[Tensor, Sequence[int]]
"""Where the first row is, and how far it is from one to the next along each dimension of rows."""


class Where(NamedTuple):
    """Numbers of a memory, along the dimensions of a group."""

    memory: int
    begin: int
    end: int
    strides: tuple[int, ...]

    def clashes(self, other: "Where") -> bool:
        """Whether some numbers may be in both, and not at the same places."""
        overlap = self.begin < other.end and other.begin < self.end
        return self.memory == other.memory and overlap and self != other


@dataclass
class Work:
    """A program for all rows, as many as the last of the sizes, at each place of the others.

    Args:
        kind: equal for all that have the same program.
        operands: what the first arrays of the program are.
    """

    kind: Any
    program: Callable[[], Program]
    sizes: Sequence[int]
    operands: Sequence[Operand]
    weights: Sequence[Tensor] = ()

    def jobs(self, loop: CompiledLoop) -> Iterator[Job]:
        *outer, rows = self.sizes or [1]
        walk = Walk(torch.tensor([0]), torch.tensor([rows]), 1, (1,) * rows)
        for index in product(*map(range, outer)):
            where = {}
            for array, (tensor, strides) in zip(loop.program.arrays, self.operands, strict=False):
                *apart, step = strides or [0]
                at = sum(i * stride for i, stride in zip(index, apart, strict=True))
                at += int(tensor.storage_offset())
                where[array] = Place(tensor.as_strided((1, 1), (step, 1), at))
            yield loop.bind(where, self.weights, walk, {})

    @cached_property
    def touched(self) -> tuple[list[Where], list[Where]]:
        """What is read, and the last operand, which is written."""
        *read, written = (_where(tensor, ()) for tensor, _ in self.operands)
        return [*read, *(_where(weight, ()) for weight in self.weights)], [written]


class Group:
    """Pointwise operations over the same dimensions, which become one program, and sums of what
    they yield."""

    def __init__(self, sizes: Sequence[int], in_rows: bool) -> None:
        self.sizes, self.in_rows = sizes, in_rows
        self.width = sizes[-1] if in_rows else 1
        self.graph = fx.Graph()
        self.reads: dict[Where, Node] = {}
        self.writes: dict[Where, Node] = {}
        self.sums: dict[Where, Node] = {}
        self.tensors: dict[Where, Tensor] = {}

    @property
    def touched(self) -> tuple[list[Where], list[Where]]:
        return [*self.reads], [*self.writes, *self.sums]

    def suits(self, sizes: Sequence[int], in_rows: bool, to: Where, of: Sequence[Where]) -> bool:
        """Whether an operation can be one more: what one of them writes, others read and write at
        the same place alone."""
        read, written = self.touched
        return (
            (self.sizes, self.in_rows) == (sizes, in_rows)
            and not any(map(to.clashes, (*read, *written)))
            and not any(own.clashes(each) for each in written for own in of)
        )

    def read(self, where: Where) -> Node:
        node = self.writes.get(where) or self.reads.get(where)
        if node is None:
            node = self.reads[where] = _leaf(self.graph, self.features(where))
        return node

    def features(self, where: Where) -> int:
        """One, where the same number is beside all features of a row."""
        return self.width if where.strides[-1] else 1

    def sum(self, name: str, of: Where, to: Where, result: Tensor) -> None:
        """The reduction of that name over the features of each row."""
        node = self.graph.call_function(REDUCTIONS[name][0], (self.writes[of], [1], True))
        self.sums[to], self.tensors[to] = _valued(node, 1), result

    def work(self) -> Work:
        rows = slice(-1 if self.in_rows else None)
        ends = [(where, where.strides[rows]) for where in (*self.reads, *self.writes)]
        ends += [(where, where.strides) for where in self.sums]
        operands = [(self.tensors[where], strides) for where, strides in ends]
        return Work(self._kind, self._program, self.sizes[rows], operands)

    def _program(self) -> Program:
        reads = {n: Array("read", "row", self.features(w)) for w, n in self.reads.items()}
        writes = {n: Array("written", "row", self.width) for n in self.writes.values()}
        sums = {n: Array("sum", "row", 1) for n in self.sums.values()}
        stores = [Store(node, array) for node, array in writes.items()]
        loop = Loop(self.width, stores, [*sums.items()])
        return _program(reads, writes | sums, Stage(loops=[loop]))

    @property
    def _kind(self) -> str:
        order = {node: i for i, node in enumerate(self.graph.nodes)}
        described = [
            (str(n.target), map_arg((n.args, n.kwargs), lambda m: order[m]), str(n.meta["val"]))
            for n in order
        ]
        ends = [[order[n] for n in of.values()] for of in (self.reads, self.writes, self.sums)]
        return f"{described} {ends}"


class Programs:
    """Writes what happens as programs.

    Args:
        dtype: of all numbers; flags are 0 and 1 here.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._items: list[Group | Work | Job] = []
        """In an order that has the same results."""

    def job(self, job: Job) -> None:
        """A loop of a compiled cell."""
        self._items.append(job)

    def compile(
        self, inputs: Sequence[Tensor]
    ) -> tuple[list[tuple[int, ...]], list[tuple[Any, int]], object]:
        """All as pieces of :mod:`saiki.compiler.cpu.threads`; where each of the inputs, which are
        copied first of all, is pointed to, by table and place; and what the pieces point to."""
        items = [item.work() if isinstance(item, Group) else item for item in self._items]
        works = {item.kind: item for item in items if isinstance(item, Work)}
        loops = {kind: CompiledLoop(work.program(), self.dtype) for kind, work in works.items()}
        pack = packing(self.dtype, machine()).pack
        threads.meeting(machine())
        programs = [loop.program for loop in loops.values()]
        code = compiled(
            f"recording {self.dtype} {[*works]}",
            lambda: emit_all(programs, self.dtype, machine()),
            machine(),
            "addresses",
        )
        addresses = (ctypes.c_int64 * len(loops))()
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address)(addresses)
        for loop, address in zip(loops.values(), addresses, strict=True):
            loop.compiled = Compiled(code.run, address)
        jobs: list[Job] = []
        pieces: list[tuple[int, ...]] = []
        for item in items:
            jobs += [item] if isinstance(item, Job) else item.jobs(loops[item.kind])
        for job in jobs:
            for weight, ready in job.packed():
                lies = weight.data_ptr(), ready.data_ptr(), 0, 0
                pieces.append((pack.address, *lies, *weight.stride(), *weight.shape))
            pieces += [(job.compiled.address, *piece) for piece in job.pieces(0, len(job.tiles))]
        tables = [job.alive[-1] for job in jobs]
        slots = [
            next((t, i) for t in tables for i, at in enumerate(t) if at == tensor.data_ptr())
            for tensor in inputs
        ]
        return pieces, slots, (code, jobs)

    def _seek(
        self, to: Where, of: Sequence[Where], suits: Callable[[Group], bool]
    ) -> tuple[int, Group | None]:
        """The last group that can do what writes and reads there, or the first place where another
        one can be."""
        at = len(self._items)
        for item in reversed(self._items):
            if isinstance(item, Group) and suits(item):
                return at, item
            if isinstance(item, Job):
                break
            read, written = item.touched
            pairs = [(to, read), (to, written), *((each, written) for each in of)]
            if any(one == other or one.clashes(other) for one, others in pairs for other in others):
                break
            at -= 1
        return at, None

    def pointwise(self, target: Any, args: Any, kwargs: Any, result: Tensor, flag: bool) -> None:
        """``result`` ← ``target(*args)``, of numbers and of tensors of its shape."""
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        order = sorted(range(result.ndim), key=lambda d: result.stride()[d], reverse=True)
        sizes, strides = places(
            [result.shape[d] for d in order],
            *([t.stride(d) for d in order] for t in (result, *tensors)),
        )
        in_rows = all(steps[-1] <= 1 for steps in strides)
        if not in_rows:  # one number a row: as many of them at a time as can be
            longest = sizes.index(max(sizes))
            for each in (sizes, *strides):
                each.append(each.pop(longest))
        to, *of = map(_where, (result, *tensors), strides)
        if any(map(to.clashes, of)):
            raise CompileError(f"{target} reads what it writes")
        at, group = self._seek(to, of, lambda g: g.suits(sizes, in_rows, to, of))
        if group is None:
            group = Group(sizes, in_rows)
            self._items.insert(at, group)
        group.tensors |= zip((to, *of), (result, *tensors), strict=True)
        nodes = map(group.read, of)
        taken = tuple(next(nodes) if isinstance(arg, Tensor) else arg for arg in args)
        node = _valued(group.graph.call_function(target, taken, kwargs), group.width)
        if flag:
            node = _valued(group.graph.call_function(COPY, (node,)), group.width, torch.bool)
        group.writes[to] = node

    def copy(self, tensor: Tensor) -> Tensor:
        """The same numbers in one piece."""
        result = torch.empty(tensor.shape, dtype=self.dtype)
        self.pointwise(COPY, (tensor,), {}, result, False)
        return result

    def reduction(self, name: str, x: Tensor, over: Sequence[int], result: Tensor) -> None:
        """``result`` ← the sum, ``amax`` or ``amin`` over some dimensions, each of size 1 in it."""
        remaining = [d for d in range(x.ndim) if d not in over]
        sizes, (to, of) = places(
            [x.shape[d] for d in remaining],
            [result.stride(d) for d in remaining],
            [x.stride(d) for d in remaining],
        )
        (size, *more), ((step, *_),) = places(
            [x.shape[d] for d in over], [x.stride(d) for d in over]
        )
        is_grid = not more and (to[-1], of[-1], step) == (1, 1, sizes[-1])
        if not is_grid and (more or step > 1):
            last = [d for d in remaining[-1:] if x.stride(d) == 1]
            order = [*remaining[: len(remaining) - len(last)], *over, *last]
            inside = range(len(remaining) - len(last), x.ndim - len(last))
            self.reduction(name, self.copy(x.permute(order)), inside, result.permute(order))
            return
        if not is_grid:
            whole = [*(n for n in sizes if n > 1), size]
            source = _where(x, [*(of if sizes != [1] else []), 1])
            target = _where(result, to if sizes != [1] else [])
            _, group = self._seek(
                target,
                [source],
                lambda g: g.suits(whole, True, target, [source]) and source in g.writes,
            )
            if group is not None:
                group.sum(name, source, target, result)
                return
        width = sizes[-1] if is_grid else 1

        def program() -> Program:
            graph, target = fx.Graph(), Array("written", "row", width)
            source, leaf = Array("read", "row", size * width), _leaf(graph, size * width)
            of_rows, of_grids = REDUCTIONS[name]
            if is_grid:
                node = graph.call_function(of_grids, (leaf, size, width, 0))
                grid = Grid(size, width, {leaf: (source, 0)}, over_outer=[(node, target)])
                stage = Stage(grids=[grid])
            else:
                node = graph.call_function(of_rows, (leaf, [1], True))
                stage = Stage(loops=[Loop(size, sums=[(node, target)])])
            return _program({leaf: source}, {_valued(node, width): target}, stage)

        rows = slice(-1 if is_grid else None)
        operands = (x, of[rows]), (result, to[rows])
        self._items.append(Work((name, size, width, is_grid), program, sizes[rows], operands))

    def product(self, left: Tensor, right: Tensor, added: Tensor | None, result: Tensor) -> None:
        """``result`` ← ``left · right + added``, matrices or as many as the first size says."""
        if result.ndim == 3:
            for i in range(len(result)):
                self.product(left[i], right[i], None if added is None else added[i], result[i])
            return
        rows, width, inner = *result.shape, left.shape[1]
        if width < machine().lanes(self.dtype) <= rows:  # rows rather than columns
            turned = torch.empty(width, rows, dtype=self.dtype)
            self.product(right.t(), left.t(), None, turned)
            more = (turned.t(),) if added is None else (turned.t(), added)
            self.pointwise(COPY if added is None else aten.add.Tensor, more, {}, result, False)
            return
        is_column = inner > 1 and left.stride(1) != 1
        if is_column and rows > 1 and left.stride(0) != 1:
            left, is_column = self.copy(left), False
        if added is not None and added.stride(1) not in (0, 1):
            added = self.copy(added)
        added_width = 0 if added is None else width if added.stride(1) else 1

        def program() -> Program:
            graph = fx.Graph()
            source = Array("left", "column" if is_column else "row", inner)
            weight, target = Array("right", "weight", width, inner), Array("product", "row", width)
            factors = _leaf(graph, inner), _leaf(graph, width)
            reads = {factors[0]: source}
            node = _valued(graph.call_function(aten.mm.default, factors), width)
            stage = Stage([Product(node, source, 0, weight, target)])
            end = node
            if added_width:
                more = _leaf(graph, added_width)
                reads[more] = Array("added", "row", added_width)
                end = _valued(graph.call_function(aten.add.Tensor, (node, more)), width)
            written = Array("written", "row", width)
            stage.loops.append(Loop(width, [Store(end, written)]))
            made = _program(reads, {end: written}, stage)
            made.arrays += [weight, target]
            made.values[node] = Value((target,), 0, 0)
            made.temporaries.append(target)
            made.parameters[factors[1]] = weight
            return made

        operands = [(left, [left.stride(1 if is_column else 0)])]
        operands += [] if added is None else [(added, [added.stride(0)])]
        operands.append((result, [result.stride(0)]))
        kind = inner, width, is_column, added_width
        self._items.append(Work(kind, program, [rows], operands, [right]))


def places(shape: Sequence[int], *all_strides: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """The sizes and strides of as few dimensions as go through the same places in the same order
    of all that lie so; one at least."""
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in all_strides]
    for size, *steps in zip(shape, *all_strides, strict=True):
        if size == 1:
            continue
        pairs = zip(strides, steps, strict=True)
        if sizes and all(known[-1] == step * size for known, step in pairs):
            sizes[-1] *= size
            for known, step in zip(strides, steps, strict=True):
                known[-1] = step
        else:
            sizes.append(size)
            for known, step in zip(strides, steps, strict=True):
                known.append(step)
    return (sizes, strides) if sizes else ([1], [[0] for _ in strides])


def _where(tensor: Tensor, strides: Sequence[int]) -> Where:
    begin = int(tensor.storage_offset())
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    end = begin + 1 + sum((size - 1) * step for size, step in steps)
    return Where(tensor.untyped_storage().data_ptr(), begin, end, tuple(strides))


def _program(reads: dict[Node, Array], writes: dict[Node, Array], stage: Stage) -> Program:
    values = {node: Value((array,), 0, 0) for node, array in reads.items()}
    return Program([*reads.values(), *writes.values()], [stage], values)


def _leaf(graph: fx.Graph, features: int) -> Node:
    return _valued(graph.placeholder("read"), features)


def _valued(node: Node, features: int, dtype: torch.dtype = torch.float32) -> Node:
    node.meta["val"] = torch.empty(ROWS, features, dtype=dtype, device="meta")
    return node
