"""Partition: which values cross the edges of the loops."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from saiki.compiler.trace import nodes
from saiki.compiler.trace.graph import Trace, sizes_of
from saiki.compiler.trace.nodes import Node, aten

FEW_FEATURES = 9
"""Features of x below which the backward loop would rather multiply by weights again than read
what the loop forward has written."""


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
    def from_loops(self) -> tuple[Node, ...]:
        """What must lie in arrays, beside streams."""
        return *self.step_residuals, *self.hoisted_residuals, *self.passed, *self.summed

    @property
    def summed(self) -> tuple[Node, ...]:
        """What the backward loop sums over time, row by row."""
        return tuple(dict.fromkeys(self.rows_summed.values()))


class Parts:
    """Which node belongs where."""

    def __init__(self, trace: Trace) -> None:
        every = list(trace.graph.nodes)
        memory = set(trace.memory.values())
        grids = [n for n in every if memory and nodes.is_grid(n)]
        self.dtype = trace.dtype
        self.inline_weights = trace.inline_weights
        self.order = {node: i for i, node in enumerate(every)}
        self.memory = memory
        self.of_state = nodes.descendants(every, [*trace.states, *memory, *grids])
        fitting = self._fitting(every)
        self.of_state |= nodes.descendants(
            every, [n for n in every if nodes.is_inline(n, trace.inline_weights) and n in fitting]
        )
        self.of_cotangent = nodes.descendants(every, trace.cotangents)
        self.of_rows = nodes.descendants(
            every, [trace.x, *trace.draws, *trace.states, *memory, *trace.cotangents]
        )
        """What differs from row to row, whatever its shape."""
        rows = {n for n in every if nodes.is_row(n) or n.target is aten.split_with_sizes.default}
        self.hoisted = {
            n
            for n in rows
            if n not in self.of_state | self.of_cotangent and n.target not in nodes.CONSTANTS
        }
        self.forward = self.of_state - self.of_cotangent
        self.loop_forward = nodes.ancestors(trace.new_states) & self.forward
        recursion = trace.recursion
        self.loop_backward = (nodes.ancestors(recursion) & self.of_cotangent) | set(
            trace.cotangents
        )
        self.evaluable: set[Node] = set()
        """What the loops have, or can make of what they have."""
        for node in every:
            if self._is_evaluable(node):
                self.evaluable.add(node)

    def _fitting(self, every: Sequence[Node]) -> set[Node]:
        """What is only used by what the loop can do before it meets the state."""
        taken = nodes.POINTWISE | nodes.SUMS | {aten.split_with_sizes.default}
        fitting: set[Node] = set()
        for node in reversed(every):
            if all(
                user in self.of_state or user.op == "output"
                or (user.target in taken and user in fitting)
                for user in node.users
            ):  # fmt: skip
                fitting.add(node)
        return fitting

    def _is_evaluable(self, node: Node) -> bool:
        if node.target is operator.getitem and not nodes.is_slice(node):
            return node in self.hoisted and nodes.is_value(node, self.dtype)
        if node.target is aten.split_with_sizes.default:
            return node.args[0] in self.evaluable
        if node.target in nodes.CONSTANTS:
            return True
        if not nodes.is_row(node):
            return node not in self.of_rows
        if node in self.loop_backward or node in self.loop_forward:
            return True
        if node in self.hoisted or node.op == "placeholder":
            return nodes.is_value(node, self.dtype)
        if any(source not in self.evaluable for source in node.all_input_nodes):
            return False
        if node.target is aten.cat.default:
            return True
        if nodes.is_take(node) or nodes.is_fold(node):
            return True
        if node.target not in nodes.POINTWISE | nodes.SUMS:
            return False
        in_loop = bool(self.memory) and node in self.of_state | self.of_cotangent
        if node.meta["val"].ndim > 2 and not in_loop:
            return False
        if node.target in nodes.SUMS:
            return in_loop or nodes.is_feature_sum(node)
        return in_loop or nodes.is_supported(node, self.dtype)


@dataclass(frozen=True)
class Split:
    """A trace, and what of it is done where."""

    trace: Trace
    parts: Parts
    partition: Partition

    @property
    def sizes(self) -> str:
        parts = self.parts
        before = sum(node.op == "call_function" for node in parts.hoisted)
        return (
            f"of each row {before} operations before the loops, {len(parts.loop_forward)} in the "
            f"loop forward, {len(parts.loop_backward)} in the loop backward"
        )

    def lines(self) -> Iterator[str]:
        """What goes from before the loops to them, and from each to what comes after it."""
        part = self.partition
        for purpose, crossing in (
            ("hoisted", part.streams),
            ("saved at each step for the way back", part.step_residuals),
            ("hoisted for the way back", part.hoisted_residuals),
            ("passed on from the way back", part.passed),
            ("summed over time on the way back", part.summed),
        ):
            for node in crossing:
                yield f"{purpose}: {nodes.label(node)}: {sizes_of(node, self.trace.extents)}"


def partition(trace: Trace) -> Split:
    """Decide what is done before the loops, in them and after them, and what each hands on."""
    parts = Parts(trace)
    of_x = _streams(trace, parts)
    passed, rows_summed = _passed(trace, parts)
    summed = tuple(dict.fromkeys(rows_summed.values()))
    saved, read = _residuals(trace, parts, (*passed, *summed))
    order = parts.order
    hoisted = tuple(sorted((n for n in read if n in parts.hoisted), key=order.__getitem__))
    of_steps = sorted(
        (n for n in saved if n in read), key=lambda n: nodes.is_extent(nodes.width(n))
    )
    passed = [n for n in passed if n not in saved and n not in parts.hoisted]
    edges = Partition(of_x, tuple(of_steps), hoisted, tuple(passed), rows_summed)
    return Split(trace, parts, edges)


def _streams(trace: Trace, parts: Parts) -> tuple[Node, ...]:
    """What the loops forward read of what is computed before them."""
    streams = dict.fromkeys(
        source
        for node in trace.graph.nodes
        if node in parts.loop_forward
        for source in row_inputs(node)
        if source in parts.hoisted
    )
    streams |= dict.fromkeys(n for n in trace.new_states if n in parts.hoisted)
    return tuple(streams)


def _residuals(
    trace: Trace, parts: Parts, after: Sequence[Node]
) -> tuple[dict[Node, None], set[Node]]:
    """What the loop of training saves; and what of that, and of what is hoisted, is read by the
    backward loop or by what comes ``after`` it."""
    recursion = trace.recursion
    in_loop = sorted(
        nodes.ancestors([*recursion, *after]) & parts.of_cotangent, key=parts.order.__getitem__
    )
    demanded = dict.fromkeys(
        source
        for node in (*in_loop, *after)
        for source in (row_inputs(node) if node in parts.of_cotangent else [node])
        if source not in parts.of_cotangent
    )
    saved: dict[Node, None] = {trace.new_states[0]: None}  # y is written anyway
    for memory in parts.memory:
        demanded.pop(memory, None)
    for node in demanded:
        recurrent = node in parts.loop_forward or node.op == "placeholder"
        if node in parts.forward and not _is_cheap(node, parts) and recurrent:
            saved[node] = None
    for node in demanded:
        _resolve(node, parts, saved)
    return saved, _leaves(demanded, saved, parts)


def _passed(trace: Trace, parts: Parts) -> tuple[list[Node], dict[Node, Node]]:
    """The row tensors that products after the loop read, and the sums over rows it takes over."""
    vectors = [vector for pairs in trace.outer.values() for pair in pairs for vector in pair]
    passed: dict[Node, None] = dict.fromkeys(n for n in vectors if n.target not in nodes.CONSTANTS)
    rows_summed: dict[Node, Node] = {}
    stack = [n for n in (trace.d_x, *trace.d_parameters.values()) if n is not None]
    seen: set[Node] = set()
    known = parts.of_cotangent | parts.forward | {*trace.draws}
    while stack:
        node = stack.pop()
        outside = node.op != "call_function" and node not in known
        if node in seen or outside:
            continue
        seen.add(node)
        if node.target is aten.sum.dim_IntList and nodes.whole_numbers(node, 1) == [0]:
            value = nodes.operand(node)
            if value.meta["val"].ndim == 2 and _crosses(value, parts):
                rows_summed[node] = value
                continue
        if _crosses(node, parts) or node in trace.draws:
            passed[node] = None
        else:
            stack.extend(node.all_input_nodes)
    order = parts.order
    # the longest concatenations first, so that shorter ones are found inside them
    return sorted(
        passed, key=lambda n: (-nodes.width(n) if nodes.is_cat(n) else 0, order[n])
    ), rows_summed


def _crosses(node: Node, parts: Parts) -> bool:
    """Whether the loop can hand ``node`` to what comes after it."""
    return (
        nodes.is_value(node, parts.dtype)
        and node.target not in nodes.CONSTANTS
        and node in parts.evaluable
    )


def _is_cheap(node: Node, parts: Parts) -> bool:
    """Whether the backward loop would rather do it again; flags are never saved."""
    divided = node.target in (aten.div.Tensor, aten.div.Scalar)
    by_number = divided and not isinstance(node.args[1], Node)
    return (
        node.target in nodes.CHEAP
        or by_number
        or _is_flag(node)
        or (
            nodes.is_inline(node, parts.inline_weights)
            and nodes.width(nodes.operand(node, -2)) < FEW_FEATURES
        )
        or nodes.is_take(node)
        or nodes.is_grid(node)
    )


def _is_flag(node: Node) -> bool:
    return nodes.is_row(node) and node.meta["val"].dtype == torch.bool


def _resolve(node: Node, parts: Parts, saved: dict[Node, None]) -> None:
    """Make ``node`` computable in the backward loop: do it again, or save it."""
    if node in saved or node not in parts.forward:
        return
    recomputed: dict[Node, None] = dict(saved)
    _leaves_to_save(node, parts, recomputed)
    extra = sum(nodes.width(n) for n in recomputed if n not in saved)
    if (
        extra
        and nodes.is_row(node)
        and not nodes.is_grid(node)
        and not _is_flag(node)
        and extra >= nodes.width(node)
        and node in parts.loop_forward
    ):
        saved[node] = None
    else:
        saved.update(recomputed)


def _leaves_to_save(root: Node, parts: Parts, saved: dict[Node, None]) -> None:
    """Save what it takes to make ``root`` by what is cheap to do again."""
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if node in seen or node in saved or node not in parts.forward or node in parts.memory:
            continue
        seen.add(node)
        if not isinstance(node.meta["val"], torch.Tensor | list):
            raise nodes.unsupported(node, "there is no kernel for it")
        if node.op == "placeholder" or not _is_cheap(node, parts):
            saved[node] = None
        else:
            stack.extend(reversed(node.all_input_nodes))


def _leaves(roots: Iterable[Node], saved: dict[Node, None], parts: Parts) -> set[Node]:
    """The saved and hoisted values from which ``roots`` are computed in the backward loop."""
    leaves: set[Node] = set()
    stack, seen = list(roots), set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in saved:
            leaves.add(node)
        elif node in parts.hoisted:
            if node.target is aten.split_with_sizes.default:
                stack.append(nodes.operand(node))
            else:
                leaves.add(node)
        elif node in parts.forward:
            stack.extend(node.all_input_nodes)
    return leaves


def row_inputs(node: Node) -> list[Node]:
    """The row tensors ``node`` reads, seen through splits."""
    inputs = []
    for source in node.all_input_nodes:
        if source.target is aten.split_with_sizes.default and nodes.is_row(nodes.operand(source)):
            inputs.append(nodes.operand(source))
        elif nodes.is_row(source) and source.target not in nodes.CONSTANTS:
            inputs.append(source)
    return inputs
