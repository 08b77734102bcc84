"""Sequences that PyTorch's own loop has read before a kernel of ours would begin.

A call of a compiled layer spends some 0.15 ms, and 0.4 with its gradient, before and after any
arithmetic. What it then saves at each step follows from how PyTorch runs its loops: those of GRU
and RNN are several operations at each step, that of an LSTM is one of oneDNN, which puts the
weights into another order first. ``saiki bench grid`` measures shapes on both sides of these
bounds.
"""

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
