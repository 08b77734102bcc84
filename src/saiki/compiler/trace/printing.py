"""Nodes of a graph as people would write them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from saiki.compiler.trace.nodes import FIRST, Node, label, name_of


def formula(node: Node, extents: Mapping[str, int] = {}) -> str:
    """``mm = mm(x, W.weightᵀ)``: a node and what it is made of.

    Args:
        extents: the numbers that stand for sizes of memory, by the names of these.
    """
    if node.op == "placeholder":
        return label(node)
    names = {number: name for name, number in extents.items()}
    options = (f"{key}={_argument(value, names)}" for key, value in node.kwargs.items()
               if key not in _OF_STORAGE)  # fmt: skip
    arguments = ", ".join((*(_argument(arg, names) for arg in node.args), *options))
    return f"{label(node)} = {name_of(node)}({arguments})"


def sizes_of(node: Node, extents: Mapping[str, int]) -> str:
    """``rows × 20``: the shape of its value; of several values each."""
    names = {number: name for name, number in extents.items()}
    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else [value]
    shapes = (v.shape for v in values if isinstance(v, Tensor))
    return ", ".join(" × ".join(_size(n, names) for n in shape) or "a number" for shape in shapes)


_OF_STORAGE = {"layout", "device", "pin_memory", "memory_format"}


def _argument(value: Any, names: Mapping[int, str]) -> str:
    if isinstance(value, Node):
        return label(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_argument(each, names) for each in value)}]"
    if isinstance(value, int) and not isinstance(value, bool):
        return _size(value, names)
    return str(value).removeprefix("torch.")


def _size(size: int, names: Mapping[int, str]) -> str:
    """A size, with the names of those that differ from call to call in place of their numbers."""
    factor, *powers = FIRST.name(size) if size else (size,)
    primes = zip((FIRST.rows, *FIRST.extents), powers, strict=False)
    factors = [names.get(prime, "rows") for prime, power in primes for _ in range(power)]
    return "·".join([*factors, *([str(factor)] if factor != 1 or not factors else [])])
