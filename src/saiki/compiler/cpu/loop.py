"""An emitted program and the arrays it runs on."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from saiki.compiler.cpu.emit import emit, packing
from saiki.compiler.cpu.jit import Compiled, compile_text, machine
from saiki.compiler.cpu.team import Job
from saiki.compiler.program import Array, Scheduler


@dataclass(frozen=True)
class Walk:
    """Which rows of the step arrays each time step reads and writes.

    At step s the rows below ``counts[s]`` take part, and row r lies at
    ``offsets[s] + r · row_stride``. ``lengths`` holds the number of steps of each row, longest
    first.
    """

    offsets: Tensor
    counts: Tensor
    row_stride: int
    lengths: tuple[int, ...]

    @cached_property
    def backwards(self) -> "Walk":
        """The same steps from the last to the first."""
        return Walk(self.offsets.flip(0), self.counts.flip(0), self.row_stride, self.lengths)

    @cached_property
    def tiles(self) -> tuple[int, ...]:
        """What each tile of rows costs. Rows are cut there only, so that each is computed in the
        same way by any number of threads."""
        return self.lengths[:: machine().tile[0]]

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def __len__(self) -> int:
        return len(self.offsets)


class CompiledLoop:
    """A program of the plan, compiled for one floating-point type when it first runs."""

    def __init__(self, scheduler: Scheduler, dtype: torch.dtype) -> None:
        self.scheduler = scheduler
        self.dtype = dtype
        self.arrays = scheduler.program.arrays

    @cached_property
    def text(self) -> str:
        """The LLVM IR."""
        return emit(self.scheduler.program, self.dtype, machine())

    @cached_property
    def compiled(self) -> Compiled:
        return compile_text(self.text)

    @cached_property
    def temporaries(self) -> dict[Array, int]:
        """Where in a row of scratch the arrays begin that live for one call. Their features fill
        whole vectors."""
        names = {f"t{i}" for i in range(1, self.scheduler.scratch + 1)}
        places, at = {}, 0
        for array in self.arrays:
            if array.name in names:
                places[array] = at
                at += self._whole(array.width)
        return places

    @cached_property
    def room(self) -> int:
        """Numbers in a row of scratch."""
        return sum(self._whole(array.width) for array in self.temporaries)

    def _whole(self, width: int) -> int:
        lanes = machine().lanes(self.dtype)
        return -(-width // lanes) * lanes

    @cached_property
    def table(self) -> type[ctypes.Array[ctypes.c_int64]]:
        return ctypes.c_int64 * len(self.arrays)

    def job(
        self, given: Mapping[Array, Tensor], outside: Mapping[Array, Tensor], walk: Walk
    ) -> Job:
        """All that it takes to run over the steps of ``walk``.

        Args:
            given: ``(rows, width)`` tensors, whose last axis is contiguous.
            outside: values of the parameters that the loop reads.
        """
        scratch = torch.zeros(walk.rows, self.room, dtype=self.dtype)
        at, size = scratch.data_ptr(), self.dtype.itemsize
        pointers, strides, alive = [], [], [scratch]
        for array in self.arrays:
            if array in self.temporaries:
                pointers.append(at + self.temporaries[array] * size)
                strides.append(self.room)
                continue
            if array.kind == "weight":
                tensor = packing(outside[array].to(self.dtype), self.dtype, machine())
            elif array.kind == "vector":
                tensor = outside[array].to(self.dtype).reshape(-1).contiguous()
            else:
                tensor = given[array]
            alive.append(tensor)
            pointers.append(tensor.data_ptr())
            strides.append(tensor.stride(0))
        addresses = self.table(*pointers), self.table(*strides)
        arguments = (
            ctypes.addressof(addresses[0]),
            ctypes.addressof(addresses[1]),
            walk.offsets.data_ptr(),
            walk.counts.data_ptr(),
            len(walk),
        )
        return Job(
            self.compiled,
            arguments,
            walk.rows,
            walk.row_stride,
            walk.tiles,
            machine().tile[0],
            (alive, addresses, walk),
        )
