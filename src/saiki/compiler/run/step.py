"""A compiled step: the loop over it with what comes before and after, forward and backward."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saiki.cell import Cell
from saiki.compiler import shelf
from saiki.compiler.backend import Backend, Loop, Place, Walk
from saiki.compiler.pipeline import compile_step
from saiki.compiler.plan.plan import LoopKind
from saiki.compiler.plan.program import Array
from saiki.compiler.run import outside
from saiki.compiler.trace.draws import SAMPLE, refuse_meeting_rows
from saiki.compiler.trace.graph_file import lasting_key
from saiki.compiler.trace.nodes import width
from saiki.compiler.trace.record import Source
from saiki.compiler.watch.watch import Watch


class Gradients(NamedTuple):
    """By each operand, as far as it is needed."""

    d_x: Tensor | None
    d_parameters: Sequence[Tensor | None]
    d_memory: Sequence[Tensor | None]


@dataclass(slots=True)
class Forward:
    """A loop forward that is ready to run."""

    job: Any
    states: list[Tensor]
    """Those before the first step; when it has run, those after the last one."""
    residuals: list[Tensor]
    """What the backward pass needs, when it has run."""


@dataclass(slots=True)
class Backward:
    """A loop backward that is ready to run."""

    job: Any
    d_states: list[Tensor]
    """Of the states after the last step; when it has run, of those before the first one."""
    gradients: Callable[[], Gradients]
    """To call when it has run."""


class CompiledStep:
    """The loop over a step for one floating-point type on one backend, as functions of tensors
    alone: of all layers over the same equations and sizes.

    Rows are those of all time steps: ``x`` is ``(total rows, input_size)``, and a :class:`Walk`
    says in which order the loop takes them.
    """

    def __init__(self, cell: Cell, watch: Watch, dtype: torch.dtype, backend: Backend) -> None:
        self.key = key = lasting_key(watch, dtype, backend.inline_weights)
        self.plan = compile_step(Source(cell, watch, dtype, backend.inline_weights), key)
        self.trace = self.plan.trace
        self.dtype = dtype
        self.eps = self.trace.eps
        self.backend = backend
        t, p = self.trace, self.plan
        self.loops: dict[LoopKind, Loop] = {
            kind: backend.loop(program, dtype, key and f"{key} {kind}")
            for kind, program in p.programs.items()
        }
        self.names = list(t.parameters)
        self.memory = dict(cell.memory_shapes)
        self.constants = tuple(t.constants.values())
        self.draws = tuple(t.draws.values())
        self.residuals = outside.Residuals(p.partition)
        self.before = {
            "inference": outside.Before(p, p.inference, (), backend.product),
            "training": outside.Before(
                p, p.training, p.partition.hoisted_residuals, backend.product
            ),
        }
        if self.draws:
            self._refuse_meeting_rows(cell, watch)
        self.before_backward = outside.function(
            outside.extract(t.inputs, list(p.backward.program.parameters), backend.product)
        )
        self.after: dict[outside.Needs, outside.After] = {}
        self.states = len(t.states)
        self.counts = self.states, len(self.names), len(self.memory)
        """States, parameters and memory."""
        self.output_size = width(t.new_states[0])

    @torch.no_grad()
    def _refuse_meeting_rows(self, cell: Cell, watch: Watch) -> None:
        real = dict(zip(watch.places, watch.tensors(), strict=True))
        parameters = [real[name] for name in self.names]
        x = torch.linspace(-1, 1, SAMPLE * cell.input_size, dtype=self.dtype).view(SAMPLE, -1)

        def hoisted(samples: Sequence[Tensor]) -> list[Tensor]:
            before = self.before["training"](outside.Operands(x, parameters, samples=samples))
            return [*before.streams, *before.residuals]

        refuse_meeting_rows(type(cell).__name__, self.draws, hoisted)

    def forget(self) -> None:
        """Keep nothing of it for other processes."""
        if self.key is not None:
            shelf.drop(self.key)
        for loop in self.loops.values():
            loop.forget()

    def sizes(self, memory: Sequence[Tensor]) -> dict[int, int]:
        """How large the memory is, by the numbers that stand for it."""
        if not memory:
            return {}
        extents = self.trace.extents
        return {
            extents[size]: tensor.shape[1 + i]
            for tensor, shape in zip(memory, self.memory.values(), strict=True)
            for i, size in enumerate(shape)
            if isinstance(size, str)
        }

    def forward(
        self,
        operands: outside.Operands,
        y: Place,
        states: Sequence[Tensor],
        walk: Walk,
        training: bool,
    ) -> Forward:
        """The loop that fills ``y``, the output of each row and step."""
        x, memory = operands.x, operands.memory
        kind: LoopKind = "training" if training else "inference"
        plan = self.plan.training if training else self.plan.inference
        sizes = self.sizes(memory)
        before = self.before[kind](operands)
        streams = [self._rows(stream) for stream in before.streams]
        ends = [state.clone(memory_format=torch.contiguous_format) for state in states]
        inputs = (*streams, *ends, *map(_flat, memory))
        arrays = dict(zip(plan.inputs, map(Place, inputs), strict=True))
        arrays[plan.y] = y
        residuals: list[Tensor] = []
        if training:
            widths = self.residuals.step_widths(sizes)
            residuals = [self.backend.empty(x.shape[0], size, like=x) for size in widths]
            self.residuals.put(arrays, plan.residuals, residuals)
            if before.residuals:
                residuals += self._apart(x, before.residuals)
        job = self.loops[kind].bind(arrays, before.parameters, walk, sizes)
        return Forward(job, ends, residuals)

    def backward(
        self,
        operands: outside.Operands,
        d_y: Place,
        d_states: Sequence[Tensor],
        residuals: Sequence[Tensor],
        walk: Walk,
        needs: outside.Needs,
    ) -> Backward:
        """The loop backward, and what comes after it.

        Args:
            residuals: what the forward pass left.
            walk: the way backwards.
        """
        x, memory = operands.x, operands.memory
        plan, sizes = self.plan.backward, self.sizes(memory)
        loop_parameters = self.before_backward(x.shape[0], x, *operands.parameters, *self.constants)
        starts = [d.clone(memory_format=torch.contiguous_format) for d in d_states]
        passed = {
            array: self.backend.empty(x.shape[0], sizes.get(array.width, array.width), like=x)
            for array in plan.passed_arrays
        }
        summed = x.new_zeros(walk.rows, plan.summed_width)
        flat = dict(zip(self.memory, map(_flat, memory), strict=True))
        d_memory = {name: torch.zeros_like(flat[name]) for name in plan.d_memory}
        arrays: dict[Array, Place] = {plan.d_y: d_y}
        _put(arrays, plan.d_states, starts)
        _put(arrays, plan.memory.values(), flat.values())
        _put(arrays, passed, passed.values())
        _put(arrays, plan.d_memory.values(), d_memory.values())
        for node, array in plan.summed.items():
            arrays[array] = Place(summed, plan.summed_columns[node])
        self.residuals.put(arrays, plan.residuals, [self._rows(tensor) for tensor in residuals])
        job = self.loops["backward"].bind(arrays, loop_parameters, walk, sizes)
        if needs not in self.after:
            self.after[needs] = outside.After(
                self.plan, self.residuals, needs, self.backend.product
            )
        after = self.after[needs]

        def gradients() -> Gradients:
            inputs = (operands.x, *operands.parameters, *self.constants)
            finished = outside.Finished(inputs, residuals, passed, summed.sum(0))
            of_inputs, pairs = after(x.shape[0], finished)
            of_memory = [
                self._memory_gradient(tensor.shape, d_memory.get(name), pairs[name], walk)
                if name in pairs
                else None
                for name, tensor in zip(self.memory, memory, strict=True)
            ]
            return Gradients(of_inputs[0], of_inputs[1:], of_memory)

        return Backward(job, starts, gradients)

    @property
    def has_gradient(self) -> list[bool]:
        """Of x, each state, parameter or buffer and memory: whether there is a gradient by it."""
        t = self.trace
        return [
            t.d_x is not None,
            *[True] * self.states,
            *(t.d_parameters.get(n) is not None for n in self.names),
            *(t.d_memory[n] is not None or bool(t.outer.get(n)) for n in self.memory),
        ]

    def residual_widths(self, memory: Sequence[Tensor]) -> list[int]:
        """Features of each tensor the forward pass leaves for the backward pass."""
        steps = self.residuals.step_widths(self.sizes(memory))
        return [*steps, *(width(node) for node in self.residuals.hoisted)]

    def __str__(self) -> str:
        """What a person wants to know of the plan."""
        count = self.residuals.stacked_width + sum(map(width, self.residuals.hoisted))
        more = " and what is as wide as memory" if self.residuals.wide else ""
        return "\n".join(
            (
                f"one loop of {self.dtype} {self.backend.describe(self.dtype)}",
                str(self.plan),
                f"saved for the backward pass: {count * self.dtype.itemsize} bytes{more} for each"
                " row and time step",
            )
        )

    def _apart(self, x: Tensor, hoisted: Sequence[Tensor]) -> list[Tensor]:
        """``hoisted`` as rows, none in memory of another or of x: an operator's results."""
        seen, apart = {x.untyped_storage().data_ptr()}, []
        for tensor in map(self._rows, hoisted):
            address = tensor.untyped_storage().data_ptr()
            apart.append(tensor.clone() if address in seen else tensor)
            seen.add(address)
        return apart

    def _rows(self, tensor: Tensor) -> Tensor:
        """As ``(rows, width)`` of the kernel's type with contiguous features; flags as 0 and 1."""
        if tensor.ndim == 1:
            tensor = tensor.unsqueeze(1)
        if tensor.dtype != self.dtype:
            tensor = tensor.to(self.dtype)
        return tensor if tensor.stride(1) == 1 or tensor.shape[1] == 1 else tensor.contiguous()

    def _memory_gradient(
        self,
        shape: torch.Size,
        summed: Tensor | None,
        pairs: Sequence[tuple[Tensor, Tensor]],
        walk: Walk,
    ) -> Tensor:
        """The gradient of a memory: what the loop summed, and of each pair of vectors the products,
        outer times inner, summed over time."""
        total = summed
        for outer, inner in pairs:
            a, b = walk.by_row(outer).transpose(1, 2), walk.by_row(inner)
            added = None if total is None else total.view(len(a), a.shape[1], b.shape[2])
            total = self.backend.product(a, b, added)
        assert total is not None
        return total.reshape(shape)


def _put(arrays: dict[Array, Place], names: Iterable[Array], tensors: Iterable[Tensor]) -> None:
    """Each array lies in a tensor of its own."""
    for array, tensor in zip(names, tensors, strict=True):
        arrays[array] = Place(tensor)


def _flat(memory: Tensor) -> Tensor:
    """All that a row has for itself side by side."""
    return memory.reshape(len(memory), -1).contiguous()
