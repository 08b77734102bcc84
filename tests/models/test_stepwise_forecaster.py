"""Forecasts step by step: by hand, followed row by row, drawn from laws that are known."""

import pytest
import torch

from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.stack import Stack
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.saving.pretrained import load

SCALINGS = ("none", "difference")


def make(likelihood="gaussian", known=2, layer=None, scaling="none"):
    torch.manual_seed(0)
    model = StepwiseForecaster(layer or LSTM(1 + known + 3, 6), likelihood, 2, known, 3, scaling)
    model.scaling.fit([torch.randn(50) + 3, 5 * torch.randn(50).abs()])
    return model.double().eval()


def windows(known=2, horizon=4):
    torch.manual_seed(1)
    past = torch.randint(0, 9, (3, 7)).double()
    return past, torch.tensor([1, 2, 0]), torch.randn(3, 7 + horizon, known).double()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_is_what_its_equations_say(scaling):
    model = make(scaling=scaling)
    past, column, known = windows()
    past[1, 3] = past[0, 0] = torch.nan
    forecast = model(past, column, known)
    laws = model.laws(forecast, past, column)
    for row in range(3):
        number, values = int(column[row]), past[row]
        m, s = model.scaling.mean[number], model.scaling.deviation[number]
        if not number:
            m, s = values.mean(), values.std(correction=0)
        if scaling == "difference":
            m = values[~values.isnan()][0]
            s = s if number else values.diff().std(correction=0)
        state, before = model.layer.cell.initial_state(1), 0.0
        for t in range(7):
            vector = model.column(column[row : row + 1])[0]
            x = torch.cat((torch.tensor([before]), known[row, t], vector))
            state = model.layer.cell(x[None].double(), *state)
            output = model.readout(state[0])[0]
            torch.testing.assert_close(forecast[row, t], output)
            torch.testing.assert_close(laws.location[row, t, 0], m + s * output[0])
            before = 0.0 if values[t].isnan() else ((values[t] - m) / s).item()
            if scaling == "difference" and not values[t].isnan():
                m = values[t]


@pytest.mark.parametrize(
    ("likelihood", "scaling"),
    [("gaussian", "none"), ("student", "difference"), ("negative_binomial", "none")],
)
def test_the_loss_is_the_law_of_each_value_but_the_first(likelihood, scaling):
    model = make(likelihood, scaling=scaling)
    past, column, known = windows()
    past[1, 3] = past[0, 0] = torch.nan
    laws = model.laws(model(past, column, known), past, column)
    each = laws.log_density(past[..., None])[..., 0]
    each[:, 0] = each[0, 1] = torch.nan
    wanted = -each[~each.isnan()].mean()
    torch.testing.assert_close(model.loss(past, column, known), wanted)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("layer", [None, lambda: Stack([GRU(6, 5), GRU(5, 6)])])
def test_a_series_that_is_followed_has_the_laws_of_the_whole(layer, scaling):
    model = make(layer=layer() if layer else None, scaling=scaling)
    past, column, known = windows()
    past[1, 3] = past[0, 5] = torch.nan
    whole = model(torch.cat((past, past[:, :1]), 1)[:2], column[:2], known[:2])
    wanted = model.laws(whole, past[:2], column[:2])
    read = model.read(past[:2, :2], column[:2], known[:2])
    for t in range(2, 7):
        law, _ = model.follow(read, known[:2, t])
        torch.testing.assert_close(law.mean, wanted.mean[:, t])
        torch.testing.assert_close(law.scale, wanted.scale[:, t])
        read = model.read(past[:2, t : t + 1], column[:2], known[:2, t : t + 1], read)
    at_once = model.read(past[:2], column[:2], known[:2])
    for name in ("last", "state", "shift", "scale", "vector"):
        torch.testing.assert_close(getattr(read, name), getattr(at_once, name))


def test_what_was_thought_to_be_known_changes_nothing_that_is_read():
    """A step that was forecast with other features than it came with is computed anew."""
    model = make()
    past, column, known = windows()
    before, other = (model.read(past[:, :5], column, known) for _ in range(2))
    model.follow(before, known[:, 6])
    state = model.read(past[:, 5:6], column, known[:, 5:6], before)
    wanted = model.read(past[:, 5:6], column, known[:, 5:6], other)
    torch.testing.assert_close(state.state, wanted.state)
    model.follow(state, known[:, 6])
    assert state.step[1] is model._next(state, known[:, 6].clone())[0]


def test_what_comes_later_changes_no_law_before():
    model = make()
    past, column, known = windows()
    changed = past.clone()
    changed[:2, 5:] += 100
    a, b = model(past, column, known), model(changed, column, known)
    torch.testing.assert_close(a[:2, :6], b[:2, :6])
    assert not torch.allclose(a[:2, 6], b[:2, 6])


def test_changes_are_the_same_at_every_level():
    model = make(scaling="difference")
    past, column, known = windows()
    low, high = (model.laws(model(p, column, known), p, column) for p in (past, past + 1000))
    torch.testing.assert_close(low.location + 1000, high.location)
    torch.testing.assert_close(low.scale, high.scale)
    samples = []
    for each in (past, past + 1000):
        read, draw = model.read(each, column, known), torch.Generator().manual_seed(0)
        samples.append(model.paths(read, 4, 50, known[:, 7:], draw)[1])
    torch.testing.assert_close(samples[0] + 1000, samples[1])


def test_changes_that_are_drawn_add_up():
    """Where each is half a deviation, and nearly sure."""
    model = make(scaling="difference")
    torch.nn.init.zeros_(model.readout.weight)
    model.readout.bias.data = torch.tensor([0.5, -20.0]).double()
    past, column, known = windows()
    _, paths = model.paths(model.read(past, column, known), 4, 3, known[:, 7:])
    scale = model.read(past, column, known).scale
    wanted = past[:, -1:] + 0.5 * scale * torch.arange(1, 5)
    torch.testing.assert_close(paths, wanted.expand(3, -1, -1), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("likelihood", "scaling", "sentence"),
    [
        ("gaussian", "last", "must be none or difference, got 'last'"),
        ("negative_binomial", "difference", "of counts .negative_binomial. .* must be none, got"),
    ],
)
def test_scalings_of_windows_are_refused(likelihood, scaling, sentence):
    with pytest.raises(InputError, match=sentence):
        make(likelihood, scaling=scaling)


@pytest.mark.parametrize("likelihood", ["gaussian", "student", "negative_binomial"])
def test_paths_are_drawn_from_the_laws(likelihood):
    """Of the first step, whose law is known; and each path goes on from what it drew."""
    model = make(likelihood)
    past, column, known = windows()
    draw = torch.Generator().manual_seed(0)
    read = model.read(past, column, known)
    law, paths = model.paths(read, 3, 4000, known[:, 7:], draw)
    assert paths.shape == (4000, 3, 3)
    quantiles = law.quantiles((0.1, 0.5, 0.9))[:, 0]
    for row in range(3):
        for level, bound in zip((0.1, 0.5, 0.9), quantiles[row], strict=True):
            share = (paths[:, row, 0] <= bound).double().mean()
            at_most = (paths[:, row, 0] < bound).double().mean()
            assert at_most - 0.025 <= level <= share + 0.025
    draw.manual_seed(0)
    _, fewer = model.paths(read, 2, 4000, known[:, 7:], draw)
    assert torch.equal(paths[..., :2], fewer)


def test_it_comes_back_and_every_weight_learns(tmp_path):
    model = make("negative_binomial")
    past, column, known = windows()
    model.loss(past, column, known).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    model.save_pretrained(tmp_path / "kept")
    restored = load(tmp_path / "kept").double()
    torch.testing.assert_close(restored(past, column, known), model(past, column, known))
    assert "NB(μ, α)" in model.equations()


@pytest.mark.parametrize(
    ("make_it", "sentence"),
    [
        (lambda: make("poisson"), "likelihood must be one of gaussian, student, negative_binomial"),
        (lambda: make(layer=Bidirectional(GRU(6, 4))), "take one direction"),
        (lambda: make(layer=GRU(5, 4)), "together 6, got 5"),
        (lambda: make()(*windows()[:2]), "the known features of a step"),
    ],
)
def test_what_does_not_fit_is_refused(make_it, sentence):
    with pytest.raises(InputError, match=sentence):
        make_it()
