"""Products of matrices, blocked in registers over packed weights.

A product reads weights in panels of some columns, one after the other. A weight lies where PyTorch
keeps it, transposed or not. A product that passes once over it packs each slice into the nearest
cache on its way, and the others read it as :func:`pack` writes it. It is never kept from call to
call: what has changed in it, nobody can tell without reading it.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import torch
from llvmlite import binding, ir
from torch import Tensor

from saiki.compiler.cpu.builder import FLAG, INT, POINTER, SIGNATURE, Builder
from saiki.compiler.cpu.jit import Compiled, compile_text
from saiki.compiler.cpu.machine import Machine
from saiki.compiler.plan.program import Product
from saiki.llvm.vector import Vector, declared

CACHED = 24 * 1024
"""Bytes of weights that a product passes all rows by before it goes on."""
PAIR = 2
"""Rows that are left over go by so many. A row among others has the same bits wherever it is, so
threads may share rows at any multiple of it."""

PANEL = ir.FunctionType(ir.VoidType(), [POINTER, INT, INT, POINTER, INT, INT, INT])
"""source, from one inner place to the next and from one column to the next, target, inner size,
columns, columns with the padding."""


class Rows(NamedTuple):
    """Where rows lie: the first, and how far it is from one to the next, and along a row."""

    start: ir.Value
    step: ir.Value
    along: ir.Value = INT(1)


class Weight(NamedTuple):
    """Where a block of columns of a weight lies: packed, or as PyTorch has it."""

    start: ir.Value
    is_packed: ir.Value
    along: ir.Value
    """From one inner place to the next, of one that is not packed."""
    across: ir.Value
    """From one column to the next, of one that is not packed."""
    columns: ir.Value
    """Of the weight, from the first one of the block on."""


class Products:
    """Writes the products of a program, each size once.

    Args:
        panel: the name of the function that packs a slice of a weight.
    """

    def __init__(self, builder: Builder, panel: str) -> None:
        self.e = builder
        self.panel = panel
        self.known: dict[tuple[int, int, bool], ir.Function] = {}

    def emit(
        self,
        product: Product,
        first: ir.Value,
        rows: ir.Value,
        shares: Mapping[int, tuple[ir.Value, ir.Value]],
    ) -> None:
        """target ← source · weight for some rows, and of the blocks of columns those of this
        thread: ``shares`` holds the first and the one after the last, of so many.

        Columns go in blocks of some vectors, so that a block of the weight stays in the nearest
        cache while all rows pass; the target has room for whole vectors. The stride of a weight is
        0 where it is packed. Where its rows lie in one piece,
        it is the way from one to the next; where its columns do, as much below 0.
        """
        inner = product.weight.inner
        b, stride = self.e.b, self.e.row_step(product.weight)
        by_rows = b.icmp_signed(">", stride, INT(0))
        across = b.select(by_rows, INT(1), b.neg(stride))
        along = b.select(by_rows, stride, INT(1))
        is_packed = b.icmp_signed("==", stride, INT(0))
        column = b.select(is_packed, INT(inner), across)
        is_column = product.source.kind == "column"
        source = self.e.stride(product.source) if is_column else INT(1)
        most = self.e.machine.tile[1]
        whole, _ = self.blocks(product.weight.width)
        rest = -(-product.weight.width // self.e.lanes) - whole * most
        for vectors, blocks, before in ((most, whole, 0), (rest, 1, whole)):
            if vectors and blocks:
                own, end = shares[blocks]
                start = b.mul(b.add(own, INT(before)), INT(most * self.e.lanes))
                arguments = [
                    self.e.at(
                        self.e.row(product.source, first), b.mul(INT(product.column), source)
                    ),
                    self.e.row_step(product.source),
                    source,
                    self.e.at(self.e.row(product.weight, first), b.mul(start, column)),
                    is_packed,
                    along,
                    across,
                    b.sub(INT(product.weight.width), start),
                    self.e.at(self.e.row(product.target, first), start),
                    self.e.row_step(product.target),
                    rows,
                    b.sub(end, own),
                ]
                self.e.b.call(self._blocks(inner, vectors, is_column), arguments)

    def blocks(self, width: int) -> tuple[int, int]:
        """Of so many columns: blocks of as many vectors as a tile has, and of fewer."""
        whole, rest = divmod(-(-width // self.e.lanes), self.e.machine.tile[1])
        return whole, int(rest > 0)

    def _blocks(self, inner: int, vectors: int, is_column: bool) -> ir.Function:
        """``blocks(a, a_step, a_along, *weight, c, c_step, rows, count)``: ``count`` blocks of
        columns of c ← a · w, one after the other; ``a_along`` is 1 but where columns are rows."""
        if (inner, vectors, is_column) in self.known:
            return self.known[inner, vectors, is_column]
        kinds = [POINTER, INT, INT, POINTER, FLAG, INT, INT, INT, POINTER, INT, INT, INT]
        kind, name = ir.FunctionType(ir.VoidType(), kinds), f"blocks_{len(self.known)}"
        function, b = self.e.internal(kind, name)
        for i in (0, 3, 8):
            function.args[i].add_attribute("noalias")
        self.known[inner, vectors, is_column] = function
        outside, self.e.b = self.e.b, b
        a, a_step, a_along, w, is_packed, along, across, columns, c, c_step, rows, count = (
            function.args
        )
        source = Rows(a, a_step, a_along if is_column else INT(1))
        block = vectors * self.e.lanes
        room = b.alloca(self.e.element, INT(block * min(inner, self._depth(vectors))))
        room.align = self.e.machine.vector_bytes
        apart = b.select(is_packed, INT(inner * block), b.mul(across, INT(block)))
        with self.e.loop(INT(0), count) as i:
            at_w = self.e.at(w, b.mul(i, apart))
            remaining = b.sub(columns, b.mul(i, INT(block)))
            weight = Weight(at_w, is_packed, along, across, remaining)
            at_c = self.e.at(c, b.mul(i, INT(block)))
            self._block(source, weight, room, Rows(at_c, c_step), rows, inner, vectors)
        self.e.b.ret_void()
        self.e.b = outside
        return function

    def _depth(self, vectors: int) -> int:
        """Inner places of a slice."""
        return max(16, CACHED // (vectors * self.e.lanes * self.e.size))

    def _block(
        self,
        a: "Rows",
        w: Weight,
        room: ir.Value,
        c: "Rows",
        rows: ir.Value,
        inner: int,
        vectors: int,
    ) -> None:
        """One block of columns for all rows, a slice of the inner size at a time: the first, others
        of its size in a loop, so that the code does not grow with the size, and the rest.

        A slice that is not packed is, into ``room``, before the rows pass by it.
        """
        depth = self._depth(vectors)
        whole = max(inner - inner % depth, min(inner, depth))

        def slice_at(start: ir.Value, size: int, add: bool) -> None:
            at_a = self.e.at(a.start, self.e.b.mul(start, a.along))
            at_w = self._slice(w, room, start, size, vectors)
            begin, b = INT(0), self.e.b
            for step in (self.e.machine.tile[0], PAIR, 1):
                end = b.mul(b.sdiv(rows, INT(step)), INT(step))
                with self.e.loop(begin, end, step) as r:
                    row_a = self.e.at(at_a, self.e.b.mul(r, a.step))
                    row_c = self.e.at(c.start, self.e.b.mul(r, c.step))
                    self._tile(
                        a._replace(start=row_a), at_w, Rows(row_c, c.step), size, vectors, step, add
                    )
                begin = end

        slice_at(INT(0), min(inner, depth), False)
        if whole > depth:
            with self.e.loop(INT(depth), INT(whole), depth) as start:
                slice_at(start, depth, True)
        if whole < inner:
            slice_at(INT(whole), inner - whole, True)

    def _slice(
        self, w: Weight, room: ir.Value, start: ir.Value, size: int, vectors: int
    ) -> ir.Value:
        """Where a slice of the weight lies, packed."""
        b, block = self.e.b, INT(vectors * self.e.lanes)
        with b.if_then(b.not_(w.is_packed)):
            panel = declared(self.e.module, self.panel, PANEL)
            columns = self.e.least(w.columns, block)
            at = self.e.at(w.start, b.mul(start, w.along))
            b.call(panel, [at, w.along, w.across, room, INT(size), columns, block])
        return b.select(w.is_packed, self.e.at(w.start, b.mul(start, block)), room)

    def _tile(
        self, a: "Rows", w: ir.Value, c: "Rows", inner: int, vectors: int, height: int, add: bool
    ) -> None:
        """``height`` rows times ``vectors`` vectors, all sums in registers.

        A single row has four sums for each vector, since one would wait for itself.
        """
        b, kind = self.e.b, self.e.vector(self.e.lanes)
        ways = 4 if height == 1 and inner >= 4 else 1
        zero = ir.Constant(kind, None)
        sums = [[[zero] * vectors for _ in range(height)] for _ in range(ways)]
        rows_a = [self.e.at(a.start, b.mul(a.step, INT(i))) for i in range(height)]
        rows_c = [self.e.at(c.start, b.mul(c.step, INT(i))) for i in range(height)]
        if add:
            sums[0] = [
                [
                    self.e.load(self.e.at(row, INT(v * self.e.lanes)), self.e.lanes)
                    for v in range(vectors)
                ]
                for row in rows_c
            ]
        flat = [(j, i, v) for j in range(ways) for i in range(height) for v in range(vectors)]

        def multiply(k: ir.Value, way: int) -> None:
            at = self.e.at(w, b.mul(k, INT(vectors * self.e.lanes)))
            weights = [
                self.e.load(self.e.at(at, INT(v * self.e.lanes)), self.e.lanes)
                for v in range(vectors)
            ]
            for i, row in enumerate(rows_a):
                factor = self.e.splat(
                    self.e.load(self.e.at(row, b.mul(k, a.along)), 1), self.e.lanes
                )
                for v, weight in enumerate(weights):
                    product = Vector(b, factor)
                    addend = Vector(b, sums[way][i][v])
                    sums[way][i][v] = product.muladd(Vector(b, weight), addend).value

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
                self.e.store(total[0], self.e.at(row, INT(v * self.e.lanes)))


def panel_name(dtype: torch.dtype, machine: Machine) -> str:
    """The symbol by which programs call the function that packs a panel."""
    return f"saiki_panel_{dtype.itemsize}_{machine.vector_bytes}"


class Packing(NamedTuple):
    """Functions that pack weights of one type on one machine."""

    panel: Compiled
    pack: Compiled


@cache
def packing(dtype: torch.dtype, machine: Machine) -> Packing:
    """The functions, compiled once; programs find the first by its name from then on."""
    panel = compile_text(_panel(dtype, machine), machine, "panel")
    binding.add_symbol(panel_name(dtype, machine), panel.address)
    pack = compile_text(_pack(dtype, machine), machine, "pack")
    return Packing(panel, pack)


def padded(columns: int, dtype: torch.dtype, machine: Machine) -> int:
    """Columns in whole vectors."""
    lanes = machine.lanes(dtype)
    return -(-columns // lanes) * lanes


def pack(weight: Tensor, machine: Machine) -> Tensor:
    """``weight``, ``(inner, columns)``, panel by panel, 0 in the padding."""
    inner, columns = weight.shape
    into = weight.new_empty(inner * padded(columns, weight.dtype, machine))
    run = packing(weight.dtype, machine).pack.run
    run(weight.data_ptr(), into.data_ptr(), 0, 0, *weight.stride(), inner, columns, 0, 1, None)
    return into


def _panel(dtype: torch.dtype, machine: Machine) -> str:
    """target[k, j] ← source[k, j], 0 from ``columns`` to ``width``."""
    e = Builder(dtype, machine)
    function = ir.Function(e.module, PANEL, "panel")
    source, along, across, target, inner, columns, width = function.args
    for i in (0, 3):
        function.args[i].add_attribute("noalias")
    e.b = ir.IRBuilder(function.append_basic_block("entry"))
    lanes, zero = e.lanes, INT(0)
    whole, deep = e.below(columns, lanes), e.below(inner, lanes)

    def read(k: ir.Value, j: ir.Value, count: int) -> ir.Value:
        at = e.at(source, e.b.add(e.b.mul(k, along), e.b.mul(j, across)))
        return e.load(at, count)

    def write(value: ir.Value, k: ir.Value, j: ir.Value) -> None:
        e.store(value, e.at(target, e.b.add(e.b.mul(k, width), j)))

    def one_by_one(first: ir.Value, begin: ir.Value) -> None:
        with e.loop(first, inner) as k, e.loop(begin, columns) as j:
            write(read(k, j, 1), k, j)

    def is_one(stride: ir.Value) -> ir.Value:
        return e.b.icmp_signed("==", stride, INT(1))

    with e.loop(zero, inner) as k, e.loop(whole, width, lanes) as j:
        write(e.number(0.0, lanes), k, j)
    with e.b.if_else(is_one(across)) as (rows_lie_in_one, otherwise):
        with rows_lie_in_one:
            with e.loop(zero, inner) as k, e.loop(zero, whole, lanes) as j:
                write(read(k, j, lanes), k, j)
            at, count = whole, lanes // 2
            while count:  # the columns that are left over, in ever shorter vectors
                some = e.b.and_(columns, INT(count))
                with e.b.if_then(e.b.icmp_signed(">", some, zero)), e.loop(zero, inner) as k:
                    write(read(k, at, count), k, at)
                at, count = e.b.add(at, some), count // 2
        with otherwise, e.b.if_else(is_one(along)) as (columns_lie_in_one, otherwise):
            with columns_lie_in_one:
                with e.loop(zero, whole, lanes) as j, e.loop(zero, deep, lanes) as k:
                    square = [read(k, e.b.add(j, INT(i)), lanes) for i in range(lanes)]
                    for i, value in enumerate(_transposed(e.b, square)):
                        write(value, e.b.add(k, INT(i)), j)
                with e.loop(deep, inner) as k, e.loop(zero, whole) as j:
                    write(read(k, j, 1), k, j)
                one_by_one(zero, whole)
            with otherwise:
                one_by_one(zero, zero)
    e.b.ret_void()
    return str(e.module)


def _transposed(b: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The columns of a square of vectors: halves, quarters and so on change places."""
    size, half = len(rows), 1
    while half < size:
        low = [i if not i & half else size + i - half for i in range(size)]
        high = [i + half if not i & half else size + i for i in range(size)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), size), mask) for mask in (low, high)]
        for i in (i for i in range(size) if not i & half):
            pair = rows[i], rows[i + half]
            rows[i], rows[i + half] = (b.shuffle_vector(*pair, mask) for mask in masks)
        half *= 2
    return rows


def _pack(dtype: torch.dtype, machine: Machine) -> str:
    """A whole weight, panel by panel; called as programs are."""
    e = Builder(dtype, machine)
    function = ir.Function(e.module, SIGNATURE, "pack")
    source, target, _, _, along, across, inner, columns, *_ = function.args
    panel = ir.Function(e.module, PANEL, panel_name(dtype, machine))
    e.b = ir.IRBuilder(function.append_basic_block("entry"))
    block = INT(machine.tile[1] * e.lanes)
    width = e.below(e.b.add(columns, INT(e.lanes - 1)), e.lanes)
    with e.loop(INT(0), width, machine.tile[1] * e.lanes) as j:
        from_, to = e.at(source, e.b.mul(j, across)), e.at(target, e.b.mul(j, inner))
        sizes = [e.least(block, e.b.sub(total, j)) for total in (columns, width)]
        e.b.call(panel, [from_, along, across, to, inner, *sizes])
    e.b.ret_void()
    return str(e.module)
