"""Plan: what is done once for all time steps, what is left for the loop, and in which order.

What depends on x and parameters alone is hoisted out of the loop, in front of it; what the
recursion of the gradients does not need is done after it; both by PyTorch, for all rows of all time
steps at once. What remains is a program for the loop forward and one for the loop backward.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

from saiki.compiler.plan.partition import Partition, Split
from saiki.compiler.plan.program import Array, Program
from saiki.compiler.plan.schedule import Scheduler
from saiki.compiler.trace.graph import Trace, formula
from saiki.compiler.trace.nodes import Node, is_extent, label, must_be_value, width

LoopKind = Literal["inference", "training", "backward"]


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

    @cached_property
    def inputs(self) -> tuple[Array, ...]:
        """What is there before it runs, but for parameters: streams, states and memory."""
        return *self.streams.values(), *self.states, *self.memory.values()

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

    @cached_property
    def summed_columns(self) -> dict[Node, int]:
        """Where each value that is summed over time begins, side by side with the others."""
        ends = accumulate((array.width for array in self.summed.values()), initial=0)
        return dict(zip(self.summed, ends, strict=False))

    @cached_property
    def summed_width(self) -> int:
        return sum(array.width for array in self.summed.values())


@dataclass(frozen=True)
class Plan:
    """Everything derived from a trace."""

    trace: Trace
    partition: Partition
    inference: ForwardPlan
    training: ForwardPlan
    backward: BackwardPlan

    @property
    def programs(self) -> dict[LoopKind, Program]:
        return {
            "inference": self.inference.program,
            "training": self.training.program,
            "backward": self.backward.program,
        }

    @property
    def sizes(self) -> str:
        counts = (f"{name} {len(p.stages)}" for name, p in self.programs.items())
        return f"stages: {', '.join(counts)}"

    def lines(self) -> Iterator[str]:
        for name, program in self.programs.items():
            yield name
            yield from str(program).splitlines()

    def __str__(self) -> str:
        part = self.partition
        saved = (
            label(node) + ("" if is_extent(width(node)) else f" ({width(node)})")
            for node in part.step_residuals
        )
        draws = ", ".join(f"{label(node)} = {each}" for node, each in self.trace.draws.items())
        return "\n".join(
            (
                *([f"drawn: {draws}"] if draws else []),
                f"hoisted: {', '.join(map(formula, part.streams)) or 'nothing'}",
                "forward",
                str(self.training.program),
                f"saved: {', '.join(saved) or 'nothing'}",
                "backward",
                str(self.backward.program),
            )
        )


def plan(split: Split) -> Plan:
    """Put what is done in the loops in order: a program for inference, one for the way forward in
    training, and one for the way back.

    Raises:
        CompileError: a loop would hold an operation that no kernel can do.
    """
    trace, part = split.trace, split.partition
    for node in part.streams:
        must_be_value(node, trace.dtype)
    inference = _forward(split, ())
    for node in part.from_loops:
        must_be_value(node, trace.dtype)
    training = _forward(split, part.step_residuals)
    return Plan(trace, part, inference, training, _backward(split))


def _forward(split: Split, residuals: Sequence[Node]) -> ForwardPlan:
    """The loop forward: reads streams, state and memory, writes residuals, y and the new state."""
    trace = split.trace
    s = Scheduler(trace.extents.values(), trace.dtype, split.parts.of_rows)
    streams = split.partition.streams
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


def _backward(split: Split) -> BackwardPlan:
    """The loop backward: reads residuals, ∂L/∂y, ∂L/∂state and memory; writes what is passed on,
    what is summed over time, and ∂L/∂(state before)."""
    trace, partition = split.trace, split.partition
    s = Scheduler(trace.extents.values(), trace.dtype, split.parts.of_rows)
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
