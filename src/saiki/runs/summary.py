"""The layers of a model, the shapes of what they put out, and their parameters."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saiki.torch_internals import tree_leaves

Row = tuple[str, str, str, str]


def summary(model: nn.Module, example: Any) -> str:
    """A table of the modules directly in ``model``, or in each of a list of models in it, or of the
    model where it holds none, as they run on ``example``, in their order.

    Args:
        example: the input, or a tuple of the arguments of the model.
    """
    arguments = example if isinstance(example, tuple) else (example,)
    shapes: dict[str, str] = {}
    parts = dict(_parts(model)) or {"model": model}
    handles = [
        child.register_forward_hook(
            lambda _m, _i, out, name=name: shapes.update({name: _shape(out)})
        )
        for name, child in parts.items()
    ]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(*arguments)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    rows: list[Row] = [("layer", "kind", "output", "parameters")]
    for name in dict.fromkeys((*shapes, *parts)):
        child = parts[name]
        if isinstance(child, nn.Dropout):
            continue
        rows.append((name, type(child).__name__, shapes.get(name, "–"), f"{_count(child):,}"))
    rows.append(("", "", "", f"{_count(model):,}"))
    return _table(rows)


def _parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            for i, member in enumerate(child):
                yield from ((f"{name}.{i}.{n}", part) for n, part in member.named_children())
        else:
            yield name, child


def _shape(output: Any) -> str:
    first: Tensor = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
    return f"({', '.join(('batch', *map(str, first.shape[1:])))})"


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _table(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *words, number = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join((*words, number.strip().rjust(widths[-1]))))
    return "\n".join(lines)
