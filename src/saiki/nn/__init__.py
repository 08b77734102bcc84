"""Layers that slip into models written for ``torch.nn``."""

from saiki.nn.cells import GRUCell, LSTMCell, RNNCell
from saiki.nn.recurrent import GRU, LSTM, RNN
from saiki.nn.swapping import swap

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "swap"]
