"""Vector elementary functions emitted as inline LLVM IR.

Every function in __all__ takes an IRBuilder, at the end of its block, and values of type float,
double, <N x float> or <N x double>.  It appends straight-line generic IR (no target intrinsics,
no fast-math flags) and returns the function's value; sin and cos also branch, and leave the
builder in a new block.  Subnormals, infinities, NaNs and signed zeros are treated as in C's libm.
Errors are the largest measured (test_vmath.py), rounded up, in units in the last place.
"""

import math

from llvmlite import ir

from saiki.llvm.coefficients import (
    COS,
    ERF,
    ERF_LARGEST,
    EXP_RANGE,
    EXPM1,
    EXPM1_LOWEST,
    HALF_PI,
    LN2,
    LOG1P,
    POW_EXP2,
    POW_LOG,
    POW_LOG2,
    POW_TWELFTH,
    REDUCIBLE,
    SIN,
    SQRT_HALF_BITS,
    TANH_LARGEST,
)
from saiki.llvm.vector import Pair, Vector, declared

__all__ = [
    "cos", "erf", "exp", "expm1", "log", "log1p", "pow", "rsqrt", "sigmoid", "sin", "sqrt", "tanh",
]  # fmt: skip


def reduced_exp(x: Vector, bias: int, tail: Vector | None = None) -> tuple[Vector, Vector, Vector]:
    """Return n + bias, as low bits, r and q with exp(x + tail) = 2**n (1 + r + r**2 q).

    Adding 1.5 * 2**mantissa leaves a number rounded to an integer in the low bits of the sum.
    """
    shifter = 1.5 * 2.0**x.mantissa + bias
    shifted = x.muladd(1 / math.log(2), shifter)
    n = shifted - shifter
    high, low = LN2[x.bits]
    r = n.muladd(-low, n.muladd(-high, x))  # the first product is exact
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
    return first.muladd((r * r).muladd(q, r), first) * second


def expm1_and_expp1(x: Vector) -> tuple[Vector, Vector]:
    """Return exp(x) - 1, relatively accurate, and exp(x) + 1; x <= 0, its exp not subnormal."""
    n, r, q = reduced_exp(x, x.bias)
    power = x.as_float(n << x.mantissa)
    p = (r * r).muladd(q, r)
    return power.muladd(p, power - 1), power.muladd(p, power + 1)


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
    half = f.muladd(f.polynomial(LOG1P[f.bits]), -0.5)
    return k.muladd(high, f + (f * f).muladd(half, k * low))


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
    whole, part = LN2[x.bits]
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


def libm_lanewise(x: Vector, name: str, *others: Vector) -> Vector:
    """Call libm's function of that name on every lane, from a cold function of its own."""
    symbol = name + ("f" if x.bits == 32 else "")
    module = x.builder.module
    operands = [x.value, *(other.value for other in others)]
    scalar = declared(module, symbol, ir.FunctionType(x.element, [x.element] * len(operands)))
    if x.lanes is None:
        return x.like(x.builder.call(scalar, operands))
    signature = ir.FunctionType(x.value.type, [x.value.type] * len(operands))
    function = declared(module, f"vmath.{symbol}.v{x.lanes}", signature)
    if function.is_declaration:
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("cold")
        b = ir.IRBuilder(function.append_basic_block())
        result = function.args[0]
        for lane in map(ir.IntType(32), range(x.lanes)):
            value = b.call(scalar, [b.extract_element(arg, lane) for arg in function.args])
            result = b.insert_element(result, value, lane)
        b.ret(result)
    return x.like(x.builder.call(function, operands))


def flushed(x: Vector) -> Vector:
    """x with zeros in place of subnormals, as a loop takes them for; libm would see their bits."""
    zero = x.constant(0).intrinsic("copysign", x)
    return (abs(x) < 2.0 ** (1 - x.bias)).select(zero, x)


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
    sine = (r * z).muladd(z.polynomial(SIN[x.bits]), r)
    cosine = z.muladd(z.muladd(z.polynomial(COS[x.bits]), -0.5), 1)
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
    result = half.muladd(r * r * q, half.muladd(r, half - 0.5)) * 2
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
    difference, _ = expm1_and_expp1(-magnitude.muladd(1.125, rest))
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
