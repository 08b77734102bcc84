"""The compiled pair as one differentiable operation of PyTorch.

Forward and backward are two operators of ``torch.library``, opaque to tracers, so that
``torch.compile`` sees ordinary operations; an autograd function ties them together.
"""

import math
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.compiled import compiled_cell
from saiki.compiler.guard import guarded_backward, guarded_forward
from saiki.compiler.kernels import BACKENDS
from saiki.torch_internals import is_batched, undisturbed


def _forward_shapes(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    training: bool,
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    steps = [compiled_cell(key).step for key in keys]
    saved = []
    if training:
        if x.ndim == 3 and lengths is not None:
            total = torch.library.get_ctx().new_dynamic_size()
        else:
            total = math.prod(x.shape[:-1])
        read = iter(memory or ())
        widths = (step.residual_widths(list(islice(read, len(step.memory)))) for step in steps)
        saved = [x.new_empty(total, n) for its in widths for n in its]
    y = x.new_empty(*x.shape[:-1], sum(step.output_size for step in steps))
    return [y, *(torch.empty_like(s) for s in states), *saved]


def _backward_shapes(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    saved: Sequence[Tensor],
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    needs: Sequence[bool],
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    steps = [compiled_cell(key).step for key in keys]
    has = [(step.has_gradient, 1 + len(step.names)) for step in steps]
    of_tensors = chain(*(h[1:end] for h, end in has), *(h[end:] for h, end in has))
    given = [needs[0] and any(of_x for (of_x, *_), _ in has)]
    given += [n and g for n, g in zip(needs[1:], of_tensors, strict=True)]
    empty = x.new_empty(0)
    return [
        torch.empty(x.shape, dtype=x.dtype, device=x.device) if given[0] else empty,
        *(torch.empty_like(d) for d in d_states),
        *(
            torch.empty(p.shape, dtype=p.dtype, device=p.device) if is_given else empty
            for p, is_given in zip((*parameters, *(memory or ())), given[1:], strict=True)
        ),
    ]


DIRECT: dict[Any, Callable[..., list[Tensor]]] = {}
"""The functions behind the operators, for a caller that has only tensors of the CPU."""
_LIBRARY = torch.library.Library("saiki", "DEF")
for _name, _schema, _kernel, _shapes in (
    (
        "scan",
        "(Tensor x, Tensor[] states, Tensor[] parameters, Tensor? lengths, int[] keys,"
        " bool[] reverse, bool time_first, bool training, Tensor[]? memory=None) -> Tensor[]",
        guarded_forward,
        _forward_shapes,
    ),
    (
        "scan_backward",
        "(Tensor d_y, Tensor[] d_states, Tensor x, Tensor[] states, Tensor[] parameters,"
        " Tensor? lengths, Tensor[] saved, int[] keys, bool[] reverse, bool time_first,"
        " bool[] needs, Tensor[]? memory=None) -> Tensor[]",
        guarded_backward,
        _backward_shapes,
    ),
):
    _LIBRARY.define(_name + _schema)
    for _device in BACKENDS:
        _LIBRARY.impl(_name, undisturbed(_kernel), _device.upper())
    torch.library.register_fake(f"saiki::{_name}", _shapes, lib=_LIBRARY)
    DIRECT[getattr(torch.ops.saiki, _name).default] = _kernel

Eager = Callable[..., tuple[Tensor, ...]]
"""``eager(x, *states, *parameters, *memory)``: y and the last states by the plain loop."""


class _Scan(torch.autograd.Function):
    """scan, differentiable. The gradient of the gradient is that of the eager loop."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        lengths: Tensor | None,
        keys: Sequence[int],
        reverse: Sequence[bool],
        time_first: bool,
        states: int,
        memory: int,
        eager: Eager,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        last = len(tensors) - memory
        given, parameters, read = tensors[:states], tensors[states:last], tensors[last:]
        outputs = torch.ops.saiki.scan(
            x, given, parameters, lengths, keys, reverse, time_first, True, read or None
        )
        ctx.save_for_backward(x, lengths, *tensors, *outputs[1 + states :])
        ctx.keys, ctx.reverse, ctx.time_first = keys, reverse, time_first
        ctx.states, ctx.last, ctx.eager = states, last, eager
        ctx.count = len(tensors)
        return tuple(outputs[: 1 + states])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, lengths, *rest = ctx.saved_tensors
        tensors, saved = rest[: ctx.count], rest[ctx.count :]
        k, last = ctx.states, ctx.last
        plain = torch.compiler.is_compiling()
        again = torch.is_grad_enabled() and not plain
        if again or (not plain and any(map(is_batched, gradients))):
            found = _eager_gradients(ctx, x, tensors, gradients, again)
        else:
            needs = [ctx.needs_input_grad[0], *ctx.needs_input_grad[8 + k :]]
            found = torch.ops.saiki.scan_backward(
                gradients[0], gradients[1:], x, tensors[:k], tensors[k:last], lengths, saved,
                ctx.keys, ctx.reverse, ctx.time_first, needs, tensors[last:] or None,
            )  # fmt: skip
            found = [None if g.numel() == 0 else g for g in found]
        return found[0], None, None, None, None, None, None, None, *found[1:]


def _eager_gradients(
    ctx: Any, x: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor], again: bool
) -> list[Tensor | None]:
    """The same gradients by the eager loop, as a graph that can be differentiated ``again``."""
    for key in ctx.keys:
        compiled_cell(key).must_be_unchanged()
    inputs = [x, *tensors]
    wanted = [t for t in inputs if t.requires_grad]
    with torch.enable_grad():
        outputs = ctx.eager(x, *tensors)
    pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if o.requires_grad]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=again,
            allow_unused=True,
        )
    )
    return [next(found) if t.requires_grad else None for t in inputs]


def scan(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    eager: Eager,
    memory: Sequence[Tensor] = (),
) -> tuple[Tensor, list[Tensor]]:
    """The output at each step and the last states of some cells that read the same input.

    Args:
        x: ``(batch, time, input_size)``, or ``(time, batch, input_size)`` with ``time_first``; or
            ``(steps of all rows, input_size)``, packed.
        states: the states before the first step, ``(batch, state_size)`` each, cell by cell.
        parameters: parameters and buffers of the cells, in the order of their traces.
        lengths: ``(batch,)``; or, of a packed x, the number of rows at each step; on the CPU.
        keys: of each cell, from :func:`register`.
        reverse: of each cell: whether it reads each row from its last step to its first.
        eager: what to differentiate twice.
        memory: of the cells, ``(batch, …)`` each, cell by cell.

    Returns:
        The outputs of all cells side by side, and their last states.
    """
    tensors = *states, *parameters, *memory
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tensors)):
        y, *ends = _Scan.apply(
            x, lengths, keys, reverse, time_first, len(states), len(memory), eager, *tensors
        )
    else:
        y, *ends = torch.ops.saiki.scan(
            x, states, parameters, lengths, keys, reverse, time_first, False, memory or None
        )
    return y, ends
