"""swap: layers of torch.nn inside a model become ours, and back."""

import copy

import pytest
import torch
from torch import nn

import saiki
import saiki.nn
from compiler.comparison import assert_same
from nn.pairs import outcome
from saiki import InputError, swap


class Tagger(nn.Module):
    """Layers at several depths, one of them twice, and a cell."""

    def __init__(self):
        super().__init__()
        self.below = nn.ModuleDict({"lstm": nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True)})
        self.middle = nn.Sequential(nn.Linear(8, 5), nn.Tanh())
        self.twice = nn.RNN(5, 5, nonlinearity="relu", batch_first=True)
        self.same = self.twice
        self.gru = nn.GRU(5, 4, batch_first=True)
        self.cells = nn.ModuleList([nn.LSTMCell(4, 4), nn.RNNCell(4, 3), nn.GRUCell(3, 2)])

    def forward(self, x):
        y, _ = self.below["lstm"](x)
        y = self.middle(y)
        y = self.same(self.twice(y)[0])[0]
        _, h = self.gru(y)
        h, _ = self.cells[0](h[0])
        return self.cells[2](self.cells[1](h))


NAMES = {
    "below.lstm": "LSTM", "twice": "RNN", "gru": "GRU", "cells.0": "LSTMCell",
    "cells.1": "RNNCell", "cells.2": "GRUCell",
}  # fmt: skip


@pytest.fixture
def model():
    return Tagger().double()


@pytest.fixture
def x():
    return torch.randn(6, 7, 3, dtype=torch.float64)


def contents(model):
    """Everything that makes up each module, and what it holds."""
    return {
        name: (type(m), {k: v for k, v in vars(m).items() if not k.startswith("_flat")})
        for name, m in model.named_modules()
    }


class TestSwap:
    def test_changes_no_number(self, model, x):
        expected = outcome(model, x)
        lines = swap(model)
        assert lines == tuple(
            f"{name}: torch.nn.{kind} → saiki.nn.{kind}" for name, kind in NAMES.items()
        )
        for name, kind in NAMES.items():
            assert type(model.get_submodule(name)) is getattr(saiki.nn, kind)
        assert model.same is model.twice
        assert_same(outcome(model, x), expected, 1e-10)

    def test_runs_on_kernels_of_ours(self, model, x):
        swap(model)
        for name in ("below.lstm", "twice", "gru"):
            model.get_submodule(name).backend = "cpu"
        model(x)
        assert model.gru._saiki_built

    def test_leaves_modules_and_parameters_in_their_places(self, model):
        before = dict(model.named_modules()), dict(model.named_parameters()), model.state_dict()
        swap(model)
        after = dict(model.named_modules()), dict(model.named_parameters()), model.state_dict()
        for old, new in zip(before[:2], after[:2], strict=True):
            assert list(old) == list(new)
            assert all(new[name] is part for name, part in old.items())
        assert list(before[2]) == list(after[2])

    def test_an_optimiser_made_before_goes_on(self, model, x):
        twin = copy.deepcopy(model)
        ends = []
        for network, change in ((model, True), (twin, False)):
            optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
            for step in range(3):
                if step == 1 and change:
                    swap(network)
                optimiser.zero_grad()
                network(x).square().sum().backward()
                optimiser.step()
            ends.append(list(network.parameters()))
        for a, b in zip(*ends, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)

    def test_hooks_stay(self, model, x):
        calls = []
        model.gru.register_forward_pre_hook(lambda m, args: calls.append("before"))
        model.gru.register_forward_hook(lambda m, args, out: calls.append("after"))
        model.gru.register_full_backward_hook(lambda m, d_in, d_out: calls.append("backwards"))
        model.gru.weight_hh_l0.register_hook(lambda g: calls.append("weight"))
        swap(model)
        model(x).sum().backward()
        assert sorted(calls) == ["after", "backwards", "before", "weight"]

    @pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
    def test_a_layer_itself(self, kind):
        layer = getattr(nn, kind)(3, 5)
        assert swap(layer) == (f"the model: torch.nn.{kind} → saiki.nn.{kind}",)
        assert type(layer) is getattr(saiki.nn, kind)
        assert layer.is_plain

    @pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
    @pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
    def test_says_what_it_left_alone(self):
        class Own(nn.LSTM):
            def forward(self, x):
                return super().forward(2 * x)

        class Mine(saiki.nn.GRU):
            pass

        replaced = nn.LSTM(3, 5)
        replaced.forward = lambda x: x
        model = nn.ModuleDict(
            {
                "own": Own(3, 5),
                "normed": nn.utils.parametrizations.weight_norm(nn.GRU(3, 5), "weight_hh_l0"),
                "replaced": replaced,
                "scripted": torch.jit.script(nn.Sequential(nn.LSTM(3, 5))),
                "traced": torch.jit.trace(nn.GRU(3, 5), torch.randn(2, 2, 3)),
                "quantised": torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 5))),
                "mine": Mine(3, 5),
                "ours": saiki.nn.GRU(3, 5),
                "linear": nn.Linear(3, 5),
            }
        )
        kinds = [type(m) for m in model.modules()]
        x = torch.randn(6, 4, 3)
        expected = model["scripted"](x)[0], model["quantised"](x)[0], model["own"](x)[0]
        assert swap(model) == (
            "own: left alone, a subclass of torch.nn.LSTM",
            "normed: left alone, a subclass of torch.nn.GRU",
            "replaced: left alone, its forward was replaced",
            "scripted.0: left alone, LSTM in TorchScript",
            "traced: left alone, GRU in TorchScript",
            "quantised.0: left alone, torch.ao.nn.quantized.dynamic.modules.rnn.LSTM",
        )
        assert [type(m) for m in model.modules()] == kinds
        outputs = model["scripted"](x)[0], model["quantised"](x)[0], model["own"](x)[0]
        assert all(map(torch.equal, outputs, expected))
        assert swap(model, back=True) == (
            "mine: left alone, a subclass of saiki.nn.GRU",
            "ours: saiki.nn.GRU → torch.nn.GRU",
        )
        assert swap(nn.Linear(3, 5)) == swap(nn.Linear(3, 5), back=True) == ()

    def test_a_second_time_finds_nothing(self, model):
        assert len(swap(model)) == 6
        assert swap(model) == ()

    def test_keeps_modes_and_what_is_frozen(self, model):
        model.eval()
        model.gru.weight_hh_l0.requires_grad_(False)
        swap(model)
        assert not any(m.training for m in model.modules())
        assert not model.gru.weight_hh_l0.requires_grad


class TestBack:
    def test_gives_what_there_was(self, model, x):
        before, expected = contents(model), outcome(model, x)
        swap(model)
        model(x)
        lines = swap(model, back=True)
        assert lines == tuple(
            f"{name}: saiki.nn.{kind} → torch.nn.{kind}" for name, kind in NAMES.items()
        )
        assert contents(model) == before
        assert_same(outcome(model, x), expected, 0)

    def test_of_layers_that_were_ours_from_the_start(self):
        model = nn.ModuleList([saiki.nn.LSTM(3, 5, backend="eager"), saiki.nn.GRUCell(3, 5)])
        assert len(swap(model, back=True)) == 2
        for module, kind in zip(model, (nn.LSTM, nn.GRUCell), strict=True):
            assert type(module) is kind
            assert vars(module).keys() == vars(kind(3, 5)).keys()

    @pytest.mark.parametrize(
        ("layer", "sentence"),
        [
            (lambda: saiki.nn.LSTM(3, 5, peephole=True), "1 is LSTM(3, 5, peephole=True), and"),
            (lambda: saiki.nn.GRU(3, 5, zoneout=0.1), "1 is GRU(3, 5, zoneout=0.1), and"),
            (
                lambda: saiki.nn.RNN(3, 5, bidirectional=True, merge="sum"),
                "1 is RNN(3, 5, bidirectional=True, merge=sum), and",
            ),
            (lambda: saiki.nn.GRUCell(3, 5, reset="before"), "1 is GRUCell(3, 5, reset=before)"),
        ],
    )
    def test_refuses_options_and_changes_nothing_then(self, layer, sentence):
        model = nn.Sequential(saiki.nn.LSTM(3, 5), layer(), saiki.nn.GRUCell(3, 5))
        before = contents(model)
        with pytest.raises(InputError) as caught:
            swap(model, back=True)
        assert str(caught.value).startswith(sentence)
        assert str(caught.value).endswith("swap back only layers without options")
        assert contents(model) == before
        with pytest.raises(InputError, match=r"^the model is "):
            swap(layer(), back=True)
