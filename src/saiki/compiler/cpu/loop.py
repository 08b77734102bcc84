"""An emitted program and the arrays it runs on."""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.backend import Place, Walk
from saiki.compiler.cpu import threads
from saiki.compiler.cpu.emit import emit
from saiki.compiler.cpu.jit import Compiled, compile_text, compiled, forget
from saiki.compiler.cpu.machine import machine
from saiki.compiler.cpu.product import PAIR, pack, packing
from saiki.compiler.plan.program import Array, Program

BLOCK = 32
"""Rows of a block, at least."""
NEAR_BYTES = 1 << 20
"""Bytes of weights that lie in the second cache while blocks of rows pass."""


@dataclass(frozen=True)
class Layout:
    """How temporaries lie side by side in a row of scratch; they fill whole vectors."""

    temporaries: tuple[tuple[int, int], ...]
    """Of each the number in the program, and the byte where it begins."""
    width: int
    """Numbers in a row."""
    cost: int
    """Of a row at one step, in multiplications or so."""


class CompiledLoop:
    """A program of the plan, compiled for one floating-point type when it first runs."""

    def __init__(self, program: Program, dtype: torch.dtype, key: str | None = None) -> None:
        self.program = program
        self.key = key
        self.dtype = dtype
        self.index = {array: i for i, array in enumerate(program.arrays)}
        self.parameters = list(program.parameters.values())
        self.machine = machine()
        self.table = ctypes.c_int64 * (2 * len(self.index) + len(program.extents))

    @cached_property
    def is_near(self) -> bool:
        """Whether the weights, which a block of rows reads at each step, stay in a near cache."""
        sizes = (p.weight.inner * p.weight.width for p in self.program.products)
        return self.dtype.itemsize * sum(sizes) <= NEAR_BYTES

    @cached_property
    def columns(self) -> int:
        """Blocks of columns of the widest product."""
        widest = max((p.weight.width for p in self.program.products), default=0)
        return -(-widest // (self.machine.tile[1] * self.machine.lanes(self.dtype)))

    def block(self, steps: int, cost: int) -> int:
        """Pairs of rows that go through all steps before others do."""
        if steps == 1 or not self.is_near:
            return sys.maxsize
        return max(BLOCK, threads.WORTH_THREAD // (steps * cost)) // PAIR

    @cached_property
    def compiled(self) -> Compiled:
        packing(self.dtype, self.machine)  # of which the text knows the name alone, as of this one
        threads.meeting(self.machine)
        if self.key is None:
            return compile_text(self.text(), self.machine)
        return compiled(f"loop {self.key}", self.text, self.machine)

    def text(self) -> str:
        """The LLVM IR."""
        return emit(self.program, self.dtype, self.machine)

    def compile(self) -> None:
        _ = self.compiled

    def forget(self) -> None:
        """See :class:`saiki.compiler.backend.Loop`."""
        if self.key is not None:
            forget(f"loop {self.key}", self.machine)

    @cached_property
    def fixed(self) -> Layout | None:
        """The layout where no size of memory is part of it."""
        return None if self.program.extents else self._layout({})

    def _layout(self, sizes: Mapping[int, int]) -> Layout:
        whole = self.machine.vector_bytes
        widths = (array.width for array in self.program.temporaries)
        rooms = (sizes.get(width, width) * self.dtype.itemsize for width in widths)
        *columns, end = accumulate((-(-room // whole) * whole for room in rooms), initial=0)
        places = (self.index[array] for array in self.program.temporaries)
        temporaries = tuple(zip(places, columns, strict=True))
        return Layout(temporaries, end // self.dtype.itemsize, self.program.cost(sizes))

    def bind(
        self,
        rows: Mapping[Array, Place],
        parameters: Sequence[Tensor],
        walk: Walk,
        sizes: Mapping[int, int],
    ) -> threads.Job:
        """See :class:`saiki.compiler.backend.Loop`."""
        count, index = len(self.index), self.index
        layout = self.fixed or self._layout(sizes)
        scratch = torch.empty(walk.rows, layout.width, dtype=self.dtype)
        table = self.table()
        for array, (tensor, column) in rows.items():
            i = index[array]
            table[i] = tensor.data_ptr() + column * self.dtype.itemsize
            table[count + i] = tensor.stride(0)
        start = scratch.data_ptr()
        for i, at in layout.temporaries:
            table[i] = start + at
            table[count + i] = layout.width
        for i, extent in enumerate(self.program.extents, 2 * count):
            table[i] = sizes[extent]
        address = ctypes.addressof(table)
        weights = self._put_parameters(table, parameters, is_once=len(walk.offsets) == 1)
        return threads.Job(
            self.compiled,
            (
                address,
                address + 8 * count,
                walk.offsets.data_ptr(),
                walk.counts.data_ptr(),
                len(walk.offsets),
            ),
            walk.rows,
            walk.row_stride,
            walk.lengths[::PAIR],
            PAIR,
            layout.cost,
            self.block(len(walk.offsets), layout.cost),
            self.is_near,
            self.columns,
            (rows, scratch, walk, table),
            weights,
        )

    def _put_parameters(
        self, table: Any, parameters: Sequence[Tensor], is_once: bool
    ) -> list[tuple[Tensor, Tensor]]:
        """Tell the kernel where the parameters lie; each with the tensor that it is read from."""
        count, read = len(self.index), []
        for array, tensor in zip(self.parameters, parameters, strict=True):
            tensor = tensor if tensor.dtype == self.dtype else tensor.to(self.dtype)
            stride = 0
            if array.kind == "weight":
                along, across = tensor.stride()
                if is_once and across == 1 and along > 0:
                    stride, ready = along, tensor
                elif is_once and along == 1 and across > 0:
                    stride, ready = -across, tensor
                else:
                    ready = pack(tensor, self.machine)
            else:
                ready = tensor.contiguous()
            read.append((tensor, ready))
            i = self.index[array]
            table[i], table[count + i] = ready.data_ptr(), stride
        return read
