"""The one way from layers to kernels: several layers over the same input, which kernel serves each,
and why none does, which is said once."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor, nn

from saiki.call import Call, Part, Results
from saiki.cell import Cell
from saiki.compiler.kernels import Kernels
from saiki.compiler.operators import scan
from saiki.errors import CompileError
from saiki.torch_internals import is_autocast_on


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


EXPORTER: ContextVar[Callable[[Call], Results] | None] = ContextVar("EXPORTER", default=None)
"""Called in place of the layers while a model is exported; tensors hold no numbers then."""
WATCHER: ContextVar[Callable[[Loop], AbstractContextManager[None]] | None] = ContextVar(
    "WATCHER", default=None
)
"""Around each layer, which then runs step by step, while somebody looks inside."""


def run_layers(
    layers: Sequence[Loop],
    x: Tensor,
    starts: Sequence[tuple[Tensor, ...]],
    lengths: Tensor | None = None,
    tensors: Sequence[Sequence[Tensor]] | None = None,
    time_first: bool = False,
    memory: Sequence[Sequence[Tensor]] | None = None,
) -> Results:
    """Several layers over the same input, in one operation where kernels serve them all.

    Args:
        x, lengths, time_first: of :class:`~saiki.call.Call`.
        starts: the states of each layer before the first step.
        tensors: for each layer what takes the place of the parameters and buffers of its cell.
        memory: what the cell of each layer reads at all steps, in the order of ``memory_shapes``.
    """
    none = [()] * len(layers)
    own = zip(layers, starts, tensors or none, memory or none, strict=True)
    parts = [Part(layer.reverse, start, parameters, read) for layer, start, parameters, read in own]
    call = Call(x, lengths, time_first, parts, layers)
    export = exporter()
    if export is not None:
        return export(call)
    if is_autocast_on():
        with torch.autocast(x.device.type, enabled=False):
            return _run(_in_own_precision(call))
    return _run(call)


def _run(call: Call) -> Results:
    look = watcher()
    if look is not None:
        return _side_by_side([_watched(one, look) for one in call.alone()])
    parts = []
    for layer, part in zip(call.layers, call.parts, strict=True):
        served = kernel(layer, call.x, part)
        if served is not None:
            parts.append(served)
    if len(parts) == len(call.parts):
        return scan(Call(call.x, call.lengths, call.time_first, parts, call.layers))
    if len(call.parts) == 1:
        y, end = call.layers[0].eager(call)
        return y, [end]
    return _side_by_side([_run(one) for one in call.alone()])


def _watched(call: Call, look: Callable[[Loop], AbstractContextManager[None]]) -> Results:
    """A call of one layer step by step, while somebody looks."""
    (layer,) = call.layers
    with look(layer):
        y, end = layer.eager(call)
    return y, [end]


def _side_by_side(results: Sequence[Results]) -> Results:
    return torch.cat([y for y, _ in results], -1), [end for _, (end,) in results]


def _in_own_precision(call: Call) -> Call:
    """In the type of the weights: a state that is rounded at each step drifts."""
    own = call.parts[0].parameters or call.layers[0].cell.parameters()
    dtype = next((t.dtype for t in own if t.is_floating_point()), call.x.dtype)
    parts = [
        part._replace(
            states=[state.to(dtype) for state in part.states],
            memory=[memory.to(dtype) for memory in part.memory],
        )
        for part in call.parts
    ]
    return call._replace(x=call.x.to(dtype), parts=parts)


def exporter() -> Callable[[Call], Results] | None:
    """What stands in for the layers; torch.compile cannot see it, and need not."""
    return None if torch.compiler.is_dynamo_compiling() else EXPORTER.get()


def watcher() -> Callable[[Loop], AbstractContextManager[None]] | None:
    """Who looks inside, if anybody does; what torch.compile makes is not looked into."""
    return None if torch.compiler.is_dynamo_compiling() else WATCHER.get()


def hooked(module: nn.Module) -> bool:
    """Whether hooks of its own wait for the module to be called."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


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
    known = layer.kernels.find(dtype, device)
    if known.compiled is not None:
        known.compiled.is_fresh = True
    return known.key


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _draws(layer: Loop, dtype: torch.dtype, device: str) -> bool:
    known = layer.kernels.find(dtype, device)
    return known.compiled is not None and bool(known.compiled.step.draws)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def why_not(layer: Loop, dtype: torch.dtype, device: str = "cpu") -> str:
    """Why no kernel serves inputs of that type; empty if one does."""
    return layer.kernels.find(dtype, device).why_eager
