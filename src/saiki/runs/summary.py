"""The layers of a model, the shapes of what they put out, and their parameters."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from saiki.runs.columns import aligned
from saiki.torch_internals import tree_leaves


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
    rows = [("layer", "kind", "output", "parameters")]
    for name in dict.fromkeys((*shapes, *parts)):
        child = parts[name]
        if isinstance(child, nn.Dropout):
            continue
        rows.append((name, type(child).__name__, shapes.get(name, "–"), f"{_count(child):,}"))
    rows.append(("", "", "", f"{_count(model):,}"))
    width = max(len(row[-1]) for row in rows)
    return "\n".join(aligned([(*words, number.rjust(width)) for *words, number in rows]))


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
