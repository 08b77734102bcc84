"""Random numbers that a step draws: drawn in front of the loop, as further features of x.

For each step in the order of the eager loop, and in it for each operation in the order of ``step``,
PyTorch's own generator gives numbers for the rows that the step has. So a compiled layer gives what
the eager loop gives after the same seed, and leaves the generator as that does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from saiki.compiler.trace.nodes import FIRST, Sizes, aten, name_of, shape_of, where
from saiki.errors import CompileError

_METHODS = {
    "rand": "uniform_", "rand_like": "uniform_", "randn": "normal_", "randn_like": "normal_",
    "randint": "random_", "randint_like": "random_", "bernoulli": "bernoulli_",
    "normal": "normal_",
    **{name: name for name in (
        "bernoulli_", "uniform_", "normal_", "exponential_", "geometric_", "cauchy_",
        "log_normal_", "random_",
    )},
}  # fmt: skip
"""How PyTorch itself fills the result of each operation: by a method of tensors."""
_BY_PROBABILITY = (aten.bernoulli.default, aten.bernoulli_.Tensor)
_BY_MOMENTS = (aten.normal.Tensor_float, aten.normal.float_Tensor, aten.normal.Tensor_Tensor)


class Draw(NamedTuple):
    """An operation that draws."""

    method: str
    """Of tensors, which fills one."""
    numbers: tuple[float | None, ...]
    """That the method takes."""
    width: int
    """How much it draws for each row."""
    dtype: torch.dtype

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.numbers))
        return f"{self.method.removesuffix('_')}({numbers}) of {self.width}"

    def fill(self, rows: Tensor) -> None:
        """Draw for the rows of one step."""
        getattr(rows, self.method)(*self.numbers)


def draw(draws: Sequence[Draw], counts: Sequence[int], like: Tensor) -> list[Tensor]:
    """What steps of so many rows draw one after the other: ``(rows of all steps, width)`` each."""
    samples = [
        like.new_empty(sum(counts), operation.width, dtype=operation.dtype) for operation in draws
    ]
    for step in zip(*(tensor.split(counts) for tensor in samples), strict=True):
        for operation, rows in zip(draws, step, strict=True):
            operation.fill(rows)
    return samples


@contextmanager
def drawing(generator: Tensor | None = None) -> Iterator[None]:
    """Let what is drawn inside be what was drawn when the generator was in that state, or what will
    be drawn next; afterwards the generator is as it was."""
    with torch.random.fork_rng([]):
        if generator is not None:
            torch.set_rng_state(generator)
        yield


SAMPLE = 5
"""Rows, of which one is changed to see whether others notice."""


def refuse_meeting_rows(
    cell: str, draws: Sequence[Draw], outputs: Callable[[Sequence[Tensor]], Sequence[Tensor]]
) -> None:
    """Raise if rows meet in what is made of what is drawn, where in front of a loop those of all
    steps are together.

    Args:
        outputs: all that is made of what :data:`SAMPLE` rows draw, rows first.
    """
    with drawing():
        samples = draw(draws, [SAMPLE], torch.empty(0))
    before = outputs(samples)
    for sign in (1, -1):  # a probability may be above what is drawn, or below
        changed = [tensor.clone() for tensor in samples]
        for tensor in changed:
            first = tensor[0]
            tensor[0] = ~first if first.dtype == torch.bool else sign * (2 * first + 1)
        for a, b in zip(before, outputs(changed), strict=True):
            if not torch.allclose(a[1:], b[1:], rtol=1e-4, atol=1e-6, equal_nan=True):
                raise CompileError(
                    f"step of {cell} mixes random numbers of different rows, which cannot be drawn "
                    "before the first step; draw for each row by itself"
                )


def lift_draws(cell: str, module: fx.GraphModule, sizes: Sizes) -> list[Draw]:
    """Make placeholders, ``(rows, width)``, of what a record draws; what each of them holds.

    Args:
        cell: the name of its class.

    Raises:
        CompileError: it draws what cannot be drawn before the first step.
    """
    graph = module.graph
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    draws: list[Draw] = []
    for node in list(graph.nodes):
        if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
            continue
        why = _obstacle(node, sizes)
        if why:
            raise CompileError(
                f"{name_of(node)} draws random numbers in step of {cell}{where(node)} {why}; draw "
                "them for all steps before the layer runs, and give them as further features of x"
            )
        draws.append(_draw(node, sizes))
        with graph.inserting_after(last):
            last = graph.placeholder(f"draw_{len(draws) - 1}")
        with graph.inserting_before(node):
            value = graph.call_function(aten.view.default, (last, list(shape_of(node))))
            value = _of_tensors(graph, node, value)
            if node.target._schema.is_mutable:
                value = graph.call_function(aten.copy_.default, (node.args[0], value))
        value.meta = node.meta
        node.replace_all_uses_with(value)
        graph.erase_node(node)
    return draws


def _obstacle(node: fx.Node, sizes: Sizes) -> str:
    """Why what a node draws cannot be drawn before the first step; empty if it can."""
    value = node.meta["val"]
    by_tensors = node.target not in _BY_PROBABILITY + _BY_MOMENTS and any(
        isinstance(arg, fx.Node) for arg in node.args[1:]
    )
    if name_of(node) not in _METHODS or by_tensors or "out" in node.kwargs:
        return "in a way that cannot be drawn before the first step"
    if node.kwargs.get("generator") is not None:
        return "from a generator of its own"
    if not value.ndim or not value.shape[0] or value.shape[0] % sizes.rows:
        return f"of the shape {tuple(value.shape)}, which does not begin with the rows"
    if any(size % extent == 0 for size in value.shape[1:] for extent in sizes.extents):
        return "as many as a memory is large"
    if not value.is_contiguous():
        return "into a tensor that is not contiguous"
    if sizes is FIRST and not where(node):  # lines are noted while the step runs
        return "while it computes gradients"
    return ""


def _draw(node: fx.Node, sizes: Sizes) -> Draw:
    value = node.meta["val"]
    method, dtype = _METHODS[name_of(node)], value.dtype
    numbers: tuple[Any, ...] = tuple(n for n in node.args if not isinstance(n, fx.Node | list))
    if node.target in _BY_PROBABILITY:  # PyTorch compares uniform numbers with probabilities
        of: Any = node.args[-1]
        is_double = of.meta["val"].dtype == torch.float64
        method, numbers, dtype = "uniform_", (), torch.float64 if is_double else torch.float32
    elif node.target in _BY_MOMENTS:  # and scales and shifts standard normal ones
        numbers = (0.0, *numbers) if node.target is aten.normal.Tensor_float else ()
    return Draw(method, numbers, value.numel() // sizes.rows, dtype)


def _of_tensors(graph: fx.Graph, node: fx.Node, sample: fx.Node) -> fx.Node:
    """What a node whose probabilities or moments are tensors makes of what is drawn for it."""
    if node.target in _BY_PROBABILITY:
        sample = graph.call_function(aten.lt.Tensor, (sample, node.args[-1]))
    elif node.target in _BY_MOMENTS:
        mean, scale = (*node.args, 1.0)[:2]
        if isinstance(scale, fx.Node):
            sample = graph.call_function(aten.mul.Tensor, (sample, scale))
        sample = graph.call_function(aten.add.Tensor, (sample, mean))
    else:
        return sample
    how = {"dtype": node.meta["val"].dtype}
    return graph.call_function(aten._to_copy.default, (sample,), how)
