"""A stream through the layers of ``torch.nn``, step by step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saiki.errors import InputError
from saiki.layers.bidirectional import BOTH_WAYS
from saiki.layers.run import exporter, watcher

CELLS: dict[str, Any] = {
    "LSTM": torch.lstm_cell, "GRU": torch.gru_cell, "RNN_TANH": torch.rnn_tanh_cell,
    "RNN_RELU": torch.rnn_relu_cell,
}  # fmt: skip
"""One step of the layers of ``torch.nn``, by their mode."""


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
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: self._states]
        wanted = [(self.num_layers, input.shape[0], size) for size in sizes]
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
        return y, ends[0] if self._states == 1 else tuple(ends)

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
