"""The compiler on a page: from the step of a cell to checked programs, pass by pass.

A pass is a plain function from one stage to the next. The stages are the step itself
(:class:`Source`), the graph of it and of its derivative (:class:`Trace`), what of it is done where
(:class:`Split`) and the programs of the loops (:class:`Plan`). Whether a pass is needed is asked of
the stage before it. ``layer.explain(passes=True)`` and ``saiki check FILE.py:Cell --passes`` show
what each did to a cell.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from saiki.compiler.plan.check import check
from saiki.compiler.plan.flatten import flatten, is_flat
from saiki.compiler.plan.memory import lower_memory
from saiki.compiler.plan.partition import partition
from saiki.compiler.plan.plan import Plan, plan
from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.graph_file import put_trace, read_trace
from saiki.compiler.trace.inside import write_out
from saiki.compiler.trace.record import Source, record
from saiki.compiler.trace.rewrites import promote, simplify, split_addmm


class Stage(Protocol):
    """What a pass makes."""

    @property
    def sizes(self) -> str: ...

    def lines(self) -> Iterable[str]: ...


Before = TypeVar("Before")
After = TypeVar("After", bound=Stage)


class Runner(Protocol):
    """What runs each pass, and may look at what it did."""

    def __call__(self, step: Callable[[Before], After], stage: Before) -> After: ...


def run(step: Callable[[Before], After], stage: Before) -> After:
    """A pass and no more."""
    return step(stage)


def derive(source: Source, run: Runner = run) -> Trace:
    """The step and its derivative as a graph of few and plain operations.

    Raises:
        CompileError: no graph can say what the step does.
    """
    trace = run(record, source)
    trace = run(simplify, trace)
    trace = run(write_out, trace)
    trace = run(split_addmm, trace)
    return run(promote, trace)


def plan_loops(trace: Trace, run: Runner = run) -> Plan:
    """What loops do at each step, as programs that any device can follow, and what is done outside.

    Raises:
        CompileError: a loop would hold an operation that no kernel can do.
    """
    if trace.memory:
        trace = run(lower_memory, trace)
    elif not is_flat(trace):
        trace = run(flatten, trace)
    split = run(partition, trace)
    programs = run(plan, split)
    return run(check, programs)


def compile_step(source: Source, key: str | None) -> Plan:
    """All passes; those of :func:`derive` once for all processes.

    Args:
        key: the name of the graph on the shelf; None where it has none.
    """
    trace = read_trace(key)
    if trace is None:
        trace = derive(source)
        put_trace(key, trace)
    return plan_loops(trace)


class Printer:
    """Runs passes, and notes of each what it is for, how large what it made is, and how that reads:
    of a graph that there was before, what has changed in it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._stage: list[str] = []
        self._count = 0

    def __call__(self, step: Callable[[Before], After], stage: Before) -> After:
        self._count += 1
        purpose = (inspect.getdoc(step) or "").split("\n\n")[0].replace("\n", " ")
        self._lines.append(f"{self._count}. {step.__name__}: {purpose}")
        made = step(stage)
        lines = list(made.lines())
        changes = _changes(self._stage, lines) if isinstance(stage, type(made)) else lines
        self._stage = lines
        self._lines.append(f"   {made.sizes}" + ("" if changes else "; nothing changes"))
        self._lines += [f"     {line}" for line in changes]
        return made

    def __str__(self) -> str:
        return "\n".join(self._lines)


def _changes(before: list[str], after: list[str]) -> list[str]:
    """The lines that went and came."""
    lines = difflib.unified_diff(before, after, n=0, lineterm="")
    return [f"{line[0]} {line[1:]}" for line in lines if not line.startswith(("---", "+++", "@@"))]
