"""From LLVM IR to a function of this process, compiled for the processor it runs on."""

import ctypes
import hashlib
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import binding

_LOCK = threading.RLock()
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_FUNCTION = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _INT, _INT, _INT)

Run = Callable[[int, int, int, int, int, int, int, int], None]


PASSES = (
    "sroa", "simplify_cfg", "instruction_combine", "new_gvn", "loop_simplify", "loop_rotate",
    "simplify_cfg", "instruction_combine",
)  # fmt: skip
"""What the code is simplified by before instructions are chosen. Loops and vectors are written out
as they shall be, so that the default pipeline of ``-O3`` makes no faster code; it takes twice the
time, and llvmlite never frees a third of a MiB of each of its runs."""


@dataclass(frozen=True)
class Compiled:
    """A compiled function. Its code is there as long as this object is."""

    run: Run
    """To call it with the arguments of a program's loop."""
    address: int


RECENT = 4
"""Functions that stay though nobody holds them, for the next layer of the same kind."""
_recent: deque["Compiled"] = deque(maxlen=RECENT)
_COMPILED: weakref.WeakValueDictionary[tuple[bytes, str], Compiled] = weakref.WeakValueDictionary()


def compile_text(text: str, name: str = "run") -> Compiled:
    """A function of an LLVM module; the same text is compiled once, as long as somebody holds the
    result or it is among the last."""
    key = hashlib.sha256(text.encode()).digest(), name
    with _LOCK:
        compiled = _COMPILED.get(key)
        if compiled is None:
            compiled = _COMPILED[key] = _compile(text, name)
            _recent.append(compiled)
        return compiled


def _compile(text: str, name: str) -> Compiled:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    # an engine owns the target machine it is given, so each needs one of its own
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
    )
    context = binding.create_context()  # the global one would keep all constants and types
    module = binding.parse_assembly(text, context)
    module.verify()
    for function in module.functions:
        # tables for unwinding would outlive the code: the next exception of PyTorch would read them
        function.add_function_attribute("nounwind")
    builder = binding.create_pass_builder(target, binding.create_pipeline_tuning_options())
    passes = binding.create_new_module_pass_manager()
    for each in PASSES:
        getattr(passes, f"add_{each}_pass")()
    passes.run(module, builder)
    engine = binding.create_mcjit_compiler(module, target)
    engine.finalize_object()
    address = engine.get_function_address(name)
    compiled = Compiled(_FUNCTION(address), address)
    weakref.finalize(compiled, _dispose, engine, context).atexit = False
    return compiled


def _dispose(engine: Any, context: Any) -> None:
    """The engine first, for its module lives in the context. The interpreter would finalise what is
    part of a cycle in any order."""
    engine.close()
    context.close()
