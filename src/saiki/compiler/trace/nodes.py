"""What a node of a trace is: of which operation, of which sizes, and what people call it."""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, fx

from saiki.errors import CompileError

aten = torch.ops.aten
Node = fx.Node
Kind = TypeVar("Kind")
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Sizes:
    """What stands for sizes that differ from call to call: primes that no other size equals."""

    rows: int
    """Of the batch."""
    extents: tuple[int, ...]
    """Of memory."""

    def name(self, size: int) -> tuple[int, ...]:
        """The size as a product of a number and powers of these."""
        powers = []
        for prime in (self.rows, *self.extents):
            power = 0
            while size and size % prime == 0:
                size, power = size // prime, power + 1
            powers.append(power)
        return size, *powers


FIRST = Sizes(1_000_003, (1_000_033, 1_000_037, 1_000_039, 1_000_081))
SECOND = Sizes(720_720, (1_000_099, 1_000_117, 1_000_121, 1_000_133))
"""Others, which tell whether anything but sizes depends on them; where the first number of rows
cannot be divided, this one can be by all numbers up to 16."""
ROWS = FIRST.rows
PRODUCTS = {aten.mm.default}


def fold_sum(x: Tensor, outer: int, inner: int, dim: int) -> Tensor:
    """Of a vector seen as outer times inner features: the sum over the outer ones (0), or over the
    inner ones (1)."""
    return x.view(-1, outer, inner).sum(1 + dim)


def fold_amax(x: Tensor, outer: int, inner: int, dim: int) -> Tensor:
    """The largest, as :func:`fold_sum`."""
    return x.view(-1, outer, inner).amax(1 + dim)


def fold_amin(x: Tensor, outer: int, inner: int, dim: int) -> Tensor:
    """The smallest, as :func:`fold_sum`."""
    return x.view(-1, outer, inner).amin(1 + dim)


SUMS = {aten.sum.dim_IntList, aten.amax.default, aten.amin.default}
FOLDS: dict[Any, Any] = {
    aten.sum.dim_IntList: fold_sum, aten.amax.default: fold_amax, aten.amin.default: fold_amin,
}  # fmt: skip
"""Reductions over some of the features of each row, by what they do."""
CONSTANTS = {aten.full.default, aten.full_like.default, aten.scalar_tensor.default}
SLICES = {aten.slice.Tensor, operator.getitem}
RESHAPES = {aten.view.default, aten.unsqueeze.default, aten.squeeze.dims, aten.expand.default}
LIBM = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cosh", "erfc", "exp2", "hypot",
    "log10", "log2", "sinh", "tan",
)  # fmt: skip
"""Functions that the C library does, number by number."""
SIZED = {
    aten.slice.Tensor, aten.native_group_norm.default, aten.native_group_norm_backward.default,
}  # fmt: skip
"""What takes sizes as plain numbers."""
CHEAP = {
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.neg.default, aten.abs.default,
    aten.relu.default, aten.clamp.default, aten.where.self, aten.maximum.default,
    aten.minimum.default, aten.sign.default, aten._to_copy.default,
    *(getattr(getattr(aten, name), kind) for name in ("eq", "ne", "lt", "le", "gt", "ge")
      for kind in ("Scalar", "Tensor")),
    aten.logical_and.default, aten.logical_or.default, aten.logical_not.default,
    aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.bitwise_not.default,
    aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.bitwise_xor.Tensor,
    aten.logical_xor.default, aten.isnan.default,
    *CONSTANTS, *SLICES, *RESHAPES, aten.split_with_sizes.default,
}  # fmt: skip
"""Cheaper to do again in the backward loop than to write in one loop and read in the other."""
POINTWISE: set[Any] = CHEAP | {
    aten.div.Tensor, aten.exp.default, aten.expm1.default, aten.log.default, aten.log1p.default,
    aten.tanh.default, aten.sigmoid.default, aten.erf.default, aten.sin.default, aten.cos.default,
    aten.sqrt.default, aten.rsqrt.default, aten.reciprocal.default, aten.pow.Tensor_Scalar,
    aten.pow.Tensor_Tensor, aten.pow.Scalar, aten.floor.default, aten.ceil.default,
    aten.round.default, aten.trunc.default, aten.div.Scalar, aten.copysign.Tensor,
    aten.fmod.Scalar, aten.fmod.Tensor, aten.remainder.Scalar, aten.remainder.Tensor,
    *(getattr(aten, name).default for name in LIBM),
}  # fmt: skip


def argument(node: Node, index: int, kind: type[Kind]) -> Kind:
    """What ``node`` takes at that place, which is of that kind."""
    value = node.args[index]
    assert isinstance(value, kind), f"{node.target} takes {value!r}"
    return value


def operand(node: Node, index: int = 0) -> Node:
    """The value that ``node`` takes at that place."""
    return argument(node, index, Node)


def parts(node: Node) -> list[Node]:
    """The values that a concatenation takes."""
    return [part for part in _sequence(node, 0) if isinstance(part, Node)]


def whole_numbers(node: Node, index: int) -> list[int]:
    """The sizes or dimensions that ``node`` takes at that place; none where it takes nothing."""
    values = _sequence(node, index) if index < len(node.args) else ()
    return [number for number in values if isinstance(number, int)]


def _sequence(node: Node, index: int) -> Sequence[Any]:
    values = node.args[index]
    assert isinstance(values, list | tuple), f"{node.target} takes {values!r}"
    return values


def shape_of(node: Node) -> tuple[int, ...]:
    """Of its value, with primes for the sizes of batch and memory."""
    return tuple(node.meta["val"].shape)


def vector_of(node: Node) -> Node:
    """What lies beside every place of the other feature of a grid, where ``node`` is that; else
    ``node``."""
    return operand(node) if node.target is aten.unsqueeze.default else node


def is_extent(size: Any) -> bool:
    """Whether the number stands for a size of memory that may be another in each call."""
    return size in FIRST.extents


def core(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without its sizes of 1, unless there are no others."""
    return tuple(size for size in shape if size != 1) or (1,)


def width(node: fx.Node) -> int:
    """Features of a row tensor ``(rows, width)``, ``(rows, 1)`` or ``(rows,)``."""
    shape = node.meta["val"].shape
    return int(shape[1]) if len(shape) == 2 else 1


def descendants(nodes: Iterable[Node], roots: Iterable[Node]) -> set[Node]:
    """Of ``nodes``, in their order: what is made of the roots, and these."""
    reached = set(roots)
    for node in nodes:
        if not reached.isdisjoint(node.all_input_nodes):
            reached.add(node)
    return reached


def ancestors(nodes: Iterable[Node]) -> set[Node]:
    """What these are made of, and they themselves."""
    reached: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in reached:
            reached.add(node)
            stack.extend(node.all_input_nodes)
    return reached


def resolve(
    root: Key,
    known: dict[Key, Value],
    needs: Callable[[Key], Iterable[Key]],
    make: Callable[[Key], Value],
) -> Value:
    """``known[root]``; what it needs is made before it, without calls that nest as deep as that."""
    stack = [root]
    while stack:
        top = stack[-1]
        missing = [] if top in known else [key for key in needs(top) if key not in known]
        if missing:
            stack += reversed(missing)
            continue
        if top not in known:
            known[top] = make(top)
        stack.pop()
    return known[root]


def label(node: fx.Node) -> str:
    """What a person calls the value: the name of a state or parameter, or how it comes from it."""
    known = node.meta.get("label")
    if known is not None:
        return str(known)
    if node.target is aten.permute.default:
        return f"{label(operand(node))}ᵀ"
    return node.name


def where(node: fx.Node) -> str:
    """`` at file.py, line 12: the line`` of the step that made the node, where it is known."""
    return node.stack_trace or ""


def name_of(node: fx.Node) -> str:
    packet = getattr(node.target, "overloadpacket", node.target)
    return str(getattr(packet, "__name__", packet))


def is_row(node: fx.Node) -> bool:
    """Whether the value has one entry, or one vector, for each row of the batch."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.ndim >= 1 and value.shape[0] == ROWS


def is_value(node: fx.Node, dtype: torch.dtype) -> bool:
    """Whether a loop of that type can read and write it: numbers of the type, or flags or their
    count, in one vector for each row."""
    value = node.meta.get("val")
    if value is None or not is_row(node) or value.ndim > 2:
        return False
    return value.dtype in (dtype, torch.bool) or is_count(node)


def is_count(node: fx.Node) -> bool:
    """Whether it says how many flags of a row are set."""
    return (
        node.target in (aten.sum.dim_IntList, fold_sum)
        and operand(node).meta["val"].dtype == torch.bool
        and node.meta["val"].dtype == torch.int64
    )


def is_inline(node: fx.Node, most: int) -> bool:
    """Whether it is a product of x with weights, so many of them at most: few enough to stay near
    while rows pass, so that it takes less time to do in the loop than to write for all steps and
    to read there."""
    if node.target not in (aten.mm.default, aten.addmm.default):
        return False
    left, right = operand(node, -2), operand(node, -1)
    if left.op != "placeholder" or is_row(right):
        return False
    return 0 < width(left) * width(right) <= most


def is_grid(node: Any) -> bool:
    """Whether the value has features over features for each row; see
    :mod:`saiki.compiler.plan.cores`."""
    return is_row(node) and node.meta["val"].ndim == 3


def must_be_value(node: Node, dtype: torch.dtype) -> None:
    value = node.meta["val"]
    if value.ndim > 2:
        raise unsupported(node, f"rows of {value.ndim - 1} dimensions")
    if not is_value(node, dtype):
        raise unsupported(node, f"it yields {value.dtype}")


def is_slice(node: Node) -> bool:
    """Whether the value is a run of another's features."""
    if node.target is operator.getitem:
        return operand(node).target is aten.split_with_sizes.default and is_row(node)
    return node.target in SLICES and is_row(node) and list(node.args[4:]) in ([], [1])


def sliced(node: Node) -> tuple[Node, int]:
    """The row tensor of which ``node`` is a run of features, and the first of them."""
    source = operand(node)
    if node.target is operator.getitem:
        return operand(source), sum(whole_numbers(source, 1)[: argument(node, 1, int)])
    has_start = len(node.args) > 2 and node.args[2] is not None
    start = argument(node, 2, int) if has_start else 0
    size = width(source)
    return source, min(max(0, start + size if start < 0 else start), size)


def is_take(node: Node) -> bool:
    """Whether the value is features of another in an order known now, ``meta["places"]``."""
    return node.target is aten.index_select.default and "places" in node.meta


def is_fold(node: Node) -> bool:
    """Whether the value is a reduction over parts of a vector."""
    return node.target in FOLDS.values()


def reduction(node: Node) -> Any:
    """What a reduction over features does, as an operation of PyTorch."""
    return next((target for target, fold in FOLDS.items() if fold is node.target), node.target)


def is_cat(node: Node) -> bool:
    return node.target is aten.cat.default and is_row(node)


def is_feature_sum(node: Node) -> bool:
    """Whether a reduction is over the features of each row."""
    return [d % 2 for d in whole_numbers(node, 1)] == [1] and len(shape_of(operand(node))) == 2


def is_supported(node: Node, dtype: torch.dtype) -> bool:
    """Whether ``node`` is pointwise work that an emitter knows."""
    try:
        supported(node, dtype)
    except CompileError:
        return False
    return True


def supported(node: Node, dtype: torch.dtype) -> None:
    """Raise unless ``node`` is pointwise work of that type that an emitter knows."""
    if is_take(node):
        return
    if node.target not in POINTWISE or (node.target is operator.getitem and not is_slice(node)):
        raise unsupported(node, "there is no kernel for it")
    value = node.meta["val"]
    if isinstance(value, torch.Tensor) and value.dtype != dtype:
        arithmetic = node.target in (aten.add.Tensor, aten.mul.Tensor, aten.sub.Tensor)
        chosen = node.target is aten.where.self and all(
            not isinstance(a, Node) or a.target in CONSTANTS for a in node.args[1:]
        )
        is_float = value.dtype.is_floating_point or value.dtype.is_complex
        if is_float or (not chosen and (value.dtype != torch.bool or arithmetic)):
            raise unsupported(node, f"it yields {value.dtype}")
    if node.target in RESHAPES:
        source = node.args[0]
        if isinstance(source, Node) and is_row(source) and width(source) not in (1, width(node)):
            raise unsupported(node, "rows change their shape")
    if node.target is aten.slice.Tensor and len(node.args) > 4 and node.args[4] != 1:
        raise unsupported(node, "a slice with a step")


def unsupported(node: fx.Node, why: str) -> CompileError:
    """What to raise at an operation that cannot be compiled; if it could not be seen through
    features, ``meta["refused"]`` says why."""
    maker = operand(node) if node.target is operator.getitem else node
    if "refused" in maker.meta:
        return CompileError(maker.meta["refused"])
    if maker.op == "placeholder":
        return CompileError(f"{label(maker)} cannot be compiled in step: {why}")
    name = str(maker.target).removeprefix("aten.").split(".")[0]
    name = name_of(maker) if is_fold(maker) else name
    return CompileError(f"{name} cannot be compiled in step{where(node)}: {why}")
