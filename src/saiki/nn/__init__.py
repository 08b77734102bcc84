"""Layers that slip into models written for ``torch.nn``, and attention for recurrent decoders."""

from saiki.nn.attention import Attended, Attention, Memory, coverage_loss
from saiki.nn.cells import GRUCell, LSTMCell, RNNCell
from saiki.nn.choosing import MovingBaseline, marginal_log_likelihood, reinforce_loss
from saiki.nn.recurrent import GRU, LSTM, RNN
from saiki.nn.swapping import swap

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
