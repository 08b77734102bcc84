"""Weights in the order in which a product reads them: panels of some columns, one after the other.

A weight lies where PyTorch keeps it, transposed or not. A product that passes once over it packs
each slice into the nearest cache on its way, and the others read it as :func:`packed` here. It is
never kept from call to call: what has changed in it, nobody can tell without reading it.
"""

from functools import cache
from typing import NamedTuple

import torch
from llvmlite import binding, ir
from torch import Tensor

from saiki.compiler.cpu.builder import INT, POINTER, SIGNATURE, Builder
from saiki.compiler.cpu.jit import Compiled, compile_text
from saiki.compiler.cpu.machine import Machine

PANEL = ir.FunctionType(ir.VoidType(), [POINTER, INT, INT, POINTER, INT, INT, INT])
"""source, from one inner place to the next and from one column to the next, target, inner size,
columns, columns with the padding."""


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
