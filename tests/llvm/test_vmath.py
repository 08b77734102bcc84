"""The functions of vmath against numpy and mpmath: errors, special values, lanes, targets."""

import importlib.util
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding

from llvm import kernels
from saiki.compiler.cpu.machine import SSE2, machine
from saiki.llvm import coefficients, vmath

pytestmark = pytest.mark.one_in(5)

mpmath = pytest.importorskip("mpmath")  # comes with sympy, on which torch depends
mp, mpf = mpmath.mp, mpmath.mpf

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
UNSIGNED = {FLOAT32: np.uint32, FLOAT64: np.uint64}
LANES = {FLOAT32: 16, FLOAT64: 8}
SPECIAL = [0.0, 1.0, 0.5, 2.0, 3.0, 1.5, 2.5, 1e-30, 1e30, math.inf]
SPECIALS = np.array([math.nan, *SPECIAL, *(-value for value in SPECIAL)])


def numpy_sigmoid(x: np.ndarray) -> np.ndarray:
    power = np.exp(-np.abs(x))
    return np.where(x < 0, power, 1) / (1 + power)


NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": numpy_sigmoid,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}
MPMATH: dict[str, Callable[..., object]] = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "sqrt": mpmath.sqrt,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
}
# Beyond these the function is constant (or overflows), and mpmath would only be slow.
SATURATED = {"exp": 800, "expm1": 800, "tanh": 800, "sigmoid": 800, "erf": 30}


@pytest.fixture(autouse=True)
def settings():
    with np.errstate(all="ignore"), mp.workprec(200):
        yield


def bound(name: str, dtype: np.dtype) -> float:
    """The largest error that the function's docstring admits."""
    docstring = " ".join(getattr(vmath, name).__doc__.split())
    return float(re.search(rf"([\d.]+) ulp \({dtype.name}\)", docstring)[1])


def run(name: str, *arrays: np.ndarray) -> np.ndarray:
    return kernels.compiled(name, arrays[0].dtype, LANES[arrays[0].dtype])(*arrays)


def float32_errors(results: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Errors in ulp against float64 results; infinities count as 2**128."""
    results = results.astype(np.float64)
    expected = np.where(np.abs(expected) >= 2.0**128, np.copysign(2.0**128, expected), expected)
    results = np.where(np.isinf(results), np.copysign(2.0**128, results), results)
    exponent = np.clip(np.frexp(expected)[1] - 1, -126, 127)
    errors = np.abs(results - expected) * np.ldexp(1.0, 23 - exponent)
    errors[np.isnan(results) != np.isnan(expected)] = math.inf
    errors[np.isnan(results) & np.isnan(expected)] = 0
    errors[(expected == 0) & (np.signbit(results) != np.signbit(expected))] = math.inf
    return errors


def float64_error(result: float, expected: object) -> float:
    """The error in ulp; infinities count as 2**1024."""
    largest = mpf(2) ** 1024
    expected = max(-largest, min(largest, expected))
    result = mpf(result) if math.isfinite(result) else math.copysign(1, result) * largest
    exponent = mpmath.frexp(expected)[1] - 1 if expected else -1022
    return float(abs(result - expected) * mpf(2) ** (52 - max(-1022, min(1023, exponent))))


def assert_within(name: str, errors: np.ndarray, results: np.ndarray, *points: np.ndarray) -> None:
    worst = int(np.argmax(errors))
    dtype = points[0].dtype
    at = [float(array[worst]) for array in points]
    print(f"{name} {dtype}: {errors[worst]:.3f} ulp at {at}, result {results[worst]!r}")
    assert errors[worst] <= bound(name, dtype), (name, at, results[worst], errors[worst])


def stratified(dtype: np.dtype, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random values, one from each of `count` equal ranges of bit patterns."""
    step = 2 ** (8 * dtype.itemsize) // count
    starts = np.arange(count, dtype=np.uint64) * np.uint64(step)
    bits = starts + generator.integers(0, step, count, dtype=np.uint64)
    return bits.astype(UNSIGNED[dtype]).view(dtype)


def boundaries() -> np.ndarray:
    """Points about where the reductions, clamps and special paths of float64 change."""
    halves = np.arange(-1100, 1100) * (math.log(2) / 2)
    quarters = np.round(np.geomspace(1, 2.0**32, 1500)) * (math.pi / 4)
    mantissas = np.ldexp(math.sqrt(0.5), np.arange(-60, 60))
    edges = [2.0**-54, 2.0**-53, 2.0**-1022, 2.0**30, 5.93, 19.1, 709.7827128933841, 745.1332191]
    points = np.concatenate([halves, quarters, mantissas, mantissas - 1, 1 - mantissas, edges])
    return np.concatenate([points, np.nextafter(points, math.inf), np.nextafter(points, -math.inf)])


def powers(dtype: np.dtype, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Bases and exponents whose powers spread over the whole range, plus random bits."""
    generator = np.random.default_rng(3)
    base = np.concatenate(
        [
            np.abs(stratified(dtype, count, generator)),
            np.exp(generator.uniform(-3, 3, count)),
            1 + generator.normal(0, 1e-3, count),
        ]
    ).astype(dtype)
    limit = 105 if dtype == FLOAT32 else 750
    exponent = generator.uniform(-limit, limit, base.size) / np.log(base.astype(np.float64))
    integers = generator.integers(-30, 30, (2, count))
    base = np.concatenate([base, integers[0], stratified(dtype, count, generator)]).astype(dtype)
    shuffled = generator.permutation(stratified(dtype, count, generator))
    return base, np.concatenate([exponent, integers[1], shuffled]).astype(dtype)


@pytest.mark.parametrize("name", NUMPY)
def test_float32(name: str) -> None:
    generator = np.random.default_rng(1)
    points = np.concatenate(
        [
            stratified(FLOAT32, 2**22, generator),
            generator.uniform(-20, 20, 2**19),
            generator.uniform(-105, 105, 2**17),
            generator.uniform(-1, 2, 2**19),
            boundaries(),
            SPECIALS,
        ]
    ).astype(np.float32)
    results = run(name, points)
    errors = float32_errors(results, NUMPY[name](points.astype(np.float64)))
    assert_within(name, errors, results, points)


@pytest.mark.parametrize("name", MPMATH)
def test_float64(name: str) -> None:
    generator = np.random.default_rng(2)
    points = np.concatenate(
        [
            stratified(FLOAT64, 2**12, generator),
            generator.uniform(-20, 20, 4000),
            generator.uniform(-1, 2, 4000),
            boundaries(),
            SPECIALS,
        ]
    )
    expected = NUMPY[name](points)
    results = run(name, points)
    limit = SATURATED.get(name, math.inf)
    errors = np.zeros(points.size)
    for index in np.flatnonzero(np.isfinite(points) & ~np.isnan(expected) & (expected != 0)):
        if math.isfinite(expected[index]) or abs(points[index]) < 1000:
            point = mpf(min(limit, max(-limit, float(points[index]))))
            if name in ("log", "rsqrt", "log1p") and math.isinf(expected[index]):
                continue
            errors[index] = float64_error(float(results[index]), MPMATH[name](point))
    assert_within(name, errors, results, points)
    exact = ~np.isfinite(points) | ~np.isfinite(expected) | (points == 0)
    np.testing.assert_array_equal(results[exact], expected[exact])
    signed = exact & ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(results[signed]), np.signbit(expected[signed]))


def test_pow_float32() -> None:
    base, exponent = powers(FLOAT32, 2**19)
    results = run("pow", base, exponent)
    expected = np.power(base.astype(np.float64), exponent.astype(np.float64))
    assert_within("pow", float32_errors(results, expected), results, base, exponent)


def test_pow_float64() -> None:
    base, exponent = powers(FLOAT64, 3000)
    results = run("pow", base, exponent)
    expected = np.power(base, exponent)
    errors = np.where(np.isnan(results) == np.isnan(expected), 0, math.inf)
    for index in np.flatnonzero(np.isfinite(base) & np.isfinite(exponent) & (base != 0)):
        if not np.isnan(expected[index]) and abs(exponent[index] * np.log(abs(base[index]))) < 1e4:
            power = mpf(float(base[index])) ** mpf(float(exponent[index]))
            errors[index] = max(errors[index], float64_error(float(results[index]), power))
    assert_within("pow", errors, results, base, exponent)


@pytest.mark.parametrize("dtype", LANES, ids=str)
def test_pow_special(dtype: np.dtype) -> None:
    """Zeros, ones, infinities, NaNs and integers, against C's pow as numpy calls it."""
    values = np.concatenate([SPECIALS, [np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]])
    base, exponent = (grid.ravel().astype(dtype) for grid in np.meshgrid(values, values))
    results = run("pow", base, exponent)
    expected = np.power(base.astype(np.float64), exponent.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(results, expected, rtol=4 * np.finfo(dtype).eps)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(results[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("dtype", LANES, ids=str)
@pytest.mark.parametrize("name", [*NUMPY, "pow"])
def test_lanes(name: str, dtype: np.dtype) -> None:
    """Every number of lanes gives the same bits."""
    generator = np.random.default_rng(4)
    arrays = [
        np.concatenate(
            [stratified(dtype, 2000, generator), generator.uniform(-9, 9, 2000), SPECIALS]
        )
        .astype(dtype)
        .copy()
        for _ in range(2 if name == "pow" else 1)
    ]
    scalar = kernels.compiled(name, dtype, None)(*arrays)
    for lanes in (1, 4, 8, 16):
        results = kernels.compiled(name, dtype, lanes)(*arrays)
        np.testing.assert_array_equal(np.isnan(results), np.isnan(scalar))
        numbers = ~np.isnan(scalar)
        unsigned = UNSIGNED[dtype]
        np.testing.assert_array_equal(
            results.view(unsigned)[numbers], scalar.view(unsigned)[numbers]
        )


@pytest.mark.parametrize(
    ("triple", "cpu", "features", "lanes"),
    [
        ("x86_64-unknown-linux-gnu", "haswell", "", {FLOAT32: 8, FLOAT64: 4}),
        ("aarch64-unknown-linux-gnu", "generic", "+neon", {FLOAT32: 4, FLOAT64: 2}),
    ],
)
def test_other_targets(triple: str, cpu: str, features: str, lanes: dict[np.dtype, int]) -> None:
    """AVX2 and NEON call nothing but libm's sin and cos, and those from the cold functions."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple(triple)
    machine = target.create_target_machine(cpu, features, 3, reloc="pic", codemodel="small")
    calls = re.compile(r"^\s+(?:callq?|jmp|bl|b)\s+([^\s.][^\s@]*)", re.MULTILINE)
    for dtype, count in lanes.items():
        for name in [*NUMPY, "pow"]:
            module = kernels.loop(name, kernels.ELEMENTS[dtype], count)
            module.triple = triple
            assembly = machine.emit_assembly(kernels.optimized(str(module), machine))
            symbol = name + ("f" if dtype == FLOAT32 else "")
            slow = {symbol, f"vmath.{symbol}.v{count}"} if name in ("sin", "cos") else set()
            called = {call.strip('"') for call in calls.findall(assembly)}
            assert called == slow, (name, dtype)


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "tools" / "derive_coefficients.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    tool = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = tool  # its dataclasses look for themselves there
    try:
        spec.loader.exec_module(tool)
        tool.print_tables()
    finally:
        del sys.modules[path.stem]
    assert capsys.readouterr().out in Path(coefficients.__file__).read_text()


@pytest.mark.skipif(machine().control != "mxcsr", reason="the code is for x86")
@pytest.mark.parametrize("name", NUMPY)
def test_errors_are_within_the_bounds_where_sums_of_products_are_rounded_twice(name: str) -> None:
    """As on a processor without fused operations."""
    generator = np.random.default_rng(6)
    spread = generator.uniform(-90, 90, 50_000).astype(np.float32)
    x = np.concatenate([stratified(FLOAT32, 100_000, generator), spread, spread / 8])
    results = kernels.compiled(name, FLOAT32, 4, SSE2)(x)
    expected = NUMPY[name](x.astype(np.float64))
    assert_within(name, float32_errors(results, expected), results, x)
    if name not in ("sqrt", "rsqrt"):
        y = np.abs(generator.uniform(0, 20, 300))
        doubles = kernels.compiled(name, FLOAT64, 2, SSE2)(y)
        errors = [
            float64_error(result, MPMATH[name](mpf(point)))
            for result, point in zip(doubles, y, strict=True)
        ]
        assert_within(name, np.array(errors), doubles, y)
