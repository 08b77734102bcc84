"""The processor that code is written for."""

import os
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from llvmlite import binding

VARIABLE = "ATEN_CPU_CAPABILITY"
"""The variable of the environment by which PyTorch is told to do without newer instructions."""


@dataclass(frozen=True)
class Machine:
    """What the emitter must know of the processor, and what LLVM calls it."""

    name: str
    vector_bytes: int
    registers: int
    """Vector registers."""
    control: Literal["mxcsr", "fpcr"]
    """The register that says what becomes of numbers too small for full precision."""
    cpu: str
    features: str = ""
    """Beyond those of all processors of that name."""

    def lanes(self, dtype: torch.dtype) -> int:
        return self.vector_bytes // dtype.itemsize

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and vectors of the block of sums a product keeps in registers."""
        return (4, 4) if self.registers >= 32 else (4, 2)


AVX2 = Machine("AVX2", 32, 16, "mxcsr", "x86-64-v3")
"""Any processor with AVX2 and FMA."""
SSE2 = Machine("SSE2", 16, 16, "mxcsr", "x86-64")
"""Any processor of 64 bits made by Intel or AMD."""


@cache
def machine() -> Machine:
    """What this processor has: AVX-512, AVX2, NEON or SSE2; less where PyTorch is told so."""
    features = binding.get_host_cpu_features()
    host = binding.get_host_cpu_name(), features.flatten()
    if binding.get_process_triple().startswith(("aarch64", "arm64")):
        return Machine("NEON", 16, 32, "fpcr", *host)
    most = os.environ.get(VARIABLE, "").lower()
    has_512, has_256 = (
        bool(features.get("avx512f")),
        bool(features.get("avx2") and features.get("fma")),
    )
    if has_512 and most not in ("avx2", "default"):
        return Machine("AVX-512", 64, 32, "mxcsr", *host)
    if has_256 and most != "default":
        return AVX2 if has_512 else Machine("AVX2", 32, 16, "mxcsr", *host)
    return SSE2
