"""Sequences so short that PyTorch's own loop is as fast: who runs them."""

import functools

import pytest
import torch
from torch.nn.utils import parametrize

import saiki.nn
from nn.pairs import packed, pair
from saiki import lens
from saiki.nn.drop_in import layers
from saiki.nn.drop_in.short import is_short


@pytest.fixture
def calls(monkeypatch):
    """How often a kernel of ours was asked for."""
    counted = []

    def run(*arguments, **named):
        counted.append(arguments)
        return own(*arguments, **named)

    own = layers.run_layers
    monkeypatch.setattr(layers, "run_layers", run)
    return counted


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
def test_a_short_sequence_has_the_bits_of_torch(family, bidirectional, calls):
    options = {"num_layers": 2, "bidirectional": bidirectional, "batch_first": True}
    theirs, ours = pair(family, 3, 5, **options)
    x = torch.randn(2, 3, 3)
    results = []
    for layer in (theirs, ours):
        inputs = x.clone().requires_grad_()
        y, state = layer(inputs)
        y.square().sum().backward()
        results.append([y, *(state if family == "LSTM" else [state]), inputs.grad])
        results[-1] += [p.grad for p in layer.parameters()]
        with torch.no_grad():
            results[-1].append(layer(x)[0])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert not calls


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
def test_a_short_sequence_goes_on_from_states(family, batch_first, calls):
    theirs, ours = pair(family, 3, 5, batch_first=batch_first)
    x, states = torch.randn(2, 2, 3), torch.randn(2, 1, 2, 5)
    hx = tuple(states) if family == "LSTM" else states[0]
    for layer in (theirs, ours):
        layer.weight_ih_l0 = torch.nn.Parameter(torch.full_like(theirs.weight_ih_l0, 0.1))
    (y, end), (z, other) = theirs(x, hx), ours(x, hx)
    assert torch.equal(y, z)
    assert all(map(torch.equal, end, other))
    assert type(end) is type(other)
    assert not calls


@pytest.mark.parametrize("wrong", ["input", "states", "type of states", "count", "type of weights"])
@pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
def test_what_is_wrong_with_a_short_sequence_torch_says(family, wrong):
    x = torch.randn(2, 2, 4 if wrong == "input" else 3)
    state = torch.randn(1, 2, 6 if wrong == "states" else 5)
    if wrong == "type of states":
        state = state.double()
    count = 1 + (family == "LSTM") + (wrong == "count")
    hx = state if count == 1 else (state,) * count
    messages = []
    for layer in pair(family, 3, 5):
        if wrong == "type of weights":
            layer.half()
        with pytest.raises(Exception) as caught:  # noqa: PT011
            layer(x, hx)
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]


LONG = {"RNN": 20, "GRU": 8, "LSTM": 500}


@pytest.mark.parametrize("family", LONG)
def test_a_longer_one_goes_through_a_kernel(family, calls):
    layer = getattr(saiki.nn, family)(3, 5)
    layer(torch.randn(LONG[family], 1, 3))
    assert len(calls) == 1
    with torch.no_grad():  # where a call spends less around its arithmetic
        layer(torch.randn(LONG[family], 1, 3))
    assert len(calls) == 1 + (family == "LSTM")


@pytest.mark.parametrize("family", LONG)
def test_what_torch_does_not_have_or_is_asked_for_goes_through_a_kernel(family, calls):
    x, make = torch.randn(2, 3, 3), getattr(saiki.nn, family)
    make(3, 5, backend="cpu")(x)
    make(3, 5).double()(x.double())
    make(3, 5, recurrent_dropout=0.5)(x)
    make(3, 5, num_layers=2, dropout=0.5)(x)
    make(3, 5)(packed(x.transpose(0, 1), torch.tensor([2, 1, 1])))
    assert len(calls) == 6


def test_a_parametrisation_is_asked_as_often_as_in_torch():
    layer = saiki.nn.LSTM(3, 5)
    calls = []

    class Counted(torch.nn.Module):
        def forward(self, weight):
            calls.append(1)
            return weight

    parametrize.register_parametrization(layer, "weight_hh_l0", Counted())
    expected = []
    for run in (layer, functools.partial(torch.nn.LSTM.forward, layer)):
        for steps in (1, 3, 600):
            calls.clear()
            run(torch.randn(steps, 1, 3))
            expected.append(len(calls))
    assert expected[0] == expected[3]
    assert expected[1] == expected[4]


def test_the_lens_sees_every_step_of_it():
    layer = saiki.nn.LSTM(3, 5)
    with lens.watch(layer) as recording:
        layer(torch.randn(2, 1, 3))
    (seen,) = recording.values()
    assert {"f", "c"} <= seen.values.keys()


def test_the_bounds():
    assert is_short("GRU", 1, 6, 64, 1, True)
    assert not is_short("GRU", 1, 7, 64, 1, True)
    assert is_short("GRU", 1, 13, 64, 1, False)
    assert not is_short("GRU", 1, 7, 64, 2, False)
    assert is_short("RNN_TANH", 16, 27, 64, 1, False)
    assert not is_short("RNN_RELU", 512, 10, 32, 1, False)
    assert is_short("GRU", 64, 1, 512, 2, False)
    assert not is_short("LSTM", 1, 1, 64, 1, False)
    assert is_short("LSTM", 32, 20, 64, 1, False)
    assert not is_short("LSTM", 32, 30, 64, 1, False)
    assert not is_short("LSTM", 1, 2, 256, 1, False)
    assert not is_short("LSTM", 1, 500, 16, 1, False)
