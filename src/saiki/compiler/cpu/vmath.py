"""Vector elementary functions emitted as inline LLVM IR.

Every function in __all__ takes an IRBuilder, at the end of its block, and values of type float,
double, <N x float> or <N x double>.  It appends straight-line generic IR (no target intrinsics,
no fast-math flags) and returns the function's value; sin and cos also branch, and leave the
builder in a new block.  Subnormals, infinities, NaNs and signed zeros are treated as in C's libm.
Errors are the largest measured (test_vmath.py), rounded up, in units in the last place.

The tables are printed by derive_coefficients.py.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llvmlite import ir

__all__ = [
    "cos", "erf", "exp", "expm1", "log", "log1p", "pow", "rsqrt", "sigmoid", "sin", "sqrt", "tanh",
]  # fmt: skip

# fmt: off
LN2 = {32: (0.6931472, -1.9046542e-09), 64: (0.6931471805599453, 2.3190468138462996e-17)}
HALF_PI = {
    32: (1.5707964, -4.371139e-08, -1.7151245e-15),
    64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
POW_LN2 = {64: (0.6931471805601177, -1.7239444525614835e-13)}
POW_TWELFTH = {64: (0.08333333333333333, 4.625929269271485e-18)}
# expm1(x) = x + x**2 P(x); error 2**-26.2 (32), 2**-61.7 (64)
EXPM1 = {
    32: (0.49999997, 0.16666543, 0.0416672, 0.008366579, 0.0013882527),
    64: (0.5, 0.16666666666666677, 0.041666666666666505, 0.008333333333321608,
        0.0013888888888962904, 0.0001984126988620641, 2.4801587171867506e-05,
        2.7557244105686026e-06, 2.755740290825633e-07, 2.5109080877256167e-08,
        2.0875339867207474e-09),
}
# log1p(x) = x - x**2 / 2 + x**3 P(x); error 2**-27.4 (32), 2**-56.6 (64)
LOG1P = {
    32: (0.3333333, -0.2500082, 0.20001225, -0.16623361, 0.14201784, -0.13160183, 0.12761386,
        -0.076342426),
    64: (0.3333333333333314, -0.24999999999987976, 0.2000000000006661, -0.16666666669825875,
        0.14285714280094103, -0.124999996914432, 0.11111111147392602, -0.10000015206194231,
        0.09090923934380586, -0.08332913544243198, 0.07691529774061064, -0.07149439427492454,
        0.06684589546421131, -0.06196679438970607, 0.05668375758810431, -0.056777780551696765,
        0.06503492334182161, -0.059817177249704534, 0.02615104422532552),
}
# -log(erfc(x)) = 1.125 x + x P(x); error 2**-27.9 (32), 2**-57.5 (64)
ERF = {
    32: (0.0033791717, 0.6366194, 0.10277783, -0.01915307, -0.00016038497, 0.0016670148,
        -0.0006328289, 0.00011763876, -9.255951e-06),
    64: (0.003379167095512568, 0.6366197723675836, 0.1027726033017887, -0.019128447005069025,
        -0.00020919469485753748, 0.0016962063858538409, -0.0005901255534275887,
        2.5878606142164038e-05, 6.449185606951415e-05, -2.9724036900807593e-05,
        3.4072516630422446e-06, 2.8351565514511603e-06, -1.7415630181504081e-06,
        3.363767595732072e-07, 1.3717435981473123e-07, -1.4175790111138335e-07,
        6.573178637343106e-08, -2.0962084115979404e-08, 4.997556162152481e-09,
        -9.081930661631767e-10, 1.2483654579686757e-10, -1.261051968362698e-11,
        8.845222763618146e-13, -3.850369829887668e-14, 7.833867311494693e-16),
}
# sin(x) = x + x**3 P(x**2); error 2**-27.9 (32), 2**-57.7 (64)
SIN = {
    32: (-0.16666654, 0.008332113, -0.00019508747),
    64: (-0.16666666666666627, 0.00833333333332094, -0.0001984126982861854, 2.755731327595554e-06,
        -2.5050692468473076e-08, 1.589296147403235e-10),
}
# cos(x) = 1 - x**2 / 2 + x**4 P(x**2); error 2**-32.9 (32), 2**-63.7 (64)
COS = {
    32: (0.041666646, -0.0013887251, 2.4425692e-05),
    64: (0.04166666666666658, -0.0013888888888871375, 2.4801587287783057e-05,
        -2.755731386554179e-07, 2.0875657568508984e-09, -1.1356266309197339e-11),
}
# log2(1 + x) = x P(x), for float32 powers; error 2**-35.8 (64)
POW_LOG2 = {
    64: (1.4426950408687083, -0.7213475208686574, 0.48089836139402664, -0.36067367484460733,
        0.28853729359629565, -0.24045316495882538, 0.20617535539740692, -0.18030060916046062,
        0.15876985785155193, -0.1431564442436637, 0.14474814993142743, -0.14283916314475342,
        0.07737063134838568),
}
# 2**x = P(x), for float32 powers; error 2**-29.0 (64)
POW_EXP2 = {
    64: (1.0000000005530882, 0.6931472057381712, 0.24022646892808713, 0.055503287743417486,
        0.00961848878025632, 0.0013399932033602003, 0.00015345854823256162),
}
# 2 atanh(x / 2) = x + x**3 / 12 + x**5 P(x**2), for float64 powers; error 2**-73.5 (64)
POW_LOG = {
    64: (0.012499999999999994, 0.002232142857144154, 0.00043402777768594973, 8.877841246265309e-05,
        1.87799764727248e-05, 4.069922842459508e-06, 8.907087955420263e-07, 2.2869185892737792e-07),
}
# fmt: on

# The bits of sqrt(1/2), where the mantissas that logarithms see begin.
SQRT_HALF_BITS = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}
# Beyond these the reduction of sin and cos by HALF_PI is not exact enough, and libm takes over.
REDUCIBLE = {32: 2.0**18, 64: 2.0**30}
# Arguments past which exp underflows and overflows, and tanh and erf round to one.
EXP_RANGE = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}
EXPM1_LOWEST = {32: -18.0, 64: -40.0}
TANH_LARGEST = {32: 10.0, 64: 20.0}
ERF_LARGEST = {32: 3.93, 64: 5.93}

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
            return odd.fma(self, even)
        *rest, last = coefficients
        result = self.constant(last)
        for coefficient in reversed(rest):
            result = result.fma(self, coefficient)
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


def declared(module: ir.Module, name: str, signature: ir.FunctionType) -> ir.Function:
    """The module's function of that name, declared at its first use."""
    return module.globals.get(name) or ir.Function(module, signature, name)


def reduced_exp(x: Vector, bias: int, tail: Vector | None = None) -> tuple[Vector, Vector, Vector]:
    """Return n + bias, as low bits, r and q with exp(x + tail) = 2**n (1 + r + r**2 q).

    Adding 1.5 * 2**mantissa leaves a number rounded to an integer in the low bits of the sum.
    """
    shifter = 1.5 * 2.0**x.mantissa + bias
    shifted = x.fma(1 / math.log(2), shifter)
    n = shifted - shifter
    high, low = LN2[x.bits]
    r = n.fma(-low, n.fma(-high, x))
    if tail is not None:
        r = r + tail
    return shifted.as_bits(), r, r.polynomial(EXPM1[x.bits])


def clamped_exp(x: Vector, tail: Vector | None = None) -> Vector:
    """exp(x + tail) for x within EXP_RANGE.

    2**n is applied as two factors, so that n may exceed the range of exponents both ways.
    """
    n, r, q = reduced_exp(x, 2 * x.bias, tail)
    half = n >> 1
    first = x.as_float(half << x.mantissa)
    second = x.as_float((n - half) << x.mantissa)
    return first.fma((r * r).fma(q, r), first) * second


def expm1_and_expp1(x: Vector) -> tuple[Vector, Vector]:
    """Return exp(x) - 1, relatively accurate, and exp(x) + 1; x <= 0, its exp not subnormal."""
    n, r, q = reduced_exp(x, x.bias)
    power = x.as_float(n << x.mantissa)
    p = (r * r).fma(q, r)
    return power.fma(p, power - 1), power.fma(p, power + 1)


def split(x: Vector) -> tuple[Vector, Vector, Vector]:
    """Return k + bias, as bits, k and m in [sqrt(1/2), sqrt(2)) with x = 2**k m; x normal, > 0.

    Set as the mantissa of 2**mantissa, the bits of a small natural number make it a float.
    """
    biased = x.as_bits() + ((x.bias << x.mantissa) - SQRT_HALF_BITS[x.bits])
    exponent = biased >> x.mantissa
    k = x.as_float(exponent | ((x.bias + x.mantissa) << x.mantissa)) - (2.0**x.mantissa + x.bias)
    m = (biased & ((1 << x.mantissa) - 1)) + SQRT_HALF_BITS[x.bits]
    return exponent, k, x.as_float(m)


def split_scaled(x: Vector) -> tuple[Vector, Vector]:
    """The same k and m, for x > 0 that may be subnormal."""
    subnormal = x < 2.0 ** (1 - x.bias)
    scale = x.mantissa + 2
    _, k, m = split(subnormal.select(x * 2.0**scale, x))
    return subnormal.select(k - scale, k), m


def log_sum(k: Vector, f: Vector) -> Vector:
    """k ln 2 + log1p(f) for 1 + f in [sqrt(1/2), sqrt(2))."""
    high, low = LN2[f.bits]
    half = f.fma(f.polynomial(LOG1P[f.bits]), -0.5)
    return k.fma(high, f + (f * f).fma(half, k * low))


def finished_log(x: Vector, result: Vector) -> Vector:
    """The result where x is positive and finite, the logarithm's special values elsewhere."""
    infinity = (2 * x.bias + 1) << x.mantissa
    ordinary = (x.as_bits() - 1) < (infinity - 1)
    special = x.equals(0).select(x.constant(-math.inf), x.fma(math.inf, math.inf))
    return ordinary.select(result, special)


def precise_log(x: Vector) -> Pair:
    """log(x) for x > 0, to about 2**-65 of itself; the special values in the first part.

    With s = 2 (m - 1) / (m + 1) the logarithm of m is 2 atanh(s / 2), whose series converges so
    fast that all terms but the first two need only the precision of one number.
    """
    k, m = split_scaled(x)
    numerator, denominator = (m - 1) * 2, m + 1
    reciprocal = 1 / denominator
    quotient = numerator * reciprocal
    remainder = (-quotient).fma(denominator, numerator)
    remainder = (-quotient).fma(m - (denominator - 1), remainder)
    s = Pair(quotient, remainder * reciprocal)
    z = s * s
    twelfth = Pair(*map(x.constant, POW_TWELFTH[x.bits]))
    tail = Pair(z.high * z.high.polynomial(POW_LOG[x.bits]), x.constant(0))
    whole, part = POW_LN2[x.bits]
    result = Pair(k * whole, k * part) + (s + s * (z * (twelfth + tail)))
    return Pair(finished_log(x, result.high), result.low)


def power_magnitude(x: Vector, y: Vector) -> Vector:
    """|x|**y for float64, as exp(y log |x|) with the logarithm and product as pairs."""
    log_x = precise_log(abs(x))
    product = y * log_x.high
    low = y.fma(log_x.high, -product)
    low = y.fma(log_x.low, low)
    low = (abs(product) < 1000).select(low, 0)
    one = log_x.high.equals(0) | y.equals(0)
    product = one.select(x.constant(0), product)
    return clamped_exp(product.clamped(*EXP_RANGE[x.bits]), low)


def short_power_magnitude(x: Vector, y: Vector) -> Vector:
    """|x|**y for float32 values held in float64, as 2**(y log2 |x|) in plain float64."""
    x = abs(x)
    _, k, m = split(x)
    f = m - 1
    log2_x = finished_log(x, f.fma(f.polynomial(POW_LOG2[x.bits]), k))
    one = log2_x.equals(0) | y.equals(0)
    product = one.select(x.constant(0), y * log2_x).clamped(-200, 200)
    shifter = 1.5 * 2.0**x.mantissa
    shifted = product + (shifter + x.bias)
    r = product - (shifted - (shifter + x.bias))
    return x.as_float(shifted.as_bits() << x.mantissa) * r.polynomial(POW_EXP2[x.bits])


def libm_lanewise(x: Vector, name: str) -> Vector:
    """Call libm's function of that name on every lane, from a cold function of its own."""
    symbol = name + ("f" if x.bits == 32 else "")
    module = x.builder.module
    scalar = declared(module, symbol, ir.FunctionType(x.element, [x.element]))
    if x.lanes is None:
        return x.like(x.builder.call(scalar, [x.value]))
    signature = ir.FunctionType(x.value.type, [x.value.type])
    function = declared(module, f"vmath.{symbol}.v{x.lanes}", signature)
    if function.is_declaration:
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("cold")
        b = ir.IRBuilder(function.append_basic_block())
        result = function.args[0]
        for lane in map(ir.IntType(32), range(x.lanes)):
            value = b.call(scalar, [b.extract_element(function.args[0], lane)])
            result = b.insert_element(result, value, lane)
        b.ret(result)
    return x.like(x.builder.call(function, [x.value]))


def sine_of_quadrant(x: Vector, advance: int, name: str) -> Vector:
    """sin(|x| + advance pi / 2), by polynomials of the remainder of |x| by pi / 2.

    Where some lane is too large (or infinite) a branch has libm compute that lane.
    """
    magnitude = abs(x)
    shifter = 1.5 * 2.0**x.mantissa + advance
    shifted = magnitude.fma(2 / math.pi, shifter)
    n = shifted - shifter
    r = magnitude
    for part in HALF_PI[x.bits]:
        r = n.fma(-part, r)
    z = r * r
    sine = (r * z).fma(z.polynomial(SIN[x.bits]), r)
    cosine = z.fma(z.fma(z.polynomial(COS[x.bits]), -0.5), 1)
    quadrant = shifted.as_bits()
    result = (quadrant & 1).differs(0).select(cosine, sine)
    result = x.as_float(result.as_bits() ^ ((quadrant & 2) << (x.bits - 2)))

    b = x.builder
    huge = magnitude > REDUCIBLE[x.bits]
    some = huge.value
    if x.lanes is not None:
        reduction = ir.FunctionType(ir.IntType(1), [huge.value.type])
        name_of_any = f"llvm.vector.reduce.or.v{x.lanes}i1"
        some = b.call(declared(b.module, name_of_any, reduction), [huge.value])
    before = b.block
    with b.if_then(some, likely=False):
        exact = huge.select(libm_lanewise(magnitude, name), result)
        inside = b.block
    merged = b.phi(x.value.type)
    merged.add_incoming(result.value, before)
    merged.add_incoming(exact.value, inside)
    return x.like(merged)


def exp(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """e**x, as 2**n (1 + expm1(r)) with r = x - n ln 2 and a polynomial for expm1(r).

    Largest error: 1.1 ulp (float32), 1.1 ulp (float64).
    """
    v = Vector(b, x)
    return clamped_exp(v.clamped(*EXP_RANGE[v.bits])).value


def expm1(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """e**x - 1, as 2**n expm1(r) + (2**n - 1) with r = x - n ln 2 and expm1 by a polynomial.

    Half of that is summed and doubled, since 2**n may overflow.

    Largest error: 1.4 ulp (float32), 1.7 ulp (float64).
    """
    v = Vector(b, x)
    n, r, q = reduced_exp(v.clamped(EXPM1_LOWEST[v.bits], EXP_RANGE[v.bits][1]), v.bias - 1)
    half = v.as_float(n << v.mantissa)
    result = half.fma(r * r * q, half.fma(r, half - 0.5)) * 2
    return (abs(v) < 2.0**-v.mantissa / 2).select(v, result).value


def log(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """log(x), as k ln 2 + log(m) with x = 2**k m and a polynomial in m - 1.

    Largest error: 0.9 ulp (float32), 0.9 ulp (float64).
    """
    v = Vector(b, x)
    k, m = split_scaled(v)
    return finished_log(v, log_sum(k, m - 1)).value


def log1p(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """log(1 + x), as k ln 2 + log1p(f) with f = 2**-k x + (2**-k - 1), k the exponent of 1 + x.

    2**-k is taken times 4, and x by 4, since 2**-k may be subnormal.

    Largest error: 1.5 ulp (float32), 1.5 ulp (float64).
    """
    v = Vector(b, x)
    total = v + 1
    exponent, k, _ = split(total)
    power = v.as_float((2 + 2 * v.bias - exponent) << v.mantissa)
    f = (v * 0.25).fma(power, power.fma(0.25, -1))
    result = finished_log(total, log_sum(k, f))
    return (abs(v) < 2.0**-v.mantissa / 2).select(v, result).value


def tanh(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """tanh(x), as (1 - e) / (1 + e) with e = exp(-2 |x|) and 1 - e as accurate as expm1.

    Largest error: 2.0 ulp (float32), 2.2 ulp (float64).
    """
    v = Vector(b, x)
    difference, total = expm1_and_expp1(abs(v).clamped(-math.inf, TANH_LARGEST[v.bits]) * -2)
    return (difference / total).intrinsic("copysign", v).value


def sigmoid(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """1 / (1 + e**-x), as e / (1 + e) or 1 / (1 + e) by the sign of x, with e = exp(-|x|).

    Largest error: 2.5 ulp (float32), 2.5 ulp (float64).
    """
    v = Vector(b, x)
    power = clamped_exp((-abs(v)).clamped(EXP_RANGE[v.bits][0], math.inf))
    return ((v < 0).select(power, 1) / (power + 1)).value


def erf(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """erf(x), as -expm1(log(erfc(|x|))) with a polynomial for log(erfc(x)) / x.

    Largest error: 2.0 ulp (float32), 1.6 ulp (float64).
    """
    v = Vector(b, x)
    magnitude = abs(v).clamped(-math.inf, ERF_LARGEST[v.bits])
    rest = magnitude * magnitude.polynomial(ERF[v.bits])
    difference, _ = expm1_and_expp1(-magnitude.fma(1.125, rest))
    return difference.intrinsic("copysign", v).value


def sin(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """sin(x), by polynomials of the remainder of |x| by pi / 2; huge arguments by libm's sin.

    Largest error: 1.6 ulp (float32), 1.5 ulp (float64).
    """
    v = Vector(b, x)
    result = sine_of_quadrant(v, 0, "sin").as_bits() ^ (v.as_bits() & (1 << (v.bits - 1)))
    return v.as_float(result).value


def cos(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """cos(x), by polynomials of the remainder of |x| by pi / 2; huge arguments by libm's cos.

    Largest error: 1.6 ulp (float32), 1.6 ulp (float64).
    """
    return sine_of_quadrant(Vector(b, x), 1, "cos").value


def pow(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x**y with the special cases of C's pow, as exp(y log |x|) in twice the precision.

    For float32 that is float64, for float64 pairs.

    Largest error: 0.6 ulp (float32), 1.2 ulp (float64).
    """
    base, exponent = Vector(b, x), Vector(b, y)
    if base.bits == 32:
        wide = base.of(ir.DoubleType())
        operands = (base.like(b.fpext(value, wide)) for value in (x, y))
        magnitude = base.like(b.fptrunc(short_power_magnitude(*operands).value, x.type))
    else:
        magnitude = power_magnitude(base, exponent)
    half, whole = exponent * 0.5, exponent.intrinsic("trunc")
    odd = whole.equals(exponent) & half.intrinsic("trunc").differs(half)
    result = odd.select(magnitude.intrinsic("copysign", base), magnitude)
    undefined = (base < 0) & (base > -math.inf) & whole.differs(exponent)
    return undefined.select(base.constant(math.nan), result).value


def sqrt(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The square root, correctly rounded.

    Largest error: 0.5 ulp (float32), 0.5 ulp (float64).
    """
    return Vector(b, x).intrinsic("sqrt").value


def rsqrt(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """1 / sqrt(x), both operations correctly rounded.

    Largest error: 1.5 ulp (float32), 1.5 ulp (float64).
    """
    return (1 / Vector(b, x).intrinsic("sqrt")).value
