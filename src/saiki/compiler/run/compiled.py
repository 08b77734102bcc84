"""Compiled cells, the numbers by which operators know them, and how operators take their calls.

Operators take tensors and numbers, and return tensors. How a call becomes such arguments is written
down here, and nowhere else.
"""

import itertools
import random
import warnings
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from saiki import eager
from saiki.call import Call, Part
from saiki.cell import Cell
from saiki.compiler.run.step import CompiledStep
from saiki.compiler.watch.watch import Watch
from saiki.errors import CompileError
from saiki.twin import Twin
from saiki.weak import WeakValues

NUMBERS = 32
"""Numbers of rows for which a single step is compared when they first occur."""
FIRST_CHECK = 8
"""Calls after which a single step is compared again, then after four times as many, and so on."""


class SpotChecks:
    """At which calls of a kernel a single step of it is compared with the eager loop."""

    def __init__(self) -> None:
        self.remaining, self.interval = 1, FIRST_CHECK // 4
        self.random = random.Random(0)
        self.rows: set[int] = set()

    def due(self, rows: int) -> bool:
        """Whether it is at this call; it is for every number of rows that is new, up to a point,
        since a step may look at how many there are."""
        is_new = rows not in self.rows and len(self.rows) < NUMBERS
        if is_new:
            self.rows.add(rows)
        self.remaining -= 1
        if self.remaining > 0:
            return is_new
        self.interval *= 4
        self.remaining = self.interval
        return True


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
        """Why the eager loop must take its place; empty if it need not."""
        self.proved: set[str] = set()
        """What of it has been compared with the eager loop."""
        self.checks = SpotChecks()
        self._memory = step.backend.memory()

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

    def refuse(self, why: str) -> None:
        """Never run it again, here or in another process.

        Raises:
            CompileError: its layer asks for it by name.
        """
        self.why_refused = why
        self.step.forget()
        if self.is_strict:
            raise CompileError(why)
        warnings.warn(f"running step by step: {why}", stacklevel=2)

    def must_be_unchanged(self) -> None:
        """Raise unless the cell is what it was in the forward pass.

        Raises:
            CompileError: it is not.
        """
        if (
            self.watch.unchanged()
            or self.watch.renewed(self.cell).fingerprint == self.watch.fingerprint
        ):
            return
        raise CompileError(
            f"{type(self.cell).__name__} has changed between the forward pass and a derivative "
            "that goes through its steps once more; change it afterwards"
        )

    def real_tensors(self) -> list[Tensor]:
        """The tensors of the cell in whose place the parameters of each call are."""
        places = (self.watch.places[name] for name in self.step.names)
        return [owner[key] for owner, key in places]


_CELLS: WeakValues[int, CompiledCell] = WeakValues()
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


def compiled_cells(parts: Sequence[Part]) -> list[CompiledCell]:
    """Those of the parts of a call."""
    return [compiled_cell(part.key) for part in parts]


_CALL = "Tensor[] tensors, Tensor? lengths, int[] keys, bool[] reverse, bool time_first"
SCAN = f"scan({_CALL}, bool training) -> Tensor[]"
"""Returns y, the last states, then what the backward pass needs: what the loops leave, the state of
the generator before them where steps draw random numbers, and whether the eager loop ran, which
leaves nothing. The last two lie on the CPU, so that the backward pass waits for no device."""
SCAN_BACKWARD = (
    f"scan_backward({_CALL}, Tensor[] gradients, Tensor[] residuals, bool[] needs) -> Tensor[]"
)
"""Of ∂L/∂y and ∂L/∂(last states), and which gradients are needed: those by the tensors of the call,
empty where not needed or absent."""


def arguments(call: Call) -> tuple[Any, ...]:
    """A call as the operators take it."""
    keys, reverse = [part.key for part in call.parts], [part.reverse for part in call.parts]
    return call.tensors(), call.lengths, keys, reverse, call.time_first


def call_of(
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    *more: Any,
) -> tuple[Any, ...]:
    """The call that arguments of an operator stand for, and what that takes beside."""
    rest = iter(tensors)
    x, parts = next(rest), []
    for key, is_reversed in zip(keys, reverse, strict=True):
        counts = compiled_cell(key).step.counts
        states, parameters, memory = (list(islice(rest, count)) for count in counts)
        parts.append(Part(is_reversed, states, parameters, memory, key))
    return Call(x, lengths, time_first, parts), *more


def has_gradient(cells: Sequence[CompiledCell]) -> list[bool]:
    """Of each tensor of a call: whether there is a gradient by it."""
    exist = [cell.step.has_gradient for cell in cells]
    return [any(of_x for of_x, *_ in exist), *(has for _, *own in exist for has in own)]


def originals(call: Call) -> list[Tensor | None]:
    """Of each tensor of a call: the one of the cell in whose place it is; None for x, states and
    memory."""
    real: list[Tensor | None] = [None]
    for part, cell in zip(call.parts, compiled_cells(call.parts), strict=True):
        real += [None] * len(part.states)
        real += cell.real_tensors()
        real += [None] * len(part.memory)
    return real


def eagerly(call: Call, on_trial: bool = False) -> list[Tensor]:
    """The outputs of compiled cells side by side and the last states of all, by the eager loop;
    ``on_trial`` what a step changes of its cell is as it was afterwards."""
    outputs: list[Tensor] = []
    ends: list[Tensor] = []
    for alone, cell in zip(call.alone(), compiled_cells(call.parts), strict=True):
        pairs = zip(cell.real_tensors(), alone.parts[0].parameters, strict=True)
        twin = Twin(pairs, clone=on_trial)
        with twin.putting_back() if on_trial else nullcontext():
            y, last = eager.run(twin.of(cell.cell), alone)
        outputs.append(y)
        ends += last
    return [torch.cat(outputs, -1), *ends]
