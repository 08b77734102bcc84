"""The built-in cells, written in the same language as a user's."""

from collections.abc import Callable
from functools import partial

from saiki.cell import Cell
from saiki.cells.gru import GRU
from saiki.cells.lstm import LSTM
from saiki.cells.simple_rnn import SimpleRNN

__all__ = ["FAMILIES", "GRU", "LSTM", "NAMED", "VARIANTS", "SimpleRNN"]

CellType = Callable[[int, int], Cell]

FAMILIES: dict[str, type[Cell]] = {"rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}
"""What the command line calls each family."""

NAMED: dict[str, CellType] = {**FAMILIES, "peephole": partial(LSTM, peephole=True)}
"""The cells that an exercise offers by name."""

VARIANTS: dict[str, dict[str, CellType]] = {
    "rnn": {
        "rnn": SimpleRNN,
        "rnn without bias": partial(SimpleRNN, bias=False),
        "rnn relu": partial(SimpleRNN, activation="relu"),
        "rnn softmax": partial(SimpleRNN, activation="softmax"),
        "rnn identity": partial(SimpleRNN, activation="identity"),
    },
    "lstm": {
        "lstm": LSTM,
        "lstm without bias": partial(LSTM, bias=False),
        "lstm peephole": partial(LSTM, peephole=True),
        "lstm relu": partial(LSTM, activation="relu"),
        "lstm hard sigmoid": partial(LSTM, recurrent_activation="hard_sigmoid"),
        "lstm without input gate": partial(LSTM, input_gate=False),
        "lstm without forget gate": partial(LSTM, forget_gate=False),
        "lstm without output gate": partial(LSTM, output_gate=False, peephole=True),
        "lstm without input activation": partial(LSTM, input_activation=False),
        "lstm without output activation": partial(LSTM, output_activation=False),
        "lstm coupled": partial(LSTM, coupled=True),
        "lstm coupled peephole": partial(LSTM, coupled=True, peephole=True),
        "lstm chrono": partial(LSTM, chrono=20),
        "lstm layer norm": partial(LSTM, layer_norm=True),
        "lstm projection": partial(LSTM, projection_size=2, peephole=True),
    },
    "gru": {
        "gru": GRU,
        "gru without bias": partial(GRU, bias=False),
        "gru reset before": partial(GRU, reset="before"),
        "gru relu": partial(GRU, activation="relu"),
        "gru reset before hard sigmoid": partial(
            GRU, reset="before", recurrent_activation="hard_sigmoid"
        ),
    },
}
"""Every built-in cell in every variant, family by family, for whoever checks or measures them."""
