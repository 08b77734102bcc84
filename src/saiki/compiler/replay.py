"""The same call of a kernel again and again, on buffers of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.backend import Place
from saiki.compiler.call import backward_results, scan_backward_call, scan_call
from saiki.compiler.compiled import compiled_cell
from saiki.compiler.loops import dense_walk
from saiki.compiler.operators import DIRECT
from saiki.compiler.outside import Operands
from saiki.compiler.step import Backward, CompiledStep, Forward

Function = Callable[..., list[Tensor]]


def replayable(operator: Any, keys: Sequence[int], lengths: Tensor | None) -> Function:
    """A function that does what ``operator`` does, for tensors of the shapes it first sees.

    What it returns is overwritten by its next call. It saves what a call spends on finding memory
    and telling the kernel where everything is, which for small layers is most of the time. Ragged
    input, several directions and memory are served as ever.
    """
    if len(keys) > 1 or lengths is not None or not compiled_cell(keys[0]).step.is_replayable:
        return DIRECT[operator]
    return (_forward if operator is torch.ops.saiki.scan.default else _backward)()


def _forward() -> Function:
    step: CompiledStep | None = None
    loop: Forward
    y: Tensor
    training: bool

    def bound(
        x: Tensor, states: Sequence[Tensor], parameters: Sequence[Tensor], *rest: Any
    ) -> list[Tensor]:
        nonlocal step, loop, y, training
        rows = x.flatten(0, 1)
        if step is None:
            call, training = scan_call(x, states, parameters, *rest)
            (part,) = call.parts
            step = part.step
            y = x.new_empty(*x.shape[:2], step.output_size)
            # copies, or the kernel would read the memory of this very batch for ever
            operands = Operands(rows.clone(), [p.clone() for p in parameters])
            walk = dense_walk(x.shape, call.time_first, part.reverse)
            loop = step.forward(operands, Place(y.flatten(0, 1)), states, walk, training)
        else:
            step.rebind_forward(loop, Operands(rows, parameters), states, training)
        step.backend.run((loop.job,))
        return [y, *loop.states, *loop.residuals]

    return bound


def _backward() -> Function:
    step: CompiledStep | None = None
    loop: Backward

    def bound(
        d_y: Tensor,
        d_states: Sequence[Tensor],
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Sequence[Tensor],
        *rest: Any,
    ) -> list[Tensor]:
        nonlocal step, loop
        operands, d_rows = Operands(x.flatten(0, 1), parameters), d_y.flatten(0, 1)
        if step is None:
            call = scan_backward_call(d_y, d_states, x, states, parameters, *rest)
            (part,), (back,) = call.forward.parts, call.parts
            step = part.step
            d_outputs = Place(d_rows.clone(memory_format=torch.contiguous_format))
            copies = Operands(operands.x, [p.clone() for p in parameters])
            walk = dense_walk(x.shape, call.forward.time_first, not part.reverse)
            loop = step.backward(copies, d_outputs, d_states, back.residuals, walk, back.needs)
        else:
            step.rebind_backward(loop, operands, d_rows, d_states)
        step.backend.run((loop.job,))
        found = loop.gradients(operands)
        d_x = None if found.d_x is None else found.d_x.view(x.shape)
        return backward_results(x, d_x, loop.d_states, found.d_parameters)

    return bound
