"""What PyTorch does as fast: single steps, and sequences that its own loop has read before a kernel
of ours would begin.

A call of a compiled layer spends some 0.15 ms, and 0.4 with its gradient, before and after any
arithmetic. What it then saves at each step follows from how PyTorch runs its loops: those of GRU
and RNN are several operations at each step, that of an LSTM is one of oneDNN, which puts the
weights into another order first. ``saiki bench grid`` measures shapes on both sides of these
bounds.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.errors import InputError
from saiki.layers.bidirectional import BOTH_WAYS
from saiki.layers.run import exporter, watcher

LOOPS: dict[str, Any] = {
    "LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu,
}  # fmt: skip
"""PyTorch's own, by mode."""
CELLS: dict[str, Any] = {
    "LSTM": torch.lstm_cell, "GRU": torch.gru_cell, "RNN_TANH": torch.rnn_tanh_cell,
    "RNN_RELU": torch.rnn_relu_cell,
}  # fmt: skip
"""One step of the layers of ``torch.nn``, by their mode."""
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


class Streamed:
    """What a layer does with one step at a time."""

    def step(self: Any, input: Tensor, hx: Any = None) -> Any:
        """One step of a stream, without autograd, as under ``torch.no_grad()``, and as in
        evaluation: nothing is dropped.

        Args:
            input: ``(batch, input_size)``.
            hx: the state before, as :meth:`forward` takes and returns it.

        Returns:
            The output, ``(batch, hidden_size)``, and the state then.

        Raises:
            InputError: the layer reads both ways, or a shape does not fit.
        """
        if torch.is_grad_enabled():
            with torch.no_grad():
                return self.step(input, hx)
        if self.bidirectional:
            raise InputError(BOTH_WAYS)
        if not isinstance(input, Tensor) or input.ndim != 2 or input.shape[1] != self.input_size:
            shape = tuple(input.shape) if isinstance(input, Tensor) else type(input).__name__
            raise InputError(f"a step takes input as (batch, {self.input_size}), got {shape}")
        wanted = [(self.num_layers, input.shape[0], size) for size in self.state_sizes]
        if hx is None:
            states = [input.new_zeros(shape) for shape in wanted]
        else:
            states = [hx] if isinstance(hx, Tensor) else list(hx)
            if [state.shape for state in states] != wanted:
                got = [tuple(state.shape) for state in states]
                raise InputError(f"the state must have the shapes {wanted}, got {got}")
        if not self._weights_are_attributes():
            self._update_flat_weights()
        if self.is_by_cells:
            y, ends = self._by_cells(input, states)
        else:
            time = 1 if self.batch_first else 0
            y, ends = self._run(input.unsqueeze(time), states, None, False)
            y = y.squeeze(time)
        return y, tuple(ends) if self.mode == "LSTM" else ends[0]

    @property
    def is_by_cells(self: Any) -> bool:
        """Whether the cells of PyTorch compute a step of it."""
        return self.is_plain and not self.proj_size

    def _has_no_loop(self: Any, x: Tensor) -> bool:
        """Whether x, as a batch, is one step, with no loop that could be made faster: then the
        cells of PyTorch are its layers, but for what those spend on being layers."""
        return (
            x.shape[self.batch_first] == 1
            and self.backend == "auto"
            and self.is_by_cells
            and not self.bidirectional
            and not (self.dropout > 0 and self.training and self.num_layers > 1)
            and watcher() is None
            and exporter() is None
        )

    def _once(self: Any, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """What :meth:`forward` does with one step."""
        time = 1 if self.batch_first else 0
        y, ends = self._by_cells(x.squeeze(time), states)
        return y.unsqueeze(time), ends

    def _by_cells(
        self: Any, x: Tensor, states: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """One step of all layers, by the cell of PyTorch: the output, and the states in memory of
        their own."""
        cell, weights, news = CELLS[self.mode], self._flat_weights, []
        count = len(weights) // self.num_layers
        for i in range(self.num_layers):
            own = [state[i] for state in states]
            new = cell(x, own if len(own) > 1 else own[0], *weights[count * i : count * (i + 1)])
            news.append(new if len(own) > 1 else (new,))
            x = news[-1][0]
        y = x.clone()  # which may be changed, and the state is as it was
        if len(news) == 1:
            return y, [state.unsqueeze(0) for state in news[0]]
        return y, [torch.stack(of_layers) for of_layers in zip(*news, strict=True)]
