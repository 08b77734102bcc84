"""The compiled pair as one differentiable operation of PyTorch.

Forward and backward are two operators of ``torch.library``, opaque to tracers, so that
``torch.compile`` sees ordinary operations; an autograd function ties them together.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from saiki.compiler.cpu.loop import Walk
from saiki.compiler.layer import CompiledCell

_CELLS: WeakValueDictionary[int, CompiledCell] = WeakValueDictionary()
_KEYS = itertools.count()


def register(cell: CompiledCell) -> int:
    """The number by which the operators know ``cell``, as long as it lives."""
    key = next(_KEYS)
    _CELLS[key] = cell
    return key


@lru_cache(maxsize=64)
def _dense(batch: int, time: int, reverse: bool) -> Walk:
    steps = torch.arange(time)
    counts = torch.full((time,), batch)
    return Walk(steps.flip(0) if reverse else steps, counts, time, batch)


class _Path:
    """The way of a loop through ``x``, ``(batch, time, features)``.

    Without lengths the loop reads and writes in place. With lengths the real steps are gathered as
    packed sequences are: longest row first, all rows of the first step, then all of the second.
    """

    def __init__(self, x: Tensor, lengths: Tensor | None, reverse: bool) -> None:
        self.batch, self.time = x.shape[:2]
        self.index: Tensor | None = None
        if lengths is None:
            self.walk = _dense(self.batch, self.time, reverse)
            return
        self.order = torch.argsort(lengths, descending=True, stable=True)
        self.back = torch.argsort(self.order)
        ordered = lengths[self.order]
        steps = torch.arange(int(ordered[0]))[:, None]
        real = steps < ordered
        at = self.order * self.time + (ordered - 1 - steps if reverse else steps)
        self.index = at[real]
        counts = real.sum(1)
        offsets = counts.cumsum(0) - counts
        self.walk = Walk(offsets, counts, 1, self.batch)

    def rows(self, x: Tensor) -> Tensor:
        """The real steps of ``x`` as ``(total rows, features)``."""
        flat = x.reshape(-1, x.shape[-1])
        return flat if self.index is None else flat[self.index]

    def padded(self, rows: Tensor) -> Tensor:
        """``rows`` back in ``(batch, time, features)``, 0 in the padding."""
        if self.index is not None:
            flat = rows.new_zeros(self.batch * self.time, rows.shape[-1])
            rows = flat.index_copy_(0, self.index, rows)
        return rows.view(self.batch, self.time, rows.shape[-1])

    def sorted(self, state: Tensor) -> Tensor:
        return state if self.index is None else state[self.order]

    def unsorted(self, state: Tensor) -> Tensor:
        return state if self.index is None else state[self.back]


def _forward(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    key: int,
    reverse: bool,
    training: bool,
) -> list[Tensor]:
    """y, the last states, then what the backward pass needs."""
    path = _Path(x, lengths, reverse)
    cell = _CELLS[key]
    dense = path.index is None
    y = x.new_empty(*(x.shape[:2] if dense else (len(path.index),)), cell.output_size)
    ends, saved = cell.forward(
        path.rows(x),
        y.flatten(0, 1) if dense else y,
        [path.sorted(s) for s in states],
        parameters,
        path.walk,
        training,
    )
    return [y if dense else path.padded(y), *(path.unsorted(e) for e in ends), *saved]


def _backward(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    saved: Sequence[Tensor],
    key: int,
    reverse: bool,
    needs: Sequence[bool],
) -> list[Tensor]:
    """∂L/∂x, ∂L/∂(initial states) and ∂L/∂parameters; empty where not needed or absent."""
    path = _Path(x, lengths, reverse)
    d_x, starts, d_parameters = _CELLS[key].gradients(
        path.rows(d_y),
        [path.sorted(d) for d in d_states],
        path.rows(x),
        parameters,
        saved,
        path.walk,
        tuple(needs),
    )
    empty = x.new_empty(0)
    return [
        empty if d_x is None else path.padded(d_x),
        *(path.unsorted(d) for d in starts),
        *(empty if d is None else d for d in d_parameters),
    ]


def _forward_shapes(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    key: int,
    reverse: bool,
    training: bool,
) -> list[Tensor]:
    cell = _CELLS[key]
    batch, time = x.shape[:2]
    total = batch * time if lengths is None else torch.library.get_ctx().new_dynamic_size()
    saved = [x.new_empty(total, n) for n in cell.left_widths] if training else []
    y = x.new_empty(batch, time, cell.output_size)
    return [y, *(torch.empty_like(s) for s in states), *saved]


def _backward_shapes(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    saved: Sequence[Tensor],
    key: int,
    reverse: bool,
    needs: Sequence[bool],
) -> list[Tensor]:
    has = [need and g for need, g in zip(needs, _CELLS[key].has_gradient, strict=True)]
    empty = x.new_empty(0)
    return [
        torch.empty(x.shape, dtype=x.dtype, device=x.device) if has[0] else empty,
        *(torch.empty_like(d) for d in d_states),
        *(
            torch.empty(p.shape, dtype=p.dtype, device=p.device) if need else empty
            for p, need in zip(parameters, has[1:], strict=True)
        ),
    ]


_LIBRARY = torch.library.Library("saiki", "DEF")
for _name, _schema, _kernel, _shapes in (
    (
        "scan",
        "(Tensor x, Tensor[] states, Tensor[] parameters, Tensor? lengths, int key, bool reverse,"
        " bool training) -> Tensor[]",
        _forward,
        _forward_shapes,
    ),
    (
        "scan_backward",
        "(Tensor d_y, Tensor[] d_states, Tensor x, Tensor[] parameters, Tensor? lengths,"
        " Tensor[] saved, int key, bool reverse, bool[] needs) -> Tensor[]",
        _backward,
        _backward_shapes,
    ),
):
    _LIBRARY.define(_name + _schema)
    _LIBRARY.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"saiki::{_name}", _shapes, lib=_LIBRARY)

Eager = Callable[..., tuple[Tensor, ...]]
"""``eager(x, *states, *parameters)``: y and the last states by the plain loop."""


class _Scan(torch.autograd.Function):
    """scan, differentiable. The gradient of the gradient is that of the eager loop."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        lengths: Tensor | None,
        key: int,
        reverse: bool,
        states: int,
        eager: Eager,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        given, parameters = tensors[:states], tensors[states:]
        outputs = torch.ops.saiki.scan(x, given, parameters, lengths, key, reverse, True)
        ctx.save_for_backward(x, lengths, *tensors, *outputs[1 + states :])
        ctx.key, ctx.reverse, ctx.states, ctx.eager = key, reverse, states, eager
        ctx.count = len(tensors)
        return tuple(outputs[: 1 + states])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, lengths, *rest = ctx.saved_tensors
        tensors, saved = rest[: ctx.count], rest[ctx.count :]
        k = ctx.states
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            found = _eager_gradients(ctx, x, tensors, gradients)
        else:
            needs = [ctx.needs_input_grad[0], *ctx.needs_input_grad[6 + k :]]
            found = torch.ops.saiki.scan_backward(
                gradients[0], gradients[1:], x, tensors[k:], lengths, saved, ctx.key, ctx.reverse,
                needs,
            )  # fmt: skip
            found = [None if g.numel() == 0 else g for g in found]
        return found[0], None, None, None, None, None, *found[1:]


def _eager_gradients(
    ctx: Any, x: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor]
) -> list[Tensor | None]:
    """The same gradients as a graph that can be differentiated again."""
    inputs = [x, *tensors]
    wanted = [t for t in inputs if t.requires_grad]
    outputs = ctx.eager(x, *tensors)
    pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if o.requires_grad]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if t.requires_grad else None for t in inputs]


def scan(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    key: int,
    reverse: bool,
    eager: Eager,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The output at each step and the last states.

    Args:
        x: ``(batch, time, input_size)``.
        states: the states before the first step, ``(batch, state_size)`` each.
        parameters: parameters and buffers of the cell, in the order of its trace.
        lengths: ``(batch,)``, on the CPU.
        key: from :func:`register`.
        reverse: each row from its last step to its first.
        eager: what to differentiate twice.
    """
    k = len(states)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *states, *parameters)):
        y, *ends = _Scan.apply(x, lengths, key, reverse, k, eager, *states, *parameters)
    else:
        y, *ends = torch.ops.saiki.scan(x, states, parameters, lengths, key, reverse, False)
    return y, tuple(ends)
