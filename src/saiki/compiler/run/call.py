"""Calls of compiled cells as operators take them, and by the eager loop.

Operators take tensors and numbers, and return tensors. How a call becomes such arguments is written
down here, and nowhere else.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from saiki import eager
from saiki.call import Call, Part
from saiki.compiler.run.compiled import CompiledCell, compiled_cell, compiled_cells
from saiki.twin import Twin

_CALL = "Tensor[] tensors, Tensor? lengths, int[] keys, bool[] reverse, bool time_first"
SCAN = f"scan({_CALL}, bool training) -> Tensor[]"
"""Returns y, the last states, then what the backward pass needs: what the loops leave, the state of
the generator before them where steps draw random numbers, and whether the eager loop ran, which
leaves nothing. The last two lie on the CPU, so that the backward pass waits for no device."""
SCAN_BACKWARD = (
    f"scan_backward({_CALL}, Tensor[] gradients, Tensor[] residuals, bool[] needs) -> Tensor[]"
)
"""Of ∂L/∂y and ∂L/∂(last states), and which gradients are needed: those by the tensors of the call,
empty where not needed or absent."""


def arguments(call: Call) -> tuple[Any, ...]:
    """A call as the operators take it."""
    keys, reverse = [part.key for part in call.parts], [part.reverse for part in call.parts]
    return call.tensors(), call.lengths, keys, reverse, call.time_first


def call_of(
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    *more: Any,
) -> tuple[Any, ...]:
    """The call that arguments of an operator stand for, and what that takes beside."""
    rest = iter(tensors)
    x, parts = next(rest), []
    for key, is_reversed in zip(keys, reverse, strict=True):
        counts = compiled_cell(key).step.counts
        states, parameters, memory = (list(islice(rest, count)) for count in counts)
        parts.append(Part(is_reversed, states, parameters, memory, key))
    return Call(x, lengths, time_first, parts), *more


def has_gradient(cells: Sequence[CompiledCell]) -> list[bool]:
    """Of each tensor of a call: whether there is a gradient by it."""
    exist = [cell.step.has_gradient for cell in cells]
    return [any(of_x for of_x, *_ in exist), *(has for _, *own in exist for has in own)]


def originals(call: Call) -> list[Tensor | None]:
    """Of each tensor of a call: the one of the cell in whose place it is; None for x, states and
    memory."""
    real: list[Tensor | None] = [None]
    for part, cell in zip(call.parts, compiled_cells(call.parts), strict=True):
        real += [None] * len(part.states)
        real += cell.real_tensors()
        real += [None] * len(part.memory)
    return real


def eagerly(call: Call, on_trial: bool = False) -> list[Tensor]:
    """The outputs of compiled cells side by side and the last states of all, by the eager loop;
    ``on_trial`` what a step changes of its cell is as it was afterwards."""
    outputs: list[Tensor] = []
    ends: list[Tensor] = []
    for one, compiled in zip(call.alone(), compiled_cells(call.parts), strict=True):
        pairs = zip(compiled.real_tensors(), one.parts[0].parameters, strict=True)
        twin = Twin(pairs, clone=on_trial)
        with twin.putting_back() if on_trial else nullcontext():
            y, last = eager.run(twin.of(compiled.cell), one)
        outputs.append(y)
        ends += last
    return [torch.cat(outputs, -1), *ends]
