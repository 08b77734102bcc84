"""What a person sees before a training: whether data are enough, and the layers of the model."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saiki.data.dataset import Dataset
from saiki.torch_internals import tree_leaves

FEW_TO_LEARN, FEW_TO_TEST = 100, 30
"""Examples below which a person is told that they teach, or that they say, little."""


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


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each row as a line in which every column begins where it does in the others."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)).rstrip()


def too_few(data: Dataset[Any]) -> list[str]:
    """What a person should know where data are few, a sentence each."""
    counts = data.examples()
    if counts is None:
        return []
    learned, tested = counts
    remarks = []
    if learned < FEW_TO_LEARN:
        remarks.append(
            f"{_examples(learned)} to learn from are so few that they are learned by heart; "
            f"have {FEW_TO_LEARN} at least, better thousands"
        )
    if tested < FEW_TO_TEST:
        remarks.append(
            f"the final figures are of {_examples(tested)}, fewer than {FEW_TO_TEST}, so chance "
            "decides much of them"
        )
    return remarks


def _examples(count: int) -> str:
    return f"{count} example{'s' * (count != 1)}"
