"""The gradient of a memory: what is summed place by place, and pairs of vectors.

A step that adds the product of two vectors to a memory at each step adds one product of matrices
for all of them, after the loop.
"""

from typing import Any

from saiki.compiler.plan.cores import Cores, is_rows
from saiki.compiler.trace.nodes import Node, aten

Pairs = tuple[tuple[Node, Node], ...]


def memory_gradient(cores: Cores, node: Node | None) -> tuple[Node | None, Pairs]:
    """∂L/∂memory of a step as what is summed place by place, and pairs of vectors whose
    products, outer times inner, are the rest."""
    if node is None:
        return None, ()
    if node.meta["val"].ndim < 3:
        return node, ()
    seen = cores.view(node)
    shape = tuple(node.meta["val"].shape)
    if seen.features == 2:
        core = seen.core if seen.dims[1] == (1,) else cores.turned(node, seen.core)
    elif seen.features == 1 and seen.dims[2] == (1,):
        core = cores.beside(cores.two(seen.core), 1)
    else:
        core = cores.beside(cores.two(seen.core), 2)
    rest: Node | None = None
    pairs: list[tuple[Node, Node]] = []
    for term in _terms(core):
        pair = _separated(cores, term)
        if pair is not None and all(isinstance(vector, Node) for vector in pair):
            pairs.append(pair)
        elif rest is None:
            rest = term
        else:
            rest = cores.emit(aten.add.Tensor, (rest, term), shape)
    return rest, tuple(pairs)


def _separated(cores: Cores, grid: Node) -> tuple[Any, Any] | None:
    """The vectors over outer and inner whose product the grid is: a vector, a number, or None
    for 1."""
    if grid.target is aten.unsqueeze.default and is_rows(grid):
        vector: Any = grid.args[0]
        return (vector, None) if grid.args[1] == 2 else (None, vector)
    if grid.target not in (aten.mul.Tensor, aten.mul.Scalar) or not is_rows(grid):
        return None
    parts: list[tuple[Any, Any]] = []
    for arg in grid.args:
        if isinstance(arg, Node) and is_rows(arg):
            part = _separated(cores, arg)
            if part is None:
                return None
            parts.append(part)
        elif isinstance(arg, int | float):
            parts.append((arg, None))
        else:
            return None
    (a, b), (c, d) = parts
    return _times(cores, a, c), _times(cores, b, d)


def _times(cores: Cores, a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if not isinstance(a, Node):
        a, b = b, a
    if not isinstance(a, Node):
        return a * b
    shapes = [v.meta["val"].shape for v in (a, b) if isinstance(v, Node)]
    return cores.emit(aten.mul.Tensor, (a, b), max(shapes, key=lambda s: s[1]))


def _terms(grid: Node) -> list[Node]:
    """The grids whose sum the grid is."""
    args: Any = grid.args
    is_sum = grid.target is aten.add.Tensor and not grid.kwargs
    if is_sum and all(isinstance(arg, Node) and is_rows(arg) for arg in args):
        return [term for arg in args for term in _terms(arg)]
    return [grid]
