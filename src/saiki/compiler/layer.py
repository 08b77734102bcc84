"""A compiled layer: what comes before, in and after the loop, forward and backward."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor, fx

from saiki.cell import Cell
from saiki.compiler.cpu import memory
from saiki.compiler.cpu.jit import machine
from saiki.compiler.cpu.loop import CompiledLoop, Place, Walk
from saiki.compiler.cpu.team import Job
from saiki.compiler.plan import extract, plan
from saiki.compiler.trace import trace, width

Node = fx.Node
Gradients = tuple[Tensor | None, ...]
"""∂L/∂x, then ∂L/∂parameters."""


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
        self.constants = tuple(t.constants.values())
        self.inputs = [t.x, *t.parameters.values(), *t.constants]
        self.before = {
            training: extract(
                t, self.inputs, [*p.streams, *(p.kept if training else ()), *scheduler.outside]
            ).forward
            for training, scheduler in ((False, p.inference), (True, p.training))
        }
        self.outside_backward = extract(t, self.inputs, list(p.backward.outside)).forward
        self.after: dict[tuple[bool, ...], _After] = {}
        self.states = len(t.states)
        self.output_size = width(t.new_states[0])
        self.saved_columns = _columns(map(width, p.saved))
        self.summed_columns = _columns(array.width for array in p.accumulated.values())
        self.passed = list(dict.fromkeys(array for array, _ in p.boundary.values()))

    def forward(
        self,
        x: Tensor,
        y: Place,
        states: Sequence[Tensor],
        parameters: Sequence[Tensor],
        walk: Walk,
        training: bool,
    ) -> tuple[Job, list[Tensor], list[Tensor]]:
        """The job that fills ``y``, the output of each row and step; the last states, and what the
        backward pass needs, both of which are there when it has run."""
        p = self.plan
        total = x.shape[0]
        values = self.before[training](total, x, *parameters, *self.constants)
        streams, values = values[: len(p.streams)], values[len(p.streams) :]
        kept, outside = (values[: len(p.kept)], values[len(p.kept) :]) if training else ((), values)
        ends = [state.clone(memory_format=torch.contiguous_format) for state in states]
        given: list[Place] = [(self._rows(stream), 0) for stream in streams]
        given += [(end, 0) for end in ends]
        saved = []
        if training and p.saved:
            saved.append(memory.empty(total, self.saved_columns[-1], dtype=self.dtype))
            given += [(saved[0], column) for column in self.saved_columns[:-1]]
        given.append(y)
        loop = self.training if training else self.inference
        return loop.job(given, outside, walk), ends, [*saved, *self._apart(x, kept)]

    def forward_again(
        self,
        job: Job,
        ends: Sequence[Tensor],
        left: Sequence[Tensor],
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Sequence[Tensor],
        training: bool,
    ) -> None:
        """Give what :meth:`forward` made the numbers of another call of the same shapes."""
        p = self.plan
        values = self.before[training](x.shape[0], x, *parameters, *self.constants)
        count = len(p.streams)
        for (buffer, _), stream in zip(job.given, values[:count], strict=False):
            buffer.copy_(self._rows(stream))
        for end, state in zip(ends, states, strict=True):
            end.copy_(state)
        if training:
            for buffer, value in zip(left[bool(p.saved) :], values[count:], strict=False):
                buffer.copy_(self._rows(value))
            count += len(p.kept)
        (self.training if training else self.inference).refill(job, values[count:])

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
    def left_widths(self) -> list[int]:
        """Features of each tensor the forward pass leaves for the backward pass: first the saved
        values, which lie side by side at each step."""
        saved = [self.saved_columns[-1]] if self.plan.saved else []
        return [*saved, *(width(node) for node in self.plan.kept)]

    @property
    def has_gradient(self) -> list[bool]:
        """Of x and each parameter or buffer: whether the new state depends on it at all."""
        t = self.trace
        return [t.d_x is not None, *(t.d_parameters.get(n) is not None for n in self.names)]

    def gradients(
        self,
        d_y: Place,
        d_states: Sequence[Tensor],
        x: Tensor,
        parameters: Sequence[Tensor],
        left: Sequence[Tensor],
        walk: Walk,
        needs: tuple[bool, ...],
    ) -> tuple[Job, list[Tensor], Callable[..., Gradients]]:
        """The job of the backward loop, and what is there when it has run: ∂L/∂(initial states),
        and a function that returns ∂L/∂x and ∂L/∂parameters as far as ``needs`` says.

        ``walk`` is the way backwards, ``left`` what the forward pass left.
        """
        p, total = self.plan, x.shape[0]
        outside = self.outside_backward(total, x, *parameters, *self.constants)
        kept = left[1:] if p.saved else left
        starts = [d.clone(memory_format=torch.contiguous_format) for d in d_states]
        passed = [memory.empty(total, array.width, dtype=self.dtype) for array in self.passed]
        sums = x.new_zeros(walk.rows, self.summed_columns[-1])
        given: list[Place] = [(left[0], column) for column in self.saved_columns[:-1]]
        given += [(self._rows(tensor), 0) for tensor in kept]
        given.append(d_y)
        given += [(start, 0) for start in starts]
        given += [(tensor, 0) for tensor in passed]
        given += [(sums, column) for column in self.summed_columns[:-1]]
        job = self.backward.job(given, outside, walk)
        if needs not in self.after:
            self.after[needs] = _After(self, needs)
        after = self.after[needs]

        def finish(x: Tensor = x, parameters: Sequence[Tensor] = parameters) -> Gradients:
            inputs = (x, *parameters, *self.constants)
            return after(total, (*inputs, *left, *passed, sums.sum(0)))

        return job, starts, finish

    def gradients_again(
        self,
        job: Job,
        starts: Sequence[Tensor],
        d_y: Tensor,
        d_states: Sequence[Tensor],
        x: Tensor,
        parameters: Sequence[Tensor],
    ) -> None:
        """Give what :meth:`gradients` made the numbers of another call of the same shapes. What the
        forward pass left lies where it lay."""
        p = self.plan
        job.given[len(p.saved) + len(p.kept)][0].copy_(d_y)
        for start, d_state in zip(starts, d_states, strict=True):
            start.copy_(d_state)
        if p.accumulated:
            job.given[-1][0].zero_()
        outside = self.outside_backward(x.shape[0], x, *parameters, *self.constants)
        self.backward.refill(job, outside)

    @property
    def can_do_again(self) -> bool:
        """Whether the backward loop reads what the forward pass left where it lies."""
        values = (node.meta["val"] for node in self.plan.kept)
        return all(v.ndim == 2 and v.dtype == self.dtype for v in values)

    def _rows(self, tensor: Tensor) -> Tensor:
        """As ``(rows, width)`` of the kernel's type with contiguous features; flags as 0 and 1."""
        if tensor.ndim == 1:
            tensor = tensor.unsqueeze(1)
        if tensor.dtype != self.dtype:
            tensor = tensor.to(self.dtype)
        return tensor if tensor.stride(1) == 1 or tensor.shape[1] == 1 else tensor.contiguous()


class _After:
    """What comes after the backward loop, for a choice of the gradients that are needed."""

    def __init__(self, cell: CompiledCell, needs: tuple[bool, ...]) -> None:
        t, p = cell.trace, cell.plan
        gradients = [t.d_x, *(t.d_parameters.get(name) for name in cell.names)]
        wanted = [g if need else None for g, need in zip(gradients, needs, strict=True)]
        reads: dict[Node, Read] = {node: _given(i) for i, node in enumerate(cell.inputs)}
        at = len(reads)
        for node, column in zip(p.saved, cell.saved_columns, strict=False):
            reads[node] = _columns_of(node, at, column)
        at += bool(p.saved)
        reads |= {node: _columns_of(node, at + i, 0) for i, node in enumerate(p.kept)}
        at += len(p.kept)
        homes = {array: at + i for i, array in enumerate(cell.passed)}
        for node, (array, column) in p.boundary.items():
            reads[node] = _columns_of(node, homes[array], column)
        sums = dict(zip(p.accumulated, cell.summed_columns, strict=False))
        for node, value in p.rows_summed.items():
            reads[node] = _sum(node, at + len(homes), sums[value])
        graph = extract(t, list(reads), wanted).graph
        _, *placeholders = (node for node in graph.nodes if node.op == "placeholder")
        self.reads = []
        for read, placeholder in zip(reads.values(), placeholders, strict=True):
            if placeholder.users:
                self.reads.append(read)
            else:
                graph.erase_node(placeholder)
        self.function = fx.GraphModule({}, graph).forward

    def __call__(self, total: int, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        results: tuple[Tensor | None, ...]
        results = self.function(total, *(read(tensors) for read in self.reads))
        return results


Read = Callable[[Sequence[Tensor]], Tensor]
"""Finds the value of a node among some tensors."""


def _given(index: int) -> Read:
    return lambda tensors: tensors[index]


def _columns_of(node: Node, index: int, column: int) -> Read:
    """Some columns of a tensor of rows, in the shape and type of the node."""
    like, size = node.meta["val"], width(node)

    def read(tensors: Sequence[Tensor]) -> Tensor:
        rows = tensors[index]
        if rows.shape[1] != size:
            rows = rows.narrow(1, column, size)
        if like.ndim == 1:
            rows = rows.squeeze(1)
        return rows if rows.dtype == like.dtype else rows.to(like.dtype)

    return read


def _sum(node: Node, index: int, column: int) -> Read:
    """Some columns of a single row, in the shape of the node."""
    shape = node.meta["val"].shape
    size = shape.numel()
    return lambda tensors: tensors[index].narrow(0, column, size).view(shape)


def _columns(widths: Iterable[int]) -> list[int]:
    """Where values begin that lie side by side, and where the last one ends."""
    return list(accumulate(widths, initial=0))
