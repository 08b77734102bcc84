"""Plan: what is done once for all time steps, what is left for the loop, and in which order.

What depends on x and parameters alone is hoisted out of the loop, in front of it; what the
recursion of the gradients does not need is done after it; both by PyTorch, for all rows of all time
steps at once. What remains is a :class:`Program` for the loop forward and one for the loop
backward: a chain of stages, each some matrix products followed by pointwise work. Nothing here
knows on which device the loop runs.
"""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import fx
from torch.fx.node import map_aggregate

from saiki.compiler.trace import ROWS, Trace, is_row, label, where, width
from saiki.errors import CompileError

aten = torch.ops.aten
Node = fx.Node
Kind = Literal["step", "row", "vector", "weight"]

PRODUCTS = {aten.mm.default}
SUMS = {aten.sum.dim_IntList, aten.amax.default, aten.amin.default}
CONSTANTS = {aten.full.default, aten.full_like.default, aten.scalar_tensor.default}
SLICES = {aten.slice.Tensor, operator.getitem}
RESHAPES = {aten.view.default, aten.unsqueeze.default, aten.squeeze.dims, aten.expand.default}
CHEAP = {
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.neg.default, aten.abs.default,
    aten.relu.default, aten.clamp.default, aten.where.self, aten.maximum.default,
    aten.minimum.default, aten.sign.default, aten._to_copy.default,
    *(getattr(getattr(aten, name), kind) for name in ("eq", "ne", "lt", "le", "gt", "ge")
      for kind in ("Scalar", "Tensor")),
    aten.logical_and.default, aten.logical_or.default, aten.logical_not.default,
    aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.bitwise_not.default,
    aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.bitwise_xor.Tensor,
    aten.logical_xor.default, aten.isnan.default,
    *CONSTANTS, *SLICES, *RESHAPES, aten.split_with_sizes.default,
}  # fmt: skip
"""Cheaper to do again in the backward loop than to write in one loop and read in the other."""


@dataclass(frozen=True, eq=False)
class Array:
    """Numbers that a loop reads or writes.

    ``step``: one row for each row of the batch at each time step; ``row``: one for each row of the
    batch; ``vector``: one for all; ``weight``: a matrix ``(inner, width)``.
    """

    name: str
    kind: Kind
    width: int
    inner: int = 1


@dataclass(frozen=True)
class Product:
    """target ← source · weight, from column ``column`` of the source on."""

    node: Node
    source: Array
    column: int
    weight: Array
    target: Array


@dataclass(frozen=True)
class Store:
    """array[:, column:] ← value, or += where it accumulates over time."""

    node: Node
    array: Array
    column: int = 0
    accumulate: bool = False


@dataclass
class Loop:
    """Pointwise work over ``width`` features, row by row; reductions over them end in ``sums``."""

    width: int
    stores: list[Store] = field(default_factory=list)
    sums: list[tuple[Node, Array]] = field(default_factory=list)


@dataclass
class Stage:
    products: list[Product] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)

    def loop(self, features: int) -> Loop:
        for loop in self.loops:
            if loop.width == features:
                return loop
        self.loops.append(Loop(features))
        return self.loops[-1]


@dataclass(frozen=True)
class Value:
    """Where a node can be read: the sum of ``arrays`` from ``column`` on, from ``stage`` on."""

    arrays: tuple[Array, ...]
    column: int
    stage: int


@dataclass
class Program:
    """What one time step does; ``copies`` end it."""

    arrays: list[Array] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    values: dict[Node, Value] = field(default_factory=dict)
    copies: list[tuple[Array, Array]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = []
        for i, stage in enumerate(self.stages, 1):
            for p in stage.products:
                lines.append(
                    f"  stage {i}: {p.target.name} = {_place(p.source, p.column, p.weight.inner)}"
                    f" · {p.weight.name} ({p.weight.inner}×{p.weight.width})"
                )
            for loop in stage.loops:
                names = [
                    f"{_place(s.array, s.column, loop.width)}{' +' if s.accumulate else ''}"
                    for s in loop.stores
                ]
                names += [f"Σ {array.name}" for _, array in loop.sums]
                lines.append(f"  stage {i}: {loop.width} features into {', '.join(names)}")
        return "\n".join(lines)


def _place(array: Array, column: int, size: int) -> str:
    return array.name if size == array.width else f"{array.name}[{column}:{column + size}]"


def is_slice(node: Node) -> bool:
    """Whether the value is a run of another's features."""
    if node.target is operator.getitem:
        return node.args[0].target is aten.split_with_sizes.default and is_row(node)
    return node.target in SLICES and is_row(node)


def sliced(node: Node) -> tuple[Node, int]:
    """The row tensor of which ``node`` is a run of features, and the first of them."""
    source: Any = node.args[0]
    if node.target is operator.getitem:
        index: Any = node.args[1]
        return source.args[0], sum(source.args[1][:index])
    start: Any = node.args[2] if len(node.args) > 2 and node.args[2] is not None else 0
    size = width(source)
    return source, min(max(0, start + size if start < 0 else start), size)


class Scheduler:
    """Builds a program from what can be read at the start of a step and what must be written.

    The level of a node is the first stage in which it can be used. What a product, a reduction or
    a concatenation yields is read from memory; anything pointwise is evaluated where it is used,
    and read from memory only in stages after the one that stored it.
    """

    def __init__(self) -> None:
        self.program = Program()
        self.levels: dict[Node, int] = {}
        self.homes: dict[Node, tuple[Array, int]] = {}
        self.outside: dict[Node, Array] = {}
        """Parameters the loop reads: what PyTorch computes for it once for each call."""
        self.scratch = 0

    def array(self, name: str, kind: Kind, size: int, inner: int = 1) -> Array:
        self.program.arrays.append(Array(name, kind, size, inner))
        return self.program.arrays[-1]

    def temporary(self, size: int) -> Array:
        self.scratch += 1
        return self.array(f"t{self.scratch}", "row", size)

    def read(self, node: Node, *arrays: Array) -> None:
        """``node`` can be read from the start: it is the sum of ``arrays``."""
        self.levels[node] = 0
        self.program.values[node] = Value(arrays, 0, 0)

    def settle(self, node: Node, array: Array, column: int = 0) -> None:
        """Decide that ``node`` will be written to ``array``, so that others can read it there."""
        if node in self.homes or node in self.program.values:
            return
        self.homes[node] = array, column
        if _is_cat(node):
            for part in node.args[0]:
                self.settle(part, array, column)
                column += width(part)

    def home(self, node: Node) -> tuple[Array, int] | None:
        """Where ``node`` will be written, by itself or as parts that lie side by side."""
        if node in self.homes or not _is_cat(node):
            return self.homes.get(node)
        parts = node.args[0]
        first = self.homes.get(parts[0])
        if first is None:
            return None
        array, column = first
        for part in parts:
            if self.homes.get(part) != (array, column):
                return None
            column += width(part)
        return first

    def write(self, node: Node, array: Array, column: int = 0, accumulate: bool = False) -> None:
        """``array`` ← the value of ``node`` at each step."""
        if _is_cat(node):
            for part in node.args[0]:
                self.write(part, array, column, accumulate)
                column += width(part)
            return
        level = self.level(node)
        self.stage(level).loop(width(node)).stores.append(Store(node, array, column, accumulate))
        if self.homes.get(node) == (array, column):
            self.program.values.setdefault(node, Value((array,), column, level + 1))

    def stage(self, level: int) -> Stage:
        while len(self.program.stages) <= level:
            self.program.stages.append(Stage())
        return self.program.stages[level]

    def parameter(self, node: Node, kind: Literal["vector", "weight"]) -> Array:
        """The array of a value that is the same for all rows."""
        if node not in self.outside:
            shape = node.meta["val"].shape
            if kind == "weight":
                array = self.array(label(node), kind, int(shape[1]), int(shape[0]))
            elif len(shape) > 2 or (len(shape) == 2 and shape[0] != 1):
                raise unsupported(node, f"a parameter of shape {tuple(shape)} meets rows")
            else:
                array = self.array(label(node), kind, int(shape[-1]) if shape else 1)
                self.program.values[node] = Value((array,), 0, 0)
            self.outside[node] = array
        return self.outside[node]

    def level(self, node: Node) -> int:
        if node not in self.levels:
            self.levels[node] = self._level(node)
        return self.levels[node]

    def _level(self, node: Node) -> int:
        if node.target in CONSTANTS:
            return 0
        if not is_row(node) and node.target is not aten.split_with_sizes.default:
            self.parameter(node, "vector")
            return 0
        if node.op != "call_function":
            raise unsupported(node, "a value from outside the step")
        if is_row(node) and node.meta["val"].ndim > 2:
            raise unsupported(node, f"rows of {node.meta['val'].ndim - 1} dimensions")
        if node.target in PRODUCTS:
            return self._product(node)
        if node.target in SUMS:
            return self._sum(node)
        if _is_cat(node):
            array, column = self.in_memory(node)
            level = 1 + max(self.level(part) for part in node.args[0])
            self.program.values[node] = Value((array,), column, level)
            return level
        if is_slice(node):
            return self.level(sliced(node)[0])
        supported(node)
        return max((self.level(n) for n in node.all_input_nodes), default=0)

    def in_memory(self, node: Node) -> tuple[Array, int]:
        """The array and the column where ``node`` is or will be; it is written if need be."""
        value = self.program.values.get(node)
        if value is not None and len(value.arrays) == 1:
            return value.arrays[0], value.column
        if is_slice(node):
            source, start = sliced(node)
            array, column = self.in_memory(source)
            return array, column + start
        home = self.home(node)
        if home is not None:
            return home
        array = self.temporary(width(node))
        self.settle(node, array)
        self.write(node, array)
        return array, 0

    def _ready(self, node: Node) -> int:
        """The first stage in which ``node`` lies in memory as a whole."""
        if is_slice(node):
            return self._ready(sliced(node)[0])
        value = self.program.values.get(node)
        if value is not None and len(value.arrays) == 1:
            return value.stage
        return self.level(node) + (0 if _is_cat(node) else 1)

    def _product(self, node: Node) -> int:
        left, right = node.args[0], node.args[1]
        if is_row(right) or not is_row(left):
            raise unsupported(node, "a matrix product needs a parameter on its right")
        self.level(left)
        source, column = self.in_memory(left)
        level = self._ready(left)
        target = self.temporary(width(node))
        weight = self.parameter(right, "weight")
        self.stage(level).products.append(Product(node, source, column, weight, target))
        self.program.values[node] = Value((target,), 0, level)
        return level

    def _sum(self, node: Node) -> int:
        source: Any = node.args[0]
        dims: Any = node.args[1] if len(node.args) > 1 else ()
        if [d % 2 for d in dims] != [1] or source.meta["val"].ndim != 2:
            raise unsupported(node, "a reduction that is not over the features")
        level = self.level(source)
        array = self.temporary(1)
        self.stage(level).loop(width(source)).sums.append((node, array))
        self.program.values[node] = Value((array,), 0, level + 1)
        return level + 1


def _is_cat(node: Node) -> bool:
    return node.target is aten.cat.default and is_row(node)


POINTWISE: set[Any] = CHEAP | {
    aten.div.Tensor, aten.exp.default, aten.expm1.default, aten.log.default, aten.log1p.default,
    aten.tanh.default, aten.sigmoid.default, aten.erf.default, aten.sin.default, aten.cos.default,
    aten.sqrt.default, aten.rsqrt.default, aten.reciprocal.default, aten.pow.Tensor_Scalar,
    aten.pow.Tensor_Tensor, aten.pow.Scalar, aten.floor.default, aten.ceil.default,
    aten.round.default, aten.trunc.default, aten.div.Scalar,
}  # fmt: skip


def supported(node: Node) -> None:
    """Raise unless ``node`` is pointwise work that an emitter knows."""
    if node.target not in POINTWISE or (node.target is operator.getitem and not is_slice(node)):
        raise unsupported(node, "there is no kernel for it")
    value = node.meta["val"]
    if isinstance(value, torch.Tensor) and not value.dtype.is_floating_point:
        arithmetic = node.target in (aten.add.Tensor, aten.mul.Tensor, aten.sub.Tensor)
        chosen = node.target is aten.where.self and all(
            not isinstance(a, Node) or a.target in CONSTANTS for a in node.args[1:]
        )
        if not chosen and (value.dtype != torch.bool or arithmetic):
            raise unsupported(node, f"it yields {value.dtype}")
    if node.target in RESHAPES:
        source = node.args[0]
        if isinstance(source, Node) and is_row(source) and width(source) not in (1, width(node)):
            raise unsupported(node, "rows change their shape")
    if node.target is aten.slice.Tensor and len(node.args) > 4 and node.args[4] != 1:
        raise unsupported(node, "a slice with a step")


def unsupported(node: Node, why: str) -> CompileError:
    maker = node.args[0] if node.target is operator.getitem else node
    name = str(maker.target).removeprefix("aten.").split(".")[0]
    return CompileError(f"{name} cannot be compiled in step{where(node)}: {why}")


@dataclass
class Plan:
    """Everything derived from a trace; see the module for its parts."""

    trace: Trace
    streams: tuple[Node, ...]
    """Computed from x before the loop and read by it."""
    inference: Scheduler
    training: Scheduler
    backward: Scheduler
    saved: tuple[Node, ...]
    """Written by the loop of training at each step, read by the backward loop or after it."""
    kept: tuple[Node, ...]
    """Computed before the loop, read by the backward loop or after it."""
    boundary: dict[Node, tuple[Array, int]]
    """Written by the backward loop at each step for what comes after it: where each begins."""
    accumulated: dict[Node, Array]
    """Summed over time by the backward loop, row by row."""
    rows_summed: dict[Node, Node]
    """Sums over all rows after the loop, by the accumulated value that takes the place of rows."""

    def __str__(self) -> str:
        return "\n".join(
            (
                f"hoisted: {', '.join(map(told, self.streams)) or 'nothing'}",
                "forward",
                str(self.training.program),
                f"saved: {', '.join(f'{label(n)} ({width(n)})' for n in self.saved) or 'nothing'}",
                "backward",
                str(self.backward.program),
            )
        )


def told(node: Node) -> str:
    """``mm = mm(x, W.weightᵀ)``: a node and what it is made of."""
    name = str(node.target).removeprefix("aten.").split(".")[0]
    return f"{label(node)} = {name}({', '.join(label(n) for n in node.all_input_nodes)})"


def plan(trace: Trace) -> Plan:
    """Split the trace into what comes before, in and after the loop.

    Raises:
        CompileError: the loop would hold an operation that no kernel can do.
    """
    parts = _Parts(trace)
    streams = tuple(
        dict.fromkeys(
            source
            for node in trace.graph.nodes
            if node in parts.loop_forward
            for source in _row_inputs(node)
            if source in parts.hoisted
        )
    )
    streams += tuple(n for n in trace.new_states if n in parts.hoisted and n not in streams)
    inference = _forward(trace, streams, ())
    saved, kept, boundary, accumulated, rows_summed = _choose(trace, parts)
    training = _forward(trace, streams, saved)
    backward, places, sums = _backward(trace, saved, kept, boundary, accumulated)
    return Plan(
        trace=trace,
        streams=streams,
        inference=inference,
        training=training,
        backward=backward,
        saved=saved,
        kept=kept,
        boundary=places,
        accumulated=sums,
        rows_summed=rows_summed,
    )


class _Parts:
    """Which node belongs where."""

    def __init__(self, trace: Trace) -> None:
        nodes = list(trace.graph.nodes)
        self.of_state = _descendants(nodes, trace.states)
        self.of_cotangent = _descendants(nodes, trace.cotangents)
        rows = {n for n in nodes if is_row(n) or n.target is aten.split_with_sizes.default}
        self.hoisted = {
            n
            for n in rows
            if n not in self.of_state | self.of_cotangent and n.target not in CONSTANTS
        }
        self.forward = self.of_state - self.of_cotangent
        self.loop_forward = _ancestors(trace.new_states) & self.forward
        recursion = [d for d in trace.d_states if d is not None]
        self.loop_backward = (_ancestors(recursion) & self.of_cotangent) | set(trace.cotangents)


def _choose(
    trace: Trace, parts: _Parts
) -> tuple[
    tuple[Node, ...], tuple[Node, ...], tuple[Node, ...], tuple[Node, ...], dict[Node, Node]
]:
    """What is saved, kept, passed on and accumulated; see :class:`Plan`."""
    order = {node: i for i, node in enumerate(trace.graph.nodes)}
    passed, rows_summed = _passed(trace, parts)
    accumulated = tuple(dict.fromkeys(rows_summed.values()))
    recursion = [d for d in trace.d_states if d is not None]
    in_loop = sorted(
        _ancestors([*recursion, *passed, *accumulated]) & parts.of_cotangent, key=order.__getitem__
    )
    demanded = dict.fromkeys(
        source
        for node in (*in_loop, *passed, *accumulated)
        for source in (_row_inputs(node) if node in parts.of_cotangent else [node])
        if source not in parts.of_cotangent
    )
    saved: dict[Node, None] = {trace.new_states[0]: None}  # y is written anyway
    for node in demanded:
        recurrent = node in parts.loop_forward or node.op == "placeholder"
        if node in parts.forward and not _is_cheap(node) and recurrent:
            saved[node] = None
    for node in demanded:
        _resolve(node, parts, saved)
    found: set[Node] = set()
    for node in demanded:
        _leaves(node, saved, parts, found)
    kept = tuple(sorted((n for n in found if n in parts.hoisted), key=order.__getitem__))
    boundary = tuple(n for n in passed if n not in saved and n not in parts.hoisted)
    return tuple(n for n in saved if n in found), kept, boundary, accumulated, rows_summed


def _passed(trace: Trace, parts: _Parts) -> tuple[list[Node], dict[Node, Node]]:
    """The row tensors that products after the loop read, and the sums over rows it takes over."""
    passed: dict[Node, None] = {}
    rows_summed: dict[Node, Node] = {}
    stack = [n for n in (trace.d_x, *trace.d_parameters.values()) if n is not None]
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        outside = node.op != "call_function" and node not in parts.of_cotangent | parts.forward
        if node in seen or outside:
            continue
        seen.add(node)
        if node.target is aten.sum.dim_IntList and list(node.args[1]) == [0]:
            value = node.args[0]
            if is_row(value) and value.meta["val"].ndim == 2 and _pointwise(value, parts):
                rows_summed[node] = value
                continue
        if is_row(node) and node.target not in CONSTANTS and _pointwise(node, parts):
            passed[node] = None
        else:
            stack.extend(node.all_input_nodes)
    order = {node: i for i, node in enumerate(trace.graph.nodes)}
    # the longest concatenations first, so that shorter ones are found inside them
    return sorted(passed, key=lambda n: (-width(n) if _is_cat(n) else 0, order[n])), rows_summed


def _pointwise(node: Node, parts: _Parts) -> bool:
    """Whether the loop can evaluate ``node`` from what it has anyway."""
    if node.target is operator.getitem and not is_slice(node):
        return node in parts.hoisted
    if node in parts.loop_backward or node.target in CONSTANTS or not is_row(node):
        return node.target is not aten.split_with_sizes.default or _pointwise(node.args[0], parts)
    if node in parts.hoisted or node in parts.loop_forward or node.op == "placeholder":
        return True
    if node.target is aten.cat.default:
        return all(_pointwise(n, parts) for n in node.all_input_nodes)
    if node.target not in POINTWISE | SUMS or not is_row(node) or node.meta["val"].ndim > 2:
        return False
    return all(_pointwise(n, parts) for n in node.all_input_nodes)


def _is_cheap(node: Node) -> bool:
    """Whether the backward loop would rather do it again; flags are never saved."""
    divided = node.target in (aten.div.Tensor, aten.div.Scalar)
    by_number = divided and not isinstance(node.args[1], Node)
    return node.target in CHEAP or by_number or _is_flag(node)


def _is_flag(node: Node) -> bool:
    return is_row(node) and node.meta["val"].dtype == torch.bool


def _resolve(node: Node, parts: _Parts, saved: dict[Node, None]) -> None:
    """Make ``node`` computable in the backward loop: do it again, or save it."""
    if node in saved or node not in parts.forward:
        return
    again: dict[Node, None] = dict(saved)
    _leaves_to_save(node, parts, again)
    extra = sum(width(n) for n in again if n not in saved)
    if (
        extra
        and is_row(node)
        and not _is_flag(node)
        and extra >= width(node)
        and node in parts.loop_forward
    ):
        saved[node] = None
    else:
        saved.update(again)


def _leaves_to_save(node: Node, parts: _Parts, saved: dict[Node, None]) -> None:
    if node in saved or node not in parts.forward:
        return
    if node.op == "placeholder" or not _is_cheap(node):
        saved[node] = None
        return
    for source in node.all_input_nodes:
        _leaves_to_save(source, parts, saved)


def _leaves(node: Node, saved: dict[Node, None], parts: _Parts, found: set[Node]) -> None:
    """The saved and hoisted values from which ``node`` is computed in the backward loop."""
    if node in found or node in saved:
        found.add(node)
    elif node in parts.hoisted:
        if node.target is aten.split_with_sizes.default:
            _leaves(node.args[0], saved, parts, found)
        else:
            found.add(node)
    elif node in parts.forward:
        for source in node.all_input_nodes:
            _leaves(source, saved, parts, found)


def _forward(trace: Trace, streams: Sequence[Node], saved: Sequence[Node]) -> Scheduler:
    """The loop forward: reads streams and state, writes what is saved, y and the new state."""
    s = Scheduler()
    for node in streams:
        s.read(node, s.array(f"stream {label(node)}", "step", width(node)))
    states = [s.array(f"state {label(node)}", "row", width(node)) for node in trace.states]
    for node, state in zip(trace.states, states, strict=True):
        s.read(node, state)
    outputs = [(n, s.array(f"save {label(n)}", "step", width(n))) for n in saved]
    outputs.append((trace.new_states[0], s.array("y", "step", width(trace.new_states[0]))))
    for node, state in zip(trace.new_states, states, strict=True):
        temporary = s.temporary(state.width)
        outputs.append((node, temporary))
        s.program.copies.append((temporary, state))
    _write_all(s, outputs)
    return s


def _backward(
    trace: Trace,
    saved: Sequence[Node],
    kept: Sequence[Node],
    boundary: Sequence[Node],
    accumulated: Sequence[Node],
) -> tuple[Scheduler, dict[Node, tuple[Array, int]], dict[Node, Array]]:
    """The loop backward: reads what was saved and kept, ∂L/∂y and ∂L/∂state; writes what is passed
    on, what is accumulated, and ∂L/∂(state before)."""
    s = Scheduler()
    for node in saved:
        s.read(node, s.array(f"save {label(node)}", "step", width(node)))
    for node in kept:
        s.read(node, s.array(f"stream {label(node)}", "step", width(node)))
    d_y = s.array("d_y", "step", width(trace.new_states[0]))
    d_states = [s.array(label(node), "row", width(node)) for node in trace.cotangents]
    for i, (node, d_state) in enumerate(zip(trace.cotangents, d_states, strict=True)):
        s.read(node, *((d_state, d_y) if i == 0 else (d_state,)))
    outputs = []
    places: dict[Node, tuple[Array, int]] = {}
    for node in boundary:
        home = s.home(node)
        if home is None:
            home = s.array(f"pass {node.name}", "step", width(node)), 0
            s.settle(node, home[0])
            outputs.append((node, home[0]))
        places[node] = home
    for d, state in zip(trace.d_states, d_states, strict=True):
        temporary = s.temporary(state.width)
        s.program.copies.append((temporary, state))
        if d is not None:
            outputs.append((d, temporary))
    _write_all(s, outputs)
    sums = {node: s.array(f"sum {node.name}", "row", width(node)) for node in accumulated}
    for node, array in sums.items():
        s.write(node, array, accumulate=True)
    return s, places, sums


def _write_all(s: Scheduler, outputs: Sequence[tuple[Node, Array]]) -> None:
    for node, array in outputs:
        s.settle(node, array)
    for node, array in outputs:
        s.write(node, array)


def extract(trace: Trace, inputs: Sequence[Node], outputs: Sequence[Node | None]) -> fx.GraphModule:
    """The part of the graph from ``inputs`` to ``outputs`` as a function of them and of the number
    of rows, which comes first."""
    graph = fx.Graph()
    rows = graph.placeholder("rows")
    copies: dict[Node, Node] = {node: graph.placeholder(node.name) for node in inputs}

    def convert(node: Node) -> Node:
        stack = [node]
        while stack:
            top = stack[-1]
            if top in copies:
                stack.pop()
                continue
            missing = [n for n in top.all_input_nodes if n not in copies]
            if missing:
                stack.extend(missing)
                continue
            if top.op != "call_function":
                raise AssertionError(f"{top.name} is not among the inputs")
            copy = graph.node_copy(top, copies.__getitem__)
            copy.args = map_aggregate(copy.args, lambda a: rows if a is ROWS or a == ROWS else a)
            copies[top] = copy
            stack.pop()
        return copies[node]

    graph.output(tuple(None if node is None else convert(node) for node in outputs))
    return fx.GraphModule({}, graph)


def _row_inputs(node: Node) -> list[Node]:
    """The row tensors ``node`` reads, seen through splits."""
    found = []
    for source in node.all_input_nodes:
        if source.target is aten.split_with_sizes.default and is_row(source.args[0]):
            found.append(source.args[0])
        elif is_row(source) and source.target not in CONSTANTS:
            found.append(source)
    return found


def _descendants(nodes: Iterable[Node], roots: Iterable[Node]) -> set[Node]:
    found = set(roots)
    for node in nodes:
        if any(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def _ancestors(nodes: Iterable[Node]) -> set[Node]:
    found: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.all_input_nodes)
    return found
