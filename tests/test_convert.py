"""Layers and weights from Keras, against Keras itself."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

os.environ["KERAS_BACKEND"] = "jax"
jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from saiki import Bidirectional, Cell, InputError, Recurrent, Stack, convert  # noqa: E402
from saiki.cells import GRU, LSTM, SimpleRNN  # noqa: E402
from saiki.convert import from_keras, load_keras  # noqa: E402

K = keras.layers
TOLERANCE = 2e-5
PLAIN = {"recurrent_initializer": "zeros"}  # the orthogonal one takes long to compile
BOTH = {"return_sequences": True, "return_state": True, **PLAIN}

# Saving asks JAX's arrays for a copy in a way NumPy 2 has given up.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# A layer of Keras, 3 to 5 features, and the cell here with the same settings.
LAYERS = {
    "rnn": (K.SimpleRNN, {}, SimpleRNN, {}),
    "rnn relu": (K.SimpleRNN, {"activation": "relu"}, SimpleRNN, {"activation": "relu"}),
    "rnn without bias": (K.SimpleRNN, {"use_bias": False}, SimpleRNN, {"bias": False}),
    "lstm": (K.LSTM, {}, LSTM, {}),
    "lstm softsign-free": (
        K.LSTM,
        {"activation": "elu", "recurrent_activation": "hard_sigmoid"},
        LSTM,
        {"activation": "elu", "recurrent_activation": "hard_sigmoid"},
    ),
    "lstm without bias": (K.LSTM, {"use_bias": False}, LSTM, {"bias": False}),
    "gru": (K.GRU, {}, GRU, {}),
    "gru without bias": (K.GRU, {"use_bias": False}, GRU, {"bias": False}),
    "gru before": (K.GRU, {"reset_after": False}, GRU, {"reset": "before"}),
    "gru before without bias": (
        K.GRU,
        {"reset_after": False, "use_bias": False},
        GRU,
        {"reset": "before", "bias": False},
    ),
    "gru gelu": (
        K.GRU,
        {"activation": "gelu", "recurrent_activation": "hard_sigmoid"},
        GRU,
        {"activation": "gelu", "recurrent_activation": "hard_sigmoid"},
    ),
}
