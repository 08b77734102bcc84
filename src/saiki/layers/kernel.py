"""Which kernel serves a layer; why none does is said once."""

import warnings
from typing import Protocol

import torch
from torch import Tensor

from saiki.call import Call, Part
from saiki.cell import Cell
from saiki.compiler.kernels import Kernels
from saiki.errors import CompileError


class Loop(Protocol):
    """What is asked of a layer: see :class:`saiki.Recurrent`."""

    cell: Cell
    reverse: bool
    _saiki_warned: bool

    @property
    def backend(self) -> str: ...

    @property
    def kernels(self) -> Kernels: ...

    def eager(self, call: Call) -> tuple[Tensor, tuple[Tensor, ...]]: ...


def kernel(layer: Loop, x: Tensor, part: Part) -> Part | None:
    """The part as the kernel that serves it takes it; None for the eager loop, as for an empty
    batch.

    Raises:
        CompileError: the backend asked for by name cannot serve.
    """
    if layer.backend == "eager" or x.shape[0] == 0:
        return None
    kernels = layer.kernels
    why, kind = kernels.obstacle(x), (x.dtype, x.device.type)
    if torch.compiler.is_compiling():
        _look_at(layer.cell)
    elif not why:
        why = kernels.hooked(kind)
    if not why:
        key: int = _key(layer, *kind)
        why = kernels.hooked(kind)
        if not why and key >= 0 and torch.compiler.is_compiling() and _draws(layer, *kind):
            why = "torch.compile and torch.export draw random numbers step by step"
        if not why and key >= 0:
            parameters = part.parameters or [
                owner[name] for owner, name in kernels.known[kind][0].inputs
            ]
            why = kernels.mixture(x, (*part.states, *part.memory, *parameters))
            if not why:
                return Part(part.reverse, part.states, parameters, part.memory, key)
        elif not why:
            why = why_not(layer, *kind)
            was_refused = kernels.known[kind][0].compiled is not None  # with a warning
            if layer.backend == "auto" and not layer._saiki_warned and not was_refused:
                layer._saiki_warned = True
                warnings.warn(f"running step by step: {why}", stacklevel=4)
    if layer.backend != "auto":
        raise CompileError(why)
    return None


def _look_at(cell: Cell) -> None:
    """Let ``torch.compile`` see on what the choice of a kernel depends, so that it compiles anew
    when that changes. What it cannot see, the operators ask for when they run."""
    for module in cell.modules():
        if module.training:
            pass
        for table in (module._parameters, module._buffers):
            for tensor in table.values():
                if tensor is None:
                    pass


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _key(layer: Loop, dtype: torch.dtype, device: str) -> int:
    found = layer.kernels.find(dtype, device)
    if found.compiled is not None:
        found.compiled.is_fresh = True
    return found.key


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _draws(layer: Loop, dtype: torch.dtype, device: str) -> bool:
    found = layer.kernels.find(dtype, device)
    return found.compiled is not None and bool(found.compiled.step.draws)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def why_not(layer: Loop, dtype: torch.dtype, device: str = "cpu") -> str:
    """Why no kernel serves inputs of that type; empty if one does."""
    return layer.kernels.find(dtype, device).why_eager
