"""The same call of a kernel again and again, on buffers of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.backend import Place
from saiki.compiler.compiled import Backward, CompiledStep, Forward, compiled_cell
from saiki.compiler.loops import dense_walk
from saiki.compiler.operators import DIRECT

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
    y: Tensor
    loop: Forward

    def bound(
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Sequence[Tensor],
        lengths: None,
        keys: Sequence[int],
        reverse: Sequence[bool],
        time_first: bool,
        training: bool,
        memory: None = None,
    ) -> list[Tensor]:
        nonlocal step, y, loop
        rows = x.flatten(0, 1)
        if step is None:
            step = compiled_cell(keys[0]).step
            y = x.new_empty(*x.shape[:2], step.output_size)
            loop = step.forward(
                rows.clone(),  # or the kernel would read the memory of this very batch for ever
                Place(y.flatten(0, 1)),
                states,
                [p.clone() for p in parameters],
                (),
                dense_walk(x.shape, time_first, reverse[0]),
                training,
            )
        else:
            step.rebind_forward(loop, rows, states, parameters, training)
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
        lengths: None,
        residuals: Sequence[Tensor],
        keys: Sequence[int],
        reverse: Sequence[bool],
        time_first: bool,
        needs: Sequence[bool],
        memory: None = None,
    ) -> list[Tensor]:
        nonlocal step, loop
        rows, d_rows = x.flatten(0, 1), d_y.flatten(0, 1)
        if step is None:
            step = compiled_cell(keys[0]).step
            loop = step.backward(
                Place(d_rows.clone(memory_format=torch.contiguous_format)),
                d_states,
                rows,
                [p.clone() for p in parameters],
                (),
                residuals,
                dense_walk(x.shape, time_first, not reverse[0]),
                tuple(needs),
            )
        else:
            step.rebind_backward(loop, d_rows, d_states, rows, parameters)
        step.backend.run((loop.job,))
        d_x, *d_parameters = loop.gradients(rows, parameters)
        empty = x.new_empty(0)
        return [
            empty if d_x is None else d_x.view(x.shape),
            *loop.d_states,
            *(empty if d is None else d for d in d_parameters),
        ]

    return bound
