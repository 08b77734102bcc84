"""An emitted program and the arrays it runs on."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

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

    @cached_property
    def arguments(self) -> tuple[int, int, int]:
        """What a kernel takes: the addresses of offsets and counts, and the number of steps."""
        return self.offsets.data_ptr(), self.counts.data_ptr(), len(self.offsets)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def by_row(self, steps: Tensor) -> Tensor:
        """``(rows, time, features)`` of what lies in the order of the walk, 0 where a row has no
        step; the order of time may be any."""
        rows, time = self.rows, len(self.offsets)
        if self.row_stride > 1:
            return steps.view(rows, time, -1)
        if len(steps) < rows * time:
            real = torch.arange(time)[:, None] < torch.tensor(self.lengths)
            whole = steps.new_zeros(rows * time, steps.shape[1])
            whole[real.flatten()] = steps
            steps = whole
        return steps.view(time, rows, -1).transpose(0, 1)


Place = tuple[Tensor, int]
"""Rows whose last axis is contiguous, and the first of the columns meant."""


class CompiledLoop:
    """A program of the plan, compiled for one floating-point type when it first runs."""

    def __init__(self, scheduler: Scheduler, dtype: torch.dtype) -> None:
        self.program = scheduler.program
        self.outside = list(scheduler.outside.values())
        self.dtype = dtype
        arrays = self.program.arrays
        scratch = {f"t{i}" for i in range(1, scheduler.scratch + 1)}
        self.temporaries = [i for i, a in enumerate(arrays) if a.name in scratch]
        self.places = [arrays.index(a) for a in self.outside]
        taken = {*self.temporaries, *self.places}
        self.given = [i for i in range(len(arrays)) if i not in taken]
        self.machine = machine()
        self.table = ctypes.c_int64 * (2 * len(arrays) + len(self.program.extents))

    @cached_property
    def text(self) -> str:
        """The LLVM IR."""
        return emit(self.program, self.dtype, self.machine)

    @cached_property
    def compiled(self) -> Compiled:
        return compile_text(self.text)

    def columns(self, sizes: Mapping[int, int]) -> list[int]:
        """Where the temporaries begin in a row of scratch, in bytes; they fill whole vectors."""
        whole = self.machine.vector_bytes
        widths = (self.program.arrays[i].width for i in self.temporaries)
        rooms = (sizes.get(width, width) * self.dtype.itemsize for width in widths)
        return list(accumulate((-(-room // whole) * whole for room in rooms), initial=0))

    def job(
        self,
        given: Sequence[Place],
        outside: Sequence[Tensor],
        walk: Walk,
        sizes: Mapping[int, int],
    ) -> Job:
        """All that it takes to run over the steps of ``walk``.

        Args:
            given: of each array of rows, in the order of the program.
            outside: values of the parameters that the loop reads.
            sizes: of memory, by the numbers that stand for them.
        """
        size = self.dtype.itemsize
        columns = self.columns(sizes)
        room = columns[-1] // size
        scratch = torch.empty(walk.rows, room, dtype=self.dtype)
        count = len(self.program.arrays)
        table = self.table()
        for i, (tensor, column) in zip(self.given, given, strict=True):
            table[i] = tensor.data_ptr() + column * size
            table[count + i] = tensor.stride(0)
        start = scratch.data_ptr()
        for i, at in zip(self.temporaries, columns, strict=False):
            table[i] = start + at
            table[count + i] = room
        for i, extent in enumerate(self.program.extents, 2 * count):
            table[i] = sizes[extent]
        ready = [self._ready(a, t) for a, t in zip(self.outside, outside, strict=True)]
        for i, tensor in zip(self.places, ready, strict=True):
            table[i] = tensor.data_ptr()
        address = ctypes.addressof(table)
        return Job(
            self.compiled,
            (address, address + 8 * count, *walk.arguments),
            walk.rows,
            walk.row_stride,
            walk.tiles,
            self.machine.tile[0],
            self.program.cost(sizes),
            given,
            ready,
            (scratch, walk, table),
        )

    def refill(self, job: Job, outside: Sequence[Tensor]) -> None:
        """Give the parameters of a job other values."""
        for array, buffer, tensor in zip(self.outside, job.outside, outside, strict=True):
            same = buffer.shape == tensor.shape
            buffer.copy_(tensor if same else self._ready(array, tensor))

    def _ready(self, array: Array, tensor: Tensor) -> Tensor:
        """A parameter as the kernel reads it."""
        if tensor.dtype != self.dtype:
            tensor = tensor.to(self.dtype)
        return packing(tensor, self.machine) if array.kind == "weight" else tensor.contiguous()
