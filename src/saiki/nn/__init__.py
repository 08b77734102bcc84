"""Layers that slip into models written for ``torch.nn``, and attention for recurrent decoders."""

from saiki.nn.attention import (
    Attended,
    Attention,
    Memory,
    MovingBaseline,
    coverage_loss,
    marginal_log_likelihood,
    reinforce_loss,
)
from saiki.nn.drop_in.cells import GRUCell, LSTMCell, RNNCell
from saiki.nn.drop_in.layers import GRU, LSTM, RNN
from saiki.nn.drop_in.swapping import swap

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Attended",
    "Attention",
    "GRUCell",
    "LSTMCell",
    "Memory",
    "MovingBaseline",
    "RNNCell",
    "coverage_loss",
    "marginal_log_likelihood",
    "reinforce_loss",
    "swap",
]
