"""Calls of compiled cells, and how they pass through operators, which take tensors and numbers.

An operator is given the tensors of all cells of a call one kind after the other: states, then
parameters, then memory. That order is written down here, and nowhere else.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saiki import eager
from saiki.compiler.run.compiled import CompiledCell, compiled_cell
from saiki.compiler.run.outside import Needs
from saiki.compiler.run.step import CompiledStep
from saiki.twin import Twin

SCAN = (
    "scan(Tensor x, Tensor[] states, Tensor[] parameters, Tensor? lengths, int[] keys,"
    " bool[] reverse, bool time_first, bool training, Tensor[]? memory=None) -> Tensor[]"
)
"""Returns y, the last states, then what the backward pass needs; where steps draw random numbers,
the state of the generator before them last."""
SCAN_BACKWARD = (
    "scan_backward(Tensor d_y, Tensor[] d_states, Tensor x, Tensor[] states, Tensor[] parameters,"
    " Tensor? lengths, Tensor[] residuals, int[] keys, bool[] reverse, bool time_first,"
    " bool[] needs, Tensor[]? memory=None) -> Tensor[]"
)
"""Returns ∂L/∂x, ∂L/∂(states before the first step), ∂L/∂parameters and ∂L/∂memory; empty where
not needed or absent."""


class Part(NamedTuple):
    """One of the cells of a call, and the tensors that are its own."""

    key: int
    """By which the operators know the cell."""
    reverse: bool
    """Whether it reads each row from its last step to its first."""
    states: Sequence[Tensor]
    """Before the first step, ``(batch, state_size)`` each."""
    parameters: Sequence[Tensor]
    """Parameters and buffers, in the order of the trace."""
    memory: Sequence[Tensor] = ()
    """``(batch, …)`` each."""

    @property
    def cell(self) -> CompiledCell:
        return compiled_cell(self.key)

    @property
    def step(self) -> CompiledStep:
        return self.cell.step


class Call(NamedTuple):
    """Some compiled cells that read the same input."""

    x: Tensor
    """``(batch, time, input_size)``, or ``(time, batch, input_size)`` with ``time_first``; or
    ``(steps of all rows, input_size)``, packed."""
    lengths: Tensor | None
    """``(batch,)``; or, of a packed x, the number of rows at each step; on the CPU."""
    time_first: bool
    parts: Sequence[Part]

    @property
    def draws(self) -> bool:
        """Whether steps draw random numbers."""
        return any(part.step.draws for part in self.parts)

    def flat(self) -> "FlatCall":
        """The same as the operators take it."""
        parts = self.parts
        return FlatCall(
            self.x,
            [state for part in parts for state in part.states],
            [parameter for part in parts for parameter in part.parameters],
            self.lengths,
            [part.key for part in parts],
            [part.reverse for part in parts],
            self.time_first,
            [memory for part in parts for memory in part.memory],
        )

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Call":
        """The same call of other tensors, in the order of :meth:`FlatCall.tensors`."""
        call, _ = scan_call(*self.flat().layout().scan(tensors, self.lengths, True))
        return call

    def eagerly(self) -> list[Tensor]:
        """The outputs side by side and the last states of all parts, by the eager loop."""
        outputs: list[Tensor] = []
        ends: list[Tensor] = []
        for part in self.parts:
            twin = Twin(zip(part.cell.real_tensors(), part.parameters, strict=True))
            y, last = eager.run(
                twin.of(part.cell.cell),
                self.x,
                tuple(part.states),
                self.lengths,
                part.reverse,
                self.time_first,
                part.memory,
            )
            outputs.append(y)
            ends += last
        return [torch.cat(outputs, -1), *ends]


class FlatCall(NamedTuple):
    """A call as the operators take it."""

    x: Tensor
    states: Sequence[Tensor]
    parameters: Sequence[Tensor]
    lengths: Tensor | None
    keys: Sequence[int]
    reverse: Sequence[bool]
    time_first: bool
    memory: Sequence[Tensor]

    def scan(self, training: bool) -> tuple[Any, ...]:
        """The arguments of :data:`SCAN`."""
        return *self[:-1], training, self.memory or None

    def tensors(self) -> tuple[Tensor, ...]:
        """All that gradients are taken by."""
        return self.x, *self.states, *self.parameters, *self.memory

    def layout(self) -> "Layout":
        counts = len(self.states), len(self.memory)
        return Layout(self.keys, self.reverse, self.time_first, *counts)


class Layout(NamedTuple):
    """A call but for its tensors."""

    keys: Sequence[int]
    reverse: Sequence[bool]
    time_first: bool
    states: int
    """How many all parts have."""
    memory: int

    def generator(self, residuals: Sequence[Tensor]) -> Tensor | None:
        """What the forward pass left of the state of the generator."""
        draws = any(compiled_cell(key).step.draws for key in self.keys)
        return residuals[-1] if draws else None

    def _sorted(self, tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """States, parameters and memory of what :meth:`FlatCall.tensors` gives."""
        first, last = 1 + self.states, len(tensors) - self.memory
        return tensors[1:first], tensors[first:last], tensors[last:]

    def scan(
        self, tensors: Sequence[Tensor], lengths: Tensor | None, training: bool
    ) -> tuple[Any, ...]:
        """The arguments of :data:`SCAN`."""
        states, parameters, memory = self._sorted(tensors)
        return (
            tensors[0], states, parameters, lengths, self.keys, self.reverse, self.time_first,
            training, memory or None,
        )  # fmt: skip

    def scan_backward(
        self,
        gradients: Sequence[Tensor],
        tensors: Sequence[Tensor],
        lengths: Tensor | None,
        residuals: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> tuple[Any, ...]:
        """The arguments of :data:`SCAN_BACKWARD`.

        Args:
            gradients: ∂L/∂y and ∂L/∂(last states).
            needs: for each of the tensors, whether the gradient is needed.
        """
        states, parameters, memory = self._sorted(tensors)
        return (
            gradients[0], gradients[1:], tensors[0], states, parameters, lengths, residuals,
            self.keys, self.reverse, self.time_first, [needs[0], *needs[1 + self.states :]],
            memory or None,
        )  # fmt: skip


class BackwardPart(NamedTuple):
    """What the way back through one part of a call takes."""

    d_states: Sequence[Tensor]
    """∂L/∂(last states)."""
    residuals: Sequence[Tensor]
    """What its forward pass left."""
    needs: Needs


class BackwardCall(NamedTuple):
    """The way back through a call."""

    forward: Call
    d_y: Tensor
    parts: Sequence[BackwardPart]
    generator: Tensor | None = None
    """The state of PyTorch's generator before the forward pass, where that drew anything."""

    def gradients(self) -> list[Tensor]:
        """∂L/∂y and ∂L/∂(last states) of all parts."""
        return [self.d_y, *(d for part in self.parts for d in part.d_states)]

    def needs(self) -> list[bool]:
        """For each of the tensors of the call, whether the gradient is needed; of states it is."""
        return [
            self.parts[0].needs.x,
            *(True for part in self.parts for _ in part.d_states),
            *(need for part in self.parts for need in part.needs.parameters),
            *(need for part in self.parts for need in part.needs.memory),
        ]


def backward_results(
    x: Tensor,
    d_x: Tensor | None,
    d_states: Iterable[Tensor],
    d_parameters: Iterable[Tensor | None],
    d_memory: Iterable[Tensor | None] = (),
) -> list[Tensor]:
    """What :data:`SCAN_BACKWARD` returns: these gradients of all parts."""
    empty = x.new_empty(0)
    results = (d_x, *d_states, *d_parameters, *d_memory)
    return [empty if d is None else d for d in results]


def scan_call(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    training: bool,
    memory: Sequence[Tensor] | None = None,
) -> tuple[Call, bool]:
    """The call that arguments of :data:`SCAN` stand for, and whether it is one of training."""
    of_states, of_parameters, of_memory = iter(states), iter(parameters), iter(memory or ())
    parts = []
    for key, is_reversed in zip(keys, reverse, strict=True):
        step = compiled_cell(key).step
        part = Part(
            key,
            is_reversed,
            list(islice(of_states, step.states)),
            list(islice(of_parameters, len(step.names))),
            list(islice(of_memory, len(step.memory))),
        )
        parts.append(part)
    return Call(x, lengths, time_first, parts), training


def scan_backward_call(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    residuals: Sequence[Tensor],
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    needs: Sequence[bool],
    memory: Sequence[Tensor] | None = None,
) -> BackwardCall:
    """The way back that arguments of :data:`SCAN_BACKWARD` stand for."""
    call, _ = scan_call(x, states, parameters, lengths, keys, reverse, time_first, True, memory)
    of_states, of_residuals = iter(d_states), iter(residuals)
    last = 1 + len(parameters)
    of_parameters, of_memory = iter(needs[1:last]), iter(needs[last:])
    parts = []
    for part in call.parts:
        needed = Needs(
            needs[0],
            tuple(islice(of_parameters, len(part.parameters))),
            tuple(islice(of_memory, len(part.memory))),
        )
        backward_part = BackwardPart(
            list(islice(of_states, len(part.states))),
            list(islice(of_residuals, part.step.residuals.count)),
            needed,
        )
        parts.append(backward_part)
    return BackwardCall(call, d_y, parts, next(of_residuals, None))
