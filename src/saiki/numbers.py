"""Numbers as people write them."""

import math


def number(x: float) -> str:
    """A number a person reads at a glance: ``2.3``, ``40``, ``3·10⁶``."""
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else "infinite" if x > 0 else "-infinite"
    if x != 0 and not 1e-2 <= abs(x) < 1e4:
        mantissa, exponent = f"{x:.0e}".split("e")
        raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa}·10{raised}"
    return f"{x:.2g}" if abs(x) < 99.5 else f"{x:.0f}"
