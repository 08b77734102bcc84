"""Running an emitted program: arrays to pointers, rows to threads."""

import ctypes
import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from saiki.compiler.cpu.emit import SHARE, emit, packing
from saiki.compiler.cpu.jit import Compiled, compile_text, machine, team
from saiki.compiler.program import Array, Scheduler


@dataclass(frozen=True)
class Walk:
    """Which rows of the step arrays each time step reads and writes.

    At step s the rows below ``counts[s]`` take part, and row r lies at
    ``offsets[s] + r · row_stride``.
    """

    offsets: Tensor
    counts: Tensor
    row_stride: int
    rows: int

    @cached_property
    def backwards(self) -> "Walk":
        """The same steps from the last to the first."""
        return Walk(self.offsets.flip(0), self.counts.flip(0), self.row_stride, self.rows)

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
        """Arrays that live for one call, with their features in whole vectors."""
        lanes = machine().lanes(self.dtype)
        names = {f"t{i}" for i in range(1, self.scheduler.scratch + 1)}
        return {a: -(-a.width // lanes) * lanes for a in self.arrays if a.name in names}

    @cached_property
    def table(self) -> type[ctypes.Array[ctypes.c_int64]]:
        return ctypes.c_int64 * len(self.arrays)

    def run(
        self, given: Mapping[Array, Tensor], outside: Mapping[Array, Tensor], walk: Walk
    ) -> None:
        """Run over all steps of ``walk``.

        Args:
            given: ``(rows, width)`` tensors, whose last axis is contiguous.
            outside: values of the parameters that the loop reads.
        """
        sizes = self.temporaries
        room = sum(sizes.values())
        scratch = torch.zeros(walk.rows, room, dtype=self.dtype)
        at, size = scratch.data_ptr(), self.dtype.itemsize
        pointers, strides, alive = [], [], []
        for array in self.arrays:
            if array in sizes:
                pointers.append(at)
                strides.append(room)
                at += sizes[array] * size
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
        tiles = -(-walk.rows // machine().row_multiple)
        threads = min(torch.get_num_threads(), tiles)
        compiled = self.compiled
        parallel = team()
        if threads == 1:
            compiled.run(*arguments, 0, walk.rows, walk.row_stride)
        elif parallel is not None:
            data = (ctypes.c_int64 * len(SHARE))(*arguments, walk.rows, walk.row_stride)
            parallel(compiled.share, ctypes.addressof(data), threads, 0)
        else:
            edges = [
                min(walk.rows, tiles * i // threads * machine().row_multiple)
                for i in range(threads + 1)
            ]
            jobs = [
                pool().submit(compiled.run, *arguments, first, last, walk.row_stride)
                for first, last in itertools.pairwise(edges)
            ]
            for job in jobs:
                job.result()


@cache
def pool() -> ThreadPoolExecutor:
    """Threads that run loops where there is no team; the calls release the interpreter's lock."""
    return ThreadPoolExecutor(thread_name_prefix="saiki")
