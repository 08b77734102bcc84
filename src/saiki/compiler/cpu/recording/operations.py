"""What a recorder notes: operations on numbers in memory, each with where all of them lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.fx.node import map_arg


class Where(NamedTuple):
    """Where a tensor lies: in which memory, from which number of it on, and how."""

    memory: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        return prod(self.shape)


def _lies(where: Where) -> Any:
    return where.shape, where.strides, where.dtype


@dataclass(frozen=True)
class Pointwise:
    """One value from those at the same place: ``node`` of a graph, which reads placeholders."""

    node: fx.Node
    operands: dict[fx.Node, Where]
    """Of the shape of the result."""
    result: Where

    @property
    def places(self) -> tuple[Where, ...]:
        return self.result, *self.operands.values()

    @property
    def kind(self) -> Any:
        """Equal for all that do the same with tensors that lie alike."""
        order = {node: i for i, node in enumerate(self.operands)}
        arguments = map_arg((self.node.args, self.node.kwargs), lambda node: f"[{order[node]}]")
        return str(self.node.target), repr(arguments), *map(_lies, self.places)


@dataclass(frozen=True)
class Reduction:
    """The sum, ``amax`` or ``amin`` over some dimensions."""

    name: str
    operand: Where
    over: tuple[int, ...]
    result: Where
    """With all dimensions, those that are gone of size 1."""

    @property
    def places(self) -> tuple[Where, ...]:
        return self.operand, self.result

    @property
    def kind(self) -> Any:
        return self.name, self.over, *map(_lies, self.places)


@dataclass(frozen=True)
class Product:
    """``left · right + added``, or as many of them as the first size says, of three dimensions."""

    left: Where
    right: Where
    added: Where | None
    """Of the shape of the result."""
    result: Where

    @property
    def places(self) -> tuple[Where, ...]:
        needed = self.left, self.right, self.result
        return needed if self.added is None else (*needed, self.added)

    @property
    def kind(self) -> Any:
        return "product", *map(_lies, self.places)

    @property
    def is_dot(self) -> bool:
        """Whether each number is the product of two vectors that lie in one."""
        is_whole = self.left.strides[2] == self.right.strides[1] == 1
        return self.right.shape[2] == 1 and is_whole


@dataclass(frozen=True)
class NativeCall:
    """A function that is compiled already."""

    address: int
    arguments: Sequence[int]
    pointers: int
    """So many of the arguments are addresses, by their places as bits."""


Operation = Pointwise | Reduction | Product | NativeCall


def cost(operation: Operation) -> int:
    """In multiplications or so."""
    match operation:
        case Product():
            batch, rows, inner = operation.left.shape
            return batch * rows * inner * operation.right.shape[2]
        case Pointwise():
            return operation.result.size
        case Reduction():
            return operation.operand.size
    return 0
