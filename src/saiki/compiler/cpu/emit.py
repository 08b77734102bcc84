"""Emit: a program as LLVM IR for the CPU, one function with the time loop around its stages.

Every row's arithmetic is written out operation by operation, with fused multiply-adds only where
products say so, and the order in which it sums depends on the sizes alone: so the bits of a row
depend neither on the number of threads nor on how rows are shared among them.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from llvmlite import ir

from saiki.compiler.cpu import threads
from saiki.compiler.cpu.builder import BLOCK, INT, POINTER, SIGNATURE, Builder
from saiki.compiler.cpu.machine import Machine
from saiki.compiler.cpu.product import Products, panel_name
from saiki.compiler.cpu.values import GridValues, Values, is_flag, maximum, minimum
from saiki.compiler.plan.program import Array, Grid, Loop, Program, Store
from saiki.compiler.trace.nodes import Node, aten, operand, reduction
from saiki.llvm.vector import Vector, declared


def emit(program: Program, dtype: torch.dtype, machine: Machine) -> str:
    """The program as the text of an LLVM module with a function ``run``.

    It runs ``steps`` time steps for the rows from ``first`` to ``last``. At step s the rows
    below ``counts[s]`` take part, and row r of a "step" array lies at
    ``(offsets[s] + r · row_stride) · stride``. Behind the strides come the sizes of memory.

    Results below the smallest normal number, 1.2e-38 or 2.2e-308, become 0 inside: gradients that
    fade away would otherwise take the processor a hundred times as long as others.

    Where several threads do the same rows, each computes a part of the columns of a product, and
    the pointwise work of a part of the rows; they meet before and after products.
    """
    emitter = _Emitter(dtype, machine)
    emitter.function(program, "run", flushes=True)
    return str(emitter.module)


def emit_all(programs: Sequence[Program], dtype: torch.dtype, machine: Machine) -> str:
    """Short programs, each as by :func:`emit`, in one module, which is compiled faster than many,
    with a function ``addresses`` of a table, into which it writes where that of each lies. They
    leave small results as they are, for to say otherwise takes longer than what they do."""
    emitter = _Emitter(dtype, machine)
    functions = [emitter.function(program, f"run.{i}", False) for i, program in enumerate(programs)]
    kind = ir.FunctionType(ir.VoidType(), [POINTER])
    addresses = ir.Function(emitter.module, kind, "addresses")
    b = ir.IRBuilder(addresses.append_basic_block("entry"))
    for i, function in enumerate(functions):
        b.store(function, b.gep(addresses.args[0], [INT(i)], source_etype=POINTER))
    b.ret_void()
    return str(emitter.module)


class _Emitter(Builder):
    def __init__(self, dtype: torch.dtype, machine: Machine) -> None:
        super().__init__(dtype, machine)
        self.products = Products(self, panel_name(dtype, machine))

    def function(self, program: Program, name: str, flushes: bool) -> ir.Function:
        """A function that runs the program, and perhaps takes subnormal numbers for 0."""
        self.program = program
        function = ir.Function(self.module, SIGNATURE, name)
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        before = self._flush() if flushes else None
        self._run(function)
        if before is not None:
            self._control(before)
        self.b.ret_void()
        return function

    def _run(self, function: ir.Function) -> None:
        pointers, strides, offsets, counts, steps, first, last, self.row_stride = function.args[:8]
        self.member, self.team, self.meeting = function.args[8:]
        b = self.b
        widths = (product.weight.width for product in self.program.products)
        blocks = {number for width in widths for number in self.products.blocks(width)}
        shares = {number: self._share(INT(number)) for number in sorted(blocks)}
        rows_of_all = b.sub(last, first)
        own, end = self._share(rows_of_all)
        own_first, own_last = b.add(first, own), b.add(first, end)
        self._unpack(pointers, strides)
        with self.loop(INT(0), steps) as s:
            self.offset = b.load(b.gep(offsets, [s], source_etype=INT), typ=INT)
            count = b.load(b.gep(counts, [s], source_etype=INT), typ=INT)
            rows = b.sub(self.least(count, last), first)
            end = self.least(count, own_last)
            for number, stage in enumerate(self.program.stages):
                if stage.products:
                    self._meet()
                for product in stage.products:
                    self.products.emit(product, first, rows, shares)
                if stage.products:
                    self._meet()
                for loop in stage.loops:
                    with self.loop(own_first, end) as r:
                        self._pointwise(loop, r, number)
                for grid in stage.grids:
                    with self.loop(own_first, end) as r:
                        self._over_inner(grid, r)
                        self._over_outer(grid, r)
            for source, target in self.program.copies:
                with self.loop(own_first, end) as r:
                    self._copy(source, target, r)

    def _share(self, count: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Where the share of this thread begins among so many, and where that of the next."""
        b = self.b
        begin, end = (
            b.sdiv(b.mul(count, member), self.team)
            for member in (self.member, b.add(self.member, INT(1)))
        )
        return begin, end

    def _meet(self) -> None:
        """Wait until all threads that do the same rows are here."""
        with self.b.if_then(self.b.icmp_signed(">", self.team, INT(1)), likely=False):
            kind = ir.FunctionType(ir.VoidType(), [INT, POINTER])
            meet = declared(self.module, threads.MEET, kind)
            self.b.call(meet, [self.team, self.meeting])

    def _unpack(self, pointers: ir.Value, strides: ir.Value) -> None:
        """Where the arrays lie, and the sizes of memory."""

        def entry(table: ir.Value, i: int, kind: ir.Type) -> ir.Value:
            return self.b.load(self.b.gep(table, [INT(i)], source_etype=kind), typ=kind)

        count, extents = len(self.program.arrays), self.program.extents
        self.pointers = [entry(pointers, i, POINTER) for i in range(count)]
        self.strides = [entry(strides, i, INT) for i in range(count)]
        self.extents = {size: entry(strides, i, INT) for i, size in enumerate(extents, count)}

    def _copy(self, source: Array | None, target: Array, r: ir.Value) -> None:
        begin = self.row(target, r)
        for column, lanes in self.chunks(target.width):
            value = ir.Constant(self.vector(lanes), None)
            if source is not None:
                value = self.load(self.at(self.row(source, r), column), lanes)
            self.store(value, self.at(begin, column))

    def _flush(self) -> ir.Value:
        """Let the processor take subnormal numbers for 0; what it did before."""
        b = self.b
        if self.machine.control == "fpcr":
            get = declared(self.module, "llvm.aarch64.get.fpcr", ir.FunctionType(INT, []))
            before = b.call(get, [])
            self._control(b.or_(before, INT(1 << 24)))
            return before
        self.word = b.alloca(ir.IntType(32))
        kind = ir.FunctionType(ir.VoidType(), [POINTER])
        b.call(declared(self.module, "llvm.x86.sse.stmxcsr", kind), [self.word])
        before = b.load(self.word, typ=ir.IntType(32))
        self._control(b.or_(before, ir.IntType(32)(0x8040)))
        return before

    def _control(self, value: ir.Value) -> None:
        if self.machine.control == "fpcr":
            name, kind = "llvm.aarch64.set.fpcr", ir.FunctionType(ir.VoidType(), [INT])
        else:
            name, kind = "llvm.x86.sse.ldmxcsr", ir.FunctionType(ir.VoidType(), [POINTER])
            self.b.store(value, self.word)
            value = self.word
        self.b.call(declared(self.module, name, kind), [value])

    def _pointwise(self, loop: Loop, r: ir.Value, stage: int) -> None:
        sums = [self._start_sum(node) for node, _ in loop.sums]
        for column, lanes in self.chunks(loop.width):
            values = Values(self, r, column, lanes, stage)
            results = [values.of(store.node) for store in loop.stores]
            for (node, _), total in zip(loop.sums, sums, strict=True):
                part = values.number(operand(node), operand(node), 0, False)
                self._add_to_sum(node, total, part, lanes)
            for store, result in zip(loop.stores, results, strict=True):
                self._store(store, result, r, column, lanes)
        for (node, array), total in zip(loop.sums, sums, strict=True):
            self.store(self._end_sum(node, total), self.row(array, r))

    def _store(
        self, store: Store, value: ir.Value, r: ir.Value, column: ir.Value, lanes: int
    ) -> None:
        at = self.at(self.row(store.array, r), self.b.add(column, INT(store.column)))
        if is_flag(value):
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
                    values = {p: GridValues(self, grid, r, p, column, lanes) for p in places}
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
                    column: GridValues(self, grid, r, place, column, lanes)
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
        self, values: "GridValues", node: Node, totals: tuple[ir.Value, ir.Value], lanes: int
    ) -> None:
        if lanes == self.lanes:
            self._add_lanes(values, node, totals[0], lanes)
        else:
            source = operand(node)
            self._add_to_sum(node, totals, values.number(source, source, 0, False), lanes)

    def _add_lanes(self, values: "GridValues", node: Node, total: ir.Value, lanes: int) -> None:
        """Each lane to a sum of its own; a product and its addition are one operation."""
        source = operand(node)
        before = self.b.load(total, typ=self.vector(lanes))
        if node.target is aten.sum.dim_IntList and source.target is aten.mul.Tensor:
            a, b = (Vector(self.b, values.number(source, arg, 0, False)) for arg in source.args)
            after = a.muladd(b, Vector(self.b, before)).value
        else:
            after = self._combine(node, before, values.number(source, source, 0, False))
        self.b.store(after, total)

    # reductions: one total for whole vectors, one for the rest

    def _start_sum(self, node: Node) -> tuple[ir.Value, ir.Value]:
        return self._start(node, self.lanes), self._start(node, 1)

    def _start(self, node: Node, lanes: int) -> ir.Value:
        starts: dict[Any, float] = {aten.amax.default: -math.inf, aten.amin.default: math.inf}
        start = starts.get(reduction(node), 0.0)
        with self.b.goto_entry_block():
            total = self.b.alloca(self.vector(lanes))
        self.b.store(self.number(start, lanes), total)
        return total

    def _combine(self, node: Node, a: ir.Value, b: ir.Value) -> ir.Value:
        match reduction(node):
            case aten.amax.default:
                return maximum(self.b, a, b)
            case aten.amin.default:
                return minimum(self.b, a, b)
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
