"""Compiled cells over sequences: dense, ragged or packed input, forward and backward."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import torch
from torch import Tensor

from saiki.compiler.backend import Place, Walk
from saiki.compiler.compiled import compiled_cell


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


class Path:
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


def forward(
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
    path = Path(x, lengths, time_first)
    steps = [compiled_cell(key).step for key in keys]
    if any(len(state) != path.walk.rows for state in states):
        raise ValueError(f"states must have {path.walk.rows} rows")
    rows = path.rows(x)
    y = path.empty(x, sum(step.output_size for step in steps))
    outputs, column = y.flatten(0, -2), 0
    given, weights = iter(map(path.sorted, states)), iter(parameters)
    read = iter(map(path.sorted, memory or ()))
    loops = []
    for step, back in zip(steps, reverse, strict=True):
        loop = step.forward(
            rows,
            Place(outputs, column),
            list(islice(given, step.states)),
            list(islice(weights, len(step.names))),
            list(islice(read, len(step.memory))),
            path.walk.backwards if back else path.walk,
            training,
        )
        loops.append(loop)
        column += step.output_size
    steps[0].backend.run([loop.job for loop in loops])
    return [
        y if path.index is None else path.padded(y),
        *(path.unsorted(end) for loop in loops for end in loop.states),
        *(tensor for loop in loops for tensor in loop.residuals),
    ]


def backward(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    residuals: Sequence[Tensor],
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    needs: Sequence[bool],
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """∂L/∂x, ∂L/∂(initial states), ∂L/∂parameters and ∂L/∂memory; empty where not needed or
    absent."""
    path = Path(x, lengths, time_first)
    steps = [compiled_cell(key).step for key in keys]
    rows = path.rows(x)
    d_outputs, column = path.rows(d_y), 0
    if d_outputs.stride(1) != 1:
        d_outputs = d_outputs.contiguous()
    d_ends, weights = iter(map(path.sorted, d_states)), iter(parameters)
    memory = memory or ()
    read, left = iter(map(path.sorted, memory)), iter(residuals)
    first_memory = len(needs) - len(memory)
    needed, needed_memory = iter(needs[1:first_memory]), iter(needs[first_memory:])
    loops = []
    for step, back in zip(steps, reverse, strict=True):
        count, reads = len(step.names), len(step.memory)
        loop = step.backward(
            Place(d_outputs, column),
            list(islice(d_ends, step.states)),
            rows,
            list(islice(weights, count)),
            list(islice(read, reads)),
            list(islice(left, step.residuals.count)),
            path.walk if back else path.walk.backwards,
            (needs[0], *islice(needed, count), *islice(needed_memory, reads)),
        )
        loops.append(loop)
        column += step.output_size
    steps[0].backend.run([loop.job for loop in loops])
    d_x: Tensor | None = None
    d_parameters: list[Tensor | None] = []
    d_memory: list[Tensor | None] = []
    for step, loop in zip(steps, loops, strict=True):
        its_d_x, *its_rest = loop.gradients()
        d_x = its_d_x if d_x is None or its_d_x is None else d_x + its_d_x
        d_parameters += its_rest[: len(step.names)]
        d_memory += its_rest[len(step.names) :]
    empty = x.new_empty(0)
    return [
        empty if d_x is None else path.padded(d_x),
        *(path.unsorted(start) for loop in loops for start in loop.d_states),
        *(empty if d is None else d for d in d_parameters),
        *(empty if d is None else path.unsorted(d) for d in d_memory),
    ]
