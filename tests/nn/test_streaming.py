"""The layers of ``torch.nn`` one step at a time."""

from pathlib import Path

import pytest
import torch

import saiki.nn
from nn.pairs import KINDS as PAIRS
from nn.pairs import outcome, pair, states, without_onednn_warning
from saiki import InputError

pytestmark = pytest.mark.one_in(3)

KINDS = {
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "RNN": ("RNN", {}),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}),
    "no bias": ("LSTM", {"bias": False}),
    "three layers": ("LSTM", {"num_layers": 3, "dropout": 0.5}),
    "two layers of time first": ("GRU", {"num_layers": 2, "batch_first": False}),
    "projection": ("LSTM", {"proj_size": 4, "num_layers": 2}),
    "peephole": ("LSTM", {"peephole": True, "num_layers": 2}),
    "reset before": ("GRU", {"reset": "before", "batch_first": False}),
    "softplus": ("RNN", {"activation": "softplus"}),
    "zoneout": ("GRU", {"zoneout": 0.2, "recurrent_dropout": 0.3}),
}


def made(name, **more):
    family, options = KINDS[name]
    return getattr(saiki.nn, family)(3, 8, **{"batch_first": True, **options, **more})


def stream(layer, x, state=None):
    outputs = []
    for step in x.unbind(1 if layer.batch_first else 0):
        y, state = layer.step(step, state)
        outputs.append(y)
    return torch.stack(outputs, 1 if layer.batch_first else 0), state


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", KINDS)
def test_step_by_step_as_the_whole_sequence(name, dtype, tolerance):
    layer = made(name, dtype=dtype).eval()
    x = torch.randn(5, 6, 3, dtype=dtype)
    actual, wanted = stream(layer, x), layer(x)
    torch.testing.assert_close(actual, wanted, rtol=tolerance, atol=tolerance)
    assert not actual[0].requires_grad
    first, rest = (x[:, :2], x[:, 2:]) if layer.batch_first else (x[:2], x[2:])
    _, state = layer(first)
    torch.testing.assert_close(
        stream(layer, rest, state)[1], wanted[1], rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ["three layers", "zoneout"])
def test_nothing_is_dropped(name):
    layer, x = made(name), torch.randn(2, 3)
    assert torch.equal(layer.train().step(x)[0], layer.eval().step(x)[0])


def test_other_weights_are_taken():
    layer, x = made("LSTM"), torch.randn(2, 3)
    before = layer.step(x)[0]
    layer.weight_ih_l0 = torch.nn.Parameter(2 * layer.weight_ih_l0.detach())
    after = layer.step(x)[0]
    assert not torch.equal(before, after)
    layer.weight_hh_l0.data.zero_()
    torch.testing.assert_close(layer.step(x)[0], layer(x[:, None])[0][:, 0])


def test_no_memory_is_left_behind():
    layer, x, state = made("LSTM"), torch.randn(1, 3), None
    with torch.no_grad():
        for _ in range(2000):
            _, state = layer.step(x, state)
        before = resident()
        for _ in range(50_000):
            _, state = layer.step(x, state)
    assert resident() - before < 2 << 20


def resident():
    """Bytes of this process in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except FileNotFoundError:
        pytest.skip("the system does not say")


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"both ways.*call it with the whole sequence"):
        made("LSTM", bidirectional=True).step(torch.randn(2, 3))
    layer = made("three layers")
    with pytest.raises(InputError, match=r"a step takes input as \(batch, 3\), got \(2, 1, 3\)"):
        layer.step(torch.randn(2, 1, 3))
    with pytest.raises(InputError, match="the state must have the shapes"):
        layer.step(torch.randn(2, 3), (torch.zeros(1, 2, 8), torch.zeros(3, 2, 8)))
    with pytest.raises(InputError, match="the state must have the shapes"):
        layer.step(torch.randn(2, 3), torch.zeros(3, 2, 8))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [*PAIRS, "two layers", "no bias"])
def test_a_call_of_one_step_as_in_torch_nn(kind, batch_first):
    more = {"two layers": ("GRU", {"num_layers": 2}), "no bias": ("LSTM", {"bias": False})}
    family, options = (PAIRS | more)[kind]
    theirs, ours = pair(family, 3, 5, **options, batch_first=batch_first, dtype=torch.float64)
    x = torch.randn(4, 1, 3, dtype=torch.float64)
    x = x if batch_first else x.transpose(0, 1)
    for input, state in [(x, None), (x, states(theirs, 4)), (x[:1, :1].squeeze(1), None)]:
        expected = without_onednn_warning(lambda g=input, s=state: outcome(theirs, g, s))
        torch.testing.assert_close(outcome(ours, input, state), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "three layers"])
def test_an_output_of_one_step_may_be_changed_in_place(name):
    layer = made(name)
    x = torch.randn(2, 1, 3)
    for call in (layer, lambda x: layer.step(x[:, 0])):
        y, state = call(x)
        h = state[0] if isinstance(state, tuple) else state
        before = h.detach().clone()
        y.mul_(3).sub_(1)
        assert torch.equal(h, before)
        if y.requires_grad:
            y.sum().backward()


def test_a_call_of_one_step_has_no_kernel_unless_it_is_asked_for():
    layer = made("GRU")
    layer(torch.randn(2, 1, 3))
    assert not layer._saiki_built
    layer.backend = "cpu"
    layer(torch.randn(2, 1, 3))
    assert layer._saiki_built
    dropping = made("three layers")
    dropping(torch.randn(2, 1, 3))
    assert dropping._saiki_built


@pytest.mark.parametrize("steps", [1, 2])
def test_what_torch_nn_refuses_is_refused_in_a_call_of_one_step(steps):
    """Its cells would add numbers of two types, and do without a bias that is gone."""
    theirs, ours = pair("LSTM", 3, 5)
    x, (h, c) = torch.randn(steps, 2, 3), states(theirs, 2, torch.float32)
    for layer in (theirs, ours):
        with pytest.raises((RuntimeError, InputError)):
            layer(x, (h, c.double()))
        layer.bias_hh_l0 = None
        with pytest.raises((RuntimeError, TypeError)):
            layer(x)
