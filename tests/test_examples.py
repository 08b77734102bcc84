"""Each cell under examples/ is found, proved right, and compared with its equations in NumPy."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import saiki
from oracles import layer_norm, relu, sigmoid

FOLDER = Path(__file__).parents[1] / "examples" / "cells"


def cells_in(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, saiki.Cell)
    }


FILES = sorted(FOLDER.glob("*.py"))
CELLS = {name: cell for path in FILES for name, cell in cells_in(path).items()}


# One step of one row each, from the papers; w holds the parameters by name.


def peephole_lstm(w, x, h, c):
    i, f, g, o = np.split(w["W.weight"] @ x + w["W.bias"] + w["U.weight"] @ h, 4)
    p_i, p_f, p_o = w["p"]
    new_c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    return sigmoid(o + p_o * new_c) * np.tanh(new_c), new_c


def minimal_gated_unit(w, x, h):
    W_f, W_n = np.split(w["W.weight"], 2)
    b_f, b_n = np.split(w["W.bias"], 2)
    f = sigmoid(W_f @ x + w["U_f.weight"] @ h + b_f)
    n = np.tanh(W_n @ x + w["U_n.weight"] @ (f * h) + b_n)
    return (h + f * (n - h),)


def multiplicative_lstm(w, x, h, c):
    m = (w["W_m.weight"] @ x) * (w["U_m.weight"] @ h)
    i, f, g, o = np.split(w["W.weight"] @ x + w["W.bias"] + w["U.weight"] @ m, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def ind_rnn(w, x, h):
    return (relu(w["W.weight"] @ x + w["u"] * h + w["W.bias"]),)


def layer_norm_gru(w, x, h):
    def normalised(norm, a):
        return layer_norm(a, w[f"{norm}.weight"], w[f"{norm}.bias"])

    a = normalised("norm_x", w["W.weight"] @ x) + normalised("norm_h", w["U.weight"] @ h)
    r, z = np.split(sigmoid(a), 2)
    from_h = normalised("norm_n_h", w["U_n.weight"] @ h)
    n = np.tanh(normalised("norm_n_x", w["W_n.weight"] @ x) + r * from_h)
    return (n + z * (h - n),)


def simple_recurrent_unit(w, x, h, c):
    W_f, W_r, W_c, W_s = np.split(w["W.weight"], 4)
    f = sigmoid(W_f @ x + w["v"][0] * c + w["b"][0])
    r = sigmoid(W_r @ x + w["v"][1] * c + w["b"][1])
    new_c = f * c + (1 - f) * (W_c @ x)
    return r * new_c + (1 - r) * (W_s @ x), new_c


STEPS = {
    "IndRNN": ind_rnn,
    "LayerNormGRU": layer_norm_gru,
    "MinimalGatedUnit": minimal_gated_unit,
    "MultiplicativeLSTM": multiplicative_lstm,
    "PeepholeLSTM": peephole_lstm,
    "SRU": simple_recurrent_unit,
}


def test_each_of_the_six_files_holds_one_cell_and_each_cell_has_a_formula_here():
    assert [len(cells_in(path)) for path in FILES] == [1] * 6
    assert set(CELLS) == set(STEPS)


@pytest.mark.parametrize("name", CELLS)
def test_is_proved_right(name):
    report = saiki.check(CELLS[name](2, 3))
    assert report.passed, report


@pytest.mark.parametrize("name", CELLS)
def test_agrees_with_its_equations_in_numpy(name):
    layer = saiki.Recurrent(CELLS[name](3, 5)).double()
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    w = {name: p.detach().numpy() for name, p in layer.cell.named_parameters()}
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    start = [torch.randn(2, 5, dtype=torch.float64) for _ in layer.cell.state_names]
    with torch.no_grad():
        y, _ = layer(x, tuple(start))
    for i in range(2):
        state = [s[i].numpy() for s in start]
        for t in range(6):
            state = STEPS[name](w, x[i, t].numpy(), *state)
            np.testing.assert_allclose(y[i, t].numpy(), state[0], rtol=1e-10, atol=1e-12)
