"""The eager time loop: the oracle by which everything compiled is judged."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from saiki.call import Call
from saiki.cell import Cell


def unroll(
    cell: Cell, steps: Iterable[Tensor], state: tuple[Tensor, ...], memory: Sequence[Tensor] = ()
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Step by step.

    ``steps`` holds the input of each step, ``(rows, input_size)``, ``memory`` what the cell reads
    at all of them, in the order of ``memory_shapes``. Rows may only leave, from the end: the first
    rows are those of the longest sequences. Returns the first state after each
    step, and the last state of each row.
    """
    outputs: list[Tensor] = []
    ended: list[tuple[Tensor, ...]] = []
    for x in steps:
        rows = len(x)
        if rows < len(state[0]):
            ended.append(tuple(s[rows:] for s in state))
            state = tuple(s[:rows] for s in state)
            memory = [m[:rows] for m in memory]
        state = cell(x, *state, **dict(zip(cell.memory_shapes, memory, strict=True)))
        outputs.append(state[0])
    if not ended:
        return outputs, state
    pieces = (state, *reversed(ended))
    return outputs, tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))


def run(cell: Cell, call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The output at each step of a call of one layer, in the layout of x, and the last states; with
    the tensors that ``cell`` has."""
    x, lengths = call.x, call.lengths
    (part,) = call.parts
    if x.ndim == 2:
        assert lengths is not None
        packed = PackedSequence(x, lengths)
        x, lengths = pad_packed_sequence(packed, batch_first=True)
        y, end = run(cell, Call(x, lengths, False, call.parts))
        return pack_padded_sequence(y, lengths, batch_first=True).data, end
    if call.time_first:
        y, end = run(cell, Call(x.transpose(0, 1), lengths, False, call.parts))
        return y.transpose(0, 1), end
    if part.reverse:
        x = flip(x, lengths)
    start, memory = tuple(part.states), part.memory
    if lengths is None:
        outputs, end = unroll(cell, x.unbind(1), start, memory)
        y = torch.stack(outputs, 1)
    else:
        ordered_lengths, order = lengths.sort(descending=True, stable=True)
        order = order.to(x.device)
        back = order.argsort()
        packed = pack_padded_sequence(x.index_select(0, order), ordered_lengths, batch_first=True)
        steps = packed.data.split(packed.batch_sizes.tolist())
        ordered = tuple(s[order] for s in start)
        outputs, end = unroll(cell, steps, ordered, [m[order] for m in memory])
        whole = PackedSequence(torch.cat(outputs), packed.batch_sizes, order, back)
        y, _ = pad_packed_sequence(whole, batch_first=True, total_length=x.shape[1])
        end = tuple(s[back] for s in end)
    if part.reverse:
        y = flip(y, lengths)
    return y, end


def flip(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Each row of ``x``, ``(batch, time, features)``, backwards; its padding stays at the end."""
    if lengths is None:
        return x.flip(1)
    t = torch.arange(x.shape[1], device=x.device)
    last = lengths.to(x.device)[:, None] - 1
    source = torch.where(t <= last, last - t, t)
    return x.gather(1, source[..., None].expand(x.shape))
