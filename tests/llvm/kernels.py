"""Loops over arrays around the functions of vmath, compiled for this processor."""

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np
from llvmlite import binding, ir

from saiki.compiler.cpu import machine as processor
from saiki.compiler.cpu.machine import Machine
from saiki.llvm import vmath

ELEMENTS = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}


def target(machine: Machine) -> binding.TargetMachine:
    """A new target machine each time, since an execution engine owns the one it is given."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=3
    )


def loop(name: str, element: ir.Type, lanes: int | None) -> ir.Module:
    """A module with kernel(count, out, in...), which maps the function over count vectors."""
    operands = 2 if name == "pow" else 1
    module = ir.Module(name)
    integer, pointer = ir.IntType(64), ir.PointerType()
    vector = element if lanes is None else ir.VectorType(element, lanes)
    signature = ir.FunctionType(ir.VoidType(), [integer, *[pointer] * (operands + 1)])
    kernel = ir.Function(module, signature, "kernel")
    count, *pointers = kernel.args
    entry, body, end = (kernel.append_basic_block(block) for block in ("entry", "body", "end"))
    b = ir.IRBuilder(entry)
    b.branch(body)
    b.position_at_end(body)
    index = b.phi(integer)
    index.add_incoming(integer(0), entry)
    out, *inputs = (b.gep(p, [index], source_etype=vector) for p in pointers)
    align = 4 if element == ir.FloatType() else 8
    values = [b.load(p, typ=vector, align=align) for p in inputs]
    b.store(getattr(vmath, name)(b, *values), out, align=align)
    following = b.add(index, integer(1))
    index.add_incoming(following, b.block)
    b.cbranch(b.icmp_unsigned("<", following, count), body, end)
    b.position_at_end(end)
    b.ret_void()
    return module


def optimized(text: str, machine: binding.TargetMachine) -> binding.ModuleRef:
    module = binding.parse_assembly(text)
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


@cache
def compiled(
    name: str, dtype: np.dtype, lanes: int | None, machine: Machine | None = None
) -> Callable[..., np.ndarray]:
    """The named function over arrays of that type, computed with that many lanes at a time, for
    this processor or another that it can do for."""
    by = target(machine or processor.machine())
    module = optimized(str(loop(name, ELEMENTS[dtype], lanes)), by)
    engine = binding.create_mcjit_compiler(module, by)
    engine.finalize_object()
    pointers = 3 if name == "pow" else 2
    kernel_type = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * pointers)
    kernel = kernel_type(engine.get_function_address("kernel"))
    width = lanes or 1

    def run(*arrays: np.ndarray) -> np.ndarray:
        size = arrays[0].size
        padded = -(-size // width) * width
        if padded != size:
            arrays = tuple(np.resize(array, padded) for array in arrays)
        out = np.empty(padded, dtype)
        kernel(padded // width, out.ctypes.data, *(array.ctypes.data for array in arrays))
        return out[:size]

    run.engine = engine  # it owns the code
    return run
