"""Compiled cells over sequences: dense, ragged or packed input, forward and backward."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from saiki.call import Call, Part
from saiki.compiler.backend import Place, Walk
from saiki.compiler.run.compiled import compiled_cells
from saiki.compiler.run.outside import Needs, Operands
from saiki.compiler.run.step import CompiledStep
from saiki.compiler.trace.draws import draw


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

    def __init__(self, call: Call) -> None:
        x, lengths, time_first = call.x, call.lengths, call.time_first
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
        if self.index is None:
            return rows.view(*self.shape, rows.shape[-1])
        y = rows.new_zeros(*self.shape, rows.shape[-1])  # not a view, so that it may be changed
        y.flatten(0, -2).index_copy_(0, self.index, rows)
        return y

    def operands(self, rows: Tensor, part: Part) -> Operands:
        """What the loop of a part reads, with the rows of x."""
        return Operands(rows, part.parameters, [*map(self.sorted, part.memory)])

    def samples(self, step: CompiledStep, reverse: bool, like: Tensor) -> list[Tensor]:
        """What a step draws, as rows of the loop."""
        if not step.draws:
            return []
        places = self.walk.places(reverse)
        samples = draw(step.draws, self.walk.counts.tolist(), like)
        return [torch.empty_like(rows).index_copy_(0, places, rows) for rows in samples]

    def sorted(self, state: Tensor) -> Tensor:
        return state if self.order is None else state[self.order]

    def unsorted(self, state: Tensor) -> Tensor:
        return state if self.order is None else state[self.back]


Run = Callable[[Sequence[Any]], None]
"""Of :class:`saiki.compiler.backend.Backend`."""


def forward(call: Call, training: bool, run: Run | None = None) -> list[Tensor]:
    """y, the last states, then what the backward pass needs.

    Args:
        run: what runs the loops, if not the backend.
    """
    path = Path(call)
    if any(state.shape[0] != path.walk.rows for part in call.parts for state in part.states):
        raise ValueError(f"states must have {path.walk.rows} rows")
    rows = path.rows(call.x)
    steps = [compiled.step for compiled in compiled_cells(call.parts)]
    y = path.empty(call.x, sum(step.output_size for step in steps))
    outputs, column = y.flatten(0, -2), 0
    loops = []
    for part, step in zip(call.parts, steps, strict=True):
        samples = path.samples(step, part.reverse, call.x)
        loop = step.forward(
            path.operands(rows, part)._replace(samples=samples),
            Place(outputs, column),
            [*map(path.sorted, part.states)],
            path.walk.backwards if part.reverse else path.walk,
            training,
        )
        loops.append(loop)
        column += step.output_size
    (run or steps[0].backend.run)([loop.job for loop in loops])
    return [
        y if path.index is None else path.padded(y),
        *(path.unsorted(end) for loop in loops for end in loop.states),
        *(tensor for loop in loops for tensor in loop.residuals),
    ]


def backward(
    call: Call,
    gradients: Sequence[Tensor],
    residuals: Sequence[Tensor],
    needs: Sequence[bool],
    run: Run | None = None,
) -> list[Tensor]:
    """The gradients by the tensors of a call, empty where not needed or absent.

    Args:
        gradients: ∂L/∂y and ∂L/∂(last states).
        residuals: what the forward pass left.
        needs: for each of the tensors, whether the gradient is needed.
        run: as in :func:`forward`.
    """
    path = Path(call)
    rows = path.rows(call.x)
    d_outputs, column = path.rows(gradients[0]), 0
    if d_outputs.stride(1) != 1:
        d_outputs = d_outputs.contiguous()
    d_states, of_loops, needed = iter(gradients[1:]), iter(residuals), iter(needs[1:])
    loops = []
    for part, compiled in zip(call.parts, compiled_cells(call.parts), strict=True):
        step, states = compiled.step, len(part.states)
        of_states = [*islice(needed, states)]
        of_others = (tuple(islice(needed, len(own))) for own in (part.parameters, part.memory))
        loop = step.backward(
            path.operands(rows, part),
            Place(d_outputs, column),
            [path.sorted(d) for d in islice(d_states, states)],
            [*islice(of_loops, step.residuals.count)],
            path.walk if part.reverse else path.walk.backwards,
            Needs(needs[0], *of_others),
        )
        loops.append((loop, of_states))
        column += step.output_size
    (run or step.backend.run)([loop.job for loop, _ in loops])
    d_x: Tensor | None = None
    others: list[Tensor | None] = []
    for loop, of_states in loops:
        outside = loop.gradients()
        if outside.d_x is not None:
            d_x = outside.d_x if d_x is None else d_x + outside.d_x
        starts = zip(loop.d_states, of_states, strict=True)
        others += (path.unsorted(start) if need else None for start, need in starts)
        others += outside.d_parameters
        others += (None if d is None else path.unsorted(d) for d in outside.d_memory)
    of_x = None if d_x is None else path.padded(d_x)
    return [call.x.new_empty(0) if d is None else d for d in (of_x, *others)]
