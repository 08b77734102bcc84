"""From LLVM IR to a function of this process, compiled for the processor it runs on."""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from llvmlite import binding

from saiki.compiler.cpu.emit import Machine

_LOCK = threading.Lock()
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_FUNCTION = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _INT, _INT, _INT)

Run = Callable[[int, int, int, int, int, int, int, int], None]


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


@dataclass(frozen=True)
class Compiled:
    """A compiled function; keeps the engine alive that owns its code."""

    run: Run
    """To call it with the arguments of a program's loop."""
    address: int
    engine: Any


@lru_cache(maxsize=256)
def compile_text(text: str, name: str = "run") -> Compiled:
    """A function of an LLVM module; the same text is compiled once in a process."""
    with _LOCK:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        # an engine owns the target machine it is given, so each needs one of its own
        target = binding.Target.from_default_triple().create_target_machine(
            cpu=binding.get_host_cpu_name(),
            features=binding.get_host_cpu_features().flatten(),
            opt=3,
        )
        module = binding.parse_assembly(text)
        module.verify()
        options = binding.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = False
        options.slp_vectorization = False
        builder = binding.create_pass_builder(target, options)
        builder.getModulePassManager().run(module, builder)
        engine = binding.create_mcjit_compiler(module, target)
        engine.finalize_object()
        address = engine.get_function_address(name)
        return Compiled(_FUNCTION(address), address, engine)
