"""Layers of ``torch.nn``, and those that take their place, are seen like any other."""

import pytest
import torch
from torch import nn

import saiki
from saiki import lens
from saiki.lens.recording import WATCHER

STEPS, ROWS = 5, 3


def by_hand(layer, x, loss):
    """Norms of ∂L/∂h of each layer and direction at each step, and the states of the first row,
    by cells of ``torch.nn`` in a loop; its output goes into ``loss``."""
    kind = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}[type(layer).__name__]
    states, ends = {}, ["", "_reverse"] if layer.bidirectional else [""]
    for i in range(layer.num_layers):
        outputs = []
        for end in ends:
            cell = kind(x.shape[-1], layer.hidden_size).double()
            tensors = {
                name: getattr(layer, f"{name}_l{i}{end}") for name, _ in cell.named_parameters()
            }
            steps = range(STEPS) if end == "" else range(STEPS)[::-1]
            state, values = None, [None] * STEPS
            for t in steps:
                state = torch.func.functional_call(cell, tensors, (x[t], state))
                values[t] = state[0] if kind is nn.LSTMCell else state
            states[f"l{i}{end}"] = values
            outputs.append(torch.stack(values))
        x = torch.cat(outputs, -1)
    total = loss(x)
    norms = {
        name: [g.norm().item() for g in torch.autograd.grad(total, values, retain_graph=True)]
        for name, values in states.items()
    }
    return norms, {name: torch.stack([h[0] for h in values]) for name, values in states.items()}


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("home", [nn, saiki.nn], ids=["torch", "saiki"])
def test_each_layer_and_direction_has_a_view_of_its_own(kind, home):
    layer = getattr(home, kind)(4, 6, num_layers=2, bidirectional=True).double()
    x = torch.randn(STEPS, ROWS, 4).double()
    weights = torch.randn(STEPS, 1, 12).double()

    def loss(y):
        return (weights * y**2).sum()

    model = nn.ModuleDict({"below": nn.Linear(4, 4).double(), "reader": layer})
    wanted, states = by_hand(layer, x, loss)
    plain = layer(x)[0].detach()
    with lens.watch(model) as view:
        y, _ = layer(x)
        loss(y).backward()
    torch.testing.assert_close(y, plain, rtol=1e-12, atol=1e-12)
    assert list(view) == [f"reader.{part}" for part in wanted]
    for part, norms in wanted.items():
        seen = view[f"reader.{part}"]
        assert seen.gradient["h"] == pytest.approx(norms, rel=1e-9), part
        torch.testing.assert_close(seen.states["h"], states[part].detach())
        assert seen.reverse == part.endswith("reverse")
    gates = {"RNN": {"h"}, "LSTM": set("ifgo"), "GRU": set("rzn")}[kind]
    assert gates <= set(view["reader.l0"].values)


@pytest.mark.parametrize("home", [nn, saiki.nn], ids=["torch", "saiki"])
def test_a_layer_alone_has_the_name_of_its_module_and_is_what_it_was_afterwards(home):
    model = nn.Sequential(home.GRU(3, 4))
    kind, weights = type(model[0]), dict(model[0].named_parameters())
    with pytest.raises(KeyError), lens.watch(model):
        raise KeyError
    with lens.watch(model) as view:
        model(torch.randn(2, 5, 3))[0].sum().backward()
    assert list(view) == ["0"]
    assert type(model[0]) is kind
    assert dict(model[0].named_parameters()) == weights
    assert all(p.grad is not None for p in weights.values())
    assert WATCHER.get() is None
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks


@pytest.mark.parametrize("noise", [{}, {"recurrent_dropout": 0.5, "zoneout": 0.2}])
@pytest.mark.parametrize(
    ("kind", "states", "gates"),
    [(saiki.nn.LSTM, ["h", "c"], "ifgo"), (saiki.nn.GRU, ["h"], "rzn")],
    ids=["lstm", "gru"],
)
def test_packed_input_noise_and_autocast_are_seen(kind, states, gates, noise):
    layer = kind(3, 4, num_layers=2, **noise)
    x = nn.utils.rnn.pack_sequence([torch.randn(n, 3) for n in (5, 3)])
    with lens.watch(layer) as view, torch.autocast("cpu", torch.bfloat16):
        y, _ = layer(x)
        y.data.sum().backward()
    assert list(view) == ["l0", "l1"]
    for seen in view.values():
        assert list(seen.gradient) == states  # and no mask
        assert set(gates) <= set(seen.values)
        assert len(seen.gradient["h"]) == 5
        assert all(norm > 0 for norm in seen.gradient["h"])
        assert seen.states[states[-1]].shape == (5, 4)


def test_what_cannot_be_seen_is_told():
    class Mine(nn.LSTM):
        pass

    model = nn.ModuleDict({"mine": Mine(3, 4), "cell": saiki.nn.LSTMCell(3, 4)})
    with pytest.warns(UserWarning, match="^the lens") as warned, lens.watch(model) as view:
        pass
    assert [str(warning.message) for warning in warned] == [
        "the lens does not see mine: a subclass of torch.nn.LSTM",
        "the lens does not see cell: single steps in a loop of your own; a layer, such as "
        "saiki.nn.LSTM, is seen",
    ]
    assert all(warning.filename == __file__ for warning in warned)
    assert view == {}


def test_a_model_of_which_nothing_was_seen_is_told():
    wanted = "^the lens saw nothing: no recurrent layer of the model ran inside the block$"
    with pytest.warns(UserWarning, match=wanted), lens.watch(nn.LSTM(3, 4)):
        pass


def test_a_layer_of_somebody_else_is_not_in_the_view():
    layer, other = saiki.Recurrent(saiki.cells.GRU(3, 4)), saiki.nn.GRU(3, 4)
    with lens.watch(layer) as view:
        other(torch.randn(5, 2, 3))
        layer(torch.randn(2, 5, 3))[0].sum().backward()
    assert list(view) == [""]


def test_swapped_models_are_seen():
    model = nn.Sequential(nn.LSTM(3, 4, batch_first=True))
    saiki.swap(model)
    with lens.watch(model) as view:
        model(torch.randn(2, 7, 3))[0].sum().backward()
    assert len(view["0"].gradient["h"]) == 7
    assert type(model[0]) is saiki.nn.LSTM
