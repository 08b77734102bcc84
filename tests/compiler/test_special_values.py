"""Infinities, NaNs, huge and tiny numbers and signed zeros give what the eager loop gives."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from compiler.comparison import compiled, draw, eager
from saiki.cells import GRU, LSTM, SimpleRNN

pytestmark = pytest.mark.one_in(3)

SPECIAL = [math.inf, -math.inf, math.nan, 1e30, -1e30, 1e-30, -1e-30, 0.0, -0.0]
CELLS = {
    "lstm": LSTM,
    "gru": GRU,
    "gru reset before": lambda i, h: GRU(i, h, reset="before"),
    "relu": lambda i, h: SimpleRNN(i, h, "relu"),
    "softplus": lambda i, h: SimpleRNN(i, h, "softplus"),
    "gelu": lambda i, h: SimpleRNN(i, h, F.gelu),
}


def assert_same_numbers(actual, expected, tolerance):
    """NaN where NaN is expected, the same infinities, the rest close one by one."""
    torch.testing.assert_close(
        actual, expected, rtol=tolerance, atol=tolerance * 1e-3, equal_nan=True
    )


@pytest.fixture(scope="module")
def layers():
    """The layer of a name and a type, compiled once."""
    made = {}

    def layer(name, dtype):
        if (name, dtype) not in made:
            torch.manual_seed(1)
            made[name, dtype] = compiled(CELLS[name](3, 5), dtype)
        return made[name, dtype]

    return layer


TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_in_the_input_and_the_states(layers, name, dtype):
    """One row for each value: in the input of its second step, or in one state.

    The eager loop runs in float64, since PyTorch's GELU of infinity is NaN in float32.
    """
    layer = layers(name, dtype)
    states = len(layer.cell.state_sizes)
    rows = 2 * len(SPECIAL)
    x = draw(rows, 4, 3, dtype=dtype)
    start = [draw(rows, 5, dtype=dtype) for _ in range(states)]
    for row, value in enumerate(SPECIAL):
        x[row, 1, 2] = value
        start[row % states][len(SPECIAL) + row, 3] = value
    start = tuple(start) if states > 1 else start[0]
    with torch.no_grad():
        y, last = layer(x, start)
        wide = tuple(s.double() for s in start) if states > 1 else start.double()
        expected, end = eager(layer, torch.float64)(x.double(), wide)
    assert_same_numbers(y, expected.to(dtype), TOLERANCE[dtype])
    if states == 1:
        last, end = (last,), (end,)
    for a, b in zip(last, end, strict=True):
        assert_same_numbers(a, b.to(dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_rows_with_special_values(layers, name):
    layer = layers(name, torch.float64)
    x = draw(len(SPECIAL), 4, 3)
    for row, value in enumerate(SPECIAL):
        x[row, 1, 2] = value
    gradients = []
    for part in (layer, eager(layer)):
        leaf = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(part(leaf)[0].sin().sum(), leaf)[0])
    actual, expected = gradients
    moderate = [i for i, value in enumerate(SPECIAL) if abs(value) <= 1]
    assert len(moderate) == 4
    assert_same_numbers(actual[moderate], expected[moderate], 1e-9)
    assert torch.isfinite(expected[moderate]).all()
    later = slice(2, None)  # what comes after the value is lost in both, or in neither
    assert torch.equal(actual[:, later].isnan(), expected[:, later].isnan())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", ["lstm", "gru reset before", "relu"])
def test_in_the_parameters(layers, name, dtype):
    layer = layers(name, dtype)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    x = draw(3, 4, 3, dtype=dtype)
    try:
        for value, parameter in itertools.product(SPECIAL, layer.parameters()):
            with torch.no_grad():
                clone = parameter.clone()
                parameter.view(-1)[2] = value
                assert_same_numbers(layer(x)[0], eager(layer)(x)[0], TOLERANCE[dtype])
                parameter.copy_(clone)
    finally:
        layer.load_state_dict(before)


def test_the_sign_of_zero(layers):
    layer = layers("relu", torch.float64)
    with torch.no_grad():
        before = {key: value.clone() for key, value in layer.state_dict().items()}
        for p in layer.parameters():
            p.zero_()
        y, _ = layer(draw(3, 4, 3))
        expected, _ = eager(layer)(draw(3, 4, 3))
        layer.load_state_dict(before)
    assert torch.equal(torch.signbit(y), torch.signbit(expected))
