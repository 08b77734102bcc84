"""An exported file against the model it came from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saiki.errors import ExportError
from saiki.torch_internals import tree_flatten, tree_leaves, tree_unflatten

TOLERANCE = {torch.float16: 1e-2, torch.float32: 1e-4, torch.float64: 1e-6}
"""Largest difference from the model, as a share of the largest entry of the same output. Attributes
of ONNX, such as the ε of LayerNormalization, are float32 in float64 models too."""
ADDED_ROWS = 3
"""By how much the batch of the verification exceeds that of the example; other sizes by more."""


def tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def other_sizes(exported: torch.export.ExportedProgram, example: Any) -> Any:
    """Random arguments like ``example`` in which every size that may vary is another.

    Whole numbers, such as tokens and lengths, are drawn from those of the example.
    """
    user_inputs = exported.graph_signature.user_inputs
    values = [node.meta.get("val") for node in exported.graph.nodes if node.name in user_inputs]
    shapes = [value.shape for value in values if isinstance(value, Tensor)]
    leaves, structure = tree_flatten(example)
    tensors = tensors_in(example)
    sizes: dict[Any, int] = {}
    for tensor, shape in zip(tensors, shapes, strict=True):
        for now, size in zip(tensor.shape, shape, strict=True):
            symbol = getattr(getattr(size, "node", None), "expr", None)
            if symbol in exported.range_constraints and symbol not in sizes:
                bounds, larger = exported.range_constraints[symbol], now + ADDED_ROWS + len(sizes)
                fits = larger <= bounds.upper
                sizes[symbol] = larger if fits else max(int(bounds.lower), now - 1)
    random = torch.Generator().manual_seed(0)

    def draw(tensor: Tensor, shape: Sequence[Any]) -> Tensor:
        wanted = [int(s.node.expr.subs(sizes)) if hasattr(s, "node") else s for s in shape]
        if tensor.is_floating_point():
            return torch.randn(wanted, generator=random, dtype=torch.float64).to(tensor.dtype)
        return tensor.flatten()[torch.randint(tensor.numel(), wanted, generator=random)]

    samples = iter([draw(t, shape) for t, shape in zip(tensors, shapes, strict=True)])
    return tree_unflatten(
        [next(samples) if isinstance(a, Tensor) else a for a in leaves], structure
    )


def compare(model: nn.Module, arguments: Any, path: Path) -> None:
    """Run the file at ``path`` in onnxruntime, and ``model`` on the same ``arguments``.

    Raises:
        ExportError: onnxruntime refuses the file, or computes something else.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with torch.no_grad():
        wanted = tensors_in(model(*arguments))
    tensors = tensors_in(arguments)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]
        arrays = [tensor.numpy() for tensor in tensors]
        outputs = session.run(None, dict(zip(names, arrays, strict=True)))
    except Exception as error:  # onnxruntime has one class for each of its status codes
        reason = str(error).splitlines()[0]
        raise ExportError(f"onnxruntime does not run the exported model: {reason}") from error
    for index, (theirs, ours) in enumerate(zip(outputs, wanted, strict=True)):
        _judge(f"output_{index}", tensors, theirs, ours)


def _judge(name: str, inputs: Sequence[Tensor], theirs: np.ndarray[Any, Any], ours: Tensor) -> None:
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
    subject = f"{name} of the exported model, given {shapes},"
    if theirs.shape != tuple(ours.shape):
        raise ExportError(f"{subject} has the shape {theirs.shape} instead of {tuple(ours.shape)}")
    if ours.numel() == 0:
        return
    a, b = torch.from_numpy(np.asarray(theirs, np.float64)), ours.double()
    equal = (a == b) | (a.isnan() & b.isnan())
    difference = torch.where(equal, 0.0, (a - b).abs().nan_to_num(nan=torch.inf)).max().item()
    largest = b.nan_to_num(posinf=0, neginf=0).abs().max().item()
    if difference > TOLERANCE.get(ours.dtype, 0.0) * largest:
        raise ExportError(
            f"{subject} differs from the model's by {difference:.1e} where it reaches {largest:.1e}"
        )
