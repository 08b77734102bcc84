"""Layers that slip into models written for ``torch.nn``, attention for recurrent decoders, and
quantisers."""

from saiki.nn.attention.attention import Attended, Attention, Memory, coverage_loss
from saiki.nn.attention.choice import MovingBaseline, marginal_log_likelihood, reinforce_loss
from saiki.nn.drop_in.cells import GRUCell, LSTMCell, RNNCell
from saiki.nn.drop_in.layers import GRU, LSTM, RNN
from saiki.nn.drop_in.swapping import swap
from saiki.nn.quantise.quantised import Quantised
from saiki.nn.quantise.scalars import ScalarQuantizer
from saiki.nn.quantise.vectors import VectorQuantizer

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
    "Quantised",
    "RNNCell",
    "ScalarQuantizer",
    "VectorQuantizer",
    "coverage_loss",
    "marginal_log_likelihood",
    "reinforce_loss",
    "swap",
]
