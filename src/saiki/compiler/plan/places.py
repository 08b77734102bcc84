"""Places: what operations that move entries about do to numbers that say where these lie."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.trace.nodes import Node, aten, unsupported

MOVES: set[Any] = {
    aten.view.default, aten.permute.default, aten.expand.default, aten.unsqueeze.default,
    aten.squeeze.dims, aten.slice.Tensor, aten.flip.default, aten.repeat.default,
    aten.unfold.default, aten.diagonal.default, aten.index_select.default, aten.index.Tensor,
}  # fmt: skip
"""What puts entries of a tensor into other places."""
PUTS: set[Any] = {
    aten.slice_scatter.default, aten.select_scatter.default, aten.diagonal_scatter.default,
    aten.index_put.default,
}  # fmt: skip
"""What puts entries of one tensor into places of another."""
ADDED_AT_MOST = 16
"""Entries that an index adds to one place."""


def touched(node: Node) -> Sequence[int]:
    """The dimensions along which a node moves entries."""
    args: Any = node.args
    match node.target:
        case aten.index.Tensor | aten.index_put.default:
            return [d for d, index in enumerate(args[1]) if index is not None]
        case aten.squeeze.dims | aten.flip.default:
            return list(args[1])
        case aten.repeat.default:
            missing = len(args[1]) - args[0].meta["val"].ndim
            return [d - missing for d, times in enumerate(args[1]) if times != 1 and d >= missing]
        case aten.diagonal.default:
            return (*args[1:], *(0, 0, 1)[len(args) - 1 :])[1:]
        case aten.diagonal_scatter.default:
            return (*args[2:], *(0, 0, 1)[len(args) - 2 :])[1:]
    start = 2 if node.target in PUTS else 1
    return [args[start] if len(args) > start else 0]


def by_index(node: Node, places: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    if any(i is not None and i.dtype == torch.bool for i in indices):
        raise unsupported(node, "flags as an index")
    found: Tensor = aten.index.Tensor(places, list(indices))
    return found


def put(node: Node, base: Tensor, part: Tensor) -> Tensor:
    """The places of what comes out."""
    target: Any = node.target
    found: Tensor = target(base, part, *node.args[2:])
    return found


def put_by_index(
    node: Node, base: Tensor, part: Tensor, zero: int, indices: Sequence[Tensor | None]
) -> list[Tensor]:
    """The places of what comes out, and of what is added to that; ``zero`` is a place of 0."""
    adds = bool((*node.args[3:], False)[0])
    where = by_index(node, torch.arange(base.numel()).view(base.shape), indices)
    entries: dict[int, list[int]] = {}
    for to, of in zip(
        where.flatten().tolist(), part.expand(where.shape).flatten().tolist(), strict=True
    ):
        entries.setdefault(to, []).append(of)
    most = max(map(len, entries.values()), default=0)
    if most > (ADDED_AT_MOST if adds else 1):
        raise unsupported(node, f"an index that names a place {most} times")
    rounds = [base] if adds else []
    for turn in range(most):
        others = base.flatten().tolist() if not adds else [zero] * base.numel()
        for to, of in entries.items():
            others[to] = of[turn] if turn < len(of) else zero
        rounds.append(torch.tensor(others).view(base.shape))
    return rounds or [base]
