"""A compiled cell: what comes before, in and after the loop, forward and backward."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, fx

from saiki.cell import Cell
from saiki.compiler.cpu import memory as buffers
from saiki.compiler.cpu.jit import machine
from saiki.compiler.cpu.loop import CompiledLoop, Place, Walk
from saiki.compiler.cpu.team import Job
from saiki.compiler.function import function
from saiki.compiler.grid import lowered
from saiki.compiler.plan import extract, plan
from saiki.compiler.trace import is_extent, width
from saiki.compiler.trial import Checks
from saiki.compiler.watch import Watch
from saiki.errors import CompileError

Node = fx.Node
Gradients = tuple[Tensor | None, ...]
"""∂L/∂x, then ∂L/∂parameters and ∂L/∂memory."""


Kind = Literal["inference", "training", "backward"]


class CompiledStep:
    """The loop over a step for one floating-point type, as functions of tensors alone: of all
    layers over the same equations and sizes.

    Rows are those of all time steps: ``x`` is ``(total rows, input_size)``, and a :class:`Walk`
    says in which order the loop takes them.
    """

    def __init__(self, cell: Cell, watch: Watch, dtype: torch.dtype) -> None:
        self.trace = lowered(cell, watch, dtype)
        self.plan = plan(self.trace)
        self.dtype = dtype
        self.eps = self.trace.eps
        self.inference = CompiledLoop(self.plan.inference, dtype)
        self.training = CompiledLoop(self.plan.training, dtype)
        self.backward = CompiledLoop(self.plan.backward, dtype)
        t, p = self.trace, self.plan
        self.names = list(t.parameters)
        self.memory = dict(cell.memory_shapes)
        self.constants = tuple(t.constants.values())
        self.inputs = [t.x, *t.parameters.values(), *t.constants]
        self.before = {
            training: function(
                extract(
                    t, self.inputs, [*p.streams, *(p.kept if training else ()), *scheduler.outside]
                )
            )
            for training, scheduler in ((False, p.inference), (True, p.training))
        }
        self.outside_backward = function(extract(t, self.inputs, list(p.backward.outside)))
        self.after: dict[tuple[bool, ...], _After] = {}
        self.states = len(t.states)
        self.output_size = width(t.new_states[0])
        self.saved = [node for node in p.saved if not is_extent(width(node))]
        self.saved_apart = p.saved[len(self.saved) :]
        """As wide as a memory is, and so in a tensor each."""
        self.saved_columns = _columns(map(width, self.saved))
        self.summed_columns = _columns(array.width for array in p.accumulated.values())
        self.passed = list(dict.fromkeys(array for array, _ in p.boundary.values()))

    def loop(self, kind: Kind) -> CompiledLoop:
        """One of its loops."""
        return {"inference": self.inference, "training": self.training}.get(kind, self.backward)

    def forward(
        self,
        x: Tensor,
        y: Place,
        states: Sequence[Tensor],
        parameters: Sequence[Tensor],
        memory: Sequence[Tensor],
        walk: Walk,
        training: bool,
    ) -> tuple[Job, list[Tensor], list[Tensor]]:
        """The job that fills ``y``, the output of each row and step; the last states, and what the
        backward pass needs, both of which are there when it has run."""
        total, sizes = x.shape[0], self.sizes(memory)
        p = self.plan
        values = self.before[training](total, x, *parameters, *self.constants)
        streams, values = values[: len(p.streams)], values[len(p.streams) :]
        kept, outside = (values[: len(p.kept)], values[len(p.kept) :]) if training else ((), values)
        ends = [state.clone(memory_format=torch.contiguous_format) for state in states]
        given: list[Place] = [(self._rows(stream), 0) for stream in streams]
        given += [(end, 0) for end in ends]
        given += [(_flat(m), 0) for m in memory]
        saved = []
        if training and self.saved:
            saved.append(buffers.empty(total, self.saved_columns[-1], dtype=self.dtype))
            given += [(saved[0], column) for column in self.saved_columns[:-1]]
        if training:
            apart = [sizes[width(node)] for node in self.saved_apart]
            saved += [buffers.empty(total, size, dtype=self.dtype) for size in apart]
            given += [(tensor, 0) for tensor in saved[bool(self.saved) :]]
        given.append(y)
        loop = self.training if training else self.inference
        return loop.job(given, outside, walk, sizes), ends, [*saved, *self._apart(x, kept)]

    def sizes(self, memory: Sequence[Tensor]) -> dict[int, int]:
        """How large the memory is, by the numbers that stand for it."""
        extents = self.trace.extents
        return {
            extents[size]: tensor.shape[1 + i]
            for tensor, shape in zip(memory, self.memory.values(), strict=True)
            for i, size in enumerate(shape)
            if isinstance(size, str)
        }

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
            for buffer, value in zip(left[bool(self.saved) :], values[count:], strict=False):
                buffer.copy_(self._rows(value))
            count += len(p.kept)
        (self.training if training else self.inference).refill(job, values[count:])

    def __str__(self) -> str:
        """What a person wants to know of the plan."""
        wide = machine()
        count = self.saved_columns[-1] + sum(width(node) for node in self.plan.kept)
        more = " and what is as wide as memory" if self.saved_apart else ""
        return "\n".join(
            (
                f"one loop of {self.dtype} in vectors of {wide.lanes(self.dtype)} ({wide.name})",
                str(self.plan),
                f"saved for the backward pass: {count * self.dtype.itemsize} bytes{more} for each"
                " row and time step",
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
    def left(self) -> int:
        """How many tensors the forward pass leaves for the backward pass."""
        return bool(self.saved) + len(self.saved_apart) + len(self.plan.kept)

    def left_widths(self, memory: Sequence[Tensor]) -> list[int]:
        """Features of each tensor the forward pass leaves for the backward pass: first the saved
        values, which lie side by side at each step."""
        sizes = self.sizes(memory)
        saved = [self.saved_columns[-1]] if self.saved else []
        saved += [sizes[width(node)] for node in self.saved_apart]
        return [*saved, *(width(node) for node in self.plan.kept)]

    @property
    def has_gradient(self) -> list[bool]:
        """Of x, each parameter or buffer and each memory: whether the new state depends on it."""
        t = self.trace
        return [
            t.d_x is not None,
            *(t.d_parameters.get(n) is not None for n in self.names),
            *(t.d_memory[n] is not None or bool(t.outer.get(n)) for n in self.memory),
        ]

    def gradients(
        self,
        d_y: Place,
        d_states: Sequence[Tensor],
        x: Tensor,
        parameters: Sequence[Tensor],
        memory: Sequence[Tensor],
        left: Sequence[Tensor],
        walk: Walk,
        needs: tuple[bool, ...],
    ) -> tuple[Job, list[Tensor], Callable[..., Gradients]]:
        """The job of the backward loop, and what is there when it has run: ∂L/∂(initial states),
        and a function that returns ∂L/∂x, ∂L/∂parameters and ∂L/∂memory as far as ``needs`` says.

        ``walk`` is the way backwards, ``left`` what the forward pass left.
        """
        p, total, sizes = self.plan, x.shape[0], self.sizes(memory)
        outside = self.outside_backward(total, x, *parameters, *self.constants)
        starts = [d.clone(memory_format=torch.contiguous_format) for d in d_states]
        passed = [
            buffers.empty(total, sizes.get(array.width, array.width), dtype=self.dtype)
            for array in self.passed
        ]
        sums = x.new_zeros(walk.rows, self.summed_columns[-1])
        flat = dict(zip(self.memory, map(_flat, memory), strict=True))
        memory_sums = {name: torch.zeros_like(flat[name]) for name in p.memory_summed}
        given: list[Place] = [(left[0], column) for column in self.saved_columns[:-1]]
        given += [(self._rows(tensor), 0) for tensor in left[bool(self.saved) :]]
        given.append(d_y)
        given += [(start, 0) for start in starts]
        given += [(tensor, 0) for tensor in flat.values()]
        given += [(tensor, 0) for tensor in passed]
        given += [(sums, column) for column in self.summed_columns[:-1]]
        given += [(tensor, 0) for tensor in memory_sums.values()]
        job = self.backward.job(given, outside, walk, sizes)
        if needs not in self.after:
            self.after[needs] = _After(self, needs)
        after = self.after[needs]

        def finish(x: Tensor = x, parameters: Sequence[Tensor] = parameters) -> Gradients:
            inputs = (x, *parameters, *self.constants)
            found, vectors = after(total, (*inputs, *left, *passed, sums.sum(0)))
            of_memory = [
                _of_memory(tensor.shape, memory_sums.get(name), vectors[name], walk)
                if name in vectors
                else None
                for name, tensor in zip(self.memory, memory, strict=True)
            ]
            return *found, *of_memory

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
        return not self.memory and all(v.ndim == 2 and v.dtype == self.dtype for v in values)

    def _rows(self, tensor: Tensor) -> Tensor:
        """As ``(rows, width)`` of the kernel's type with contiguous features; flags as 0 and 1."""
        if tensor.ndim == 1:
            tensor = tensor.unsqueeze(1)
        if tensor.dtype != self.dtype:
            tensor = tensor.to(self.dtype)
        return tensor if tensor.stride(1) == 1 or tensor.shape[1] == 1 else tensor.contiguous()


class CompiledCell:
    """One cell, and the compiled loop over its step."""

    key = -1
    """The number by which the operators know it."""

    def __init__(
        self, step: CompiledStep, cell: Cell, watch: Watch, is_strict: bool = False
    ) -> None:
        self.step = step
        self._cell = weakref.ref(cell)
        self.watch = watch
        self.is_strict = is_strict
        """Whether to raise, rather than warn, when it is refused."""
        self.is_fresh = False
        """Whether its layer has just seen that nothing has changed."""
        self.why_refused = ""
        self.proved: set[str] = set()
        """What of it has been compared with the eager loop."""
        self.checks = Checks()

    @property
    def cell(self) -> Cell:
        """The cell it computes.

        Raises:
            CompileError: it is no more.
        """
        cell = self._cell()
        if cell is None:
            raise CompileError("this graph calls the compiled loop of a cell that is no more")
        return cell

    @property
    def is_refused(self) -> bool:
        """Whether the eager loop must take its place."""
        return bool(self.why_refused)

    def refuse(self, why: str) -> None:
        """Never run it again.

        Raises:
            CompileError: its layer asks for it by name.
        """
        self.why_refused = why
        if self.is_strict:
            raise CompileError(why)
        warnings.warn(f"running step by step: {why}", stacklevel=2)

    def must_be_unchanged(self) -> None:
        """Raise unless the cell is what it was in the forward pass.

        Raises:
            CompileError: it is not.
        """
        if self.watch.unchanged() or Watch(self.cell).fingerprint == self.watch.fingerprint:
            return
        raise CompileError(
            f"{type(self.cell).__name__} has changed between the forward pass and a derivative "
            "that goes through its steps once more; change it afterwards"
        )

    def real_tensors(self) -> list[Tensor]:
        """The tensors of the cell in whose place the parameters of each call are."""
        places = (self.watch.places[name] for name in self.step.names)
        return [owner[key] for owner, key in places]


class _After:
    """What comes after the backward loop, for a choice of the gradients that are needed."""

    def __init__(self, step: CompiledStep, needs: tuple[bool, ...]) -> None:
        t, p = step.trace, step.plan
        gradients = [t.d_x, *(t.d_parameters.get(name) for name in step.names)]
        wanted = [g if need else None for g, need in zip(gradients, needs, strict=False)]
        self.count = len(wanted)
        self.pairs: dict[str, int] = {}
        """Of each memory whose gradient is needed, the products of vectors it is made of."""
        for name, need in zip(step.memory, needs[self.count :], strict=True):
            if need and (t.d_memory[name] is not None or t.outer[name]):
                self.pairs[name] = len(t.outer[name])
                wanted += [vector for pair in t.outer[name] for vector in pair]
        reads: dict[Node, Read] = {node: _given(i) for i, node in enumerate(step.inputs)}
        at = len(reads)
        for node, column in zip(step.saved, step.saved_columns, strict=False):
            reads[node] = _columns_of(node, at, column)
        at += bool(step.saved)
        reads |= {node: _columns_of(node, at + i, 0) for i, node in enumerate(step.saved_apart)}
        at += len(step.saved_apart)
        reads |= {node: _columns_of(node, at + i, 0) for i, node in enumerate(p.kept)}
        at += len(p.kept)
        homes = {array: at + i for i, array in enumerate(step.passed)}
        for node, (array, column) in p.boundary.items():
            reads[node] = _columns_of(node, homes[array], column)
        sums = dict(zip(p.accumulated, step.summed_columns, strict=False))
        for node, value in p.rows_summed.items():
            reads[node] = _sum(node, at + len(homes), sums[value])
        graph = extract(t, list(reads), wanted)
        _, *placeholders = (node for node in graph.nodes if node.op == "placeholder")
        self.reads = []
        for read, placeholder in zip(reads.values(), placeholders, strict=True):
            if placeholder.users:
                self.reads.append(read)
            else:
                graph.erase_node(placeholder)
        self.function = function(graph)

    def __call__(
        self, total: int, tensors: Sequence[Tensor]
    ) -> tuple[tuple[Tensor | None, ...], dict[str, list[tuple[Tensor, Tensor]]]]:
        """The gradients; and for each memory the pairs of vectors its gradient is made of."""
        results = self.function(total, *(read(tensors) for read in self.reads))
        rest = iter(results[self.count :])
        pairs = {
            name: [(next(rest), next(rest)) for _ in range(count)]
            for name, count in self.pairs.items()
        }
        return results[: self.count], pairs


def _of_memory(
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
        if total is None:
            total = torch.bmm(a, b)
        else:
            total = torch.baddbmm(total.view(len(a), a.shape[1], b.shape[2]), a, b)
    assert total is not None
    return total.reshape(shape)


def _flat(memory: Tensor) -> Tensor:
    """All that a row has for itself side by side."""
    return memory.reshape(len(memory), -1).contiguous()


Read = Callable[[Sequence[Tensor]], Tensor]
"""Finds the value of a node among some tensors."""


def _given(index: int) -> Read:
    return lambda tensors: tensors[index]


def _columns_of(node: Node, index: int, column: int) -> Read:
    """Some columns of a tensor of rows, in the shape and type of the node."""
    like, size = node.meta["val"], width(node)

    def read(tensors: Sequence[Tensor]) -> Tensor:
        rows = tensors[index]
        if rows.shape[1] != size and not is_extent(size):
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
