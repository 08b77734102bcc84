"""The built-in cells, written in the same language as a user's."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from saiki.cell import Cell
from saiki.cells.gru import GRU
from saiki.cells.lstm import LSTM
from saiki.cells.simple_rnn import SimpleRNN
from saiki.errors import InputError

__all__ = ["FAMILIES", "GRU", "LSTM", "VARIANTS", "SimpleRNN", "make"]

CellType = Callable[..., Cell]

FAMILIES: dict[str, CellType] = {
    "rnn": SimpleRNN,
    "lstm": LSTM,
    "gru": GRU,
    "peephole": partial(LSTM, peephole=True),
}
"""Every family by the name that exercises and the command line give it, made from an input size, a
hidden size and, by name, what else it takes. A family that is put in here is offered by all."""


def make(family: str, input_size: int, hidden_size: int, **options: Any) -> Cell:
    """A cell of the family of that name.

    >>> make("gru", 3, 5, reset="before").extra_repr()
    '3, 5'

    Raises:
        InputError: there is no such family, or it does not take one of ``options``.
    """
    if family not in FAMILIES:
        raise InputError(f"there is no cell {family!r}; there are {', '.join(FAMILIES)}")
    takes = inspect.signature(FAMILIES[family]).parameters
    for option in options:
        if option not in takes:
            raise InputError(f"the cell {family} has no {option}; leave it as it is")
    return FAMILIES[family](input_size, hidden_size, **options)


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
