"""Sequences that PyTorch's own loop has read before a kernel of ours would begin.

A call of a compiled layer spends some 0.15 ms, and 0.4 with its gradient, before and after any
arithmetic. What it then saves at each step follows from how PyTorch runs its loops: those of GRU
and RNN are several operations at each step, that of an LSTM is one of oneDNN, which puts the
weights into another order first. ``saiki bench grid`` measures shapes on both sides of these
bounds.
"""

from typing import Any

import torch
from torch import Tensor

LOOPS: dict[str, Any] = {
    "LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu,
}  # fmt: skip
"""PyTorch's own, by mode."""
STEPS = {"GRU": (7, 14), "RNN_TANH": (16, 28), "RNN_RELU": (16, 28)}
"""Below so many steps, with gradients and without, PyTorch is as fast or faster."""
ROW_WORK = 5000
"""Rows times units from which on a step takes longer than all that stands around it."""
LSTM_STEPS, LSTM_WORK = 500, 50_000
"""Steps, and rows times steps times units, below which an LSTM of PyTorch is as fast or faster."""
LSTM_UNITS = 200
"""Units from which on an LSTM of PyTorch takes long to order its weights."""


def is_short(
    mode: str, rows: int, steps: int, units: int, directions: int, has_gradient: bool
) -> bool:
    """Whether PyTorch's own layer of that mode is as fast, in float32."""
    if mode == "LSTM":  # of whose single steps the cell of PyTorch is faster than its layer
        work = rows * steps * units
        return steps > 1 and units < LSTM_UNITS and steps < LSTM_STEPS and work < LSTM_WORK
    least = STEPS[mode][not has_gradient]
    return steps == 1 or (steps * directions < least and rows * units < ROW_WORK)


def run_short(layer: Any, input: Tensor, hx: Any) -> tuple[Any, Any] | None:
    """What the layer of PyTorch returns, by the loop behind it; None where input or states are not
    what that takes, so that the layer has to say so."""
    rows = input.shape[0 if layer.batch_first else 1]
    shape = layer.num_layers * (1 + layer.bidirectional), rows, layer.hidden_size
    count = 2 if layer.mode == "LSTM" else 1
    weights = layer._flat_weights
    first = weights[0]
    if first is None or input.shape[2] != layer.input_size or first.dtype != input.dtype:
        return None
    if hx is None:
        states = [torch.zeros(shape, dtype=input.dtype, device=input.device) for _ in range(count)]
    else:
        states = [hx] if count == 1 else list(hx) if isinstance(hx, tuple | list) else []
        plain = (type(h) is Tensor and h.shape == shape and h.dtype == input.dtype for h in states)
        if len(states) != count or not all(plain):
            return None
    y, *ends = LOOPS[layer.mode](
        input, states[0] if count == 1 else states, weights, layer.bias, layer.num_layers,
        layer.dropout, layer.training, layer.bidirectional, layer.batch_first,
    )  # fmt: skip
    return y, ends[0] if count == 1 else tuple(ends)
