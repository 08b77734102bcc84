"""The compiled pair as one differentiable operation of PyTorch.

Forward and backward are two operators of ``torch.library``, opaque to tracers, so that
``torch.compile`` sees ordinary operations; an autograd function ties them together.
"""

import math
import operator
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.kernels import BACKENDS
from saiki.compiler.run.call import (
    SCAN,
    SCAN_BACKWARD,
    BackwardCall,
    Call,
    Layout,
    backward_results,
    scan_backward_call,
    scan_call,
)
from saiki.compiler.run.compiled import compiled_cell
from saiki.compiler.trace.clean_room import in_clean_room
from saiki.compiler.trace.draws import drawing_again
from saiki.compiler.trust.guard import guarded_backward, guarded_forward
from saiki.torch_internals import is_batched, is_unseen, undisturbed


def _forward_shapes(call: Call, training: bool) -> list[Tensor]:
    x = call.x
    residuals = []
    if training:
        is_ragged = x.ndim == 3 and call.lengths is not None
        total: int | torch.SymInt = math.prod(x.shape[:-1])
        if is_ragged:
            total = torch.library.get_ctx().new_dynamic_size()
        widths = (part.step.residual_widths(part.memory) for part in call.parts)
        residuals = [x.new_empty(total, width) for found in widths for width in found]
        if call.draws:
            residuals.append(torch.empty(torch.get_rng_state().shape, dtype=torch.uint8))
    y = x.new_empty(*x.shape[:-1], sum(part.step.output_size for part in call.parts))
    states = [torch.empty_like(state) for part in call.parts for state in part.states]
    return [y, *states, *residuals]


def _backward_shapes(call: BackwardCall) -> list[Tensor]:
    def wanted(tensor: Tensor, is_wanted: bool) -> Tensor | None:
        if not is_wanted:
            return None
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)

    is_x_wanted = False
    d_parameters: list[Tensor | None] = []
    d_memory: list[Tensor | None] = []
    for part, back in zip(call.forward.parts, call.parts, strict=True):
        needs = back.needs.x, *back.needs.parameters, *back.needs.memory
        of_x, *found = map(operator.and_, needs, part.step.has_gradient)
        is_x_wanted = is_x_wanted or of_x
        count = len(part.parameters)
        d_parameters += map(wanted, part.parameters, found[:count])
        d_memory += map(wanted, part.memory, found[count:])
    _, *d_states = map(torch.empty_like, call.gradients())
    x = call.forward.x
    return backward_results(x, wanted(x, is_x_wanted), d_states, d_parameters, d_memory)


DIRECT: dict[Any, Callable[..., list[Tensor]]] = {}
"""The functions behind the operators, for a caller that has only tensors of the CPU."""
_LIBRARY = torch.library.Library("saiki", "DEF")


def _define(
    schema: str, kernel: Callable[..., list[Tensor]], shapes: Callable[..., list[Tensor]]
) -> None:
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    for device in BACKENDS:
        _LIBRARY.impl(name, undisturbed(kernel), device.upper())
    torch.library.register_fake(f"saiki::{name}", shapes, lib=_LIBRARY)
    DIRECT[getattr(torch.ops.saiki, name).default] = kernel


_define(
    SCAN,
    lambda *arguments: guarded_forward(*scan_call(*arguments)),
    lambda *arguments: _forward_shapes(*scan_call(*arguments)),
)
_define(
    SCAN_BACKWARD,
    lambda *arguments: guarded_backward(scan_backward_call(*arguments)),
    lambda *arguments: _backward_shapes(scan_backward_call(*arguments)),
)


def _run(operator: Any, *arguments: Any) -> list[Tensor]:
    """What the operator computes, by the function behind it where nobody sees the difference."""
    found: list[Tensor] = (DIRECT[operator] if is_unseen(arguments[0]) else operator)(*arguments)
    return found


Eager = Callable[..., tuple[Tensor, ...]]
"""``eager(x, *states, *parameters, *memory)``: y and the last states by the plain loop."""


class _Scan(torch.autograd.Function):
    """scan, differentiable. The gradient of the gradient is that of the eager loop."""

    @staticmethod
    def forward(
        ctx: Any, layout: Layout, lengths: Tensor | None, eager: Eager, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        outputs = _run(torch.ops.saiki.scan.default, *layout.scan(tensors, lengths, True))
        last = 1 + layout.states
        ctx.save_for_backward(lengths, *tensors, *outputs[last:])
        ctx.layout, ctx.eager, ctx.count = layout, eager, len(tensors)
        return tuple(outputs[:last])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        lengths, *rest = ctx.saved_tensors
        tensors, residuals = rest[: ctx.count], rest[ctx.count :]
        plain = torch.compiler.is_compiling()
        again = torch.is_grad_enabled() and not plain
        if again or (not plain and any(map(is_batched, gradients))):
            with drawing_again(ctx.layout.generator(residuals)):
                return None, None, None, *_eager_gradients(ctx, tensors, gradients, again)
        arguments = ctx.layout.scan_backward(
            gradients, tensors, lengths, residuals, ctx.needs_input_grad[3:]
        )
        found = _run(torch.ops.saiki.scan_backward.default, *arguments)
        return None, None, None, *(None if g.numel() == 0 else g for g in found)


def _eager_gradients(
    ctx: Any, tensors: Sequence[Tensor], gradients: Sequence[Tensor], again: bool
) -> list[Tensor | None]:
    """The same gradients by the eager loop, as a graph that can be differentiated ``again``."""
    for key in ctx.layout.keys:
        compiled_cell(key).must_be_unchanged()
    wanted = [t for t in tensors if t.requires_grad]

    def forward() -> tuple[Tensor, ...]:
        with torch.enable_grad():
            outputs: tuple[Tensor, ...] = ctx.eager(*tensors)
        return outputs

    # gradients in a batch must not keep a step from drawing random numbers
    outputs = in_clean_room(forward) if any(map(is_batched, gradients)) else forward()
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
    return [next(found) if t.requires_grad else None for t in tensors]


def scan(call: Call, eager: Eager) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """The outputs of all cells of a call side by side, and the last states of each.

    Args:
        eager: what to differentiate twice.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in call.flat().tensors()):
        flat = call.flat()
        y, *ends = _Scan.apply(flat.layout(), call.lengths, eager, *flat.tensors())
    elif is_unseen(call.x):
        y, *ends = guarded_forward(call, False)
    else:
        y, *ends = torch.ops.saiki.scan(*call.flat().scan(False))
    rest = iter(ends)
    return y, [tuple(islice(rest, len(part.states))) for part in call.parts]
