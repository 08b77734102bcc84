"""``RNNCell``, ``LSTMCell`` and ``GRUCell`` that take the place of those of ``torch.nn``."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from saiki.cell import holding
from saiki.nn.drop_in.layout import (
    Family,
    GRUFamily,
    LSTMFamily,
    SimpleRNNFamily,
    own_precision,
    parameter_names,
    parameter_shapes,
)
from saiki.saving.pretrained import DescribedModule
from saiki.torch_internals import leaf


class DropInCell(Family, DescribedModule, name="drop_in.cell.v1"):
    """One step; what the three have in common."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        options = self._options(kwargs)
        super().__init__(*args, **kwargs)
        self._setup(options)

    def _setup(self: Any, options: Mapping[str, Any]) -> None:
        """Take the options, and add or replace the parameters that they change."""
        self.options = self._checked(options)
        self._meta: list[Any] = []
        if self.is_plain:
            return
        with torch.device("meta"):
            cell = self._cell(self.input_size)
        self._meta = [cell]  # in a list, for its parameters are not ours
        new = False
        for name, shape in parameter_shapes(cell, self.bias).items():
            if name not in self._parameters or self._parameters[name].shape != shape:
                setattr(self, name, nn.Parameter(self.weight_hh.new_empty(shape)))
                new = True
        if new:
            self.reset_parameters()

    @property
    def is_plain(self) -> bool:
        """Whether it computes what the class of ``torch.nn`` computes."""
        return self.options == self.defaults

    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        """As in ``torch.nn``: input ``(batch, input_size)`` or ``(input_size,)``."""
        if not isinstance(input, Tensor):
            node = leaf(self, input, hx)
            if node is not None:
                return node
        if self.is_plain:
            return super().forward(input, hx)
        cell = self._meta[0]
        count, batched = len(cell.state_sizes), input.dim() == 2
        states = (hx,) if count == 1 and hx is not None else hx
        if states is None:
            shape = (*input.shape[:-1], self.hidden_size)
            states = tuple(input.new_zeros(shape) for _ in range(count))
        for tensor, size in ((input, self.input_size), *((s, self.hidden_size) for s in states)):
            fits = tensor.shape == (*input.shape[:-1], size) and len(states) == count
            if not fits or input.dim() not in (1, 2):
                raise RuntimeError(
                    f"{type(self).__name__} takes (batch, {self.input_size}) or "
                    f"({self.input_size},) and {count} state(s) of {self.hidden_size} features for "
                    f"the same batch, got {[tuple(t.shape) for t in (input, *states)]}"
                )
        rows = (t if batched else t.unsqueeze(0) for t in (input, *states))
        names = parameter_names(cell)
        tensors = dict(zip(names, self._tensors(names, "", partial(getattr, self)), strict=True))
        with own_precision(self.weight_hh, *rows) as inputs, holding(cell, tensors):
            new = cell(*inputs)
        new = new if batched else tuple(s.squeeze(0) for s in new)
        return new if count > 1 else new[0]

    def arguments(self: Any) -> dict[str, Any]:
        names = ["input_size", "hidden_size", "bias"]
        names += ["nonlinearity"] if isinstance(self, nn.RNNCell) else []
        return {**{name: getattr(self, name) for name in names}, **self.options}

    def extra_repr(self: Any) -> str:
        own: str = super().extra_repr()
        more = (f"{k}={v}" for k, v in self.options.items() if v != self.defaults[k])
        return ", ".join((own, *more))


class RNNCell(DropInCell, SimpleRNNFamily, nn.RNNCell, name="drop_in.rnn_cell.v1"):
    """``torch.nn.RNNCell`` with any activation; see :class:`saiki.nn.RNN`."""


class LSTMCell(DropInCell, LSTMFamily, nn.LSTMCell, name="drop_in.lstm_cell.v1"):
    """``torch.nn.LSTMCell`` with the variants of :class:`saiki.nn.LSTM`."""


class GRUCell(DropInCell, GRUFamily, nn.GRUCell, name="drop_in.gru_cell.v1"):
    """``torch.nn.GRUCell`` with the variants of :class:`saiki.nn.GRU`."""
