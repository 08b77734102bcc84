"""A compiled layer: what comes before, in and after the loop, forward and backward."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, fx

from saiki.cell import Cell
from saiki.compiler.cpu import memory
from saiki.compiler.cpu.jit import machine
from saiki.compiler.cpu.loop import CompiledLoop, Walk
from saiki.compiler.cpu.team import Job
from saiki.compiler.plan import extract, plan
from saiki.compiler.program import Array, Scheduler
from saiki.compiler.trace import is_row, trace, width

Node = fx.Node


class CompiledCell:
    """The loop of one cell for one floating-point type, as functions of tensors alone.

    Rows are those of all time steps: ``x`` is ``(total rows, input_size)``, and a :class:`Walk`
    says in which order the loop takes them.
    """

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        self.trace = trace(cell, dtype)
        self.plan = plan(self.trace)
        self.dtype = dtype
        self.inference = CompiledLoop(self.plan.inference, dtype)
        self.training = CompiledLoop(self.plan.training, dtype)
        self.backward = CompiledLoop(self.plan.backward, dtype)
        t, p = self.trace, self.plan
        self.names = list(t.parameters)
        self.inputs = [t.x, *t.parameters.values(), *t.constants]
        self.before = {
            training: extract(
                t, self.inputs, [*p.streams, *(p.kept if training else ()), *scheduler.outside]
            )
            for training, scheduler in ((False, p.inference), (True, p.training))
        }
        self.outside_backward = extract(t, self.inputs, list(p.backward.outside))
        self.after: dict[tuple[bool, ...], fx.GraphModule] = {}

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        states: Sequence[Tensor],
        parameters: Sequence[Tensor],
        walk: Walk,
        training: bool,
    ) -> tuple[Job, list[Tensor], list[Tensor]]:
        """The job that fills ``y``, the output of each row and step; the last states, and what the
        backward pass needs, both of which are there when it has run."""
        p = self.plan
        loop = self.training if training else self.inference
        scheduler = loop.scheduler
        total = x.shape[0]
        values = self.before[training].forward(
            total, x, *parameters, *self.trace.constants.values()
        )
        streams = values[: len(p.streams)]
        kept = values[len(p.streams) : len(values) - len(scheduler.outside)]
        outside = _outside(scheduler, values[len(values) - len(scheduler.outside) :])
        given: dict[Array, Tensor] = {}
        arrays = iter(loop.arrays)
        for stream in streams:
            given[next(arrays)] = self._rows(stream)
        ends = []
        for state in states:
            ends.append(state.clone(memory_format=torch.contiguous_format))
            given[next(arrays)] = ends[-1]
        saved: list[Tensor] = []
        if training and p.saved:
            saved.append(memory.empty(total, sum(self.saved_widths), dtype=self.dtype))
            given |= {next(arrays): part for part in saved[0].split(self.saved_widths, 1)}
        given[next(arrays)] = y
        return loop.job(given, outside, walk), ends, [*saved, *self._apart(x, kept)]

    def __str__(self) -> str:
        """What a person wants to know of the plan."""
        wide = machine()
        count = sum(self.left_widths)
        return "\n".join(
            (
                f"one loop of {self.dtype} in vectors of {wide.lanes(self.dtype)} ({wide.name})",
                str(self.plan),
                f"saved for the backward pass: {count * self.dtype.itemsize} bytes for each row and"
                " time step",
            )
        )

    def _apart(self, x: Tensor, kept: Sequence[Tensor]) -> list[Tensor]:
        """``kept`` as rows, none in memory of another or of x: an operator's results."""
        seen, found = {x.untyped_storage().data_ptr()}, []
        for tensor in map(self._rows, kept):
            where = tensor.untyped_storage().data_ptr()
            found.append(tensor.clone() if where in seen else tensor)
            seen.add(where)
        return found

    @cached_property
    def saved_widths(self) -> list[int]:
        """Features of each saved value; at each step they lie side by side."""
        return [width(node) for node in self.plan.saved]

    @property
    def left_widths(self) -> list[int]:
        """Features of each tensor the forward pass leaves for the backward pass."""
        saved = [sum(self.saved_widths)] if self.saved_widths else []
        return [*saved, *(width(node) for node in self.plan.kept)]

    @property
    def has_gradient(self) -> list[bool]:
        """Of x and each parameter or buffer: whether the new state depends on it at all."""
        t = self.trace
        return [t.d_x is not None, *(t.d_parameters.get(n) is not None for n in self.names)]

    @property
    def states(self) -> int:
        """How many there are."""
        return len(self.trace.states)

    @property
    def output_size(self) -> int:
        return int(self.trace.new_states[0].meta["val"].shape[1])

    def gradients(
        self,
        d_y: Tensor,
        d_states: Sequence[Tensor],
        x: Tensor,
        parameters: Sequence[Tensor],
        saved: Sequence[Tensor],
        walk: Walk,
        needs: tuple[bool, ...],
    ) -> tuple[Job, list[Tensor], Callable[[], tuple[Tensor | None, ...]]]:
        """The job of the backward loop, and what is there when it has run: ∂L/∂(initial states),
        and a function that returns ∂L/∂x and ∂L/∂parameters as far as ``needs`` says.

        ``walk`` is the way backwards.
        """
        t, p = self.trace, self.plan
        loop, total = self.backward, x.shape[0]
        constants = tuple(t.constants.values())
        values = self.outside_backward.forward(total, x, *parameters, *constants)
        outside = _outside(p.backward, values)
        if p.saved:
            saved = [*saved[0].split(self.saved_widths, 1), *saved[1:]]
        given: dict[Array, Tensor] = {}
        arrays = iter(loop.arrays)
        for tensor in saved:
            given[next(arrays)] = self._rows(tensor)
        given[next(arrays)] = self._rows(d_y)
        starts = []
        for d_state in d_states:
            starts.append(d_state.clone(memory_format=torch.contiguous_format))
            given[next(arrays)] = starts[-1]
        passed: dict[Node, Tensor] = {}
        for node, (array, column) in p.boundary.items():
            if array not in given:
                given[array] = memory.empty(total, array.width, dtype=self.dtype)
            size = int(node.meta["val"].shape[-1]) if node.meta["val"].ndim == 2 else 1
            passed[node] = given[array][:, column : column + size]
        sums: dict[Node, Tensor] = {}
        for node, array in p.accumulated.items():
            sums[node] = given[array] = x.new_zeros(walk.rows, array.width)
        job = loop.job(given, outside, walk)
        found = dict(zip(self.inputs, (x, *parameters, *constants), strict=True))
        found |= dict(zip([*p.saved, *p.kept], saved, strict=True)) | passed
        for node, tensor in found.items():
            like = node.meta["val"]
            if is_row(node) and (like.ndim != tensor.ndim or like.dtype != tensor.dtype):
                found[node] = (tensor.squeeze(1) if like.ndim == 1 else tensor).to(like.dtype)

        def finish() -> tuple[Tensor | None, ...]:
            for node, value in p.rows_summed.items():
                found[node] = sums[value].sum(0).view(node.meta["val"].shape)
            results: tuple[Tensor | None, ...]
            results = self._after(needs, list(found)).forward(total, *found.values())
            return results

        return job, starts, finish

    def _after(self, needs: tuple[bool, ...], inputs: list[Node]) -> fx.GraphModule:
        if needs not in self.after:
            t = self.trace
            gradients = [t.d_x, *(t.d_parameters.get(name) for name in self.names)]
            wanted = [g if need else None for g, need in zip(gradients, needs, strict=True)]
            self.after[needs] = extract(t, inputs, wanted)
        return self.after[needs]

    def _rows(self, tensor: Tensor) -> Tensor:
        """As ``(rows, width)`` of the kernel's type with contiguous features; flags as 0 and 1."""
        tensor = (tensor.unsqueeze(1) if tensor.ndim == 1 else tensor).to(self.dtype)
        return tensor if tensor.stride(1) == 1 or tensor.shape[1] == 1 else tensor.contiguous()


def _outside(scheduler: Scheduler, values: Sequence[Tensor]) -> dict[Array, Tensor]:
    return dict(zip(scheduler.outside.values(), values, strict=True))
