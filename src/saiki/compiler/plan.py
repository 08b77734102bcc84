"""Plan: what is done once for all time steps, what is left for the loop, and in which order.

What depends on x and parameters alone is hoisted out of the loop, in front of it; what the
recursion of the gradients does not need is done after it; both by PyTorch, for all rows of all time
steps at once. What remains is a program for the loop forward and one for the loop backward.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate, map_arg

from saiki.compiler.check import check
from saiki.compiler.program import (
    CHEAP,
    CONSTANTS,
    POINTWISE,
    SUMS,
    Array,
    Program,
    Scheduler,
    is_cat,
    is_feature_sum,
    is_slice,
    is_supported,
)
from saiki.compiler.trace import (
    ROWS,
    Trace,
    is_extent,
    is_grid,
    is_narrow,
    is_row,
    is_value,
    label,
    unsupported,
    width,
)

aten = torch.ops.aten
Node = fx.Node


@dataclass(frozen=True)
class Partition:
    """Which values cross the edges of the loops."""

    streams: tuple[Node, ...]
    """Computed from x before the loop and read by it."""
    step_residuals: tuple[Node, ...]
    """Written by the loop of training at each step, read by the backward loop or after it; those as
    wide as a memory last."""
    hoisted_residuals: tuple[Node, ...]
    """Computed before the loop, read by the backward loop or after it."""
    passed: tuple[Node, ...]
    """Written by the backward loop at each step, unless it lies in the residuals, for what comes
    after it."""
    rows_summed: dict[Node, Node]
    """Sums over all rows after the loop, by the value that takes the place of its rows: the
    backward loop sums it over time, row by row."""

    @property
    def summed(self) -> tuple[Node, ...]:
        """What the backward loop sums over time, row by row."""
        return tuple(dict.fromkeys(self.rows_summed.values()))


@dataclass(frozen=True)
class ForwardPlan:
    """A loop forward, and by what names its arrays are known outside."""

    scheduler: Scheduler
    streams: dict[Node, Array]
    states: tuple[Array, ...]
    """Those before the first step at its start, those after the last one at its end."""
    memory: dict[str, Array]
    residuals: dict[Node, Array]
    """Of each step."""
    y: Array

    @property
    def program(self) -> Program:
        return self.scheduler.program


@dataclass(frozen=True)
class BackwardPlan:
    """The loop backward, and by what names its arrays are known outside."""

    scheduler: Scheduler
    residuals: dict[Node, Array]
    d_y: Array
    d_states: tuple[Array, ...]
    """Of the states after the last step at its start, of those before the first one at its end."""
    memory: dict[str, Array]
    passed: dict[Node, tuple[Array, int]]
    """Where each value that is passed on begins."""
    summed: dict[Node, Array]
    d_memory: dict[str, Array]
    """Gradients of memory that are summed over time, place by place."""

    @property
    def program(self) -> Program:
        return self.scheduler.program

    @cached_property
    def passed_arrays(self) -> tuple[Array, ...]:
        return tuple(dict.fromkeys(array for array, _ in self.passed.values()))


@dataclass(frozen=True)
class Plan:
    """Everything derived from a trace."""

    trace: Trace
    partition: Partition
    inference: ForwardPlan
    training: ForwardPlan
    backward: BackwardPlan

    def __str__(self) -> str:
        part = self.partition
        return "\n".join(
            (
                f"hoisted: {', '.join(map(told, part.streams)) or 'nothing'}",
                "forward",
                str(self.training.program),
                f"saved: {', '.join(map(_with_size, part.step_residuals)) or 'nothing'}",
                "backward",
                str(self.backward.program),
            )
        )


def _with_size(node: Node) -> str:
    return label(node) if is_extent(width(node)) else f"{label(node)} ({width(node)})"


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
    streams = _streams(trace, parts)
    inference = _forward(trace, parts, streams, ())
    partition = _partition(trace, parts, streams)
    training = _forward(trace, parts, streams, partition.step_residuals)
    backward = _backward(trace, parts, partition)
    for scheduler in (inference.scheduler, training.scheduler, backward.scheduler):
        check(scheduler)
    return Plan(trace, partition, inference, training, backward)


def _must_be_value(node: Node, dtype: torch.dtype) -> None:
    value = node.meta["val"]
    if value.ndim > 2:
        raise unsupported(node, f"rows of {value.ndim - 1} dimensions")
    if not is_value(node, dtype):
        raise unsupported(node, f"it yields {value.dtype}")


class _Parts:
    """Which node belongs where."""

    def __init__(self, trace: Trace) -> None:
        nodes = list(trace.graph.nodes)
        memory = set(trace.memory.values())
        grids = [n for n in nodes if memory and is_grid(n)]
        self.dtype = trace.dtype
        self.order = {node: i for i, node in enumerate(nodes)}
        self.memory = memory
        self.of_state = _descendants(nodes, [*trace.states, *memory, *grids])
        fitting = self._fitting(nodes)
        self.of_state |= _descendants(nodes, [n for n in nodes if is_narrow(n) and n in fitting])
        self.of_cotangent = _descendants(nodes, trace.cotangents)
        self.of_rows = _descendants(nodes, [trace.x, *trace.states, *memory, *trace.cotangents])
        """What differs from row to row, whatever its shape."""
        rows = {n for n in nodes if is_row(n) or n.target is aten.split_with_sizes.default}
        self.hoisted = {
            n
            for n in rows
            if n not in self.of_state | self.of_cotangent and n.target not in CONSTANTS
        }
        self.forward = self.of_state - self.of_cotangent
        self.loop_forward = _ancestors(trace.new_states) & self.forward
        recursion = _recursion(trace)
        self.loop_backward = (_ancestors(recursion) & self.of_cotangent) | set(trace.cotangents)
        self.evaluable: set[Node] = set()
        """What the loops have, or can make of what they have."""
        for node in nodes:
            if self._is_evaluable(node):
                self.evaluable.add(node)

    def _fitting(self, nodes: Sequence[Node]) -> set[Node]:
        """What is only used by what the loop can do before it meets the state."""
        taken = POINTWISE | SUMS | {aten.split_with_sizes.default}
        found: set[Node] = set()
        for node in reversed(nodes):
            if all(
                user in self.of_state or user.op == "output"
                or (user.target in taken and user in found)
                for user in node.users
            ):  # fmt: skip
                found.add(node)
        return found

    def _is_evaluable(self, node: Node) -> bool:
        if node.target is operator.getitem and not is_slice(node):
            return node in self.hoisted and is_value(node, self.dtype)
        if node.target is aten.split_with_sizes.default:
            return node.args[0] in self.evaluable
        if node.target in CONSTANTS:
            return True
        if not is_row(node):
            return node not in self.of_rows
        if node in self.loop_backward or node in self.loop_forward:
            return True
        if node in self.hoisted or node.op == "placeholder":
            return is_value(node, self.dtype)
        if any(source not in self.evaluable for source in node.all_input_nodes):
            return False
        if node.target is aten.cat.default:
            return True
        if node.target not in POINTWISE | SUMS:
            return False
        in_loop = bool(self.memory) and node in self.of_state | self.of_cotangent
        if node.meta["val"].ndim > 2 and not in_loop:
            return False
        if node.target in SUMS:
            return in_loop or is_feature_sum(node)
        return in_loop or is_supported(node, self.dtype)


def _recursion(trace: Trace) -> list[Node]:
    """What the backward loop must have at the end of each step."""
    return [d for d in (*trace.d_states, *trace.d_memory.values()) if d is not None]


def _partition(trace: Trace, parts: _Parts, streams: tuple[Node, ...]) -> Partition:
    passed, rows_summed = _passed(trace, parts)
    summed = tuple(dict.fromkeys(rows_summed.values()))
    saved, read = _residuals(trace, parts, (*passed, *summed))
    order = parts.order
    hoisted = tuple(sorted((n for n in read if n in parts.hoisted), key=order.__getitem__))
    of_steps = sorted((n for n in saved if n in read), key=lambda n: is_extent(width(n)))
    passed = [n for n in passed if n not in saved and n not in parts.hoisted]
    for node in (*of_steps, *hoisted, *passed, *summed):
        _must_be_value(node, trace.dtype)
    return Partition(streams, tuple(of_steps), hoisted, tuple(passed), rows_summed)


def _streams(trace: Trace, parts: _Parts) -> tuple[Node, ...]:
    """What the loops forward read of what is computed before them."""
    streams = dict.fromkeys(
        source
        for node in trace.graph.nodes
        if node in parts.loop_forward
        for source in _row_inputs(node)
        if source in parts.hoisted
    )
    streams |= dict.fromkeys(n for n in trace.new_states if n in parts.hoisted)
    for node in streams:
        _must_be_value(node, trace.dtype)
    return tuple(streams)


def _residuals(
    trace: Trace, parts: _Parts, after: Sequence[Node]
) -> tuple[dict[Node, None], set[Node]]:
    """What the loop of training saves; and what of that, and of what is hoisted, is read by the
    backward loop or by what comes ``after`` it."""
    recursion = _recursion(trace)
    in_loop = sorted(
        _ancestors([*recursion, *after]) & parts.of_cotangent, key=parts.order.__getitem__
    )
    demanded = dict.fromkeys(
        source
        for node in (*in_loop, *after)
        for source in (_row_inputs(node) if node in parts.of_cotangent else [node])
        if source not in parts.of_cotangent
    )
    saved: dict[Node, None] = {trace.new_states[0]: None}  # y is written anyway
    for memory in parts.memory:
        demanded.pop(memory, None)
    for node in demanded:
        recurrent = node in parts.loop_forward or node.op == "placeholder"
        if node in parts.forward and not _is_cheap(node) and recurrent:
            saved[node] = None
    for node in demanded:
        _resolve(node, parts, saved)
    return saved, _leaves(demanded, saved, parts)


def _passed(trace: Trace, parts: _Parts) -> tuple[list[Node], dict[Node, Node]]:
    """The row tensors that products after the loop read, and the sums over rows it takes over."""
    vectors = [vector for pairs in trace.outer.values() for pair in pairs for vector in pair]
    passed: dict[Node, None] = dict.fromkeys(n for n in vectors if n.target not in CONSTANTS)
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
            if value.meta["val"].ndim == 2 and _crosses(value, parts):
                rows_summed[node] = value
                continue
        if _crosses(node, parts):
            passed[node] = None
        else:
            stack.extend(node.all_input_nodes)
    order = parts.order
    # the longest concatenations first, so that shorter ones are found inside them
    return sorted(passed, key=lambda n: (-width(n) if is_cat(n) else 0, order[n])), rows_summed


def _crosses(node: Node, parts: _Parts) -> bool:
    """Whether the loop can hand ``node`` to what comes after it."""
    return is_value(node, parts.dtype) and node.target not in CONSTANTS and node in parts.evaluable


def _is_cheap(node: Node) -> bool:
    """Whether the backward loop would rather do it again; flags are never saved."""
    divided = node.target in (aten.div.Tensor, aten.div.Scalar)
    by_number = divided and not isinstance(node.args[1], Node)
    return node.target in CHEAP or by_number or _is_flag(node) or is_narrow(node) or is_grid(node)


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
        and not is_grid(node)
        and not _is_flag(node)
        and extra >= width(node)
        and node in parts.loop_forward
    ):
        saved[node] = None
    else:
        saved.update(again)


def _leaves_to_save(root: Node, parts: _Parts, saved: dict[Node, None]) -> None:
    """Save what it takes to make ``root`` by what is cheap to do again."""
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if node in seen or node in saved or node not in parts.forward or node in parts.memory:
            continue
        seen.add(node)
        if node.op == "placeholder" or not _is_cheap(node):
            saved[node] = None
        else:
            stack.extend(reversed(node.all_input_nodes))


def _leaves(roots: Iterable[Node], saved: dict[Node, None], parts: _Parts) -> set[Node]:
    """The saved and hoisted values from which ``roots`` are computed in the backward loop."""
    found: set[Node] = set()
    stack, seen = list(roots), set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in saved:
            found.add(node)
        elif node in parts.hoisted:
            if node.target is aten.split_with_sizes.default:
                stack.append(node.args[0])
            else:
                found.add(node)
        elif node in parts.forward:
            stack.extend(node.all_input_nodes)
    return found


def _forward(
    trace: Trace, parts: _Parts, streams: Sequence[Node], residuals: Sequence[Node]
) -> ForwardPlan:
    """The loop forward: reads streams, state and memory, writes residuals, y and the new state."""
    s = Scheduler(trace.extents.values(), trace.dtype, parts.of_rows)
    of_streams = {n: s.array(f"stream {label(n)}", "step", width(n)) for n in streams}
    for node, array in of_streams.items():
        s.read(node, array)
    states = tuple(s.array(f"state {label(node)}", "row", width(node)) for node in trace.states)
    for node, state in zip(trace.states, states, strict=True):
        s.read(node, state)
    memory = s.read_memory(trace.memory)
    of_residuals = {n: s.array(f"save {label(n)}", "step", width(n)) for n in residuals}
    y = s.array("y", "step", width(trace.new_states[0]))
    outputs = [*of_residuals.items(), (trace.new_states[0], y)]
    for node, state in zip(trace.new_states, states, strict=True):
        temporary = s.temporary(state.width)
        outputs.append((node, temporary))
        s.program.copies.append((temporary, state))
    _write_all(s, outputs)
    return ForwardPlan(s, of_streams, states, memory, of_residuals, y)


def _backward(trace: Trace, parts: _Parts, partition: Partition) -> BackwardPlan:
    """The loop backward: reads residuals, ∂L/∂y, ∂L/∂state and memory; writes what is passed on,
    what is summed over time, and ∂L/∂(state before)."""
    s = Scheduler(trace.extents.values(), trace.dtype, parts.of_rows)
    residuals: dict[Node, Array] = {}
    for kind, nodes in (
        ("save", partition.step_residuals),
        ("stream", partition.hoisted_residuals),
    ):
        residuals |= {n: s.array(f"{kind} {label(n)}", "step", width(n)) for n in nodes}
    for node, array in residuals.items():
        s.read(node, array)
    d_y = s.array("d_y", "step", width(trace.new_states[0]))
    d_states = tuple(s.array(label(node), "row", width(node)) for node in trace.cotangents)
    for i, (node, d_state) in enumerate(zip(trace.cotangents, d_states, strict=True)):
        s.read(node, *((d_state, d_y) if i == 0 else (d_state,)))
    memory = s.read_memory(trace.memory)
    outputs = []
    passed: dict[Node, tuple[Array, int]] = {}
    for node in partition.passed:
        home = s.home(node)
        if home is None:
            home = s.array(f"pass {node.name}", "step", width(node)), 0
            s.settle(node, home[0])
            outputs.append((node, home[0]))
        passed[node] = home
    for d, state in zip(trace.d_states, d_states, strict=True):
        temporary = None if d is None else s.temporary(state.width)
        s.program.copies.append((temporary, state))
        if d is not None and temporary is not None:
            outputs.append((d, temporary))
    _write_all(s, outputs)
    summed = {n: s.array(f"sum {n.name}", "row", width(n)) for n in partition.summed}
    for node, array in summed.items():
        s.write(node, array, accumulate=True)
    d_memory = {}
    for name, d in trace.d_memory.items():
        if d is not None:
            shape = trace.memory[name].meta["val"].shape
            array = s.array(f"sum of d_{name}", "row", int(shape[-1]), int(shape[1]))
            s.accumulate(d, array)
            d_memory[name] = array
    return BackwardPlan(s, residuals, d_y, d_states, memory, passed, summed, d_memory)


def _write_all(s: Scheduler, outputs: Sequence[tuple[Node, Array]]) -> None:
    s.results += outputs
    for node, array in outputs:
        s.settle(node, array)
    for node, array in outputs:
        s.write(node, array)


def extract(
    inputs: Sequence[Node], outputs: Sequence[Node | None], product: Callable[..., Tensor]
) -> fx.Graph:
    """The part of the graph from ``inputs`` to ``outputs``, with the number of rows in front of
    its inputs, and products of matrices by ``product``."""
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
            copies[top] = _copied(graph, top, copies, rows)
            if top.target is aten.mm.default:
                copies[top].target = product
            elif top.target is aten.addmm.default and not top.kwargs:
                added, left, right = copies[top].args
                copies[top].target, copies[top].args = product, (left, right, added)
            stack.pop()
        return copies[node]

    graph.output(tuple(None if node is None else convert(node) for node in outputs))
    return graph


STRIDED = {aten.as_strided.default, aten.as_strided_scatter.default}
"""Operations whose result depends on how a tensor lies in memory."""
PLAIN = {*STRIDED, aten.view_as_complex.default, aten.view.dtype}
"""Operations that take contiguous tensors only, or depend on it."""


def _copied(graph: fx.Graph, node: Node, copies: dict[Node, Node], rows: Node) -> Node:
    """``node`` in another graph, for any number of rows and any layout of its inputs."""

    def sized(value: Any) -> Any:
        if isinstance(value, int) and value > 0 and value % ROWS == 0:
            times = value // ROWS
            return rows if times == 1 else graph.call_function(operator.mul, (rows, times))
        return value

    args, kwargs = map_aggregate(node.args, sized), map_aggregate(node.kwargs, sized)
    copy = graph.node_copy(node, copies.__getitem__)
    if node.target in STRIDED and not node.args[0].meta["val"].is_contiguous():
        raise unsupported(node, "it depends on how a tensor lies in memory")
    if node.target in PLAIN:
        with graph.inserting_before(copy):
            plain = graph.call_function(aten.contiguous.default, (copies[node.args[0]],))
        args = (plain, *args[1:])
    copy.args = map_arg(args, lambda n: copies.get(n, n))
    copy.kwargs = map_arg(kwargs, lambda n: copies.get(n, n))
    if copy.target is aten.view.default:
        copy.target = aten.reshape.default
    return copy


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
