"""The processor that PyTorch runs on, as a backend."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saiki.compiler.backend import Backend
from saiki.compiler.cpu import buffers, threads
from saiki.compiler.cpu.loop import CompiledLoop
from saiki.compiler.cpu.machine import machine
from saiki.compiler.cpu.recording.recorder import Native
from saiki.compiler.plan.program import Program


class CPU(Backend):
    """Loops are written as LLVM IR and share PyTorch's threads; large products are PyTorch's."""

    name = "cpu"
    inline_weights = 1 << 16

    def obstacle(self, dtype: torch.dtype) -> str:
        if dtype not in (torch.float32, torch.float64):
            return f"there is no kernel for {dtype}"
        return ""

    def describe(self, dtype: torch.dtype) -> str:
        wide = machine()
        return f"in vectors of {wide.lanes(dtype)} ({wide.name})"

    def product(self, left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
        if left.ndim == 3:
            return torch.bmm(left, right) if added is None else torch.baddbmm(added, left, right)
        out, size = None, left.shape[0] * right.shape[1] * left.itemsize
        if size >= buffers.SMALLEST and not torch.is_grad_enabled():  # new memory costs a third
            out = self.empty(left.shape[0], right.shape[1], like=left)
        if added is None:
            return torch.mm(left, right, out=out)
        return torch.addmm(added, left, right, out=out)

    def empty(self, *shape: int, like: Tensor) -> Tensor:
        return buffers.empty(*shape, dtype=like.dtype)

    def memory(self) -> buffers.Pool:
        return buffers.pool()

    def give_back(self) -> None:
        buffers.pool().clear()

    def loop(self, program: Program, dtype: torch.dtype, key: str | None = None) -> CompiledLoop:
        return CompiledLoop(program, dtype, key)

    def recorded(
        self,
        function: Callable[[Sequence[Tensor]], Sequence[Tensor | None]],
        inputs: Sequence[Tensor],
    ) -> Native:
        return Native(function, inputs)

    def run(self, jobs: Sequence[threads.Job]) -> None:
        threads.run(jobs)
