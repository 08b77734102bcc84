"""The adder: its sums against Python's integers, its gradients against formulas by hand."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn

import oracles
from batches import training_batches
from saiki.data.series import sums
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.adder import Adder
from saiki.metrics.series import exact_sum_rate
from saiki.models.adder import (
    BorrowedDerivative,
    sigmoid_with_slope_of_tanh,
    tanh_with_slope_of_sigmoid,
)
from saiki.training import Training

pytestmark = pytest.mark.one_in(3)


def setting(preset=None, **changes):
    return Adder.from_dict({**Adder.preset(preset), **changes})


def number(bits):
    """The number whose bits these are, least significant first."""
    return int("".join(str(int(bit)) for bit in reversed(bits.tolist())), 2)


def read(x, t):
    """The two numbers and the sum of each row."""
    return [(number(a[:, 0]), number(a[:, 1]), number(s)) for a, s in zip(x, t, strict=True)]


# The data.


def test_all_pairs_of_4_bits_are_written_bit_by_bit():
    x, t = sums.encode(np.arange(64), 4)
    assert x.shape == (64, 4, 2)
    assert read(x, t) == [(a, b, a + b) for a in range(8) for b in range(8)]


def test_pairs_of_32_bits_are_written_bit_by_bit():
    dice = random.Random(0)
    pairs = [(dice.getrandbits(31), dice.getrandbits(31)) for _ in range(500)]
    pairs += [(0, 0), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)]
    x, t = sums.encode(np.array([(a << 31) + b for a, b in pairs]), 32)
    assert read(x, t) == [(a, b, a + b) for a, b in pairs]


@pytest.mark.parametrize(
    ("bits", "count"),
    [(2, 1), (4, 16), (6, 256), (7, 1024), (8, 2000), (11, 2000), (12, 2000), (32, 2000)],
)
def test_2000_distinct_pairs_are_kept_apart_and_a_quarter_where_there_are_few(bits, count):
    pairs = sums.kept_apart(bits)
    assert len(set(pairs.tolist())) == len(pairs) == count
    assert pairs.min() >= 0
    assert pairs.max() < 4 ** (bits - 1)


def test_pairs_that_are_drawn_twice_are_kept_apart_once(monkeypatch):
    # 40,000 draws from 4 million: some 190 of them meet
    monkeypatch.setattr("saiki.data.series.sums.KEPT_APART", 20_000)
    assert len(set(sums.kept_apart(12).tolist())) == 20_000


def test_the_pairs_kept_apart_are_spread_over_all():
    # of 2,000 numbers drawn evenly, the mean lies within 4 standard errors of the middle
    middle = sums.kept_apart(32).astype(float).mean() / 4**31
    assert abs(middle - 0.5) < 4 / np.sqrt(12 * 2000)


@pytest.mark.parametrize(("bits", "batch_size"), [(4, 1), (5, 32), (8, 32), (8, 100)])
def test_what_is_kept_apart_never_appears_in_training(bits, batch_size):
    apart = {(int(p) >> (bits - 1), int(p) % 2 ** (bits - 1)) for p in sums.kept_apart(bits)}
    seen = set()
    for x, t in itertools.islice(
        training_batches(Adder(bits=bits, batch_size=batch_size)), 12_000 // batch_size
    ):
        assert len(x) == batch_size
        numbers = read(x, t)
        assert all(a + b == total for a, b, total in numbers)
        seen |= {(a, b) for a, b, _ in numbers}
    assert not seen & apart
    # and everything else does: of n pairs, 12,000 draws miss a share of about exp(−12,000 / n)
    others = 4 ** (bits - 1) - len(apart)
    assert len(seen) == pytest.approx(others * (1 - np.exp(-12_000 / others)), rel=0.03)


# The model and its loss.


@pytest.mark.parametrize(
    ("preset", "recurrent", "output"), [("report", 0.5**0.5, 0.25), ("original", 1.0, 1.0)]
)
def test_the_presets_draw_their_weights_as_the_report_says(preset, recurrent, output):
    model = setting(preset, hidden_size=512).model()
    weights = [model.layer.cell.W.weight, model.layer.cell.U.weight, model.readout.weight]
    for weight, std in zip(weights, (1.0, recurrent, output), strict=True):
        error = std / np.sqrt(2 * weight.numel())  # of a standard deviation that is measured
        assert abs(weight.std().item() - std) < 5 * error
        assert abs(weight.mean().item()) < 5 * std / np.sqrt(weight.numel())


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_scales_act_on_their_own_weights(cell):
    knobs = {"cell": cell, "initialisation": "normal", "hidden_size": 64}
    model = Adder(input_scale=2.0, recurrent_scale=3.0, output_scale=5.0, **knobs).model()
    for weight, std in (
        (model.layer.cell.W.weight, 2),
        (model.layer.cell.U.weight, 3),
        (model.readout.weight, 5),
    ):
        assert weight.std().item() == pytest.approx(std, rel=5 / np.sqrt(2 * weight.numel()))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_recurrent_weights_start_orthogonal_gate_by_gate(cell):
    model = Adder(cell=cell, recurrent_scale=0.5).model()
    for block in model.layer.cell.U.weight.detach().split(16):
        torch.testing.assert_close(block @ block.T, 0.25 * torch.eye(16), atol=1e-5, rtol=0)


def test_without_biases_there_are_none():
    for cell in ("rnn", "lstm", "gru"):
        shapes = [p.ndim for p in Adder(cell=cell, bias=False).model().parameters()]
        assert shapes == [2, 2, 2]


def output(model, x):
    """y by hand, bit by bit, for a simple network with tanh."""
    W, b = (p.detach().numpy() for p in model.layer.cell.W.parameters())
    U = model.layer.cell.U.weight.detach().numpy()
    w, c = (p.detach().numpy() for p in model.readout.parameters())
    rows = [oracles.simple_rnn(row, np.zeros(len(b)), W, U, b)[1][1:] for row in x.numpy()]
    return oracles.sigmoid(np.stack(rows) @ w[0] + c)


def test_the_losses_are_sums_over_the_bits_and_means_over_the_rows():
    x, t = sums.encode(np.array([3, 77, 150, 4000]), 8)
    model, target = Adder().model(), t.numpy()
    y = output(model, x)
    squared = ((y - target) ** 2).sum() / 2 / 4
    entropy = -(target * np.log(y) + (1 - target) * np.log(1 - y)).sum() / 4
    assert Adder(loss_function="squared").measure(model, (x, t))["loss"].item() == pytest.approx(
        squared
    )
    assert Adder().measure(model, (x, t))["loss"].item() == pytest.approx(entropy)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("bias", [False, True])
def test_the_gradients_are_those_of_backpropagation_through_time_by_hand(activation, bias):
    adder = setting("report", activation=activation, bias=bias)
    model = adder.model().double()
    if bias:
        nn.init.normal_(model.layer.cell.W.bias)
        nn.init.normal_(model.readout.bias)
    x, t = (part.double() for part in sums.encode(np.array([100 * 128 + 77]), 8))
    adder.measure(model, (x, t))["loss"].backward()
    weights = {"W_in": model.layer.cell.W, "W": model.layer.cell.U, "W_out": model.readout}
    values = {name: linear.weight.detach().numpy() for name, linear in weights.items()}
    values["b"] = model.layer.cell.W.bias.detach().numpy() if bias else np.zeros(16)
    values["c"] = model.readout.bias.detach().numpy() if bias else np.zeros(1)
    wanted = oracles.simple_rnn_gradients(
        x[0].numpy(), t[0, :, None].numpy(), np.zeros(16), **values, activation=activation
    )
    for name, linear in weights.items():
        np.testing.assert_allclose(linear.weight.grad.numpy(), wanted[name], atol=1e-14, rtol=1e-10)
    if bias:
        grads = model.layer.cell.W.bias.grad.numpy(), model.readout.bias.grad.numpy()
        np.testing.assert_allclose(np.concatenate(grads), [*wanted["b"], *wanted["c"]], rtol=1e-10)


def test_a_borrowed_derivative_computes_f_and_learns_with_the_slope():
    u = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64, requires_grad=True)
    y = BorrowedDerivative.apply(u, torch.exp, torch.cos)
    y.backward(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    at = u.detach().numpy()
    np.testing.assert_allclose(y.detach().numpy(), np.exp(at), rtol=1e-12)
    np.testing.assert_allclose(u.grad.numpy(), np.array([1, 2, 3]) * np.cos(at), rtol=1e-12)


def slope_of_sigmoid(u):
    return oracles.sigmoid(u) * (1 - oracles.sigmoid(u))


@pytest.mark.parametrize(
    ("function", "value", "slope"),
    [
        (tanh_with_slope_of_sigmoid, np.tanh, slope_of_sigmoid),
        (
            sigmoid_with_slope_of_tanh,
            oracles.sigmoid,
            lambda u: 1 - np.tanh(oracles.sigmoid(u)) ** 2,
        ),
    ],
)
def test_the_wrong_derivatives_are_those_of_the_report(function, value, slope):
    u = torch.linspace(-4, 4, 17, dtype=torch.float64, requires_grad=True)
    y = function(u)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), value(u.detach().numpy()), rtol=1e-12)
    np.testing.assert_allclose(u.grad.numpy(), slope(u.detach().numpy()), rtol=1e-12)


def test_the_wrong_derivative_changes_the_gradient_and_not_the_network():
    models, losses = [], []
    batch = sums.encode(np.array([55, 1234]), 8)
    for wrong in (False, True):
        torch.manual_seed(1)
        adder = setting("report", activation="tanh", wrong_derivative=wrong)
        models.append(adder.model())
        losses.append(adder.measure(models[-1], batch)["loss"])
        losses[-1].backward()
    assert losses[0].item() == losses[1].item()
    for right, wrong in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(right, wrong)
        assert (right.grad - wrong.grad).norm() > 0.1 * right.grad.norm()


def test_the_hidden_units_learn_with_the_slope_of_the_sigmoid_too():
    layer = setting("wrong-derivative").model().double().layer
    x = torch.randn(1, 1, 2, dtype=torch.float64)
    layer(x)[0].sum().backward()
    u = layer.cell.W.weight.detach().numpy() @ x[0, 0].numpy()
    wanted = np.outer(slope_of_sigmoid(u), x[0, 0].numpy())
    np.testing.assert_allclose(layer.cell.W.weight.grad.numpy(), wanted, rtol=1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "sigmoid", "loss_function": "squared"},
        {"cell": "lstm", "loss_function": "squared"},
        {"loss_function": "cross_entropy"},
    ],
)
def test_the_wrong_derivative_is_refused_where_it_means_nothing(changes):
    with pytest.raises(InputError, match=r"^wrong_derivative is about "):
        Adder(wrong_derivative=True, **changes)


# What comes out.


def test_a_sum_counts_only_with_every_bit_right():
    target = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    v = torch.tensor([[-1.0, 2.0], [3.0, -0.1], [0.2, -1.0], [0.1, -9.0]])
    assert exact_sum_rate(v, target) == 2 / 4


class Knows(nn.Module):
    """A model that adds with Python's integers, and errs by ``off``."""

    def __init__(self, off=0):
        super().__init__()
        self.off = off

    def forward(self, x):
        v = torch.empty(x.shape[:2])
        for row, bits in zip(v, x, strict=True):
            total = number(bits[:, 0]) + number(bits[:, 1]) + self.off
            row.copy_(torch.tensor([(total >> i) % 2 - 0.5 for i in range(len(row))]))
        return v


@pytest.mark.parametrize("text", ["37 + 58", " 0+0 ", "255 + 255", f"{2**40} + {2**41 - 1}"])
def test_a_sum_is_read_from_the_bits_at_any_length(text):
    a, b = map(int, text.split("+"))
    answer = Adder().predict(Knows(), text)
    assert answer.input == text
    assert (answer.output, answer.figures["correct"]) == (str(a + b), True)
    assert answer.text == f"{a} + {b} = {a + b}  ✓"


def test_a_wrong_sum_is_shown_beside_the_right_one():
    answer = Adder().predict(Knows(off=1), "37 + 58")
    assert (answer.output, answer.figures["correct"]) == ("96", False)
    assert answer.text == "37 + 58 = 96  ✗ (95)"


def test_no_bit_that_the_sum_needs_is_left_out():
    # the larger number below 2^(bits − 1), as in training, so that the last carry has its place
    seen = []

    class Sees(Knows):
        def forward(self, x):
            seen.append(x.shape[1])
            return super().forward(x)

    for text in ("1 + 1", "127 + 127", "128 + 0", "256 + 255"):
        Adder(bits=8).predict(Sees(), text)
    assert seen == [8, 8, 9, 10]


@pytest.mark.parametrize("text", ["", "37", "37 - 58", "a + b", "1.5 + 2", "-1 + 2", "1 + 2 + 3"])
def test_what_is_no_sum_is_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"^the adder takes a sum such as '37 \+ 58', got "):
        Adder().predict(Knows(), text)


def test_a_sum_beyond_the_bits_of_an_integer_is_refused():
    with pytest.raises(InputError, match=r"must be below 2\^62"):
        Adder().predict(Knows(), f"{2**62 - 1} + 1")
    assert Adder().predict(Knows(), f"{2**62 - 2} + 1").figures["correct"]


def test_a_sum_of_thousands_of_digits_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="the"):
        Adder().predict(Knows(), "9" * 5000 + " + 1")


def test_the_figures_are_measured_on_the_pairs_kept_apart():
    figures = Adder(bits=5, longer_bits=9).evaluate(Knows())
    assert figures["exact_sum_rate"] == figures["exact_sum_rate_longer"] == 1
    # every v is ±½, on the right side: ln(1 + e^(−½)) for each of 5 bits
    assert figures["loss"] == pytest.approx(5 * np.log1p(np.exp(-0.5)), rel=1e-6)
    assert Adder().evaluate(Knows(off=2))["exact_sum_rate"] == 0
    assert "exact_sum_rate_longer" not in Adder(bits=8, longer_bits=8).evaluate(Knows())


def test_longer_numbers_are_measured_apart():
    class OnlyShort(Knows):
        def forward(self, x):
            return super().forward(x) if x.shape[1] == 5 else -super().forward(x)

    figures = Adder(bits=5, longer_bits=9).evaluate(OnlyShort())
    assert (figures["exact_sum_rate"], figures["exact_sum_rate_longer"]) == (1, 0)


def test_the_monitor_tells_the_largest_state_and_the_units_that_never_move():
    adder = Adder(hidden_size=4, activation="relu")
    model = adder.model()
    with torch.no_grad():
        model.layer.cell.U.weight.zero_()
        model.layer.cell.W.weight.copy_(torch.tensor([[3.0, 4], [-1, -1], [1, 0], [0, 0]]))
    # h = relu(3a + 4b), relu(−a − b) = 0, relu(a) and relu(0) = 0: two of four never move
    assert adder.monitor(model) == {"state_max": 7.0, "dead_units": 0.5}


def test_the_summary_finds_the_peak_and_the_first_explosion():
    points = [(100, 3.0, 0.0), (200, 101.0, 0.25), (300, 5e4, 0.25), (400, 9.0, 0.5)]
    keys = ("step", "state_max", "dead_units")
    curve = [dict(zip(keys, point, strict=True)) for point in points]
    wanted = {"state_peak": 5e4, "state_exploded_at": 200, "dead_units": 0.5}
    assert Adder().summarise(curve) == wanted
    assert Adder().summarise(curve[:1])["state_exploded_at"] is None
    assert set(Adder().summarise([]).values()) == {None}


# That it learns, and what is said about it.


@pytest.mark.parametrize(("cell", "iterations"), [("rnn", 400), ("lstm", 300), ("gru", 300)])
def test_every_cell_learns_to_add(cell, iterations):
    adder = Adder(cell=cell, iterations=iterations)
    model = adder.model()
    assert adder.evaluate(model)["exact_sum_rate"] < 0.05
    Training(adder, model).run(lambda point: None)
    assert adder.evaluate(model)["exact_sum_rate"] >= 0.99
    assert adder.predict(model, "37 + 58").output == "95"
    assert adder.sample(model).count("✓") == 3


def trial(rates, peaks=0.0, dead=0.0, loss=0.0, **knobs):
    """Runs with these figures, as a claim is given them."""
    figures = np.broadcast_arrays(np.atleast_1d(rates), peaks, dead, loss)
    keys = ("exact_sum_rate", "state_peak", "dead_units", "loss")
    rows = zip(*(f.tolist() for f in figures), strict=True)
    results = (
        {**dict(zip(keys, row, strict=True)), "state_exploded_at": 100.0 if row[1] > 100 else None}
        for row in rows
    )
    return Trial(knobs, tuple(results))


RATE = {"learning_rate": 0.1, "iterations": 9}
WRONG, RIGHT = {"wrong_derivative": True}, {"wrong_derivative": False}
BIASED = trial(1.0, loss=[0.001, 0.03], bias=True)


def decide(beginning, *trials):
    (claim,) = (c for c in Adder.claims if c.statement.startswith(beginning))
    return claim.judge(trials)


@pytest.mark.parametrize(
    ("beginning", "trials", "held"),
    [
        ("With sigmoid it learns", [trial([1.0, 0.98])], True),
        ("With sigmoid it learns", [trial([1.0, 0.97])], False),
        ("With ReLU at the same", [trial([0.0, 0.1, 0.2], [1e6, 1e3, 2.0])], True),
        ("With ReLU at the same", [trial([0.0, 0.1, 0.2], [1e6, 2.0, 2.0])], False),
        ("With ReLU at the same", [trial([0.0, 0.1, 1.0], [1e6, 1e3, 2.0])], True),
        ("With ReLU at the same", [trial([0.0, 1.0, 1.0], [1e6, 1e3, 2.0])], False),
        ("With ReLU at the same", [trial([0.0, 0.1, 0.2], 1e6, 1.0)], False),  # they died
        ("With tanh at the same", [trial([0.3, 0.98])], True),
        ("With tanh at the same", [trial([0.3, 0.99])], False),
        ("Clipping the norm", [trial([0.99, 1.0])], True),
        ("Clipping the norm", [trial([0.9, 1.0])], False),
        ("Clipping each entry", [trial([0.99, 1.0])], True),
        ("Clipping each entry", [trial([0.5, 1.0])], False),
        ("With tanh, a smaller", [trial([0.1], **RATE), trial([1.0], **RATE)], True),
        ("With tanh, a smaller", [trial([0.1], **RATE), trial([0.9], **RATE)], False),
        ("Without biases", [trial(0, loss=[0.05, 0.04], bias=False), BIASED], True),
        ("Without biases", [trial(0, loss=[0.05, 0.03], bias=False), BIASED], False),
        ("Without biases", [trial(0, loss=[0.05], bias=False)] * 2, False),
        ("With the wrong derivative", [trial([0.2, 0.98], **WRONG), trial(1.0, **RIGHT)], True),
        ("With the wrong derivative", [trial([0.2, 0.99], **WRONG), trial(1.0, **RIGHT)], False),
    ],
)
def test_a_claim_is_held_by_the_runs_that_show_it_and_by_no_others(beginning, trials, held):
    assert decide(beginning, *trials)[0] is held


def test_the_figures_of_a_verdict_are_the_mean_and_the_extremes():
    _, figures = decide("With sigmoid it learns", trial([1.0, 0.5, 0.9]))
    assert figures == "exact_sum_rate 0.800 (0.500 to 1.000)"


def test_a_run_without_a_figure_does_not_hold_a_claim():
    stopped = Trial({}, ({"exact_sum_rate": None}, {"exact_sum_rate": 1.0}))
    assert decide("With sigmoid it learns", stopped)[0] is False


@pytest.mark.parametrize("claim", Adder.claims, ids=lambda claim: claim.statement)
def test_every_claim_is_about_settings_that_there_are(claim):
    for changes in claim.changes:
        assert setting(claim.preset, **changes).optimisation.optimiser == "sgd"


def test_a_title_says_the_preset_and_what_settings_change_from_it_in_common():
    report = Adder.preset("report")
    assert Adder().title == "adder"
    assert Adder.from_dict(report).title == "adder, preset report"
    assert Adder(iterations=60, seed=2).title == "adder, iterations 60, seed 2"
    changed = [{**Adder().to_dict(), **report, "bits": 4, "seed": seed} for seed in (1, 2)]
    assert Adder.title_of(*changed) == "adder, preset report, bits 4"
