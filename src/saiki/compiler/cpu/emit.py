"""Emit: a program as LLVM IR for the CPU, one function with the time loop around its stages.

Every row's arithmetic is written out operation by operation, with fused multiply-adds only where
products say so, and the order in which it sums depends on the sizes alone: so the bits of a row
depend neither on the number of threads nor on how rows are shared among them.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from llvmlite import ir
from torch import fx

from saiki.compiler.cpu import vmath
from saiki.compiler.nodes import (
    CONSTANTS,
    RESHAPES,
    is_extent,
    is_row,
    is_slice,
    sliced,
    unsupported,
    width,
)
from saiki.compiler.program import Array, Grid, Loop, Product, Program, Store

aten = torch.ops.aten
Node = fx.Node

INT = ir.IntType(64)
POINTER = ir.PointerType()
FLAG = ir.IntType(1)


@dataclass(frozen=True)
class Machine:
    """What the emitter must know of the processor."""

    name: str
    vector_bytes: int
    registers: int
    """Vector registers."""
    control: Literal["mxcsr", "fpcr"]
    """The register that says what becomes of numbers too small for full precision."""

    def lanes(self, dtype: torch.dtype) -> int:
        return self.vector_bytes // dtype.itemsize

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and vectors of the block of sums a product keeps in registers."""
        return (4, 4) if self.registers >= 32 else (4, 2)


SIGNATURE = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, POINTER, POINTER, INT, INT, INT, INT])
"""pointers, strides, offsets, counts, steps, first row, row after the last, row stride."""


def emit(program: Program, dtype: torch.dtype, machine: Machine) -> str:
    """The program as the text of an LLVM module with a function ``run``.

    It runs ``steps`` time steps for the rows from ``first`` to ``last``. At step s the rows
    below ``counts[s]`` take part, and row r of a "step" array lies at
    ``(offsets[s] + r · row_stride) · stride``. Behind the strides come the sizes of memory.

    Results below the smallest normal number, 1.2e-38 or 2.2e-308, become 0 inside: gradients that
    fade away would otherwise take the processor a hundred times as long as others.
    """
    return str(_Emitter(program, dtype, machine).module)


class _Emitter:
    def __init__(self, program: Program, dtype: torch.dtype, machine: Machine) -> None:
        self.program = program
        self.machine = machine
        self.lanes = machine.lanes(dtype)
        self.element = ir.FloatType() if dtype == torch.float32 else ir.DoubleType()
        self.size = dtype.itemsize
        self.module = ir.Module("saiki")
        self.products: dict[tuple[int, int], ir.Function] = {}
        self.uses: Counter[str] = Counter()
        function = ir.Function(self.module, SIGNATURE, "run")
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self._run(function)

    # control flow

    @contextmanager
    def loop(self, start: ir.Value, stop: ir.Value, by: int = 1) -> Iterator[ir.Value]:
        """``for (i = start; i < stop; i += by)`` around the block; yields i."""
        b = self.b
        body, end = b.append_basic_block("body"), b.append_basic_block("end")
        before = b.block
        b.cbranch(b.icmp_signed("<", start, stop), body, end)
        b.position_at_end(body)
        i = b.phi(INT)
        i.add_incoming(start, before)
        yield i
        following = b.add(i, INT(by))
        i.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, stop), body, end)
        b.position_at_end(end)

    def extent(self, features: int) -> ir.Value:
        """How many features there are: a number known now, or a size of memory."""
        return self.extents.get(features, INT(features))

    def below(self, size: ir.Value, by: int) -> ir.Value:
        """The largest multiple of ``by``, a power of 2, that is not above ``size``."""
        return self.b.and_(size, INT(-by))

    def chunks(self, features: int, first: int | None = None) -> Iterator[tuple[ir.Value, int]]:
        """Columns from ``first`` to ``features`` in runs of one vector, and the rest in ever
        shorter ones; one by one where their number is not known now."""
        if is_extent(features):
            size = self.extent(features)
            whole = self.below(size, self.lanes)
            start = INT(0) if first is None else self.below(size, first)
            with self.loop(start, whole, self.lanes) as column:
                yield column, self.lanes
            with self.loop(whole, size) as column:
                yield column, 1
            return
        whole = features - features % self.lanes
        begin = 0 if first is None else features - features % first
        if begin < whole:
            with self.loop(INT(begin), INT(whole), self.lanes) as column:
                yield column, self.lanes
        at, lanes = whole, self.lanes // 2
        while at < features:
            if features - at >= lanes:
                yield INT(at), lanes
                at += lanes
            lanes //= 2

    def blocks(self, features: int) -> Iterator[list[tuple[ir.Value, int]]]:
        """Columns in runs of some vectors side by side, then as :meth:`chunks`."""
        wide = BLOCK * self.lanes
        if is_extent(features) or features >= wide:
            with self.loop(INT(0), self.below(self.extent(features), wide), wide) as column:
                yield [(self.b.add(column, INT(i * self.lanes)), self.lanes) for i in range(BLOCK)]
        for chunk in self.chunks(features, wide):
            yield [chunk]

    # memory

    def vector(self, lanes: int) -> ir.Type:
        return self.element if lanes == 1 else ir.VectorType(self.element, lanes)

    def at(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        return self.b.gep(pointer, [index], source_etype=self.element)

    def load(self, pointer: ir.Value, lanes: int) -> ir.Value:
        return self.b.load(pointer, typ=self.vector(lanes), align=self.size)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        self.b.store(value, pointer, align=self.size)

    def splat(self, scalar: ir.Value, lanes: int) -> ir.Value:
        if lanes == 1:
            return scalar
        kind = ir.VectorType(scalar.type, lanes)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, INT(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def number(self, value: float, lanes: int) -> ir.Value:
        return vmath.Vector(self.b, ir.Constant(self.vector(lanes), None)).constant(value).value

    def elementary(self, name: str, operands: list[ir.Value]) -> ir.Value:
        """A function of :mod:`vmath`, written out; from its ``INLINED``-th use on it is called, for
        long steps would take long to compile."""
        kinds = [operand.type for operand in operands]
        name_here = f"{name}.{kinds[0]}"
        self.uses[name_here] += 1
        if self.uses[name_here] <= INLINED or name in ("sqrt", "rsqrt"):
            return getattr(vmath, name)(self.b, *operands)
        function = self.module.globals.get(name_here)
        if function is None:
            kind = ir.FunctionType(kinds[0], kinds)
            function = ir.Function(self.module, kind, name_here)
            function.linkage = "internal"
            function.attributes.add("noinline")
            b = ir.IRBuilder(function.append_basic_block("entry"))
            b.ret(getattr(vmath, name)(b, *function.args))
        return self.b.call(function, operands)

    def row(self, array: Array, r: ir.Value) -> ir.Value:
        """Where row ``r`` of the array begins at the present step."""
        i = self.program.arrays.index(array)
        pointer, stride = self.pointers[i], self.strides[i]
        match array.kind:
            case "step":
                at = self.b.add(self.offset, self.b.mul(r, self.row_stride))
                return self.at(pointer, self.b.mul(at, stride))
            case "row":
                return self.at(pointer, self.b.mul(r, stride))
        return pointer

    def row_step(self, array: Array) -> ir.Value:
        """From one row of the array to the next."""
        stride = self.strides[self.program.arrays.index(array)]
        return self.b.mul(stride, self.row_stride) if array.kind == "step" else stride

    # the function

    def _run(self, function: ir.Function) -> None:
        pointers, strides, offsets, counts, steps, first, last, self.row_stride = function.args
        b = self.b
        kept = self._flush()
        self.pointers, self.strides = [], []
        for i in range(len(self.program.arrays)):
            at = b.gep(pointers, [INT(i)], source_etype=POINTER)
            self.pointers.append(b.load(at, typ=POINTER))
            at = b.gep(strides, [INT(i)], source_etype=INT)
            self.strides.append(b.load(at, typ=INT))
        self.extents = {}
        for i, extent in enumerate(self.program.extents, len(self.program.arrays)):
            at = b.gep(strides, [INT(i)], source_etype=INT)
            self.extents[extent] = b.load(at, typ=INT)
        with self.loop(INT(0), steps) as s:
            self.offset = b.load(b.gep(offsets, [s], source_etype=INT), typ=INT)
            count = b.load(b.gep(counts, [s], source_etype=INT), typ=INT)
            end = b.select(b.icmp_signed("<", count, last), count, last)
            rows = b.sub(end, first)
            for stage in self.program.stages:
                for product in stage.products:
                    self._product(product, first, rows)
                for loop in stage.loops:
                    with self.loop(first, end) as r:
                        self._pointwise(loop, r, self.program.stages.index(stage))
                for grid in stage.grids:
                    with self.loop(first, end) as r:
                        self._over_inner(grid, r)
                        self._over_outer(grid, r)
            for source_array, target_array in self.program.copies:
                with self.loop(first, end) as r:
                    target = self.row(target_array, r)
                    for column, lanes in self.chunks(target_array.width):
                        value = ir.Constant(self.vector(lanes), None)
                        if source_array is not None:
                            value = self.load(self.at(self.row(source_array, r), column), lanes)
                        self.store(value, self.at(target, column))
        self._control(kept)
        b.ret_void()

    def _flush(self) -> ir.Value:
        """Let the processor take subnormal numbers for 0; what it did before."""
        b = self.b
        if self.machine.control == "fpcr":
            get = ir.Function(self.module, ir.FunctionType(INT, []), "llvm.aarch64.get.fpcr")
            kept = b.call(get, [])
            self._control(b.or_(kept, INT(1 << 24)))
            return kept
        self.word = b.alloca(ir.IntType(32))
        kind = ir.FunctionType(ir.VoidType(), [POINTER])
        b.call(ir.Function(self.module, kind, "llvm.x86.sse.stmxcsr"), [self.word])
        kept = b.load(self.word, typ=ir.IntType(32))
        self._control(b.or_(kept, ir.IntType(32)(0x8040)))
        return kept

    def _control(self, value: ir.Value) -> None:
        if self.machine.control == "fpcr":
            name, kind = "llvm.aarch64.set.fpcr", ir.FunctionType(ir.VoidType(), [INT])
        else:
            name, kind = "llvm.x86.sse.ldmxcsr", ir.FunctionType(ir.VoidType(), [POINTER])
            self.b.store(value, self.word)
            value = self.word
        known = self.module.globals.get(name)
        self.b.call(known or ir.Function(self.module, kind, name), [value])

    def _pointwise(self, loop: Loop, r: ir.Value, stage: int) -> None:
        sums = [self._start_sum(node) for node, _ in loop.sums]
        for column, lanes in self.chunks(loop.width):
            values = _Values(self, r, column, lanes, stage)
            results = [values.of(store.node) for store in loop.stores]
            for (node, _), total in zip(loop.sums, sums, strict=True):
                part = values.number(node.args[0], node.args[0], 0, False)
                self._add_to_sum(node, total, part, lanes)
            for store, result in zip(loop.stores, results, strict=True):
                self._store(store, result, r, column, lanes)
        for (node, array), total in zip(loop.sums, sums, strict=True):
            self.store(self._end_sum(node, total), self.row(array, r))

    def _store(
        self, store: Store, value: ir.Value, r: ir.Value, column: ir.Value, lanes: int
    ) -> None:
        at = self.at(self.row(store.array, r), self.b.add(column, INT(store.column)))
        if _is_flag(value):
            value = self.b.uitofp(value, self.vector(lanes))
        if store.accumulate:
            value = self.b.fadd(self.load(at, lanes), value)
        self.store(value, at)

    # grids

    def _over_inner(self, grid: Grid, r: ir.Value) -> None:
        """Sums over the inner feature, at some places of the outer one at a time."""
        if not grid.over_inner:
            return
        outer = self.extent(grid.outer)
        tiled = self.below(outer, BLOCK)
        for begin, end, height in ((INT(0), tiled, BLOCK), (tiled, outer, 1)):
            with self.loop(begin, end, height) as start:
                places = [self.b.add(start, INT(i)) for i in range(height)]
                sums = [
                    (place, node, array, self._start_sum(node))
                    for place in places
                    for node, array in grid.over_inner
                ]
                for column, lanes in self.chunks(grid.inner):
                    values = {p: _GridValues(self, grid, r, p, column, lanes) for p in places}
                    for place, node, _, totals in sums:
                        self._add_place(values[place], node, totals, lanes)
                for place, node, array, totals in sums:
                    self.store(self._end_sum(node, totals), self.at(self.row(array, r), place))

    def _over_outer(self, grid: Grid, r: ir.Value) -> None:
        """Sums over the outer feature, for some vectors of the inner one at a time, and what
        accumulates."""
        if not grid.over_outer and not grid.stores:
            return
        for block in self.blocks(grid.inner):
            sums = [
                (column, lanes, node, array, self._start(node, lanes))
                for column, lanes in block
                for node, array in grid.over_outer
            ]
            with self.loop(INT(0), self.extent(grid.outer)) as place:
                values = {
                    column: _GridValues(self, grid, r, place, column, lanes)
                    for column, lanes in block
                }
                for column, lanes, node, _, total in sums:
                    self._add_lanes(values[column], node, total, lanes)
                for store in grid.stores:
                    for column, lanes in block:
                        at = self.b.mul(place, self.extent(grid.inner))
                        result = values[column].number(store.node, store.node, 0, False)
                        self._store(store, result, r, self.b.add(at, column), lanes)
            for column, lanes, _, array, total in sums:
                result = self.b.load(total, typ=self.vector(lanes))
                self.store(result, self.at(self.row(array, r), column))

    def _add_place(
        self, values: "_GridValues", node: Node, totals: tuple[ir.Value, ir.Value], lanes: int
    ) -> None:
        if lanes == self.lanes:
            self._add_lanes(values, node, totals[0], lanes)
        else:
            source: Any = node.args[0]
            self._add_to_sum(node, totals, values.number(source, source, 0, False), lanes)

    def _add_lanes(self, values: "_GridValues", node: Node, total: ir.Value, lanes: int) -> None:
        """Each lane to a sum of its own; a product and its addition are one operation."""
        source: Any = node.args[0]
        before = self.b.load(total, typ=self.vector(lanes))
        if node.target is aten.sum.dim_IntList and source.target is aten.mul.Tensor:
            a, b = (
                vmath.Vector(self.b, values.number(source, arg, 0, False)) for arg in source.args
            )
            after = a.fma(b, vmath.Vector(self.b, before)).value
        else:
            after = self._combine(node, before, values.number(source, source, 0, False))
        self.b.store(after, total)

    # reductions: one total for whole vectors, one for the rest

    def _start_sum(self, node: Node) -> tuple[ir.Value, ir.Value]:
        return self._start(node, self.lanes), self._start(node, 1)

    def _start(self, node: Node, lanes: int) -> ir.Value:
        start = {aten.amax.default: -math.inf, aten.amin.default: math.inf}.get(node.target, 0.0)
        with self.b.goto_entry_block():
            total = self.b.alloca(self.vector(lanes))
        self.b.store(self.number(start, lanes), total)
        return total

    def _combine(self, node: Node, a: ir.Value, b: ir.Value) -> ir.Value:
        match node.target:
            case aten.amax.default:
                return _maximum(self.b, a, b)
            case aten.amin.default:
                return _minimum(self.b, a, b)
        return self.b.fadd(a, b)

    def _add_to_sum(
        self, node: Node, totals: tuple[ir.Value, ir.Value], part: ir.Value, lanes: int
    ) -> None:
        whole = lanes == self.lanes
        total = totals[0] if whole else totals[1]
        if not whole:
            part = self._across(node, part, lanes)
        kind = self.vector(self.lanes if whole else 1)
        self.b.store(self._combine(node, self.b.load(total, typ=kind), part), total)

    def _end_sum(self, node: Node, totals: tuple[ir.Value, ir.Value]) -> ir.Value:
        whole = self.b.load(totals[0], typ=self.vector(self.lanes))
        rest = self.b.load(totals[1], typ=self.element)
        return self._combine(node, self._across(node, whole, self.lanes), rest)

    def _across(self, node: Node, value: ir.Value, lanes: int) -> ir.Value:
        """The lanes of a vector combined two halves at a time."""
        while lanes > 1:
            lanes //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            halves = []
            for start in (0, lanes):
                mask = ir.Constant(
                    ir.VectorType(ir.IntType(32), lanes), list(range(start, start + lanes))
                )
                halves.append(self.b.shuffle_vector(value, undefined, mask))
            if lanes == 1:
                halves = [self.b.extract_element(half, INT(0)) for half in halves]
            value = self._combine(node, *halves)
        return value

    # matrix products

    def _product(self, product: Product, first: ir.Value, rows: ir.Value) -> None:
        """target ← source · weight for some rows, the weight packed by :func:`packing`.

        Columns go in blocks of some vectors, so that a block of the weight stays in the nearest
        cache while all rows pass; the target has room for whole vectors.
        """
        inner = product.weight.inner
        most = self.machine.tile[1]
        whole, rest = divmod(-(-product.weight.width // self.lanes), most)
        for vectors, begin, end in ((most, 0, whole), (rest, whole, whole + 1)):
            if vectors and begin < end:
                start = begin * most * self.lanes
                arguments = [
                    self.at(self.row(product.source, first), INT(product.column)),
                    self.row_step(product.source),
                    self.at(self.row(product.weight, first), INT(start * inner)),
                    self.at(self.row(product.target, first), INT(start)),
                    self.row_step(product.target),
                    rows,
                    INT(end - begin),
                ]
                self.b.call(self._blocks(inner, vectors), arguments)

    def _blocks(self, inner: int, vectors: int) -> ir.Function:
        """``blocks(a, a_step, w, c, c_step, rows, count)``: ``count`` blocks of columns of
        c ← a · w, one after the other."""
        if (inner, vectors) in self.products:
            return self.products[inner, vectors]
        kinds = [POINTER, INT, POINTER, POINTER, INT, INT, INT]
        function = ir.Function(
            self.module, ir.FunctionType(ir.VoidType(), kinds), f"blocks_{inner}_{vectors}"
        )
        function.linkage = "internal"
        function.attributes.add("noinline")
        for i in (0, 2, 3):
            function.args[i].add_attribute("noalias")
        self.products[inner, vectors] = function
        outside, self.b = self.b, ir.IRBuilder(function.append_basic_block("entry"))
        a, a_step, w, c, c_step, rows, count = function.args
        block = vectors * self.lanes
        with self.loop(INT(0), count) as i:
            at_w = self.at(w, self.b.mul(i, INT(inner * block)))
            at_c = self.at(c, self.b.mul(i, INT(block)))
            self._block(a, a_step, at_w, at_c, c_step, rows, inner, vectors)
        self.b.ret_void()
        self.b = outside
        return function

    def _block(
        self,
        a: ir.Value,
        a_step: ir.Value,
        w: ir.Value,
        c: ir.Value,
        c_step: ir.Value,
        rows: ir.Value,
        inner: int,
        vectors: int,
    ) -> None:
        """One block of columns for all rows, a slice of the inner size at a time: the first, others
        of its size in a loop, so that the code does not grow with the size, and the rest."""
        depth = max(16, CACHED // (vectors * self.lanes * self.size))
        whole = max(inner - inner % depth, min(inner, depth))

        def slice_at(start: ir.Value, size: int, add: bool) -> None:
            at_a = self.at(a, start)
            at_w = self.at(w, self.b.mul(start, INT(vectors * self.lanes)))
            height = self.machine.tile[0]
            tiled = self.b.mul(self.b.sdiv(rows, INT(height)), INT(height))
            for begin, end, step in ((INT(0), tiled, height), (tiled, rows, 1)):
                with self.loop(begin, end, step) as r:
                    row_a = self.at(at_a, self.b.mul(r, a_step))
                    row_c = self.at(c, self.b.mul(r, c_step))
                    self._tile(row_a, a_step, at_w, row_c, c_step, size, vectors, step, add)

        slice_at(INT(0), min(inner, depth), False)
        if whole > depth:
            with self.loop(INT(depth), INT(whole), depth) as start:
                slice_at(start, depth, True)
        if whole < inner:
            slice_at(INT(whole), inner - whole, True)

    def _tile(
        self,
        a: ir.Value,
        a_step: ir.Value,
        w: ir.Value,
        c: ir.Value,
        c_step: ir.Value,
        inner: int,
        vectors: int,
        height: int,
        add: bool,
    ) -> None:
        """``height`` rows times ``vectors`` vectors, all sums in registers.

        A single row has four sums for each vector, since one would wait for itself.
        """
        b, kind = self.b, self.vector(self.lanes)
        ways = 4 if height == 1 and inner >= 4 else 1
        zero = ir.Constant(kind, None)
        sums = [[[zero] * vectors for _ in range(height)] for _ in range(ways)]
        rows_a = [self.at(a, b.mul(a_step, INT(i))) for i in range(height)]
        rows_c = [self.at(c, b.mul(c_step, INT(i))) for i in range(height)]
        if add:
            sums[0] = [
                [self.load(self.at(row, INT(v * self.lanes)), self.lanes) for v in range(vectors)]
                for row in rows_c
            ]
        flat = [(j, i, v) for j in range(ways) for i in range(height) for v in range(vectors)]

        def multiply(k: ir.Value, way: int) -> None:
            at = self.at(w, b.mul(k, INT(vectors * self.lanes)))
            weights = [
                self.load(self.at(at, INT(v * self.lanes)), self.lanes) for v in range(vectors)
            ]
            for i, row in enumerate(rows_a):
                factor = self.splat(self.load(self.at(row, k), 1), self.lanes)
                for v, weight in enumerate(weights):
                    product = vmath.Vector(b, factor)
                    addend = vmath.Vector(b, sums[way][i][v])
                    sums[way][i][v] = product.fma(vmath.Vector(b, weight), addend).value

        main = inner - inner % ways
        body, end = b.append_basic_block("inner"), b.append_basic_block("finish")
        before = b.block
        b.branch(body)
        b.position_at_end(body)
        k = b.phi(INT)
        k.add_incoming(INT(0), before)
        phis = []
        for j, i, v in flat:
            phi = b.phi(kind)
            phi.add_incoming(sums[j][i][v], before)
            phis.append(phi)
            sums[j][i][v] = phi
        for j in range(ways):
            multiply(b.add(k, INT(j)), j)
        following = b.add(k, INT(ways))
        k.add_incoming(following, b.block)
        for phi, (j, i, v) in zip(phis, flat, strict=True):
            phi.add_incoming(sums[j][i][v], b.block)
        b.cbranch(b.icmp_signed("<", following, INT(main)), body, end)
        b.position_at_end(end)
        for j in range(inner - main):
            multiply(INT(main + j), j)
        for i, row in enumerate(rows_c):
            for v in range(vectors):
                total = [sums[j][i][v] for j in range(ways)]
                while len(total) > 1:
                    total = [b.fadd(p, q) for p, q in zip(total[::2], total[1::2], strict=True)]
                self.store(total[0], self.at(row, INT(v * self.lanes)))


BLOCK = 4
"""Sums of a grid that go on side by side, since one would wait for itself."""
INLINED = 16
"""Uses of a function in vectors of one length that are written out."""
CACHED = 24 * 1024
"""Bytes of weights that a product passes all rows by before it goes on."""


def packing(weight: torch.Tensor, machine: Machine) -> torch.Tensor:
    """``weight``, ``(inner, outer)``, in the order a product reads it: blocks of some vectors."""
    outer = weight.shape[1]
    lanes = machine.lanes(weight.dtype)
    block = machine.tile[1] * lanes
    padded = -(-outer // lanes) * lanes
    if padded != outer:
        weight = torch.nn.functional.pad(weight, (0, padded - outer))
    if padded <= block:
        return weight.contiguous()
    whole = padded - padded % block
    blocks = weight[:, :whole].unflatten(1, (-1, block)).transpose(0, 1).reshape(-1)
    if whole == padded:
        return blocks
    return torch.cat((blocks, weight[:, whole:].reshape(-1)))


_Key = tuple[Node, int, bool]
"""A node, how far behind the column it is read, and whether it has one feature only."""


class _Values:
    """The values of nodes in one run of columns of one row."""

    def __init__(
        self,
        emitter: _Emitter,
        r: ir.Value,
        column: ir.Value,
        lanes: int,
        stage: int,
    ) -> None:
        self.e, self.r = emitter, r
        self.column, self.lanes, self.stage = column, lanes, stage
        self.known: dict[_Key, ir.Value] = {}

    @property
    def b(self) -> ir.IRBuilder:
        return self.e.b

    def of(self, node: Node, shift: int = 0, single: bool = False) -> ir.Value:
        """``node`` from column + ``shift`` on; its only feature, if ``single``."""
        wanted = (node, shift, single)
        stack = [] if wanted in self.known else [wanted]
        while stack:
            key = stack[-1]
            if key not in self.known:
                found = self._read(*key)
                missing = [] if found else [k for k in self._needs(*key) if k not in self.known]
                if missing:
                    stack += reversed(missing)
                    continue
                self.known[key] = found or self._compute(*key)
            stack.pop()
        return self.known[wanted]

    def _needs(self, node: Node, shift: int, single: bool) -> list[_Key]:
        """What :meth:`_compute` asks for."""
        if node.target in CONSTANTS:
            return []
        if is_slice(node):
            source, start = sliced(node)
            return [(source, shift + start, single)]
        return [self._key(node, arg, shift, single) for arg in node.args if isinstance(arg, Node)]

    def _key(self, node: Node, value: Node, shift: int, single: bool) -> _Key:
        """``value`` where ``node`` meets it."""
        narrow = width(value) == 1 if is_row(value) else value.meta["val"].numel() == 1
        return (value, 0, True) if narrow and width(node) != 1 else (value, shift, single)

    def operand(
        self, node: Node, value: Any, shift: int, single: bool, flag: bool = False
    ) -> ir.Value:
        """What ``node`` takes, a node or a number, in as many lanes as ``node`` is evaluated."""
        lanes = 1 if single else self.lanes
        if not isinstance(value, Node):
            if flag or isinstance(value, bool):
                return ir.Constant(FLAG if lanes == 1 else ir.VectorType(FLAG, lanes), bool(value))
            return self.e.number(float(value), lanes)
        key = self._key(node, value, shift, single)
        result = self.of(*key)
        return self.e.splat(result, lanes) if key[2] and not single else result

    def number(self, node: Node, value: Any, shift: int, single: bool) -> ir.Value:
        """An operand of arithmetic: a comparison counts as 0 or 1."""
        result = self.operand(node, value, shift, single)
        if _is_flag(result):
            result = self.b.uitofp(result, self.e.vector(1 if single else self.lanes))
        return result

    def flag(self, node: Node, value: Any, shift: int, single: bool) -> ir.Value:
        """An operand of logic: a number counts as true unless it is 0."""
        result = self.operand(node, value, shift, single, flag=not isinstance(value, Node))
        if not _is_flag(result):
            zero = ir.Constant(result.type, None)
            result = self.b.fcmp_unordered("!=", result, zero)
        return result

    def _read(self, node: Node, shift: int, single: bool) -> ir.Value | None:
        value = self.e.program.values.get(node)
        if value is None or value.stage > self.stage:
            return None
        lanes = 1 if single else self.lanes
        column = INT(0) if single else self.column
        total = None
        for array in value.arrays:
            at = self.b.add(column, INT(value.column + shift))
            part = self.e.load(self.e.at(self.e.row(array, self.r), at), lanes)
            total = part if total is None else self.b.fadd(total, part)
        return total

    def _compute(self, node: Node, shift: int, single: bool) -> ir.Value:
        target: Any = node.target
        args: Any = node.args
        lanes = 1 if single else self.lanes
        if target in CONSTANTS:
            number = args[1] if target is not aten.scalar_tensor.default else args[0]
            return self.operand(node, number, shift, single)
        if is_slice(node):
            source, start = sliced(node)
            return self.of(source, shift + start, single)
        if target in RESHAPES:
            return self.operand(node, args[0], shift, single)
        if target is aten._to_copy.default:
            dtype = node.meta["val"].dtype
            take = self.flag if dtype == torch.bool else self.number
            return take(node, args[0], shift, single)
        if target is aten.where.self:
            condition = self.flag(node, args[0], shift, single)
            yes, no = (self.number(node, arg, shift, single) for arg in args[1:])
            return self.b.select(condition, yes, no)
        name = target._schema.name.removeprefix("aten::")
        if name in _LOGIC:
            return _LOGIC[name](self.b, *(self.flag(node, arg, shift, single) for arg in args))
        if name == "clamp":
            x = self.number(node, args[0], shift, single)
            for bound, symbol in zip((*args[1:], None)[:2], "<>", strict=True):
                if bound is not None:
                    limit = self.e.number(float(bound), lanes)
                    beyond = self.b.fcmp_ordered(symbol, x, limit)
                    x = self.b.select(beyond, limit, x)
            return x
        if name == "pow" and not isinstance(args[1], Node) and float(args[1]) in _POWERS:
            x = vmath.Vector(self.b, self.number(node, args[0], shift, single))
            return _POWERS[float(args[1])](x).value
        operands = [self.number(node, arg, shift, single) for arg in args]
        if name in ("add", "sub") and "alpha" in node.kwargs:
            scale = self.e.number(float(node.kwargs["alpha"]), lanes)
            operands[1] = self.b.fmul(operands[1], scale)
        if name in _COMPARISONS:
            compare = self.b.fcmp_unordered if name == "ne" else self.b.fcmp_ordered
            return compare(_COMPARISONS[name], *operands)
        if name in _ARITHMETIC:
            return _ARITHMETIC[name](self.b, *operands)
        if name in vmath.__all__:
            return self.e.elementary(name, operands)
        raise unsupported(node, "there is no kernel for it")


class _GridValues(_Values):
    """The values of nodes at one place of the outer feature, in one run of the inner one."""

    def __init__(
        self, emitter: _Emitter, grid: Grid, r: ir.Value, place: ir.Value, column: ir.Value,
        lanes: int,
    ) -> None:  # fmt: skip
        super().__init__(emitter, r, column, lanes, 0)
        self.grid, self.place = grid, place

    def _key(self, node: Node, value: Node, shift: int, single: bool) -> _Key:
        return value, 0, False

    def _read(self, node: Node, shift: int, single: bool) -> ir.Value | None:
        e, b = self.e, self.b
        array = e.program.memory.get(node)
        if array is not None:
            at = b.add(b.mul(self.place, e.extent(array.width)), self.column)
            return e.load(e.at(e.row(array, self.r), at), self.lanes)
        if node not in self.grid.leaves:
            return None
        array, first = self.grid.leaves[node]
        vector: Any = node.args[0] if node.target is aten.unsqueeze.default else node
        at, lanes = INT(first), 1
        features = width(vector) if is_row(vector) else vector.meta["val"].numel()
        if features > 1:
            shape = node.meta["val"].shape
            beside_inner = vector is not node and shape[-1] == 1
            at = b.add(at, self.place if beside_inner else self.column)
            lanes = 1 if beside_inner else self.lanes
        value = e.load(e.at(e.row(array, self.r), at), lanes)
        return e.splat(value, self.lanes) if lanes == 1 else value


def _is_flag(value: ir.Value) -> bool:
    kind = value.type
    return (kind.element if isinstance(kind, ir.VectorType) else kind) == FLAG


def _maximum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The larger; NaN if either is."""
    larger = b.select(b.fcmp_ordered(">", x, y), x, y)
    return b.select(b.fcmp_unordered("uno", x, y), b.fadd(x, y), larger)


def _minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    smaller = b.select(b.fcmp_ordered("<", x, y), x, y)
    return b.select(b.fcmp_unordered("uno", x, y), b.fadd(x, y), smaller)


def _relu(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    zero = ir.Constant(x.type, None)
    return b.select(b.fcmp_ordered("<=", x, zero), zero, x)  # NaN stays NaN


def _sign(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    zero = ir.Constant(x.type, None)
    above = b.uitofp(b.fcmp_ordered(">", x, zero), x.type)
    return b.fsub(above, b.uitofp(b.fcmp_ordered("<", x, zero), x.type))


def _rounded(name: str) -> Callable[[ir.IRBuilder, ir.Value], ir.Value]:
    def emit(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        return vmath.Vector(b, x).intrinsic(name).value

    return emit


_ARITHMETIC: dict[str, Callable[..., ir.Value]] = {
    "add": lambda b, x, y: b.fadd(x, y),
    "sub": lambda b, x, y: b.fsub(x, y),
    "mul": lambda b, x, y: b.fmul(x, y),
    "div": lambda b, x, y: b.fdiv(x, y),
    "neg": lambda b, x: b.fneg(x),
    "abs": _rounded("fabs"),
    "relu": _relu,
    "sign": _sign,
    "maximum": _maximum,
    "minimum": _minimum,
    "reciprocal": lambda b, x: (1 / vmath.Vector(b, x)).value,
    "floor": _rounded("floor"),
    "ceil": _rounded("ceil"),
    "trunc": _rounded("trunc"),
    "round": _rounded("roundeven"),
    "isnan": lambda b, x: b.fcmp_unordered("uno", x, x),
}
_LOGIC: dict[str, Callable[..., ir.Value]] = {
    "logical_and": lambda b, x, y: b.and_(x, y),
    "logical_or": lambda b, x, y: b.or_(x, y),
    "logical_xor": lambda b, x, y: b.xor(x, y),
    "logical_not": lambda b, x: b.not_(x),
    "bitwise_and": lambda b, x, y: b.and_(x, y),
    "bitwise_or": lambda b, x, y: b.or_(x, y),
    "bitwise_xor": lambda b, x, y: b.xor(x, y),
    "bitwise_not": lambda b, x: b.not_(x),
}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_POWERS: dict[float, Callable[[vmath.Vector], vmath.Vector]] = {
    0.5: lambda x: x.intrinsic("sqrt"),
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    -1.0: lambda x: 1 / x,
    -2.0: lambda x: 1 / (x * x),
}
