"""The options that torch.nn lacks, beside loops in NumPy and finite differences."""

import copy
import pickle
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

import saiki
import saiki.nn.drop_in.layers
from compiler.comparison import assert_same
from nn import by_hand
from nn.pairs import LENGTHS, failure, outcome, packed, states, without_onednn_warning
from saiki import InputError

pytestmark = pytest.mark.one_in(4)

OPTIONS = {
    "RNN softplus": ("RNN", {"activation": "softplus"}),
    "RNN relu by name": ("RNN", {"activation": "relu", "bias": False}),
    "LSTM peephole": ("LSTM", {"peephole": True}),
    "LSTM coupled": ("LSTM", {"coupled": True}),
    "LSTM coupled peephole": ("LSTM", {"coupled": True, "peephole": True}),
    "LSTM without input gate": ("LSTM", {"input_gate": False}),
    "LSTM without forget gate": ("LSTM", {"forget_gate": False, "peephole": True}),
    "LSTM without output gate": ("LSTM", {"output_gate": False, "bias": False}),
    "LSTM without gates": (
        "LSTM",
        {"input_gate": False, "forget_gate": False, "output_gate": False, "peephole": True},
    ),
    "LSTM without input activation": ("LSTM", {"input_activation": False}),
    "LSTM without output activation": ("LSTM", {"output_activation": False}),
    "LSTM softplus": ("LSTM", {"activation": "softplus", "recurrent_activation": "hard_sigmoid"}),
    "LSTM layer norm": ("LSTM", {"layer_norm": True}),
    "LSTM layer norm without bias": ("LSTM", {"layer_norm": True, "bias": False}),
    "LSTM projection peephole": ("LSTM", {"proj_size": 2, "peephole": True}),
    "LSTM projection layer norm": ("LSTM", {"proj_size": 2, "layer_norm": True}),
    "GRU before": ("GRU", {"reset": "before"}),
    "GRU before without bias": ("GRU", {"reset": "before", "bias": False}),
    "GRU softplus": ("GRU", {"activation": "softplus", "recurrent_activation": "hard_sigmoid"}),
    "RNN dropout": ("RNN", {"recurrent_dropout": 0.4}),
    "LSTM dropout": ("LSTM", {"recurrent_dropout": 0.4, "peephole": True}),
    "LSTM projection dropout": ("LSTM", {"recurrent_dropout": 0.4, "proj_size": 2}),
    "GRU dropout": ("GRU", {"recurrent_dropout": 0.4}),
    "GRU before dropout": ("GRU", {"recurrent_dropout": 0.4, "reset": "before"}),
    "RNN zoneout": ("RNN", {"zoneout": 0.3}),
    "LSTM zoneout": ("LSTM", {"zoneout": 0.3, "proj_size": 2}),
    "GRU zoneout": ("GRU", {"zoneout": 0.3}),
    "LSTM all noise": ("LSTM", {"zoneout": 0.3, "recurrent_dropout": 0.4, "layer_norm": True}),
    "GRU all noise": ("GRU", {"zoneout": 0.3, "recurrent_dropout": 0.4, "reset": "before"}),
}
NOISY = [name for name, (_, o) in OPTIONS.items() if {"zoneout", "recurrent_dropout"} & {*o}]


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64)


@cache
def built(name):
    """Two layers both ways, which read inputs of one size, so that one kernel serves both."""
    family, options = OPTIONS[name]
    size = 2 * options.get("proj_size", 5)
    return randomised(getattr(saiki.nn, family)(size, 5, 2, bidirectional=True, **options))


def randomised(layer):
    """With weights around 0, and around 1 for the gains of a norm."""
    torch.manual_seed(6)
    for p_name, p in layer.named_parameters():
        torch.nn.init.normal_(p, float("norm" in p_name and "weight" in p_name), 0.4)
    return layer.double()


def ragged(size):
    return packed(draw(4, 6, size), LENGTHS["unsorted"])


class Noise:
    """What the layers draw for their noise while a test runs."""

    def __init__(self, monkeypatch):
        self.masks, self.zones = [], []
        for name, store in (("dropout_mask", self.masks), ("zoneout_mask", self.zones)):
            monkeypatch.setattr(saiki.nn.drop_in.layers, name, self.keeping(name, store))

    @staticmethod
    def keeping(name, store):
        original = getattr(saiki.nn.drop_in.layers, name)

        def draw(*args):
            store.append(original(*args))
            return store[-1]

        return draw


def rows_of(y, like, batch_first=False):
    """Each row of an input, an output or of the noise that belongs to one, in NumPy."""
    if isinstance(like, PackedSequence):
        data = y.data if isinstance(y, PackedSequence) else y
        y, lengths = pad_packed_sequence(PackedSequence(data, *like[1:]), batch_first=True)
        return [row[:length].detach().numpy() for row, length in zip(y, lengths, strict=True)]
    return list((y if batch_first else y.transpose(0, 1)).detach().numpy())


def assert_by_hand(layer, x, hx, noise):
    """``layer(x, hx)`` is what the loop in NumPy gives with the same noise."""
    noise.masks.clear()
    noise.zones.clear()
    y, ends = layer(x) if hx is None else layer(x, hx)
    rows = rows_of(x, x, layer.batch_first)
    several = isinstance(layer, torch.nn.LSTM)
    ends = ends if several else (ends,)
    if hx is None:
        starts = [np.zeros(end.shape) for end in ends]
    else:
        starts = [s.numpy() for s in (hx if several else (hx,))]
    order = x.unsorted_indices if isinstance(x, PackedSequence) else torch.arange(len(rows))
    masks = [m[order].numpy() for m in noise.masks] or None
    zones = [rows_of(z, x, layer.batch_first) for z in noise.zones] or None
    expected, expected_ends = by_hand.run(layer, rows, starts, masks, zones)
    for a, b in zip(rows_of(y, x, layer.batch_first), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    for a, b in zip(ends, expected_ends, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-9, atol=1e-11)


@pytest.fixture
def noise(monkeypatch):
    return Noise(monkeypatch)


class TestNumbers:
    @pytest.mark.parametrize("name", OPTIONS)
    def test_are_those_of_the_equations(self, name, noise):
        for training in (False, True) if name in NOISY else (True,):
            layer = built(name).train(training)
            for x in (draw(5, 4, layer.input_size), ragged(layer.input_size)):
                for hx in (None, states(layer, 4)):
                    assert_by_hand(layer, x, hx, noise)
            noisy = training and "recurrent_dropout" in OPTIONS[name][1]
            assert len(noise.masks) == (4 if noisy else 0)

    @pytest.mark.parametrize("merge", ["concat", "sum", "mean", "mul"])
    @pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
    def test_of_each_merge(self, family, merge, noise):
        layer = getattr(saiki.nn, family)(3, 5, 2, bidirectional=True, merge=merge)
        layer = randomised(layer)
        assert_by_hand(layer, draw(6, 4, 3), states(layer, 4), noise)
        layer.batch_first = True
        assert_by_hand(layer, draw(4, 6, 3), states(layer, 4), noise)
        assert layer.weight_ih_l1.shape[1] == (10 if merge == "concat" else 5)
        assert layer(draw(6, 4, 3))[0].shape[2] == (10 if merge == "concat" else 5)

    @pytest.mark.parametrize("name", ["RNN softplus", "LSTM all noise", "GRU all noise"])
    def test_of_a_sequence_without_a_batch_are_those_of_a_batch_of_one(self, name):
        layer = built(name)
        x, hx = draw(6, layer.input_size), states(layer, None)
        several = isinstance(hx, tuple)
        torch.manual_seed(2)
        y, ends = layer(x, hx)
        torch.manual_seed(2)
        one = tuple(s[:, None] for s in hx) if several else hx[:, None]
        expected, expected_ends = layer(x[:, None], one)
        torch.testing.assert_close(y, expected[:, 0])
        for a, b in zip(
            ends if several else (ends,),
            expected_ends if several else (expected_ends,),
            strict=True,
        ):
            torch.testing.assert_close(a, b[:, 0])

    def test_any_function_serves_as_activation(self):
        x = draw(6, 4, 3)
        for name, function in (("tanh", torch.tanh), ("relu", torch.nn.ReLU())):
            ours = saiki.nn.RNN(3, 5, activation=function, dtype=torch.float64)
            theirs = torch.nn.RNN(3, 5, nonlinearity=name, dtype=torch.float64)
            ours.load_state_dict(theirs.state_dict(), strict=True)
            assert_same(outcome(ours, x), outcome(theirs, x), 1e-10)


class TestGradients:
    @pytest.mark.parametrize("name", OPTIONS)
    def test_agree_with_finite_differences(self, name):
        family, options = OPTIONS[name]
        layer = randomised(getattr(saiki.nn, family)(2, 3, backend="eager", **options))
        names = [n for n, _ in layer.named_parameters()]

        def run(x, *rest):
            torch.manual_seed(5)
            hx = rest[0] if len(starts) == 1 else rest[:2]
            weights = dict(zip(names, rest[len(starts) :], strict=True))
            y, ends = torch.func.functional_call(layer, weights, (x, hx))
            return (y, *ends) if len(starts) > 1 else (y, ends)

        starts = states(layer, 3)
        starts = starts if isinstance(starts, tuple) else (starts,)
        wanted = [draw(3, 3, 2), *starts, *(p.detach() for p in layer.parameters())]
        wanted = [t.clone().requires_grad_(t.numel() > 0) for t in wanted]
        assert torch.autograd.gradcheck(run, wanted, fast_mode=True)

    @pytest.mark.parametrize("name", OPTIONS)
    def test_are_those_of_the_eager_loop(self, name):
        layer = built(name).train()
        eager = copy.deepcopy(layer)
        eager.backend = "eager"
        for x in (draw(5, 4, layer.input_size), ragged(layer.input_size)):
            hx = states(layer, 4)
            actual, expected = (outcome(m, x, hx, seed=3) for m in (layer, eager))
            assert_same(actual, expected, 1e-10)

    @pytest.mark.parametrize("name", ["RNN softplus", "LSTM all noise", "GRU before"])
    def test_a_kernel_by_name_is_the_one_that_is_taken_anyway(self, name):
        layer = built(name).train()
        named = copy.deepcopy(layer)
        named.backend = "cpu"
        x, hx = ragged(layer.input_size), states(layer, 4)
        assert_same(outcome(named, x, hx, seed=3), outcome(layer, x, hx, seed=3), 0)

    def test_of_gradients_with_peepholes(self):
        layer = randomised(saiki.nn.LSTM(2, 3, peephole=True, zoneout=0.2))

        def run(x):
            torch.manual_seed(5)
            return layer(x)[0]

        assert torch.autograd.gradgradcheck(run, (draw(3, 2, 2).requires_grad_(),))


class TestRecurrentDropout:
    def identity(self, family, hidden_size, p):
        """h ← h ∘ m, if nothing else acts."""
        layer = getattr(saiki.nn, family)(
            1, hidden_size, activation="identity", recurrent_dropout=p, dtype=torch.float64
        )
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.zero_()
            layer.weight_hh_l0[-hidden_size:] = torch.eye(hidden_size)
        return layer

    def test_hides_the_same_features_from_every_step_of_a_row_and_others_of_another(self):
        layer = self.identity("RNN", 200, 0.25)
        y, _ = layer(torch.zeros(4, 30, 1).double(), torch.ones(1, 30, 200).double())
        mask = y[0]
        assert (mask == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)  # 6000 draws
        survivors = mask[mask != 0]
        torch.testing.assert_close(survivors, torch.full_like(survivors, 4 / 3))  # the mean stays 1
        for t in range(4):
            torch.testing.assert_close(y[t], mask ** (t + 1))
        shares = (mask[:, None] == mask[None]).double().mean(2)
        assert shares.fill_diagonal_(0).max() < 0.9

    def test_differs_from_call_to_call_and_between_layers_and_directions(self, noise):
        layer = saiki.nn.RNN(1, 50, 2, bidirectional=True, recurrent_dropout=0.5)
        for _ in range(2):
            layer(torch.zeros(3, 2, 1))
        assert len({tuple(m.flatten().tolist()) for m in noise.masks}) == 8

    def test_leaves_what_the_gru_carries(self):
        layer = self.identity("GRU", 40, 0.5)
        with torch.no_grad():
            layer.bias_ih_l0[40:80] = 1e3  # z = 1
        start = draw(1, 3, 40)
        y, last = layer(torch.zeros(5, 3, 1).double(), start)
        assert torch.equal(y, start.expand(5, 3, 40))
        assert torch.equal(last, start)

    def test_hides_features_from_the_candidate_of_the_gru(self):
        layer = self.identity("GRU", 40, 0.5)
        with torch.no_grad():
            layer.bias_ih_l0[:40] = 1e3  # r = 1
            layer.bias_ih_l0[40:80] = -1e3  # z = 0
        y, _ = layer(torch.zeros(3, 3, 1).double(), torch.ones(1, 3, 40).double())
        assert set(y[0].unique().tolist()) == {0.0, 2.0}
        torch.testing.assert_close(y[2], y[0] ** 3)

    @pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
    def test_is_off_in_evaluation(self, family):
        layer = getattr(saiki.nn, family)(3, 5, recurrent_dropout=0.5).eval()
        plain = getattr(torch.nn, family)(3, 5)
        plain.load_state_dict(layer.state_dict(), strict=True)
        x = torch.randn(6, 4, 3)
        assert_same(outcome(layer, x), outcome(plain, x), 1e-5)


class TestZoneout:
    @pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
    def test_keeps_old_values_exactly_with_that_probability(self, family):
        layer = getattr(saiki.nn, family)(3, 40, zoneout=0.3)
        y, _ = layer(torch.randn(20, 6, 3))
        unchanged = y[1:] == y[:-1]
        assert unchanged.double().mean().item() == pytest.approx(0.3, abs=0.03)  # 4560 draws
        assert unchanged.double().mean((0, 1)).min() > 0  # every feature at some time
        assert unchanged.double().mean((0, 1)).max() < 1

    def test_of_c_is_drawn_beside_that_of_h(self):
        layer = saiki.nn.LSTM(3, 40, zoneout=0.3)
        hx = torch.randn(2, 1, 50, 40)
        _, (h, c) = layer(torch.randn(1, 50, 3), tuple(hx))
        unchanged = [a == b for a, b in zip((h, c), hx, strict=True)]
        for k in unchanged:
            assert k.double().mean().item() == pytest.approx(0.3, abs=0.04)  # 2000 draws
        both = (unchanged[0] & unchanged[1]).double().mean().item()
        assert both == pytest.approx(0.09, abs=0.03)

    @pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
    def test_mixes_old_and_new_in_evaluation(self, family):
        layer = getattr(saiki.nn, family)(3, 5, zoneout=0.3, dtype=torch.float64).eval()
        plain = getattr(torch.nn, family)(3, 5, dtype=torch.float64)
        plain.load_state_dict(layer.state_dict(), strict=True)
        x, hx = draw(1, 4, 3), states(layer, 4)
        _, mixed = layer(x, hx)
        _, new = plain(x, hx)
        several = family == "LSTM"
        triples = zip(mixed, hx, new, strict=True) if several else [(mixed, hx, new)]
        for a, old, b in triples:
            torch.testing.assert_close(a, 0.3 * old + 0.7 * b)


class TestModule:
    def test_gates_that_are_off_have_no_rows(self):
        layer = saiki.nn.LSTM(3, 5, input_gate=False, peephole=True)
        assert layer.weight_ih_l0.shape == (15, 3)
        assert layer.weight_hh_l0.shape == (15, 5)
        assert layer.bias_ih_l0.shape == layer.bias_hh_l0.shape == (15,)
        assert layer.weight_ph_l0.shape == (2, 5)
        assert saiki.nn.LSTM(3, 5, coupled=True).weight_hh_l0.shape == (15, 5)

    @pytest.mark.parametrize("name", OPTIONS)
    def test_initial_weights_are_uniform_and_norms_change_nothing(self, name):
        family, options = OPTIONS[name]
        layer = getattr(saiki.nn, family)(20, 25, 2, bidirectional=True, **options)
        for _ in range(2):
            for p_name, p in layer.named_parameters():
                if p_name.startswith("norm"):
                    assert (p == ("weight" in p_name)).all()
                elif p.numel() > 0:
                    assert 0.15 < p.abs().max() <= 0.2  # 1/√25
                    assert p.unique().numel() > 1
            with torch.no_grad():
                for p in layer.parameters():
                    p.fill_(7.0)
            layer.reset_parameters()

    @pytest.mark.parametrize(
        ("family", "options"),
        [
            ("RNN", {"activation": "softplus"}),
            ("LSTM", {"zoneout": 0.1, "recurrent_dropout": 0.1, "activation": "relu"}),
            ("GRU", {"reset": "before", "merge": "sum"}),
        ],
    )
    def test_weights_of_the_shapes_of_torch_begin_as_there(self, family, options):
        both = []
        for library, more in ((torch.nn, {}), (saiki.nn, options)):
            torch.manual_seed(4)
            both.append(getattr(library, family)(3, 5, bidirectional=True, **more).state_dict())
        assert all(torch.equal(both[1][name], p) for name, p in both[0].items())
        assert both[0].keys() == both[1].keys()

    def test_parameters_lie_in_the_order_of_torch_with_the_new_ones_behind(self):
        layer = saiki.nn.LSTM(3, 5, 2, peephole=True, layer_norm=True, proj_size=2)
        groups = layer._all_weights
        assert groups[0][:6] == [
            "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0",
            "weight_ph_l0",
        ]  # fmt: skip
        assert len(groups[0]) == 12
        assert [n.replace("l0", "l1") for n in groups[0]] == groups[1]
        assert {*groups[0], *groups[1]} == {n for n, _ in layer.named_parameters()}
        assert sum(map(len, layer.all_weights)) == len(list(layer.parameters()))

    def test_cudnn_is_not_asked_to_flatten_weights_it_does_not_know(self, monkeypatch):
        calls = []
        monkeypatch.setattr(
            torch.nn.RNNBase, "flatten_parameters", lambda layer: calls.append(layer)
        )
        layer = saiki.nn.LSTM(3, 5, peephole=True)
        calls.clear()  # while it was one of torch.nn
        layer.double()
        assert not calls
        plain = saiki.nn.LSTM(3, 5)
        plain.double()
        assert plain in calls

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("LSTM peephole", "LSTM(10, 5, num_layers=2, bidirectional=True, peephole=True)"),
            ("GRU before", "GRU(10, 5, num_layers=2, bidirectional=True, reset=before)"),
            ("RNN dropout", "RNN(10, 5, num_layers=2, bidirectional=True, recurrent_dropout=0.4)"),
        ],
    )
    def test_its_options_show(self, name, sentence):
        assert repr(built(name)) == sentence

    @pytest.mark.parametrize("name", ["LSTM layer norm", "GRU all noise", "RNN softplus"])
    @pytest.mark.parametrize(
        "twin_of",
        [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
        ids=["deep copy", "pickle"],
    )
    def test_a_copy_computes_the_same(self, name, twin_of):
        layer = copy.copy(built(name))
        layer.backend = "eager"
        x = draw(5, 4, layer.input_size)
        layer(x)
        assert_same(outcome(twin_of(layer), x, seed=1), outcome(layer, x, seed=1), 0)

    @pytest.mark.parametrize("backend", ["auto", "eager", "cpu"])
    @pytest.mark.parametrize("name", ["LSTM peephole", "GRU all noise"])
    def test_an_empty_batch_has_no_rows_and_no_steps_are_refused(self, name, backend):
        family, options = OPTIONS[name]
        layer = getattr(saiki.nn, family)(3, 5, backend=backend, **options)
        y, ends = layer(torch.zeros(6, 0, 3))
        assert y.shape == (6, 0, 5)
        assert (ends[0] if family == "LSTM" else ends).shape == (1, 0, 5)
        with pytest.raises(RuntimeError, match=r"^Expected sequence length to be larger than 0"):
            layer(torch.zeros(0, 4, 3))

    def test_computes_on_no_numbers_and_in_half_precision(self):
        y, _ = saiki.nn.LSTM(3, 5, peephole=True, device="meta")(torch.zeros(6, 4, 3).to("meta"))
        assert y.is_meta
        layer = randomised(saiki.nn.LSTM(3, 5, peephole=True))
        x = draw(6, 4, 3)
        expected, _ = layer(x)
        y, _ = layer.to(torch.bfloat16)(x.bfloat16())
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.double(), expected, rtol=0.1, atol=0.05)

    @pytest.mark.parametrize("backend", ["auto", "eager"])
    @pytest.mark.parametrize("name", ["RNN softplus", "LSTM layer norm", "GRU zoneout"])
    def test_autocast_changes_nothing_but_the_type_of_x(self, name, backend):
        family, options = OPTIONS[name]
        layer = getattr(saiki.nn, family)(3, 5, backend=backend, **options).eval()
        x, hx = torch.randn(6, 4, 3).bfloat16(), states(layer, 4, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            actual = layer(x, hx)  # the first call, which compiles
        torch.testing.assert_close(actual, layer(x.float(), hx), rtol=0, atol=0)

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
    def test_transforms_of_torch_func(self):
        layer = randomised(saiki.nn.LSTM(3, 5, peephole=True))
        x, d_x = draw(2, 7, 6, 4, 3)
        mapped = torch.vmap(lambda x: layer(x)[0])(x)
        torch.testing.assert_close(mapped, torch.stack([layer(row)[0] for row in x]))
        _, slope = torch.func.jvp(lambda x: layer(x)[0], (x[0],), (d_x[0],))
        step = 1e-6 * d_x[0]
        by_difference = (layer(x[0] + step)[0] - layer(x[0] - step)[0]) / 2e-6
        torch.testing.assert_close(slope, by_difference, rtol=1e-6, atol=1e-8)


class TestErrors:
    @pytest.mark.parametrize(
        ("build", "sentence"),
        [
            (
                lambda: saiki.nn.GRU(3, 5, merge="max"),
                "merge must be one of concat, sum, mean, mul, got 'max'",
            ),
            (
                lambda: saiki.nn.GRU(3, 5, backend="cuda"),
                "backend must be one of auto, eager, cpu, got 'cuda'",
            ),
            (
                lambda: saiki.nn.LSTM(3, 5, recurrent_dropout=1.0),
                "recurrent_dropout must lie in [0, 1), got 1.0",
            ),
            (lambda: saiki.nn.LSTM(3, 5, zoneout=-0.1), "zoneout must lie in [0, 1), got -0.1"),
            (
                lambda: saiki.nn.RNN(3, 5, zoneout=float("nan")),
                "zoneout must lie in [0, 1), got nan",
            ),
            (lambda: saiki.nn.RNN(3, 5, zoneout="0.1"), "zoneout must lie in [0, 1), got '0.1'"),
            (lambda: saiki.nn.RNN(3, 5, zoneout=None), "zoneout must lie in [0, 1), got None"),
            (
                lambda: saiki.nn.GRU(3, 5, reset="middle"),
                "reset must be 'after' or 'before', got 'middle'",
            ),
            (
                lambda: saiki.nn.LSTM(3, 5, coupled=True, forget_gate=False),
                "coupled gates need both: leave input_gate and forget_gate on",
            ),
            (
                lambda: saiki.nn.GRU(3, 5, activation=torch.nn.PReLU()),
                "activation is PReLU(num_parameters=1), which has parameters or buffers of its "
                "own; write a saiki.Cell that holds it, for saiki.Recurrent",
            ),
        ],
    )
    def test_of_options_are_one_sentence(self, build, sentence):
        assert failure(build) == (InputError, sentence)

    @pytest.mark.parametrize("family", ["RNN", "LSTM", "GRU"])
    def test_an_unknown_activation_is_answered_with_those_there_are(self, family):
        with pytest.raises(InputError, match=r"^no activation 'sine'; there are step, sigmoid, "):
            getattr(saiki.nn, family)(3, 5, activation="sine")

    def test_of_input_are_those_of_torch(self):
        for x, hx in (
            (draw(3), None),
            (draw(1, 2, 3, 4), None),
            (draw(6, 4, 4), None),
            (draw(6, 4, 3).float(), None),
            (draw(6, 4, 3), draw(4, 5)),
            (draw(6, 3), draw(1, 4, 5)),
            (draw(6, 4, 3), draw(1, 3, 5)),
        ):
            theirs = torch.nn.LSTM(3, 5, dtype=torch.float64)
            ours = saiki.nn.LSTM(3, 5, peephole=True, dtype=torch.float64)
            arguments = (x,) if hx is None else (x, (hx, hx))
            expected = failure(lambda g=arguments, m=theirs: m(*g))
            assert expected is not None
            assert failure(lambda g=arguments, m=ours: m(*g)) == expected

    @pytest.mark.parametrize("count", [1, 3])
    def test_too_few_or_too_many_states(self, count):
        layer = saiki.nn.LSTM(3, 5, peephole=True)
        with pytest.raises(RuntimeError, match=r"^lstm expects two hidden states$"):
            layer(torch.zeros(6, 4, 3), (torch.zeros(1, 4, 5),) * count)

    def test_a_backend_by_name_refuses_what_it_cannot_serve(self):
        layer = saiki.nn.GRU(3, 5, backend="cpu", dtype=torch.bfloat16)
        with pytest.raises(saiki.CompileError, match=r"no kernel for torch.bfloat16"):
            layer(torch.zeros(6, 4, 3, dtype=torch.bfloat16))


def test_a_projection_without_options_needs_no_kernel_of_torch():
    layer = saiki.nn.LSTM(3, 5, proj_size=2, backend="cpu")
    plain = torch.nn.LSTM(3, 5, proj_size=2)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(6, 4, 3)
    torch.testing.assert_close(layer(x), without_onednn_warning(lambda: plain(x)))
