"""Compiled cells, and the numbers by which operators know them."""

import itertools
import warnings
import weakref
from collections.abc import Sequence

from torch import Tensor

from saiki.call import Part
from saiki.cell import Cell
from saiki.compiler.run.spot_checks import SpotChecks
from saiki.compiler.run.step import CompiledStep
from saiki.compiler.watch.watch import Watch
from saiki.errors import CompileError
from saiki.weak import WeakValues


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
            or self.watch.again(self.cell).fingerprint == self.watch.fingerprint
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
