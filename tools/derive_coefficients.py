"""Derive the polynomial tables of vmath: weighted minimax (Remez exchange) fits with mpmath.

    python tools/derive_coefficients.py

prints the tables as they stand in src/saiki/llvm/coefficients.py, with the weighted error
of each fit before its coefficients are rounded to the element type. It needs mpmath, which is
installed with PyTorch (by way of sympy), and takes some ten seconds.
"""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpmath import (
    atanh,
    cos,
    erfc,
    expm1,
    log,
    log1p,
    lu_solve,
    matrix,
    mp,
    mpf,
    pi,
    sin,
    sqrt,
)

mp.dps = 50

ELEMENTS = {32: np.float32, 64: np.float64}
Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Split:
    """A constant as a sum of parts with the given numbers of significant bits (bits: numbers)."""

    name: str
    value: mpf
    precisions: dict[int, tuple[int, ...]]

    def parts(self, bits: int) -> list[float]:
        rest, parts = self.value, []
        for precision in self.precisions[bits]:
            unit = mpf(2) ** (mp.floor(log(abs(rest), 2)) + 1 - precision)
            parts.append(float(mp.nint(rest / unit) * unit))
            rest = rest - parts[-1]
        return parts


@dataclass(frozen=True)
class Fit:
    """`target` is fitted on `interval` by polynomials, one for each of `degrees` (bits: degree).

    The fit minimises the largest |weight * (target - polynomial)|, the weight being what turns
    an error of the polynomial into a relative error of the function computed from it.
    """

    name: str
    formula: str
    target: Function
    weight: Function
    interval: Callable[[int], tuple[mpf, mpf]]
    degrees: dict[int, int]


def minimax(fit: Fit, bits: int, degree: int) -> tuple[list[mpf], mpf]:
    """Return the coefficients (constant term first) and the weighted error of the best fit."""
    low, high = fit.interval(bits)
    count = 40 * (degree + 2)
    angles = [pi * (index + mpf(1) / 2) / count for index in range(count)]
    grid = [(low + high) / 2 - (high - low) / 2 * cos(angle) for angle in angles]
    target = [fit.target(x) for x in grid]
    weight = [abs(fit.weight(x)) for x in grid]
    nodes = [(2 * index + 1) * count // (2 * (degree + 2)) for index in range(degree + 2)]
    for _ in range(30):
        rows = [
            [weight[node] * grid[node] ** power for power in range(degree + 1)] + [(-1) ** index]
            for index, node in enumerate(nodes)
        ]
        solution = lu_solve(matrix(rows), matrix([weight[node] * target[node] for node in nodes]))
        *coefficients, levelled = solution
        errors = [
            w * (y - sum(c * x**power for power, c in enumerate(coefficients)))
            for x, y, w in zip(grid, target, weight, strict=True)
        ]
        nodes = alternating_extrema(errors, degree + 2)
        largest = max(abs(error) for error in errors)
        if largest <= abs(levelled) * mpf("1.001"):
            break
    return coefficients, largest


def alternating_extrema(errors: list[mpf], count: int) -> list[int]:
    """Return `count` consecutive extrema of alternating sign, the largest error among them."""
    extrema: list[int] = []
    for index, error in enumerate(errors):
        if extrema and (error > 0) == (errors[extrema[-1]] > 0):
            if abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = index
        else:
            extrema.append(index)
    while len(extrema) > count:
        extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
    return extrema


def erf_exponent(x: mpf) -> mpf:
    """-log(erfc(x)), so that erf(x) = -expm1(-erf_exponent(x))."""
    return -log(erfc(x))


HALF_LN2 = log(2) / 2 * mpf("1.001")
QUARTER_TURN = pi / 4 * mpf("1.01")
MANTISSA = (sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1)

FITS = [
    Fit(
        "EXPM1",
        "expm1(x) = x + x**2 P(x)",
        lambda x: (expm1(x) - x) / x**2,
        lambda x: x**2 / expm1(x),
        lambda bits: (-HALF_LN2, HALF_LN2),
        {32: 4, 64: 10},
    ),
    Fit(
        "LOG1P",
        "log1p(x) = x - x**2 / 2 + x**3 P(x)",
        lambda x: (log1p(x) - x + x**2 / 2) / x**3,
        lambda x: x**3 / log1p(x),
        lambda bits: MANTISSA,
        {32: 7, 64: 18},
    ),
    Fit(
        "ERF",
        "-log(erfc(x)) = 1.125 x + x P(x)",
        lambda x: erf_exponent(x) / x - mpf("1.125"),
        lambda x: x / expm1(erf_exponent(x)),
        lambda bits: (mpf(0) + mpf(10) ** -9, {32: mpf("3.93"), 64: mpf("5.93")}[bits]),
        {32: 8, 64: 24},
    ),
    Fit(
        "SIN",
        "sin(x) = x + x**3 P(x**2)",
        lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z,
        lambda z: z * sqrt(z) / sin(sqrt(z)),
        lambda bits: (mpf(10) ** -9, QUARTER_TURN**2),
        {32: 2, 64: 5},
    ),
    Fit(
        "COS",
        "cos(x) = 1 - x**2 / 2 + x**4 P(x**2)",
        lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / cos(sqrt(z)),
        lambda bits: (mpf(10) ** -9, QUARTER_TURN**2),
        {32: 2, 64: 5},
    ),
    Fit(
        "POW_LOG2",
        "log2(1 + x) = x P(x), for float32 powers",
        lambda x: log1p(x) / log(2) / x,
        lambda x: x / log1p(x) * log(2),
        lambda bits: MANTISSA,
        {64: 12},
    ),
    Fit(
        "POW_EXP2",
        "2**x = P(x), for float32 powers",
        lambda x: mpf(2) ** x,
        lambda x: mpf(2) ** -x,
        lambda bits: (mpf(-1) / 2, mpf(1) / 2),
        {64: 6},
    ),
    Fit(
        "POW_LOG",
        "2 atanh(x / 2) = x + x**3 / 12 + x**5 P(x**2), for float64 powers",
        lambda z: (2 * atanh(sqrt(z) / 2) / sqrt(z) - 1 - z / 12) / z**2,
        lambda z: z**2 * sqrt(z) / (2 * atanh(sqrt(z) / 2)),
        lambda bits: (mpf(10) ** -9, (6 - 4 * sqrt(mpf(2))) ** 2 * mpf("1.001")),
        {64: 7},
    ),
]


SPLITS = [
    # any exponent times the first part is exact
    Split("LN2", log(2), {32: (16, 24), 64: (41, 53)}),
    Split("HALF_PI", pi / 2, {32: (24, 24, 24), 64: (53, 53, 53)}),
    Split("POW_TWELFTH", mpf(1) / 12, {64: (53, 53)}),
]


def formatted(name: str, tables: dict[int, list[float]]) -> str:
    """Return a Python assignment of the tables, in as few lines of 100 columns as they need."""
    entries = []
    for bits, values in tables.items():
        entries.append(f"{bits}: ({', '.join(str(ELEMENTS[bits](value)) for value in values)})")
    line = f"{name} = {{{', '.join(entries)}}}"
    if len(line) <= 100:
        return line
    lines = [f"{name} = {{"]
    for entry in entries:
        lines += textwrap.wrap(f"{entry},", 100, initial_indent=" " * 4, subsequent_indent=" " * 8)
    return "\n".join([*lines, "}"])


def print_tables() -> None:
    for split in SPLITS:
        print(formatted(split.name, {bits: split.parts(bits) for bits in split.precisions}))
    for fit in FITS:
        fits = {bits: minimax(fit, bits, degree) for bits, degree in fit.degrees.items()}
        errors = [f"2**{float(log(error, 2)):.1f} ({bits})" for bits, (_, error) in fits.items()]
        print(f"# {fit.formula}; error {', '.join(errors)}")
        print(formatted(fit.name, {bits: coefficients for bits, (coefficients, _) in fits.items()}))


if __name__ == "__main__":
    print_tables()
