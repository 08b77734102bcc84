"""Products of matrices, blocked in registers over packed weights."""

from typing import NamedTuple

import torch
from llvmlite import ir

from saiki.compiler.cpu.builder import INT, POINTER, Builder
from saiki.compiler.cpu.machine import Machine
from saiki.compiler.cpu.vector import Vector
from saiki.compiler.program import Product

CACHED = 24 * 1024
"""Bytes of weights that a product passes all rows by before it goes on."""


def packing(weight: torch.Tensor, machine: Machine) -> torch.Tensor:
    """``weight``, ``(inner, outer)``, in the order a product reads it: blocks of some vectors."""
    outer = weight.shape[1]
    lanes = machine.lanes(weight.dtype)
    block = machine.tile[1] * lanes
    padded = -(-outer // lanes) * lanes
    if padded != outer:
        weight = torch.cat((weight, weight.new_zeros(len(weight), padded - outer)), 1)
    if padded <= block:
        return weight.contiguous()
    whole = padded - padded % block
    blocks: torch.Tensor = weight[:, :whole].unflatten(1, (-1, block)).transpose(0, 1).reshape(-1)
    if whole == padded:
        return blocks
    return torch.cat((blocks, weight[:, whole:].reshape(-1)))


class Rows(NamedTuple):
    """Where rows lie: the first, and how far it is from one to the next."""

    start: ir.Value
    step: ir.Value


class Products:
    """Writes the products of a program, each size once."""

    def __init__(self, builder: Builder) -> None:
        self.e = builder
        self.known: dict[tuple[int, int], ir.Function] = {}

    def emit(self, product: Product, first: ir.Value, rows: ir.Value) -> None:
        """target ← source · weight for some rows, the weight packed by :func:`packing`.

        Columns go in blocks of some vectors, so that a block of the weight stays in the nearest
        cache while all rows pass; the target has room for whole vectors.
        """
        inner = product.weight.inner
        most = self.e.machine.tile[1]
        whole, rest = divmod(-(-product.weight.width // self.e.lanes), most)
        for vectors, begin, end in ((most, 0, whole), (rest, whole, whole + 1)):
            if vectors and begin < end:
                start = begin * most * self.e.lanes
                arguments = [
                    self.e.at(self.e.row(product.source, first), INT(product.column)),
                    self.e.row_step(product.source),
                    self.e.at(self.e.row(product.weight, first), INT(start * inner)),
                    self.e.at(self.e.row(product.target, first), INT(start)),
                    self.e.row_step(product.target),
                    rows,
                    INT(end - begin),
                ]
                self.e.b.call(self._blocks(inner, vectors), arguments)

    def _blocks(self, inner: int, vectors: int) -> ir.Function:
        """``blocks(a, a_step, w, c, c_step, rows, count)``: ``count`` blocks of columns of
        c ← a · w, one after the other."""
        if (inner, vectors) in self.known:
            return self.known[inner, vectors]
        kinds = [POINTER, INT, POINTER, POINTER, INT, INT, INT]
        function = ir.Function(
            self.e.module, ir.FunctionType(ir.VoidType(), kinds), f"blocks_{inner}_{vectors}"
        )
        function.linkage = "internal"
        function.attributes.add("noinline")
        for i in (0, 2, 3):
            function.args[i].add_attribute("noalias")
        self.known[inner, vectors] = function
        outside, self.e.b = self.e.b, ir.IRBuilder(function.append_basic_block("entry"))
        a, a_step, w, c, c_step, rows, count = function.args
        block = vectors * self.e.lanes
        with self.e.loop(INT(0), count) as i:
            at_w = self.e.at(w, self.e.b.mul(i, INT(inner * block)))
            at_c = self.e.at(c, self.e.b.mul(i, INT(block)))
            self._block(Rows(a, a_step), at_w, Rows(at_c, c_step), rows, inner, vectors)
        self.e.b.ret_void()
        self.e.b = outside
        return function

    def _block(
        self, a: "Rows", w: ir.Value, c: "Rows", rows: ir.Value, inner: int, vectors: int
    ) -> None:
        """One block of columns for all rows, a slice of the inner size at a time: the first, others
        of its size in a loop, so that the code does not grow with the size, and the rest."""
        depth = max(16, CACHED // (vectors * self.e.lanes * self.e.size))
        whole = max(inner - inner % depth, min(inner, depth))

        def slice_at(start: ir.Value, size: int, add: bool) -> None:
            at_a = self.e.at(a.start, start)
            at_w = self.e.at(w, self.e.b.mul(start, INT(vectors * self.e.lanes)))
            height = self.e.machine.tile[0]
            tiled = self.e.b.mul(self.e.b.sdiv(rows, INT(height)), INT(height))
            for begin, end, step in ((INT(0), tiled, height), (tiled, rows, 1)):
                with self.e.loop(begin, end, step) as r:
                    row_a = self.e.at(at_a, self.e.b.mul(r, a.step))
                    row_c = self.e.at(c.start, self.e.b.mul(r, c.step))
                    self._tile(
                        Rows(row_a, a.step), at_w, Rows(row_c, c.step), size, vectors, step, add
                    )

        slice_at(INT(0), min(inner, depth), False)
        if whole > depth:
            with self.e.loop(INT(depth), INT(whole), depth) as start:
                slice_at(start, depth, True)
        if whole < inner:
            slice_at(INT(whole), inner - whole, True)

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
                factor = self.e.splat(self.e.load(self.e.at(row, k), 1), self.e.lanes)
                for v, weight in enumerate(weights):
                    product = Vector(b, factor)
                    addend = Vector(b, sums[way][i][v])
                    sums[way][i][v] = product.fma(Vector(b, weight), addend).value

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
