"""Plan: what is done once for all time steps, what is left for the loop, and in which order.

What depends on x and parameters alone is hoisted out of the loop, in front of it; what the
recursion of the gradients does not need is done after it; both by PyTorch, for all rows of all time
steps at once. What remains is a program for the loop forward and one for the loop backward.
"""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_aggregate, map_arg

from saiki.compiler.check import check
from saiki.compiler.program import (
    CHEAP,
    CONSTANTS,
    POINTWISE,
    SUMS,
    Array,
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
    memory_summed: dict[str, Array]
    """Gradients of memory that the backward loop sums over time, place by place."""

    def __str__(self) -> str:
        return "\n".join(
            (
                f"hoisted: {', '.join(map(told, self.streams)) or 'nothing'}",
                "forward",
                str(self.training.program),
                f"saved: {', '.join(map(_with_size, self.saved)) or 'nothing'}",
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
    for node in streams:
        _must_be_value(node, trace.dtype)
    inference = _forward(trace, parts, streams, ())
    saved, kept, boundary, accumulated, rows_summed = _choose(trace, parts)
    training = _forward(trace, parts, streams, saved)
    backward, places, sums, memory_summed = _backward(
        trace, parts, saved, kept, boundary, accumulated
    )
    for scheduler in (inference, training, backward):
        check(scheduler)
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
        memory_summed=memory_summed,
    )


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


def _choose(
    trace: Trace, parts: _Parts
) -> tuple[
    tuple[Node, ...], tuple[Node, ...], tuple[Node, ...], tuple[Node, ...], dict[Node, Node]
]:
    """What is saved, kept, passed on and accumulated; see :class:`Plan`."""
    order = parts.order
    passed, rows_summed = _passed(trace, parts)
    accumulated = tuple(dict.fromkeys(rows_summed.values()))
    recursion = _recursion(trace)
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
    for memory in parts.memory:
        demanded.pop(memory, None)
    for node in demanded:
        recurrent = node in parts.loop_forward or node.op == "placeholder"
        if node in parts.forward and not _is_cheap(node) and recurrent:
            saved[node] = None
    for node in demanded:
        _resolve(node, parts, saved)
    found = _leaves(demanded, saved, parts)
    kept = tuple(sorted((n for n in found if n in parts.hoisted), key=order.__getitem__))
    boundary = tuple(n for n in passed if n not in saved and n not in parts.hoisted)
    left = sorted((n for n in saved if n in found), key=lambda n: is_extent(width(n)))
    for node in (*left, *kept, *boundary, *accumulated):
        _must_be_value(node, trace.dtype)
    return tuple(left), kept, boundary, accumulated, rows_summed


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
    trace: Trace, parts: _Parts, streams: Sequence[Node], saved: Sequence[Node]
) -> Scheduler:
    """The loop forward: reads streams, state and memory, writes what is saved, y and the new
    state."""
    s = Scheduler(trace.extents.values(), trace.dtype, parts.of_rows)
    for node in streams:
        s.read(node, s.array(f"stream {label(node)}", "step", width(node)))
    states = [s.array(f"state {label(node)}", "row", width(node)) for node in trace.states]
    for node, state in zip(trace.states, states, strict=True):
        s.read(node, state)
    s.read_memory(trace.memory)
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
    parts: _Parts,
    saved: Sequence[Node],
    kept: Sequence[Node],
    boundary: Sequence[Node],
    accumulated: Sequence[Node],
) -> tuple[Scheduler, dict[Node, tuple[Array, int]], dict[Node, Array], dict[str, Array]]:
    """The loop backward: reads what was saved and kept, ∂L/∂y, ∂L/∂state and memory; writes what is
    passed on, what is accumulated, and ∂L/∂(state before)."""
    s = Scheduler(trace.extents.values(), trace.dtype, parts.of_rows)
    for node in saved:
        s.read(node, s.array(f"save {label(node)}", "step", width(node)))
    for node in kept:
        s.read(node, s.array(f"stream {label(node)}", "step", width(node)))
    d_y = s.array("d_y", "step", width(trace.new_states[0]))
    d_states = [s.array(label(node), "row", width(node)) for node in trace.cotangents]
    for i, (node, d_state) in enumerate(zip(trace.cotangents, d_states, strict=True)):
        s.read(node, *((d_state, d_y) if i == 0 else (d_state,)))
    s.read_memory(trace.memory)
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
        temporary = None if d is None else s.temporary(state.width)
        s.program.copies.append((temporary, state))
        if d is not None and temporary is not None:
            outputs.append((d, temporary))
    _write_all(s, outputs)
    sums = {node: s.array(f"sum {node.name}", "row", width(node)) for node in accumulated}
    for node, array in sums.items():
        s.write(node, array, accumulate=True)
    memory_summed = {}
    for name, d in trace.d_memory.items():
        if d is not None:
            shape = trace.memory[name].meta["val"].shape
            array = s.array(f"sum of d_{name}", "row", int(shape[-1]), int(shape[1]))
            s.accumulate(d, array)
            memory_summed[name] = array
    return s, places, sums, memory_summed


def _write_all(s: Scheduler, outputs: Sequence[tuple[Node, Array]]) -> None:
    s.results += outputs
    for node, array in outputs:
        s.settle(node, array)
    for node, array in outputs:
        s.write(node, array)


def extract(trace: Trace, inputs: Sequence[Node], outputs: Sequence[Node | None]) -> fx.Graph:
    """The part of the graph from ``inputs`` to ``outputs``, with the number of rows in front of
    its inputs."""
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
