"""Values of the emitted code under Python's operators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llvmlite import ir

Operand: TypeAlias = (
    "Vector | float"  # plain numbers stand for constants of the other operand's type
)


def operator(
    on_floats: str, on_integers: str, *symbol: str
) -> Callable[["Vector", Operand], "Vector"]:
    """A method of Vector that appends the builder's instruction of that name."""

    def method(self: "Vector", other: Operand) -> "Vector":
        emit = getattr(self.builder, on_floats if self.is_float else on_integers)
        return self.like(emit(*symbol, self.value, self.operand(other)))

    return method


def declared(module: ir.Module, name: str, signature: ir.FunctionType) -> ir.Function:
    """The module's function of that name, declared at its first use."""
    return module.globals.get(name) or ir.Function(module, signature, name)


class Vector:
    """A value of the emitted program, under Python's operators.

    Comparisons yield vectors of bits, to combine with & and | and to select by; of those with
    NaNs only `differs` holds.  Integers are unsigned.
    """

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder = builder
        self.value = value
        self.lanes = value.type.count if isinstance(value.type, ir.VectorType) else None
        self.element = value.type if self.lanes is None else value.type.element
        self.is_float = not isinstance(self.element, ir.IntType)
        self.bits = 32 if isinstance(self.element, ir.FloatType) else 64
        self.mantissa = 23 if self.bits == 32 else 52
        self.bias = 127 if self.bits == 32 else 1023

    __add__ = __radd__ = operator("fadd", "add")
    __sub__ = operator("fsub", "sub")
    __mul__ = __rmul__ = operator("fmul", "mul")
    __truediv__ = operator("fdiv", "udiv")
    __and__ = operator("", "and_")
    __or__ = operator("", "or_")
    __xor__ = operator("", "xor")
    __lshift__ = operator("", "shl")
    __rshift__ = operator("", "lshr")
    __lt__ = operator("fcmp_ordered", "icmp_unsigned", "<")
    __gt__ = operator("fcmp_ordered", "icmp_unsigned", ">")
    equals = operator("fcmp_ordered", "icmp_unsigned", "==")
    differs = operator("fcmp_unordered", "icmp_unsigned", "!=")

    def __rsub__(self, other: float) -> "Vector":
        return self.constant(other) - self

    def __rtruediv__(self, other: float) -> "Vector":
        return self.constant(other) / self

    def __neg__(self) -> "Vector":
        return self.like(self.builder.fneg(self.value))

    def __abs__(self) -> "Vector":
        return self.intrinsic("fabs")

    def like(self, value: ir.Value) -> "Vector":
        return Vector(self.builder, value)

    def constant(self, number: float) -> "Vector":
        number = float(number) if self.is_float else int(number)
        return self.like(ir.Constant(self.value.type, number))

    def operand(self, other: Operand) -> ir.Value:
        return other.value if isinstance(other, Vector) else self.constant(other).value

    def of(self, element: ir.Type) -> ir.Type:
        """The type with this number of lanes of the given element type."""
        return element if self.lanes is None else ir.VectorType(element, self.lanes)

    def as_bits(self) -> "Vector":
        return self.like(self.builder.bitcast(self.value, self.of(ir.IntType(self.bits))))

    def as_float(self, bits: "Vector") -> "Vector":
        """The floating-point values, of this type, with the given bits."""
        return self.like(self.builder.bitcast(bits.value, self.value.type))

    def select(self, where_true: "Vector", where_false: Operand) -> "Vector":
        other = where_true.operand(where_false)
        return self.like(self.builder.select(self.value, where_true.value, other))

    def intrinsic(self, name: str, *others: Operand) -> "Vector":
        """Call an LLVM intrinsic whose operands and result are all of this type."""
        suffix = f"f{self.bits}" if self.lanes is None else f"v{self.lanes}f{self.bits}"
        operands = [self.value, *map(self.operand, others)]
        signature = ir.FunctionType(self.value.type, [self.value.type] * len(operands))
        function = declared(self.builder.module, f"llvm.{name}.{suffix}", signature)
        return self.like(self.builder.call(function, operands))

    def fma(self, factor: Operand, addend: Operand) -> "Vector":
        """self * factor + addend, rounded once."""
        return self.intrinsic("fma", factor, addend)

    def muladd(self, factor: Operand, addend: Operand) -> "Vector":
        """self * factor + addend, rounded once or twice, whichever takes less time."""
        return self.intrinsic("fmuladd", factor, addend)

    def clamped(self, smallest: float, largest: float) -> "Vector":
        """The value limited to an interval; NaN where it is NaN."""
        risen = (self < smallest).select(self.constant(smallest), self)
        return (risen > largest).select(self.constant(largest), risen)

    def polynomial(self, coefficients: Sequence[float]) -> "Vector":
        """The polynomial with these coefficients, constant term first.

        By Horner's rule, which long ones apply to their even and odd terms apart, for speed.
        """
        if len(coefficients) > 8:
            square = self * self
            odd, even = (square.polynomial(coefficients[start::2]) for start in (1, 0))
            return odd.muladd(self, even)
        *rest, last = coefficients
        result = self.constant(last)
        for coefficient in reversed(rest):
            result = result.muladd(self, coefficient)
        return result


@dataclass(frozen=True)
class Pair:
    """The unevaluated sum of two vectors, the second far smaller: twice the precision."""

    high: Vector
    low: Vector

    def __add__(self, other: "Pair") -> "Pair":
        """The sum, where self is larger than other or zero."""
        high = self.high + other.high
        return Pair(high, self.high - high + other.high + (self.low + other.low))

    def __mul__(self, other: "Pair") -> "Pair":
        high = self.high * other.high
        cross = self.high.fma(other.low, self.low * other.high)
        return Pair(high, self.high.fma(other.high, -high) + cross)
