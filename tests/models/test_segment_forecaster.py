"""Forecasts of all steps at once: by hand, in units, with gaps, and what is refused."""

import pytest
import torch
from torch.nn import functional as F

from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.models.segment_forecaster import SegmentForecaster
from saiki.saving.pretrained import load


def make(encoder=None, decoder=None, **options):
    torch.manual_seed(0)
    sizes = {"segment": 4, "horizon": 10, "columns": 3, **options}
    return SegmentForecaster(encoder or GRU(6, 8), decoder, **sizes).double().eval()


def windows(rows=5, time=14, known=0, observed=0, horizon=10):
    torch.manual_seed(1)
    inputs = [torch.randn(rows, time).double().cumsum(1), torch.arange(rows) % 4]
    inputs.append(torch.randn(rows, time + horizon, known).double() if known else None)
    inputs.append(torch.randn(rows, time, observed).double() if observed else None)
    return inputs


def test_is_what_its_equations_say():
    model = make(known=2, observed=1)
    model.scaling.fit([torch.randn(50) * n for n in (1, 2, 3)])
    past, column, known, observed = windows(known=2, observed=1)
    forecast = model(past, column, known, observed)
    assert forecast.shape == (5, 10, 3)
    for row in range(5):
        x, number = past[row], int(column[row])
        s = model.scaling.deviation[number] if number else x.std(correction=0)
        z = (x - x[-1]) / s
        h = torch.zeros(1, 8).double()
        for begin in (2, 6, 10):  # the two oldest steps are no whole segment
            steps = slice(begin, begin + 4)
            inputs = torch.cat((z[steps, None], known[row, steps], observed[row, steps]), -1)
            h = model.encoder.cell(F.relu(model.embed(inputs.flatten()))[None], h)[0]
        for j in range(3):
            query = torch.cat((model.position[j], model.column(column[row : row + 1])[0]))
            coming = torch.zeros(4, 2).double()
            rest = known[row, 14 + 4 * j : 18 + 4 * j]
            coming[: len(rest)] = rest
            o = model.decoder((query + model.ahead(coming.flatten()))[None], h)[0]
            y = model.readout(o).view(4, 1)
            first, _, second = model.beside
            low, high = second(F.relu(first(o))).view(4, 2).split(1, 1)
            y = x[-1] + s * torch.cat((y + low, y, y + high), 1)
            wanted = forecast[row, 4 * j : 4 * j + 4]
            torch.testing.assert_close(wanted, y[: len(wanted)])


def test_how_sure_it_is_does_not_make_it_another_forecast():
    model = make()
    past, column, *_ = windows()
    forecast = model(past, column)
    (forecast[..., 0].sum() + forecast[..., 2].sum()).backward()
    assert not model.readout.weight.grad.any()
    assert model.beside[0].weight.grad.any()
    assert model.position.grad.any()


@pytest.mark.parametrize("scaling", ["last", "standard"])
def test_a_series_at_another_level_has_the_same_forecast_there(scaling):
    model = make(scaling=scaling)
    past, column, *_ = windows()
    torch.testing.assert_close(model(past + 1000, column), model(past, column) + 1000)
    if scaling == "standard":
        torch.testing.assert_close(model(past * 50, column), model(past, column) * 50)


def test_series_that_were_not_learned_from_have_the_scale_of_their_window():
    model = make(scaling="none")
    past, _, *_ = windows()
    new = torch.zeros(5, dtype=torch.long)
    torch.testing.assert_close(model(7 * past - 3, new), 7 * model(past, new) - 3)


def test_a_gap_is_no_number_that_anything_follows_from():
    model = make()
    past, column, *_ = windows()
    past[0, 5], past[1, -1] = torch.nan, torch.nan
    assert model(past, column).isfinite().all()
    torch.testing.assert_close(model(past, column)[2:], model(windows()[0], column)[2:])
    truth = torch.randn(5, 10).double()
    unit = model.scaling.unit(past, column)
    wanted = model.loss(model(past, column)[:, :7], truth[:, :7], unit)
    truth[:, 7:] = torch.nan
    torch.testing.assert_close(model.loss(model(past, column), truth, unit), wanted)


def test_the_loss_is_least_at_the_quantiles():
    model = make(levels=(0.1, 0.5, 0.9), horizon=1, segment=1, columns=1)
    truth = torch.linspace(0, 1, 1001).double()[:, None]
    unit = torch.ones(1001)

    def loss(values):
        return model.loss(torch.tensor(values).double().expand(1001, 1, 3), truth, unit)

    best = loss([0.1, 0.5, 0.9])
    assert all(loss([0.1 + a, 0.5 + b, 0.9 + c]) > best
               for a, b, c in ((0.05, 0, 0), (0, -0.05, 0), (0, 0, 0.05)))  # fmt: skip


def test_the_quantile_in_the_middle_counts_most():
    model = make(levels=(0.1, 0.5, 0.9), horizon=1, segment=1, columns=1)
    y, unit = torch.tensor([[[1.0, 3.0, 4.0]]]).double(), torch.tensor([2.0]).double()
    low, middle, high = 0.1 * 1 / 2, 0.5 * 1 / 2, 0.1 * 2 / 2  # the first forecast was too low
    wanted = (0.01 * low + middle + 0.01 * high) / 1.02
    assert float(model.loss(y, torch.tensor([[2.0]]).double(), unit)) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (lambda: LSTM(6, 8), lambda: None),
        (lambda: Bidirectional(GRU(6, 4)), lambda: LSTM(6, 8)),
        (lambda: SimpleRNN(6, 8), lambda: GRU(6, 5)),
    ],
)
def test_any_cells_read_and_write_and_every_weight_learns(encoder, decoder):
    model = make(encoder(), decoder(), known=1)
    past, column, known, _ = windows(known=1)
    unit = model.scaling.unit(past, column)
    model.loss(model(past, column, known), torch.randn(5, 10).double(), unit).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert type(model.decoder).__name__ in model.equations()


def test_it_comes_back_with_its_scales(tmp_path):
    model = make(decoder=None, columns=2)
    model.scaling.fit([torch.randn(9), 100 + torch.randn(9)])
    model.save_pretrained(tmp_path / "kept")
    past, _, *_ = windows()
    column = torch.tensor([1, 2, 0, 1, 2])
    restored = load(tmp_path / "kept").double()
    assert restored.decoder is restored.encoder.cell
    torch.testing.assert_close(restored(past, column), model(past, column))


@pytest.mark.parametrize(
    ("make_it", "sentence"),
    [
        (lambda: make(segment=0), "segment and horizon must be at least 1"),
        (lambda: make(levels=(0.5, 0.1, 0.9)), "levels of quantiles"),
        (lambda: make(levels=(0.1, 0.9)), "odd in number"),
        (lambda: make(levels=(0.5,)), "three or more"),
        (lambda: make(Bidirectional(GRU(6, 4))), "needs an encoder of one cell"),
        (lambda: make(GRU(6, 8), GRU(5, 8)), "read the same features"),
        (lambda: make(scaling="first"), "scaling must be one of"),
        (lambda: make()(*windows(time=3)[:2]), "segments of 4 steps, and there are 3"),
        (lambda: make(known=1)(*windows()[:2]), "features of a step"),
    ],
)
def test_what_does_not_fit_is_refused(make_it, sentence):
    with pytest.raises(InputError, match=sentence):
        make_it()
