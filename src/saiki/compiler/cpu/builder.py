"""The words of the code: loops, chunks of columns, vectors, and where the rows of arrays lie."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from llvmlite import ir

from saiki.compiler.cpu.machine import Machine
from saiki.compiler.plan.program import Array, Program
from saiki.compiler.trace.nodes import is_extent
from saiki.llvm import vmath
from saiki.llvm.vector import Vector

INT = ir.IntType(64)
POINTER = ir.PointerType()
FLAG = ir.IntType(1)
PLACE = ir.IntType(32)
SIGNATURE = ir.FunctionType(ir.VoidType(), [*[POINTER] * 4, *[INT] * 6, POINTER])
"""Of a program: pointers, strides, offsets, counts, steps, first row, row after the last, row
stride; of threads that do the same rows which this is, how many there are, and what they meet
by."""
BLOCK = 4
"""Sums of a grid that go on side by side, since one would wait for itself."""
INLINED = 16
"""Uses of a function in vectors of one length that are written out."""


class Builder:
    """Writes a module of LLVM IR, with functions over the arrays of programs.

    Whoever writes one sets ``b``, where instructions go, its program, and what it is given:
    pointers and strides of the arrays, sizes of memory, and the place of the present step.
    """

    b: ir.IRBuilder
    program: Program
    pointers: list[ir.Value]
    strides: list[ir.Value]
    extents: dict[int, ir.Value]
    row_stride: ir.Value
    offset: ir.Value
    member: ir.Value
    team: ir.Value
    meeting: ir.Value

    def __init__(self, dtype: torch.dtype, machine: Machine) -> None:
        self.machine = machine
        self.lanes = machine.lanes(dtype)
        self.element = ir.FloatType() if dtype == torch.float32 else ir.DoubleType()
        self.size = dtype.itemsize
        self.module = ir.Module("saiki")
        self.uses: Counter[str] = Counter()
        self._tables: dict[tuple[int, ...], ir.GlobalVariable] = {}

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

    def least(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The smaller of two whole numbers."""
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)

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

    def gather(
        self, begin: ir.Value, places: Sequence[int], column: ir.Value, shift: int, lanes: int
    ) -> ir.Value:
        """The numbers at ``places[column]`` and on behind ``begin``; ``column`` is ``shift`` more
        than a multiple of the lanes, or than the first column of a rest."""
        table = self._table(places)
        at = self.b.gep(table, [column], source_etype=PLACE)
        first = self.b.sext(self.b.load(at, typ=PLACE), INT)
        if lanes == 1:
            return self.load(self.at(begin, first), 1)
        runs = [places[i : i + lanes] for i in self._starts(len(places), shift, lanes)]
        if all(list(run) == list(range(run[0], run[0] + lanes)) for run in runs):
            return self.load(self.at(begin, first), lanes)
        if all(len(set(run)) == 1 for run in runs):
            return self.splat(self.load(self.at(begin, first), 1), lanes)
        return self.b.call(self._gathering(lanes), [begin, at])

    def _starts(self, features: int, shift: int, lanes: int) -> Iterator[int]:
        """Where vectors of that many lanes may begin."""
        if lanes == self.lanes:
            yield from range(shift, features - lanes + 1, lanes)
        else:
            yield from range(max(0, features - lanes + 1))

    def _table(self, places: Sequence[int]) -> ir.GlobalVariable:
        """A constant of the module."""
        key = tuple(places)
        if key not in self._tables:
            kind = ir.ArrayType(PLACE, len(key))
            table = ir.GlobalVariable(self.module, kind, f"places.{len(self._tables)}")
            table.initializer = ir.Constant(kind, list(key))
            table.linkage, table.global_constant = "internal", True
            self._tables[key] = table
        return self._tables[key]

    def _gathering(self, lanes: int) -> ir.Function:
        """A function of where numbers begin and of a table of places: those numbers as a vector."""
        name = f"gather.{lanes}"
        known = self.module.globals.get(name)
        if known is not None:
            return known
        kind = self.vector(lanes)
        function, b = self.internal(ir.FunctionType(kind, [POINTER, POINTER]), name)
        begin, table = function.args
        vector = ir.Constant(kind, ir.Undefined)
        for lane in range(lanes):
            at = b.load(b.gep(table, [INT(lane)], source_etype=PLACE), typ=PLACE, align=4)
            number = b.gep(begin, [b.sext(at, INT)], source_etype=self.element)
            value = b.load(number, typ=self.element, align=self.size)
            vector = b.insert_element(vector, value, INT(lane))
        b.ret(vector)
        return function

    def internal(self, kind: ir.FunctionType, name: str) -> tuple[ir.Function, ir.IRBuilder]:
        """A function of the module that is called, not written out, and what writes its code."""
        function = ir.Function(self.module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        return function, ir.IRBuilder(function.append_basic_block("entry"))

    def splat(self, scalar: ir.Value, lanes: int) -> ir.Value:
        if lanes == 1:
            return scalar
        kind = ir.VectorType(scalar.type, lanes)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, INT(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def number(self, value: float, lanes: int) -> ir.Value:
        return Vector(self.b, ir.Constant(self.vector(lanes), None)).constant(value).value

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
            function, b = self.internal(ir.FunctionType(kinds[0], kinds), name_here)
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
            case "column":
                return self.at(pointer, r)
        return pointer

    def stride(self, array: Array) -> ir.Value:
        return self.strides[self.program.arrays.index(array)]

    def row_step(self, array: Array) -> ir.Value:
        """From one row of the array to the next."""
        stride = self.stride(array)
        if array.kind == "column":
            return INT(1)
        return self.b.mul(stride, self.row_stride) if array.kind == "step" else stride
