"""A compiled layer beside the same layer step by step."""

import copy

import torch
from torch.utils._pytree import tree_leaves, tree_map

from saiki import Recurrent
from saiki.compiler import kernels
from saiki.compiler.cpu.backend import CPU
from saiki.weak import WeakValues


def hoist_all(monkeypatch):
    """Do all products with x in front of loops, however few weights they have."""
    monkeypatch.setattr(CPU, "inline_weights", 0)
    monkeypatch.setattr(kernels, "_STEPS", WeakValues())


def randomised(module, dtype=torch.float64, spread=0.4):
    """``module`` with parameters drawn anew, those of vectors too."""
    for p in module.parameters():
        torch.nn.init.normal_(p, std=spread)
    return module.to(dtype)


def compiled(cell, dtype=torch.float64, **options):
    return Recurrent(randomised(cell, dtype), backend="cpu", **options)


def eager(layer, dtype=None):
    """A copy of a layer, or of layers on top of each other, that runs step by step."""
    twin = copy.deepcopy(layer)
    for part in twin.modules():
        if isinstance(part, Recurrent):
            part.backend = "eager"
    return twin if dtype is None else twin.to(dtype)


def draw(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def outcome(layer, x, start=None, lengths=None, select=lambda y, last: [y, *last]):
    """y, the last states, and the gradients of a weighted sum of what is selected, by name.

    The weights are always the same. A gradient is None where nothing depends on the value.
    """
    dtype = x.dtype
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad)
    wanted = {"x": x} if x.requires_grad else {}
    if start is not None:
        start = tree_map(lambda state: state.detach().clone().requires_grad_(), start)
        wanted |= {f"start {i}": s for i, s in enumerate(tree_leaves(start))}
    wanted |= {name: p for name, p in layer.named_parameters() if p.requires_grad}
    y, last = layer(x, start, lengths)
    last = tree_leaves(last)
    generator = torch.Generator().manual_seed(1)
    loss = 0.0
    for output in select(y, last):
        weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        loss = loss + (weights.to(dtype) * output).sum()
    gradients = [None] * len(wanted)
    if loss.requires_grad and wanted:
        gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return {
        "y": y.detach(),
        **{f"last {i}": state.detach() for i, state in enumerate(last)},
        **{f"gradient of {name}": g for name, g in zip(wanted, gradients, strict=True)},
    }


def assert_same(actual, expected, tolerance):
    """Equal to within ``tolerance`` of the largest entry of each tensor."""
    assert actual.keys() == expected.keys()
    for name, b in expected.items():
        a = actual[name]
        if b is None or a is None:
            rest = a if b is None else b
            assert rest is None or not rest.any(), f"{name} is {a} instead of {b}"
            continue
        assert a.shape == b.shape, name
        error = (a.double() - b.double()).abs().max() / b.abs().max().clamp(min=1e-3)
        assert error <= tolerance, f"{name} is off by {error:.1e} of its largest entry"


def assert_agrees(layer, x, start=None, lengths=None, tolerance=None, **options):
    """``layer`` against the eager loop in float64, with the same numbers to begin with."""
    if tolerance is None:
        tolerance = 1e-10 if x.dtype == torch.float64 else 1e-5
    wide = None if start is None else tree_map(torch.Tensor.double, start)
    x64 = x.detach().double().requires_grad_(x.requires_grad)
    assert_same(
        outcome(layer, x, start, lengths, **options),
        outcome(eager(layer, torch.float64), x64, wide, lengths, **options),
        tolerance,
    )
