"""The compiled pair as one differentiable operation of PyTorch.

Forward and backward are two operators of ``torch.library``, opaque to tracers, so that
``torch.compile`` sees ordinary operations; an autograd function ties them together. Where nobody
sees the operators, the functions behind them are called.
"""

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from saiki.call import Call, Results
from saiki.compiler.kernels import BACKENDS
from saiki.compiler.run.compiled import (
    SCAN,
    SCAN_BACKWARD,
    arguments,
    call_of,
    compiled_cells,
    has_gradient,
)
from saiki.compiler.trust import guard
from saiki.torch_internals import is_batched, is_unseen, undisturbed


def _forward_shapes(call: Call, training: bool) -> list[Tensor]:
    x, steps = call.x, [compiled.step for compiled in compiled_cells(call.parts)]
    pairs = list(zip(steps, call.parts, strict=True))
    residuals = []
    if training:
        is_ragged = x.ndim == 3 and call.lengths is not None
        total: int | torch.SymInt = math.prod(x.shape[:-1])
        if is_ragged:
            total = torch.library.get_ctx().new_dynamic_size()
        widths = (width for step, part in pairs for width in step.residual_widths(part.memory))
        residuals = [x.new_empty(total, width) for width in widths]
        if any(step.draws for step in steps):
            residuals.append(torch.empty(torch.get_rng_state().shape, dtype=torch.uint8))
        residuals.append(torch.empty((), dtype=torch.bool))
    y = x.new_empty(*x.shape[:-1], sum(step.output_size for step in steps))
    return [y, *(torch.empty_like(s) for part in call.parts for s in part.states), *residuals]


def _backward_shapes(
    call: Call,
    gradients: Sequence[Tensor],
    residuals: Sequence[Tensor],
    needs: Sequence[bool],
) -> list[Tensor]:
    exist = has_gradient(compiled_cells(call.parts))
    return [
        tensor.new_empty(tensor.shape if need and has else 0)
        for tensor, need, has in zip(call.tensors(), needs, exist, strict=True)
    ]


_LIBRARY = torch.library.Library("saiki", "DEF")


def _define(
    schema: str, function: Callable[..., list[Tensor]], shapes: Callable[..., list[Tensor]]
) -> None:
    """An operator that does what a function of a call does."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    for device in BACKENDS:
        kernel = undisturbed(lambda *arguments: function(*call_of(*arguments)))
        _LIBRARY.impl(name, kernel, device.upper())
    fake = lambda *arguments: shapes(*call_of(*arguments))  # noqa: E731
    torch.library.register_fake(f"saiki::{name}", fake, lib=_LIBRARY)


_define(SCAN, guard.forward, _forward_shapes)
_define(SCAN_BACKWARD, guard.backward, _backward_shapes)


def _forward(call: Call, training: bool) -> list[Tensor]:
    if is_unseen(call.x):
        return guard.forward(call, training)
    results: list[Tensor] = torch.ops.saiki.scan(*arguments(call), training)
    return results


def _backward(
    call: Call, gradients: Sequence[Tensor], residuals: Sequence[Tensor], needs: Sequence[bool]
) -> list[Tensor]:
    if is_unseen(gradients[0]):
        return guard.backward(call, gradients, residuals, needs)
    results: list[Tensor] = torch.ops.saiki.scan_backward(
        *arguments(call), gradients, residuals, needs
    )
    return results


class _Scan(torch.autograd.Function):
    """scan, differentiable. The gradient of the gradient is that of the eager loop."""

    @staticmethod
    def forward(
        ctx: Any, bare: Call, lengths: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        """``bare`` is the call without its tensors, which are autograd's to hold."""
        results = _forward(bare.with_tensors(tensors, lengths), True)
        outputs = 1 + sum(len(part.states) for part in bare.parts)
        ctx.save_for_backward(lengths, *tensors, *results[outputs:])
        ctx.bare, ctx.count = bare, len(tensors)
        return tuple(results[:outputs])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        lengths, *rest = ctx.saved_tensors
        tensors, residuals = rest[: ctx.count], rest[ctx.count :]
        call = ctx.bare.with_tensors(tensors, lengths)
        if not torch.compiler.is_compiling():
            is_second = torch.is_grad_enabled()
            if is_second or any(map(is_batched, gradients)):
                for cell in compiled_cells(call.parts):
                    cell.must_be_unchanged()
                return None, None, *guard.eager_gradients(call, gradients, residuals, is_second)
        results = _backward(call, gradients, residuals, ctx.needs_input_grad[2:])
        return None, None, *(None if g.numel() == 0 else g for g in results)


def scan(call: Call) -> Results:
    """What the compiled cells of a call compute."""
    tensors = call.tensors() if torch.is_grad_enabled() else ()
    if any(t.requires_grad for t in tensors):
        bare = call.with_tensors([None] * len(tensors), None)
        y, *ends = _Scan.apply(bare, call.lengths, *tensors)
    else:
        y, *ends = _forward(call, False)
    rest = iter(ends)
    return y, [tuple(islice(rest, len(part.states))) for part in call.parts]
