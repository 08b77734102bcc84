"""The graph of a step and of its derivative, as it goes from pass to pass."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from saiki.compiler.trace.draws import Draw
from saiki.compiler.trace.nodes import FIRST, Node, label, name_of
from saiki.torch_internals import tree_leaves


@dataclass(frozen=True)
class Trace:
    """One graph: from x, state, parameters and ∂L/∂(new state) to the new state and all gradients.

    A row tensor has ``ROWS`` as its first size. The gradients are None where there are none.
    """

    graph: fx.Graph
    dtype: torch.dtype
    inline_weights: int
    """Of a product with x, up to which it stays in the loop."""
    x: Node
    states: tuple[Node, ...]
    parameters: dict[str, Node]
    """Parameters and buffers by their name in the cell; then what else ``step`` reads."""
    constants: dict[Node, Tensor]
    """Tensors that ``step`` makes of numbers."""
    draws: dict[Node, Draw]
    """What ``step`` draws, in its order."""
    memory: dict[str, Node]
    """Without its sizes of 1."""
    extents: dict[str, int]
    """The size that stands for each named one."""
    cotangents: tuple[Node, ...]
    new_states: tuple[Node, ...] = ()
    d_x: Node | None = None
    d_states: tuple[Node | None, ...] = ()
    d_memory: dict[str, Node | None] = field(default_factory=dict)
    d_parameters: dict[str, Node | None] = field(default_factory=dict)
    outer: dict[str, tuple[tuple[Node, Node], ...]] = field(default_factory=dict)
    """What ``d_memory`` lacks of the gradient of each memory: products of two vectors."""

    def rewritten(self, **changes: Any) -> "Trace":
        """The trace with the results that its graph now has.

        Args:
            changes: other fields that are no longer what they were.
        """
        results = iter(self.results)
        some = lambda names: tuple(itertools.islice(results, len(names)))  # noqa: E731
        return dataclasses.replace(
            self,
            new_states=some(self.states),
            d_x=next(results),
            d_states=some(self.states),
            d_memory=dict(zip(self.memory, some(self.memory), strict=True)),
            d_parameters=dict(zip(self.parameters, some(self.parameters), strict=True)),
            **changes,
        )

    @property
    def output(self) -> Node:
        """The node that returns the results."""
        return self.graph.output_node()

    @property
    def results(self) -> list[Any]:
        """What the graph returns: the new states, then the gradients by x, each state, memory and
        parameter; after these what ``outer`` holds."""
        return tree_leaves(self.output.args[0])

    @property
    def recursion(self) -> list[Node]:
        """What the backward loop must have at the end of each step."""
        return [d for d in (*self.d_states, *self.d_memory.values()) if d is not None]

    @property
    def inputs(self) -> list[Node]:
        """What is the same at all steps, or there for all of them before the first."""
        return [self.x, *self.parameters.values(), *self.constants]

    @property
    def eps(self) -> float:
        """Of the coarsest type among all values: what a step may round to, to its last bit in one
        way here and in another there."""
        values = (node.meta.get("val") for node in self.graph.nodes)
        dtypes = {v.dtype for v in values if isinstance(v, Tensor)}
        return max(torch.finfo(d).eps for d in dtypes if d.is_floating_point or d.is_complex)

    @property
    def sizes(self) -> str:
        return f"{sum(node.op == 'call_function' for node in self.graph.nodes)} operations"

    def lines(self) -> Iterator[str]:
        """Each operation as people would write it, then what comes out."""
        for node in self.graph.nodes:
            if node.op == "call_function":
                yield f"{formula(node, self.extents)}: {sizes_of(node, self.extents)}"
        names = [label(node) for node in self.states]
        yield from (
            f"new {name} = {label(node)}" for name, node in zip(names, self.new_states, strict=True)
        )
        gradients = zip(
            ("x", *names, *self.memory, *self.parameters),
            (self.d_x, *self.d_states, *self.d_memory.values(), *self.d_parameters.values()),
            strict=True,
        )
        yield from (f"∂L/∂{name} = {label(node)}" for name, node in gradients if node is not None)
        for name, pairs in self.outer.items():
            for outer, inner in pairs:
                yield f"∂L/∂{name} += {label(outer)} ⊗ {label(inner)}"


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
