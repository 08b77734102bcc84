"""The compiled pair as one differentiable operation of PyTorch.

Forward and backward are two operators of ``torch.library``, opaque to tracers, so that
``torch.compile`` sees ordinary operations; an autograd function ties them together.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from saiki.compiler.cpu.loop import Walk
from saiki.compiler.cpu.team import run
from saiki.compiler.layer import CompiledCell

_CELLS: WeakValueDictionary[int, CompiledCell] = WeakValueDictionary()
_KEYS = itertools.count()


def register(cell: CompiledCell) -> int:
    """The number by which the operators know ``cell``, as long as it lives."""
    key = next(_KEYS)
    _CELLS[key] = cell
    return key


def compiled_cell(key: int) -> CompiledCell:
    """The cell known by that number."""
    return _CELLS[key]


def dense_walk(shape: Sequence[int], time_first: bool, reverse: bool) -> Walk:
    """The way through all steps of ``(batch, time)``, or ``(time, batch)``."""
    batch, time = reversed(shape[:2]) if time_first else shape[:2]
    walk = _dense(batch, time, time_first)
    return walk.backwards if reverse else walk


@lru_cache(maxsize=64)
def _dense(batch: int, time: int, time_first: bool) -> Walk:
    steps, counts = torch.arange(time), torch.full((time,), batch)
    if time_first:
        return Walk(steps * batch, counts, 1, (time,) * batch)
    return Walk(steps, counts, time, (time,) * batch)


class _Path:
    """The way of a loop through its input.

    ``x`` is ``(batch, time, features)`` or ``(time, batch, features)``, and the loop reads and
    writes in place; or, with lengths, its real steps are gathered as packed sequences are: all rows
    of the first step, longest first, then those of the second that have one. ``x`` of
    ``(steps of all rows, features)`` is packed already, and instead of lengths there are the
    numbers of rows at each step.
    """

    def __init__(self, x: Tensor, lengths: Tensor | None, time_first: bool) -> None:
        self.shape = x.shape[:-1]
        self.order = self.index = None
        if lengths is None:
            batch, time = self.shape[::-1] if time_first else self.shape
            self.walk = _dense(batch, time, time_first)
            return
        if x.ndim == 2:
            counts = lengths
            rows = torch.arange(int(counts[0]), 0, -1)
            ordered = len(counts) - torch.searchsorted(counts.flip(0), rows).flip(0)
        else:
            ordered, self.order = lengths.sort(descending=True, stable=True)
            self.back = torch.argsort(self.order)
            steps = torch.arange(int(ordered[0]))[:, None]
            real = steps < ordered
            at = (
                steps * len(lengths) + self.order if time_first else self.order * x.shape[1] + steps
            )
            self.index = at[real]
            counts = real.sum(1)
        self.walk = Walk(counts.cumsum(0) - counts, counts, 1, tuple(ordered.tolist()))

    def empty(self, x: Tensor, size: int) -> Tensor:
        """Room for ``size`` features at each step."""
        return x.new_empty(*(self.shape if self.index is None else self.index.shape), size)

    def rows(self, x: Tensor) -> Tensor:
        """The real steps of ``x`` as ``(total, features)``."""
        flat = x.reshape(-1, x.shape[-1])
        return flat if self.index is None else flat[self.index]

    def padded(self, rows: Tensor) -> Tensor:
        """``rows`` in the shape of the input, 0 in the padding."""
        if self.index is not None:
            flat = rows.new_zeros(math.prod(self.shape), rows.shape[-1])
            rows = flat.index_copy_(0, self.index, rows)
        return rows.view(*self.shape, rows.shape[-1])

    def sorted(self, state: Tensor) -> Tensor:
        return state if self.order is None else state[self.order]

    def unsorted(self, state: Tensor) -> Tensor:
        return state if self.order is None else state[self.back]


def _forward(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    training: bool,
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """y, the last states, then what the backward pass needs."""
    path = _Path(x, lengths, time_first)
    cells = [_CELLS[key] for key in keys]
    if any(len(state) != path.walk.rows for state in states):
        raise ValueError(f"states must have {path.walk.rows} rows")
    rows = path.rows(x)
    y = path.empty(x, sum(cell.output_size for cell in cells))
    outputs, column = y.flatten(0, -2), 0
    given, weights = iter(map(path.sorted, states)), iter(parameters)
    read = iter(map(path.sorted, memory or ()))
    jobs, ends, saved = [], [], []
    for cell, back in zip(cells, reverse, strict=True):
        job, its_ends, its_saved = cell.forward(
            rows,
            (outputs, column),
            list(islice(given, cell.states)),
            list(islice(weights, len(cell.names))),
            list(islice(read, len(cell.memory))),
            path.walk.backwards if back else path.walk,
            training,
        )
        jobs.append(job)
        ends += its_ends
        saved += its_saved
        column += cell.output_size
    run(jobs)
    return [y if path.index is None else path.padded(y), *map(path.unsorted, ends), *saved]


def _backward(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    saved: Sequence[Tensor],
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    needs: Sequence[bool],
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """∂L/∂x, ∂L/∂(initial states), ∂L/∂parameters and ∂L/∂memory; empty where not needed or
    absent."""
    path = _Path(x, lengths, time_first)
    cells = [_CELLS[key] for key in keys]
    rows = path.rows(x)
    d_outputs, column = path.rows(d_y), 0
    if d_outputs.stride(1) != 1:
        d_outputs = d_outputs.contiguous()
    d_ends, weights = iter(map(path.sorted, d_states)), iter(parameters)
    memory = memory or ()
    read, left = iter(map(path.sorted, memory)), iter(saved)
    first_memory = len(needs) - len(memory)
    needed, needed_memory = iter(needs[1:first_memory]), iter(needs[first_memory:])
    jobs, starts, finishes = [], [], []
    for cell, back in zip(cells, reverse, strict=True):
        count, reads = len(cell.names), len(cell.memory)
        job, its_starts, finish = cell.gradients(
            (d_outputs, column),
            list(islice(d_ends, cell.states)),
            rows,
            list(islice(weights, count)),
            list(islice(read, reads)),
            list(islice(left, cell.left)),
            path.walk if back else path.walk.backwards,
            (needs[0], *islice(needed, count), *islice(needed_memory, reads)),
        )
        jobs.append(job)
        starts += its_starts
        finishes.append(finish)
        column += cell.output_size
    run(jobs)
    d_x: Tensor | None = None
    d_parameters: list[Tensor | None] = []
    d_memory: list[Tensor | None] = []
    for cell, finish in zip(cells, finishes, strict=True):
        its_d_x, *its_rest = finish()
        d_x = its_d_x if d_x is None or its_d_x is None else d_x + its_d_x
        d_parameters += its_rest[: len(cell.names)]
        d_memory += its_rest[len(cell.names) :]
    empty = x.new_empty(0)
    return [
        empty if d_x is None else path.padded(d_x),
        *map(path.unsorted, starts),
        *(empty if d is None else d for d in d_parameters),
        *(empty if d is None else path.unsorted(d) for d in d_memory),
    ]


def _forward_shapes(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    training: bool,
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    cells = [_CELLS[key] for key in keys]
    saved = []
    if training:
        if x.ndim == 3 and lengths is not None:
            total = torch.library.get_ctx().new_dynamic_size()
        else:
            total = math.prod(x.shape[:-1])
        read = iter(memory or ())
        widths = (cell.left_widths(list(islice(read, len(cell.memory)))) for cell in cells)
        saved = [x.new_empty(total, n) for its in widths for n in its]
    y = x.new_empty(*x.shape[:-1], sum(cell.output_size for cell in cells))
    return [y, *(torch.empty_like(s) for s in states), *saved]


def _backward_shapes(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    saved: Sequence[Tensor],
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    needs: Sequence[bool],
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    cells = [_CELLS[key] for key in keys]
    has = [(cell.has_gradient, 1 + len(cell.names)) for cell in cells]
    of_tensors = chain(*(h[1:end] for h, end in has), *(h[end:] for h, end in has))
    given = [needs[0] and any(of_x for (of_x, *_), _ in has)]
    given += [n and g for n, g in zip(needs[1:], of_tensors, strict=True)]
    empty = x.new_empty(0)
    return [
        torch.empty(x.shape, dtype=x.dtype, device=x.device) if given[0] else empty,
        *(torch.empty_like(d) for d in d_states),
        *(
            torch.empty(p.shape, dtype=p.dtype, device=p.device) if is_given else empty
            for p, is_given in zip((*parameters, *(memory or ())), given[1:], strict=True)
        ),
    ]


DIRECT: dict[Any, Callable[..., list[Tensor]]] = {}
"""The functions behind the operators, for a caller that has only tensors of the CPU."""
_LIBRARY = torch.library.Library("saiki", "DEF")
for _name, _schema, _kernel, _shapes in (
    (
        "scan",
        "(Tensor x, Tensor[] states, Tensor[] parameters, Tensor? lengths, int[] keys,"
        " bool[] reverse, bool time_first, bool training, Tensor[]? memory=None) -> Tensor[]",
        _forward,
        _forward_shapes,
    ),
    (
        "scan_backward",
        "(Tensor d_y, Tensor[] d_states, Tensor x, Tensor[] parameters, Tensor? lengths,"
        " Tensor[] saved, int[] keys, bool[] reverse, bool time_first, bool[] needs,"
        " Tensor[]? memory=None) -> Tensor[]",
        _backward,
        _backward_shapes,
    ),
):
    _LIBRARY.define(_name + _schema)
    _LIBRARY.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"saiki::{_name}", _shapes, lib=_LIBRARY)
    DIRECT[getattr(torch.ops.saiki, _name).default] = _kernel

Eager = Callable[..., tuple[Tensor, ...]]
"""``eager(x, *states, *parameters, *memory)``: y and the last states by the plain loop."""


class _Scan(torch.autograd.Function):
    """scan, differentiable. The gradient of the gradient is that of the eager loop."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        lengths: Tensor | None,
        keys: Sequence[int],
        reverse: Sequence[bool],
        time_first: bool,
        states: int,
        memory: int,
        eager: Eager,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        last = len(tensors) - memory
        given, parameters, read = tensors[:states], tensors[states:last], tensors[last:]
        outputs = torch.ops.saiki.scan(
            x, given, parameters, lengths, keys, reverse, time_first, True, read or None
        )
        ctx.save_for_backward(x, lengths, *tensors, *outputs[1 + states :])
        ctx.keys, ctx.reverse, ctx.time_first = keys, reverse, time_first
        ctx.states, ctx.last, ctx.eager = states, last, eager
        ctx.count = len(tensors)
        return tuple(outputs[: 1 + states])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, lengths, *rest = ctx.saved_tensors
        tensors, saved = rest[: ctx.count], rest[ctx.count :]
        k, last = ctx.states, ctx.last
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            found = _eager_gradients(ctx, x, tensors, gradients)
        else:
            needs = [ctx.needs_input_grad[0], *ctx.needs_input_grad[8 + k :]]
            found = torch.ops.saiki.scan_backward(
                gradients[0], gradients[1:], x, tensors[k:last], lengths, saved, ctx.keys,
                ctx.reverse, ctx.time_first, needs, tensors[last:] or None,
            )  # fmt: skip
            found = [None if g.numel() == 0 else g for g in found]
        return found[0], None, None, None, None, None, None, None, *found[1:]


def _eager_gradients(
    ctx: Any, x: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor]
) -> list[Tensor | None]:
    """The same gradients as a graph that can be differentiated again."""
    inputs = [x, *tensors]
    wanted = [t for t in inputs if t.requires_grad]
    outputs = ctx.eager(x, *tensors)
    pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if o.requires_grad]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if t.requires_grad else None for t in inputs]


def scan(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    eager: Eager,
    memory: Sequence[Tensor] = (),
) -> tuple[Tensor, list[Tensor]]:
    """The output at each step and the last states of some cells that read the same input.

    Args:
        x: ``(batch, time, input_size)``, or ``(time, batch, input_size)`` with ``time_first``; or
            ``(steps of all rows, input_size)``, packed.
        states: the states before the first step, ``(batch, state_size)`` each, cell by cell.
        parameters: parameters and buffers of the cells, in the order of their traces.
        lengths: ``(batch,)``; or, of a packed x, the number of rows at each step; on the CPU.
        keys: of each cell, from :func:`register`.
        reverse: of each cell: whether it reads each row from its last step to its first.
        eager: what to differentiate twice.
        memory: of the cells, ``(batch, …)`` each, cell by cell.

    Returns:
        The outputs of all cells side by side, and their last states.
    """
    tensors = *states, *parameters, *memory
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tensors)):
        y, *ends = _Scan.apply(
            x, lengths, keys, reverse, time_first, len(states), len(memory), eager, *tensors
        )
    else:
        y, *ends = torch.ops.saiki.scan(
            x, states, parameters, lengths, keys, reverse, time_first, False, memory or None
        )
    return y, ends
