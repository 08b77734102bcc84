"""A compiled cell: what comes before, in and after the loop, forward and backward."""

import itertools
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor, fx

from saiki.cell import Cell
from saiki.compiler.backend import Backend, Job, Loop, Place, Walk
from saiki.compiler.function import extract, function
from saiki.compiler.memory import lower_memory
from saiki.compiler.nodes import is_extent, width
from saiki.compiler.partition import Partition
from saiki.compiler.plan import ForwardPlan, plan
from saiki.compiler.program import Array
from saiki.compiler.spot_checks import SpotChecks
from saiki.compiler.trace import trace
from saiki.compiler.watch import Watch
from saiki.errors import CompileError

Node = fx.Node
LoopKind = Literal["inference", "training", "backward"]


class Operands(NamedTuple):
    """What a loop reads beside states."""

    x: Tensor
    """Rows of all steps, ``(total rows, input_size)``."""
    parameters: Sequence[Tensor]
    memory: Sequence[Tensor] = ()


class Needs(NamedTuple):
    """Whether the gradient by each operand is needed."""

    x: bool
    parameters: tuple[bool, ...]
    memory: tuple[bool, ...] = ()


class Gradients(NamedTuple):
    """By each operand, as far as it is needed."""

    d_x: Tensor | None
    d_parameters: Sequence[Tensor | None]
    d_memory: Sequence[Tensor | None]


@dataclass(slots=True)
class Forward:
    """A loop forward that is ready to run."""

    job: Job
    streams: list[Tensor]
    states: list[Tensor]
    """Those before the first step; when it has run, those after the last one."""
    residuals: list[Tensor]
    """What the backward pass needs, when it has run."""


@dataclass(slots=True)
class Backward:
    """A loop backward that is ready to run."""

    job: Job
    d_y: Place
    d_states: list[Tensor]
    """Of the states after the last step; when it has run, of those before the first one."""
    summed: Tensor
    """What the loop sums over time, row by row."""
    gradients: Callable[..., Gradients]
    """``gradients()`` when it has run; ``gradients(operands)`` for others of the same shapes."""


class CompiledStep:
    """The loop over a step for one floating-point type on one backend, as functions of tensors
    alone: of all layers over the same equations and sizes.

    Rows are those of all time steps: ``x`` is ``(total rows, input_size)``, and a :class:`Walk`
    says in which order the loop takes them.
    """

    def __init__(self, cell: Cell, watch: Watch, dtype: torch.dtype, backend: Backend) -> None:
        self.trace = lower_memory(trace(cell, watch, dtype, backend.inline_below))
        self.plan = plan(self.trace)
        self.dtype = dtype
        self.eps = self.trace.eps
        self.backend = backend
        t, p = self.trace, self.plan
        self.loops: dict[LoopKind, Loop] = {
            "inference": backend.loop(p.inference.program, dtype),
            "training": backend.loop(p.training.program, dtype),
            "backward": backend.loop(p.backward.program, dtype),
        }
        self.names = list(t.parameters)
        self.memory = dict(cell.memory_shapes)
        self.constants = tuple(t.constants.values())
        self.inputs = [t.x, *t.parameters.values(), *t.constants]
        self.residuals = Residuals(p.partition)
        self.before = {
            "inference": _Before(self, p.inference, ()),
            "training": _Before(self, p.training, p.partition.hoisted_residuals),
        }
        self.before_backward = function(
            extract(self.inputs, list(p.backward.program.parameters), backend.product)
        )
        self.after: dict[Needs, _After] = {}
        self.states = len(t.states)
        self.output_size = width(t.new_states[0])
        *self.summed_columns, self.summed_width = accumulate(
            (array.width for array in p.backward.summed.values()), initial=0
        )

    def sizes(self, memory: Sequence[Tensor]) -> dict[int, int]:
        """How large the memory is, by the numbers that stand for it."""
        extents = self.trace.extents
        return {
            extents[size]: tensor.shape[1 + i]
            for tensor, shape in zip(memory, self.memory.values(), strict=True)
            for i, size in enumerate(shape)
            if isinstance(size, str)
        }

    def forward(
        self,
        operands: Operands,
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
        arrays: dict[Array, Place] = {plan.y: y}
        _put(arrays, plan.streams.values(), streams)
        _put(arrays, plan.states, ends)
        _put(arrays, plan.memory.values(), map(_flat, memory))
        residuals: list[Tensor] = []
        if training:
            widths = self.residuals.step_widths(sizes)
            residuals = [self.backend.empty(len(x), size, like=x) for size in widths]
            self.residuals.put(arrays, plan.residuals, residuals)
            if before.residuals:
                residuals += self._apart(x, before.residuals)
        job = self.loops[kind].bind(arrays, before.parameters, walk, sizes)
        return Forward(job, streams, ends, residuals)

    def rebind_forward(
        self,
        bound: Forward,
        operands: Operands,
        states: Sequence[Tensor],
        training: bool,
    ) -> None:
        """Give what :meth:`forward` made the numbers of another call of the same shapes."""
        before = self.before["training" if training else "inference"](operands)
        for buffer, stream in zip(bound.streams, before.streams, strict=True):
            buffer.copy_(self._rows(stream))
        for buffer, state in zip(bound.states, states, strict=True):
            buffer.copy_(state)
        hoisted = bound.residuals[self.residuals.of_steps :]
        for buffer, value in zip(hoisted, before.residuals, strict=True):
            buffer.copy_(self._rows(value))
        bound.job.rebind(before.parameters)

    def backward(
        self,
        operands: Operands,
        d_y: Place,
        d_states: Sequence[Tensor],
        residuals: Sequence[Tensor],
        walk: Walk,
        needs: Needs,
    ) -> Backward:
        """The loop backward, and what comes after it.

        Args:
            residuals: what the forward pass left.
            walk: the way backwards.
        """
        x, memory = operands.x, operands.memory
        plan, sizes = self.plan.backward, self.sizes(memory)
        outside = self.before_backward(len(x), x, *operands.parameters, *self.constants)
        starts = [d.clone(memory_format=torch.contiguous_format) for d in d_states]
        passed = [
            self.backend.empty(len(x), sizes.get(array.width, array.width), like=x)
            for array in plan.passed_arrays
        ]
        summed = x.new_zeros(walk.rows, self.summed_width)
        flat = dict(zip(self.memory, map(_flat, memory), strict=True))
        d_memory = {name: torch.zeros_like(flat[name]) for name in plan.d_memory}
        arrays: dict[Array, Place] = {plan.d_y: d_y}
        _put(arrays, plan.d_states, starts)
        _put(arrays, plan.memory.values(), flat.values())
        _put(arrays, plan.passed_arrays, passed)
        _put(arrays, plan.d_memory.values(), d_memory.values())
        for array, column in zip(plan.summed.values(), self.summed_columns, strict=True):
            arrays[array] = Place(summed, column)
        self.residuals.put(arrays, plan.residuals, [self._rows(tensor) for tensor in residuals])
        job = self.loops["backward"].bind(arrays, outside, walk, sizes)
        if needs not in self.after:
            self.after[needs] = _After(self, needs)
        after = self.after[needs]

        def gradients(operands: Operands = operands) -> Gradients:
            inputs = (operands.x, *operands.parameters, *self.constants)
            found, pairs = after(len(x), (*inputs, *residuals, *passed, summed.sum(0)))
            of_memory = [
                self._memory_gradient(tensor.shape, d_memory.get(name), pairs[name], walk)
                if name in pairs
                else None
                for name, tensor in zip(self.memory, memory, strict=True)
            ]
            return Gradients(found[0], found[1:], of_memory)

        return Backward(job, d_y, starts, summed, gradients)

    def rebind_backward(
        self,
        bound: Backward,
        operands: Operands,
        d_y: Tensor,
        d_states: Sequence[Tensor],
    ) -> None:
        """Give what :meth:`backward` made the numbers of another call of the same shapes. What the
        forward pass left lies where it lay."""
        bound.d_y.rows.copy_(d_y)
        for buffer, d_state in zip(bound.d_states, d_states, strict=True):
            buffer.copy_(d_state)
        if self.summed_columns:
            bound.summed.zero_()
        x, parameters = operands.x, operands.parameters
        bound.job.rebind(self.before_backward(len(x), x, *parameters, *self.constants))

    @property
    def is_replayable(self) -> bool:
        """Whether the backward loop reads what the forward pass left where it lies."""
        values = (node.meta["val"] for node in self.residuals.hoisted)
        return not self.memory and all(v.ndim == 2 and v.dtype == self.dtype for v in values)

    @property
    def has_gradient(self) -> list[bool]:
        """Of x, each parameter or buffer and each memory: whether the new state depends on it."""
        t = self.trace
        return [
            t.d_x is not None,
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
        seen, found = {x.untyped_storage().data_ptr()}, []
        for tensor in map(self._rows, hoisted):
            where = tensor.untyped_storage().data_ptr()
            found.append(tensor.clone() if where in seen else tensor)
            seen.add(where)
        return found

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


class Residuals:
    """How what a forward pass leaves for the backward pass lies in tensors, each of all rows of all
    steps.

    First what the loop writes at each step, side by side in one tensor; then what of it is as wide
    as a memory, and what was hoisted, in a tensor each.
    """

    def __init__(self, partition: Partition) -> None:
        of_steps = partition.step_residuals
        self.stacked = [node for node in of_steps if not is_extent(width(node))]
        *columns, self.stacked_width = accumulate(map(width, self.stacked), initial=0)
        self.wide = of_steps[len(self.stacked) :]
        self.hoisted = partition.hoisted_residuals
        self.of_steps = bool(self.stacked) + len(self.wide)
        self.count = self.of_steps + len(self.hoisted)
        self.places = {
            node: (0, column) for node, column in zip(self.stacked, columns, strict=True)
        }
        """In which tensor each value lies, and from which column on."""
        for i, node in enumerate((*self.wide, *self.hoisted), bool(self.stacked)):
            self.places[node] = i, 0

    def step_widths(self, sizes: Mapping[int, int]) -> list[int]:
        """Features of each tensor that the loop writes.

        Args:
            sizes: of memory, by the numbers that stand for them.
        """
        stacked = [self.stacked_width] if self.stacked else []
        return stacked + [sizes[width(node)] for node in self.wide]

    def put(
        self, arrays: dict[Array, Place], names: Mapping[Node, Array], tensors: Sequence[Tensor]
    ) -> None:
        """The arrays of some of these values lie in such tensors."""
        for node, array in names.items():
            index, column = self.places[node]
            arrays[array] = Place(tensors[index], column)


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
        self.checks = SpotChecks()

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


_CELLS: WeakValueDictionary[int, CompiledCell] = WeakValueDictionary()
_KEYS = itertools.count()


def register(cell: CompiledCell) -> int:
    """The number by which the operators know ``cell``, as long as it lives."""
    cell.key = next(_KEYS)
    _CELLS[cell.key] = cell
    return cell.key


def compiled_cell(key: int) -> CompiledCell:
    """The cell known by that number.

    Raises:
        CompileError: it is no more.
    """
    cell = _CELLS.get(key)
    if cell is None:
        raise CompileError(
            "this graph calls the compiled loop of a layer that no longer exists in this process; "
            "trace or compile the model again"
        )
    return cell


class _Hoisted(NamedTuple):
    """What is computed before a loop forward."""

    streams: Sequence[Tensor]
    residuals: Sequence[Tensor]
    parameters: Sequence[Tensor]


class _Before:
    """What comes before a loop forward."""

    def __init__(self, step: CompiledStep, plan: ForwardPlan, residuals: Sequence[Node]) -> None:
        outputs = [*plan.streams, *residuals, *plan.program.parameters]
        self.function = function(extract(step.inputs, outputs, step.backend.product))
        self.constants = step.constants
        self.streams = len(plan.streams)
        self.end = self.streams + len(residuals)

    def __call__(self, operands: Operands) -> _Hoisted:
        x = operands.x
        found = self.function(len(x), x, *operands.parameters, *self.constants)
        return _Hoisted(found[: self.streams], found[self.streams : self.end], found[self.end :])


class _After:
    """What comes after the backward loop, for a choice of the gradients that are needed."""

    def __init__(self, step: CompiledStep, needs: Needs) -> None:
        t, p = step.trace, step.plan
        gradients = [t.d_x, *(t.d_parameters.get(name) for name in step.names)]
        needed = (needs.x, *needs.parameters)
        wanted = [g if need else None for g, need in zip(gradients, needed, strict=True)]
        self.count = len(wanted)
        self.pairs: dict[str, int] = {}
        """Of each memory whose gradient is needed, the products of vectors it is made of."""
        for name, need in zip(step.memory, needs.memory, strict=True):
            if need and (t.d_memory[name] is not None or t.outer[name]):
                self.pairs[name] = len(t.outer[name])
                wanted += [vector for pair in t.outer[name] for vector in pair]
        reads: dict[Node, Read] = {node: _given(i) for i, node in enumerate(step.inputs)}
        at = len(reads)
        for node, (index, column) in step.residuals.places.items():
            reads[node] = _columns_of(node, at + index, column)
        at += step.residuals.count
        homes = {array: at + i for i, array in enumerate(p.backward.passed_arrays)}
        for node, (array, column) in p.backward.passed.items():
            reads[node] = _columns_of(node, homes[array], column)
        columns = dict(zip(p.backward.summed, step.summed_columns, strict=True))
        for node, value in p.partition.rows_summed.items():
            reads[node] = _sum(node, at + len(homes), columns[value])
        graph = extract(list(reads), wanted, step.backend.product)
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


def _put(arrays: dict[Array, Place], names: Iterable[Array], tensors: Iterable[Tensor]) -> None:
    """Each array lies in a tensor of its own."""
    for array, tensor in zip(names, tensors, strict=True):
        arrays[array] = Place(tensor)


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
