"""The one way from layers to kernels: several layers over the same input."""

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from saiki.cell import Cell
from saiki.compiler.operators import scan
from saiki.compiler.run.call import Call, Part
from saiki.compiler.run.compiled import compiled_cell
from saiki.eager import run as run_eagerly
from saiki.errors import ExportError
from saiki.torch_internals import is_autocast_on
from saiki.twin import Twin

EXPORTER: ContextVar[Callable[..., Any] | None] = ContextVar("EXPORTER", default=None)
"""Called in place of :func:`run_layers` while a model is exported; tensors hold no numbers then."""
WATCHER: ContextVar[Callable[["Loop"], AbstractContextManager[None]] | None] = ContextVar(
    "WATCHER", default=None
)
"""Around each layer, which then runs step by step, while somebody looks inside."""


class Loop(Protocol):
    """What is asked of a layer: see :class:`saiki.Recurrent`."""

    cell: Cell
    reverse: bool

    def kernel(
        self, x: Tensor, given: tuple[Tensor, ...], tensors: Sequence[Tensor] | None
    ) -> tuple[int, Sequence[Tensor]]: ...

    def eager(
        self,
        x: Tensor,
        start: tuple[Tensor, ...],
        lengths: Tensor | None,
        tensors: Sequence[Tensor] | None = None,
        time_first: bool = False,
        memory: Sequence[Tensor] = (),
    ) -> tuple[Tensor, tuple[Tensor, ...]]: ...


def run_layers(
    layers: Sequence[Loop],
    x: Tensor,
    starts: Sequence[tuple[Tensor, ...]],
    lengths: Tensor | None = None,
    tensors: Sequence[Sequence[Tensor]] | None = None,
    time_first: bool = False,
    memory: Sequence[Sequence[Tensor]] | None = None,
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """Several layers over the same input, in one operation where kernels serve them all.

    Args:
        x: ``(batch, time, input_size)``, or ``(time, batch, input_size)`` with ``time_first``; or
            ``(steps of all rows, input_size)``, packed as
            :class:`torch.nn.utils.rnn.PackedSequence` holds them.
        starts: the states of each layer before the first step.
        lengths: ``(batch,)``; or, of a packed x, the number of rows at each step.
        tensors: for each layer what takes the place of the parameters and buffers of its cell.
        memory: what the cell of each layer reads at all steps, in the order of ``memory_shapes``.

    Returns:
        The outputs side by side, in the layout of x, and the last states of each layer.
    """
    memory = [()] * len(layers) if memory is None else memory
    export = exporter()
    if export is not None:
        if any(memory):
            raise ExportError("a cell with memory cannot be exported")
        result: tuple[Tensor, list[tuple[Tensor, ...]]] = export(
            layers, x, starts, lengths, tensors, time_first
        )
        return result
    if is_autocast_on():
        return _in_own_precision(layers, x, starts, lengths, tensors, time_first, memory)
    given = [None] * len(layers) if tensors is None else tensors
    look = watcher()
    if look is not None:
        watched = []
        for layer, start, own, read in zip(layers, starts, given, memory, strict=True):
            with look(layer):
                watched.append(layer.eager(x, start, lengths, own, time_first, read))
        return torch.cat([y for y, _ in watched], -1), [end for _, end in watched]
    served = [
        layer.kernel(x, (*start, *read), own)
        for layer, start, own, read in zip(layers, starts, given, memory, strict=True)
    ]
    parts = [
        Part(key, layer.reverse, start, own, read)
        for layer, start, (key, own), read in zip(layers, starts, served, memory, strict=True)
        if key >= 0
    ]
    if len(parts) == len(layers):
        counts = [
            (part.key, len(part.states), len(part.parameters), len(part.memory)) for part in parts
        ]
        eagerly = partial(_eagerly, layers, counts, lengths, time_first)
        return scan(Call(x, lengths, time_first, parts), eagerly)
    if len(layers) == 1:
        y, end = layers[0].eager(x, starts[0], lengths, given[0], time_first, memory[0])
        return y, [end]
    alone = [
        run_layers([layer], x, [start], lengths, None if own is None else [own], time_first, [read])
        for layer, start, own, read in zip(layers, starts, given, memory, strict=True)
    ]
    return torch.cat([y for y, _ in alone], -1), [end for _, (end,) in alone]


def _eagerly(
    layers: Sequence[Loop],
    counts: Sequence[tuple[int, int, int, int]],
    lengths: Tensor | None,
    time_first: bool,
    x: Tensor,
    *tensors: Tensor,
) -> tuple[Tensor, ...]:
    """The outputs side by side, and the last states, by the plain loop.

    Args:
        counts: of each layer the number of its kernel, and of its states, parameters and memory.
        tensors: the states of all layers, then the parameters, then the memory.
    """
    rest = iter(tensors)
    states, given, reads = (
        [tuple(itertools.islice(rest, count[i])) for count in counts] for i in (1, 2, 3)
    )
    parts = []
    for layer, (key, *_), start, own, read in zip(
        layers, counts, states, given, reads, strict=True
    ):
        cell = Twin(zip(compiled_cell(key).real_tensors(), own, strict=True)).of(layer.cell)
        parts.append(run_eagerly(cell, x, start, lengths, layer.reverse, time_first, read))
    return torch.cat([y for y, _ in parts], -1), *(s for _, end in parts for s in end)


def _in_own_precision(
    layers: Sequence[Loop],
    x: Tensor,
    starts: Sequence[tuple[Tensor, ...]],
    lengths: Tensor | None,
    tensors: Sequence[Sequence[Tensor]] | None,
    time_first: bool,
    memory: Sequence[Sequence[Tensor]],
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """:func:`run_layers` without autocast: a state that is rounded at each step drifts."""
    own = layers[0].cell.parameters() if tensors is None else iter(tensors[0])
    dtype = next((t.dtype for t in own if t.is_floating_point()), x.dtype)
    starts = [tuple(s.to(dtype) for s in start) for start in starts]
    memory = [tuple(m.to(dtype) for m in read) for read in memory]
    with torch.autocast(x.device.type, enabled=False):
        return run_layers(layers, x.to(dtype), starts, lengths, tensors, time_first, memory)


def exporter() -> Callable[..., Any] | None:
    """What stands in for :func:`run_layers`; torch.compile cannot see it, and need not."""
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
