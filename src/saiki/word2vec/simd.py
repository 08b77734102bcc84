"""Vectors of eight numbers, and what threads need to meet, in functions compiled by Numba."""

import math
import sys
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from saiki.llvm import vmath
from saiki.llvm.vector import Vector as Numbers
from saiki.word2vec import LANES

SPINS = 2000
"""Looks at a counter before a waiting thread lets others run. It does not pause between them: on a
virtual machine that may hand the processor to others, which was seen to halve the speed."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.IntType(32)
_BYTES = ir.IntType(8).as_pointer()
_FETCH = ir.FunctionType(ir.VoidType(), [_BYTES, _INDEX, _INDEX, _INDEX])


class Vector(types.Type):
    """Eight numbers of 32 bits."""

    def __init__(self) -> None:
        super().__init__("Vector")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Any) -> None:
        super().__init__(manager, of, _VECTOR)


vector = Vector()


def _element(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _number(builder: Any, place: Any, index: Any) -> Any:
    start = builder.inttoptr(place, ir.FloatType().as_pointer())
    return builder.gep(start, [index])


@intrinsic
def borrowed(typing: Any, array: Any) -> Any:
    """The same array, of which nobody counts who uses it: counting takes longer than to compute
    with a row, and threads that count the same array wait for each other."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(array)(context, builder, arguments[0])
        made.meminfo = cgutils.get_null_value(made.meminfo.type)
        made.parent = cgutils.get_null_value(made.parent.type)
        return made._getvalue()

    return array(array), code


@intrinsic
def place_of(typing: Any, array: Any) -> Any:
    """Where the numbers of an array begin."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(
            _element(context, builder, signature.args[0], arguments[0]), ir.IntType(64)
        )

    return types.int64(array), code


@intrinsic
def load(typing: Any, place: Any, index: Any) -> Any:
    """Eight numbers, from the one of this index at a place on."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = _number(builder, *arguments)
        numbers = builder.load(builder.bitcast(start, _VECTOR.as_pointer()))
        numbers.align = 4
        return numbers

    return vector(types.int64, types.int64), code


@intrinsic
def store(typing: Any, place: Any, index: Any, value: Any) -> Any:
    """Write eight numbers, from the one of this index at a place on."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = _number(builder, *arguments[:2])
        builder.store(arguments[2], builder.bitcast(start, _VECTOR.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, vector), code


@intrinsic
def spread(typing: Any, place: Any, index: Any) -> Any:
    """The number of this index at a place, eight times."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _eight(builder, builder.load(_number(builder, *arguments)))

    return vector(types.int64, types.int64), code


@intrinsic
def fetch(typing: Any, place: Any, index: Any) -> Any:
    """Bring what lies there near, for whoever reads it soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = builder.bitcast(_number(builder, *arguments), _BYTES)
        fetched = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], _FETCH)
        builder.call(fetched, [start, _INDEX(0), _INDEX(3), _INDEX(1)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


def _eight(builder: Any, value: Any) -> Any:
    none = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(none, value, _INDEX(0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(_INDEX, LANES), None))


@intrinsic
def splat(typing: Any, number: Any) -> Any:
    """The same number eight times."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _eight(builder, arguments[0])

    return vector(types.float32), code


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once where the processor can."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, c = arguments
        return builder.fadd(builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])

    return vector(vector, vector, vector), code


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """a + b."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return vector(vector, vector), code


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """a · b."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return vector(vector, vector), code


@intrinsic
def sigmoid(typing: Any, x: Any) -> Any:
    """1 / (1 + exp(−x))."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return vmath.sigmoid(builder, arguments[0])

    return vector(vector), code


@intrinsic
def softplus(typing: Any, x: Any) -> Any:
    """ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(−|x|))."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = Numbers(builder, arguments[0])
        power = vmath.exp(builder, (-abs(v)).value)
        return (v.clamped(0, math.inf) + v.like(vmath.log1p(builder, power))).value

    return vector(vector), code


@intrinsic
def total(typing: Any, a: Any) -> Any:
    """The sum of the eight numbers."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, width = arguments[0], LANES
        while width > 1:
            width //= 2
            halves = [
                builder.shuffle_vector(
                    value,
                    value,
                    ir.Constant(ir.VectorType(_INDEX, width), list(range(at, at + width))),
                )
                for at in (0, width)
            ]
            value = builder.fadd(*halves)
        return builder.extract_element(value, _INDEX(0))

    return types.float32(vector), code


@intrinsic
def _arrive(typing: Any, counter: Any) -> Any:
    """Add 1 to a counter that other threads see."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _element(context, builder, signature.args[0], arguments[0])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counter), code


@intrinsic
def _arrived(typing: Any, counter: Any) -> Any:
    """What a counter has come to."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _element(context, builder, signature.args[0], arguments[0])
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(counter), code


@intrinsic
def _let_others_run(typing: Any) -> Any:
    """Give the processor to another thread, if one waits for it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])

    return types.int32(), code


@njit(nogil=True, cache=True)
def meet(counter: Any, goal: int) -> None:
    """Go on when all threads have come here, which makes the counter ``goal``."""
    _arrive(counter)
    spins = 0
    while _arrived(counter) < goal:
        spins += 1
        if spins > SPINS:
            _let_others_run()
            spins = 0
