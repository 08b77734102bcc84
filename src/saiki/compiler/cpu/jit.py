"""From LLVM IR to a function of this process, compiled for the processor it runs on."""

import ctypes
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from llvmlite import binding

from saiki.compiler import shelf
from saiki.compiler.cpu.machine import Machine
from saiki.weak import WeakValues

_LOCK = threading.RLock()
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_FUNCTION = ctypes.CFUNCTYPE(None, *[_POINTER] * 4, *[_INT] * 6, _POINTER)

Run = Callable[..., None]


PASSES = (
    "sroa", "simplify_cfg", "instruction_combine", "new_gvn", "loop_simplify", "loop_rotate",
    "simplify_cfg", "instruction_combine",
)  # fmt: skip
"""What the code is simplified by before instructions are chosen. Loops and vectors are written out
as they shall be, so that the default pipeline of ``-O3`` makes no faster code; it takes twice the
time, and llvmlite never frees a third of a MiB of each of its runs."""


@dataclass(frozen=True)
class Compiled:
    """A compiled function. Its code is there as long as this object is; it is freed when the next
    function is compiled after that."""

    run: Run
    """To call it with the arguments of a program's loop."""
    address: int


KIND = "code"
"""Of what is kept on the shelf."""
RECENT = 4
"""Functions that stay though nobody holds them, for the next layer of the same kind."""
_recent: deque["Compiled"] = deque(maxlen=RECENT)
_COMPILED: WeakValues[tuple[str, str], Compiled] = WeakValues()


_codes: list[tuple[weakref.ref[Compiled], binding.ExecutionEngine, binding.ContextRef]] = []
"""Functions, and what the code of each is part of."""


def compile_text(text: str, machine: Machine, name: str = "run") -> Compiled:
    """A function of an LLVM module."""
    return compiled(f"text {text}", lambda: text, machine, name)


def compiled(module: str, text: Callable[[], str], machine: Machine, name: str = "run") -> Compiled:
    """A function of what ``module`` stands for in any process: compiled once, as long as somebody
    holds the result or it is among the last, and on disk for other processes."""
    key = shelf.key(module, str(machine))
    with _LOCK:
        function = _COMPILED.get((key, name))
        if function is None:
            _initialise()
            _free()
            code = shelf.get(KIND, key)
            if code is None:
                code = translate(text(), machine)
                shelf.put(KIND, key, code)
            function = _COMPILED[key, name] = _load(code, machine, name)
            _recent.append(function)
        return function


def forget(module: str, machine: Machine) -> None:
    """Keep what :func:`compiled` would find on disk no longer."""
    shelf.drop(shelf.key(module, str(machine)))


@cache
def _initialise() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


def _target(machine: Machine) -> binding.TargetMachine:
    return binding.Target.from_default_triple().create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=3
    )


def translate(text: str, machine: Machine) -> bytes:
    """An LLVM module as an object file."""
    target = _target(machine)
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
    code: bytes = target.emit_object(module)
    for owned in (passes, builder, module, target, context):
        owned.close()
    return code


def _load(code: bytes, machine: Machine, name: str) -> Compiled:
    context = binding.create_context()
    # an engine owns the target machine it is given, so each needs one of its own
    engine = binding.create_mcjit_compiler(binding.parse_assembly("", context), _target(machine))
    # LLVM would run into what is no object file of its own: see the signature of the shelf
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(name)
    compiled = Compiled(_FUNCTION(address), address)
    _codes.append((weakref.ref(compiled), engine, context))
    return compiled


def _free() -> None:
    """Free the code of functions that nobody holds any more.

    It stays until the next is compiled, for a callback at their end is code of Python, in which a
    Ctrl-C would be lost.
    """
    for code in [code for code in _codes if code[0]() is None]:
        _codes.remove(code)
        _, engine, context = code
        engine.close()  # first, for its module lives in the context
        context.close()
