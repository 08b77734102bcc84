"""The processor that code is written for."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from llvmlite import binding


@dataclass(frozen=True)
class Machine:
    """What the emitter must know of the processor."""

    name: str
    vector_bytes: int
    registers: int
    """Vector registers."""
    control: Literal["mxcsr", "fpcr"]
    """The register that says what becomes of numbers too small for full precision."""

    def lanes(self, dtype: torch.dtype) -> int:
        return self.vector_bytes // dtype.itemsize

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and vectors of the block of sums a product keeps in registers."""
        return (4, 4) if self.registers >= 32 else (4, 2)


@cache
def machine() -> Machine:
    """What this processor has: AVX-512, AVX2, NEON or SSE."""
    features = binding.get_host_cpu_features()
    triple = binding.get_process_triple()
    if features.get("avx512f"):
        return Machine("AVX-512", 64, 32, "mxcsr")
    if features.get("avx2"):
        return Machine("AVX2", 32, 16, "mxcsr")
    if triple.startswith(("aarch64", "arm64")):
        return Machine("NEON", 16, 32, "fpcr")
    return Machine("vectors of 16 bytes", 16, 16, "mxcsr")
