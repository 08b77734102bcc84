"""Which kernel serves a cell: compiled at the first call, and again when the cell has changed."""

import threading
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from saiki.cell import Cell
from saiki.compiler.backend import Backend
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.pipeline import Printer, derive, plan_loops
from saiki.compiler.run.compiled import CompiledCell, register
from saiki.compiler.run.step import CompiledStep
from saiki.compiler.trace.clean_room import in_clean_room, is_inside
from saiki.compiler.trace.record import Source
from saiki.compiler.watch.audit import MoreRanError
from saiki.compiler.watch.reach import Place
from saiki.compiler.watch.watch import Watch, all_hooks
from saiki.errors import CompileError, TraceError
from saiki.torch_internals import (
    has_global_hooks,
    is_followed,
    is_plain,
    is_transformed,
    is_written,
)
from saiki.weak import WeakValues

BACKENDS: dict[str, Backend] = {"cpu": CPU()}
"""What serves tensors, by the type of their device."""
MAX_FORMS = 8
"""Compiled forms of a cell in one type."""
MANY_CHANGES = 5
"""Times that a cell is compiled for changes of the same values before a warning says so."""
RECENT = 8
"""Compiled steps that stay though no layer holds them, for the next one of the same kind."""
_LOCK = threading.RLock()
_recent: deque[CompiledStep] = deque(maxlen=RECENT)
_STEPS: WeakValues[tuple[Any, ...], CompiledStep] = WeakValues()
"""By backend, type of numbers and all that a step depends on."""


TensorKind = tuple[torch.dtype, str]
"""The type of numbers, and of the device that they lie on."""


def _compiled_step(cell: Cell, watch: Watch, kind: TensorKind) -> CompiledStep:
    """The compiled loop over the step of ``cell``: that of another cell where nothing that a step
    reads tells them apart."""
    dtype, device = kind
    backend = BACKENDS[device]
    key = backend, dtype, watch.fingerprint
    step = _STEPS.get(key)
    if step is None:
        step = _STEPS[key] = in_clean_room(lambda: CompiledStep(cell, watch, dtype, backend))
        _recent.append(step)
    return step


@dataclass
class Known:
    """A compiled cell and its number for the operators, or why there is none."""

    watch: Watch | None
    """What it depends on; None where that cannot be watched."""
    compiled: CompiledCell | None = None
    why_not: str = ""
    inputs: list[Place] = field(default_factory=list)
    """Where the tensors are that the kernel takes."""
    calls_to_retry: int = 0
    """Calls until it is tried once more, where the reason may be a passing one."""
    wait: int = 1
    """Of how many calls that is; twice as many after each failure."""

    @property
    def key(self) -> int:
        return -1 if self.why_eager or self.compiled is None else self.compiled.key

    @property
    def why_eager(self) -> str:
        """Why the eager loop runs; empty if a kernel does."""
        return self.why_not or (self.compiled.why_refused if self.compiled else "")

    def holds(self) -> bool:
        """Whether it is true of the cell as it now is."""
        if self.calls_to_retry:
            self.calls_to_retry -= 1
            if self.calls_to_retry == 0:
                return False
        return self.watch is None or self.watch.unchanged()


@dataclass
class Kernels:
    """The compiled forms of one cell, some for each floating-point type and device.

    Args:
        is_strict: whether a kernel that proves wrong is an error rather than a warning.
    """

    cell: Cell
    is_strict: bool = False
    known: dict[TensorKind, tuple[Known, ...]] = field(default_factory=dict)
    """The last one first. Those before may come again, as after ``eval()`` and ``train()``, and
    a backward pass may still need them."""
    changes: dict[str, int] = field(default_factory=dict)
    """For which values the cell was compiled again, and how often."""

    def find(self, dtype: torch.dtype, device: str = "cpu") -> Known:
        """What is known of the cell as it now is; compiled if need be."""
        kind = dtype, device
        forms = self.known.get(kind, ())
        if forms and forms[0].holds():
            return forms[0]
        with _LOCK:
            return self._search(kind)

    def _search(self, kind: TensorKind) -> Known:
        forms = self.known.get(kind, ())
        failed = next(
            (f for f in forms[:1] if f.why_not and f.calls_to_retry == 0 < f.wait - 1), None
        )
        forms = tuple(form for form in forms if form is not failed)
        try:
            watch = Watch(self.cell)
        except Exception as error:  # of an attribute, perhaps, that must not be read
            form = Known(None, why_not=f"{type(self.cell).__name__} cannot be watched: {error}")
        else:
            form = self._same(forms, watch) or self._compile(watch, kind, failed)
            if form.compiled is not None:
                assert form.watch is not None
                form.compiled.watch = form.watch
                places = form.watch.places
                form.inputs = [places[name] for name in form.compiled.step.names]
        self.known[kind] = (form, *(f for f in forms if f is not form))[:MAX_FORMS]
        return form

    def _same(self, forms: Sequence[Known], watch: Watch) -> Known | None:
        """What is known of the cell where all that its step ran is as it was."""
        for form in forms:
            if form.watch is None:
                continue
            ran = form.watch.walk.ran
            try:
                now = watch if ran is watch.walk.ran else form.watch.renewed(self.cell)
            except CompileError:  # it has become what cannot be watched
                continue
            if now.fingerprint == form.watch.fingerprint:
                form.watch = now
                return form
        return None

    def _compile(self, watch: Watch, kind: TensorKind, failed: Known | None) -> Known:
        if failed is None:
            self._warn_of_changes(watch, kind)
        put_back = watch.remember()
        try:
            step = _compiled_step(self.cell, watch, kind)
        except MoreRanError as more:
            put_back()
            try:
                wider = Watch(self.cell, more.ran)
            except CompileError as error:
                return Known(watch, None, str(error))
            return self._compile(wider, kind, failed)
        except Exception as error:
            wait = 2 * failed.wait if failed is not None else 2
            if not isinstance(error, CompileError):
                problem = f"{type(error).__name__}: {error}".splitlines()[0]
                error = TraceError(f"{type(self.cell).__name__} cannot be compiled: {problem}")
            calls = wait - 1 if isinstance(error, TraceError) else 0
            lasts = watch.unchanged()  # or each step would have it compiled anew
            return Known(watch if lasts else None, None, str(error), [], calls, wait)
        finally:
            changed = put_back()
        if changed:
            why = f"step of {type(self.cell).__name__} changes {changed}, which is not its cell's"
            return Known(None, None, why)
        compiled = CompiledCell(step, self.cell, watch, self.is_strict)
        register(compiled)
        return Known(watch, compiled)

    def passes(self, dtype: torch.dtype, device: str = "cpu") -> str:
        """What each pass of the compiler does to the cell, up to the one that refuses it."""
        known = self.find(dtype, device)
        printer = Printer()
        if known.watch is None:
            return ""
        source = Source(self.cell, known.watch, dtype, BACKENDS[device].inline_weights)
        put_back = known.watch.remember()
        try:
            in_clean_room(lambda: plan_loops(derive(source, printer), printer))
        except Exception:
            if not known.why_not:  # which says it already
                raise
        finally:
            put_back()
        return str(printer)

    def _warn_of_changes(self, watch: Watch, kind: TensorKind) -> None:
        """Say so once where the same values make the cell compile again and again."""
        forms = self.known.get(kind, ())
        if not forms or forms[0].watch is None:
            return
        for name in watch.changes_since(forms[0].watch):
            self.changes[name] = self.changes.get(name, 0) + 1
            if self.changes[name] == MANY_CHANGES:
                warnings.warn(
                    f"{name} of {type(self.cell).__name__} has changed {MANY_CHANGES} times, and "
                    "the cell is compiled anew each time; register it as a buffer, and its value "
                    "is an input of the kernel",
                    stacklevel=6,
                )

    def obstacle(self, x: Tensor) -> str:
        """Why no kernel can serve this input, whatever the cell computes; empty if one can."""
        backend = BACKENDS.get(x.device.type)
        if backend is None:
            return f"there is no kernel for {x.device.type} tensors"
        if why := backend.obstacle(x.dtype):
            return why
        if is_transformed():
            return "transforms of torch.func and forward derivatives need the eager loop"
        if is_written():
            return "what is written to a file holds the steps themselves"
        if torch.compiler.is_compiling():
            return ""
        if is_inside():
            return "a step that is being traced runs layers inside it step by step"
        if not self.is_strict and is_followed():
            return "a mode sees every operation, which only the eager loop makes"
        return ""

    def hooked(self, kind: TensorKind) -> str:
        """Why hooks keep a kernel from serving; empty if there are none."""
        forms = self.known.get(kind, ())
        watch = forms[0].watch if forms else None
        hooks = watch.hooks if watch is not None else all_hooks(self.cell)
        if any(hooks) or has_global_hooks():
            return "hooks on the cell see every step, which only the eager loop makes"
        return ""

    @staticmethod
    def mixture(x: Tensor, others: Sequence[Tensor]) -> str:
        """Why a kernel for x cannot take the states and parameters ``others``; empty if it can."""
        for tensor in (x, *others):
            if not is_plain(tensor):
                return f"there is no kernel for tensors of {type(tensor).__name__}"
            if not torch.compiler.is_compiling() and tensor.is_neg():
                return "there is no kernel for tensors whose numbers lie there with the other sign"
            of_x = tensor.dtype == x.dtype or not tensor.is_floating_point()  # flags and counts
            if not of_x or tensor.device != x.device:
                return f"x is of {x.dtype} and a state or parameter of {tensor.dtype}"
        return ""
