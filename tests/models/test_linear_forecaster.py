"""The linear map, against least squares by another library and by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import saiki
from saiki.errors import InputError
from saiki.metrics.forecast_comparison import diebold_mariano
from saiki.models import linear_forecaster
from saiki.models.linear_forecaster import LinearForecaster, moving_average
from saiki.models.simple_forecasts import last_value


def series(length, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(length, columns, generator=generator, dtype=torch.float64)
    for t in range(2, length):
        x[t] += 1.2 * x[t - 1] - 0.5 * x[t - 2]
    return x + torch.arange(columns)


def ridge_by_hand(model, rows, ridge):
    """The solution of the penalised equations, from the rows themselves."""
    x, y = rows[:, : model.look_back], rows[:, model.look_back :]
    if model.from_last:
        y, x = y - x[:, -1:], x - x[:, -1:]
    trend = x @ model.average.T
    z = torch.cat([trend, x - trend], 1)
    centred, target = z - z.mean(0), y - y.mean(0)
    gram = centred.T @ centred / len(z)
    penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    maps = np.linalg.solve((gram + penalty).numpy(), (centred.T @ target / len(z)).numpy()).T
    return maps, (y.mean(0) - torch.from_numpy(maps) @ z.mean(0)).numpy()


@pytest.mark.parametrize("columns", [0, 3])
@pytest.mark.parametrize("from_last", [False, True])
def test_the_fit_is_least_squares_with_ridge(columns, from_last, monkeypatch):
    monkeypatch.setattr(linear_forecaster, "VALUES", 300)  # many pieces
    model = LinearForecaster(7, 3, columns, window=3, from_last=from_last).double()
    parts = [series(90, 3), series(5, 3), series(40, 3, seed=1)]
    model.fit_(parts, ridges=[0.05])
    windows = [part.unfold(0, 10, 1) for part in parts if len(part) >= 10]
    windows = torch.cat(windows)  # (windows, columns, 10)
    for i in range(max(1, columns)):
        rows = windows[:, i] if columns else windows.reshape(-1, 10)
        maps, bias = ridge_by_hand(model, rows, 0.05)
        both = torch.cat([model.trend[i], model.rest[i]], 1).detach()
        np.testing.assert_allclose(both, maps, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(model.bias[i].detach(), bias, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("from_last", [False, True])
def test_it_forecasts_by_the_equations(from_last):
    model = LinearForecaster(9, 4, 2, window=5, from_last=from_last).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    past = series(12, 2)[None]
    x = past[0, -9:].T  # (columns, time)
    last = x[:, -1:] if from_last else torch.zeros(2, 1, dtype=torch.float64)
    x = x - last
    trend = F.avg_pool1d(F.pad(x[None], (2, 2), mode="replicate"), 5, 1)[0]
    for i in range(2):
        wanted = model.trend[i] @ trend[i] + model.rest[i] @ (x[i] - trend[i]) + model.bias[i]
        torch.testing.assert_close(model(past)[0, :, i], wanted + last[i])
        torch.testing.assert_close(model(past, 2)[0, :, i], (wanted + last[i])[:2])


def test_what_is_missing_is_left_out_in_its_column_alone():
    whole, holes = series(80, 2), series(80, 2)
    holes[30, 0] = math.nan
    model = LinearForecaster(5, 2, 2, window=3).double().fit_([holes])
    parts = LinearForecaster(5, 2, 2, window=3).double()
    parts.fit_([torch.cat([holes[:30], whole[:0]]), holes[31:]])
    torch.testing.assert_close(model.rest[0], parts.rest[0])
    other = LinearForecaster(5, 2, 2, window=3).double().fit_([whole])
    torch.testing.assert_close(model.rest[1], other.rest[1])
    assert not torch.allclose(model.rest[0], other.rest[0])


def test_a_level_far_from_0_costs_no_digits():
    x = series(300, 1)
    near = LinearForecaster(5, 2, window=3).double().fit_([x])
    far = LinearForecaster(5, 2, window=3).double().fit_([x + 1e7])
    torch.testing.assert_close(far.rest, near.rest, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(far(x[None] + 1e7), near(x[None]) + 1e7, rtol=0, atol=1e-4)


def test_the_ridge_is_that_which_is_best_on_the_validation_part():
    training, validation = series(45, 1), series(500, 1, seed=1)
    ridges = [1e-8, 1e-2, 1.0, 100.0]

    def error(model):
        rows = validation.unfold(0, 14, 1)
        past = rows[..., :10].transpose(1, 2)
        return (model(past)[..., 0] - rows[:, 0, 10:]).square().mean().item()

    each = [LinearForecaster(10, 4).double().fit_([training], [ridge]) for ridge in ridges]
    errors = [error(model) for model in each]
    best = errors.index(min(errors))
    assert best not in (0, 3)
    chosen = LinearForecaster(10, 4).double().fit_([training], ridges, [validation])
    torch.testing.assert_close(chosen.rest, each[best].rest)
    sums = chosen._sums([validation + 0])
    assert sums.squared_error(chosen.weights(), chosen.bias) == pytest.approx(error(chosen))


def test_an_unfitted_one_forecasts_the_mean():
    past = series(20, 3)[None].float()
    wanted = past[:, -6:].mean(1, keepdim=True).expand(-1, 2, -1)
    torch.testing.assert_close(LinearForecaster(6, 2, window=3)(past), wanted)


def test_it_is_read_back_as_it_was(tmp_path):
    model = LinearForecaster(6, 2, 3, window=3, from_last=True).fit_([series(60, 3)])
    model.save_pretrained(tmp_path)
    past = series(6, 3)[None].float()
    restored = saiki.load(tmp_path)
    assert isinstance(restored, LinearForecaster)
    assert torch.equal(restored(past), model(past))
    assert "xᵀ" in restored.equations()


def test_the_moving_average_repeats_the_ends():
    x = torch.tensor([3.0, 0.0, 6.0, 9.0], dtype=torch.float64)
    wanted = torch.tensor([2.0, 3.0, 5.0, 8.0], dtype=torch.float64)
    torch.testing.assert_close(moving_average(4, 3) @ x, wanted)


def test_what_does_not_fit_is_refused():
    model = LinearForecaster(6, 2, 3, window=3)
    with pytest.raises(InputError, match="6 steps or more of 3 columns"):
        model(torch.zeros(1, 5, 3))
    with pytest.raises(InputError, match="3 columns"):
        model(torch.zeros(1, 6, 2))
    with pytest.raises(InputError, match="1 to 2 steps"):
        model(torch.zeros(1, 6, 3), 3)
    with pytest.raises(InputError, match=r"6 \+ 2 steps"):
        model.fit_([torch.zeros(7, 3)])
    with pytest.raises(InputError, match="infinite"):
        model.fit_([torch.full((20, 3), torch.inf)])
    with pytest.raises(InputError, match="validation"):
        model.fit_([series(30, 3)], [0.1, 1.0])
    with pytest.raises(InputError, match="above 0"):
        model.fit_([series(30, 3)], [0.0])
    with pytest.raises(InputError, match="odd"):
        LinearForecaster(6, 2, window=4)


def test_a_constant_series_is_forecast_as_it_is():
    x = torch.full((40, 1), 5.0)
    forecast = LinearForecaster(6, 2).fit_([x])(x[None])
    torch.testing.assert_close(forecast, torch.full((1, 2, 1), 5.0))


def better_than_the_last_value(x):
    """Of many series, ``(series, time)``, how many are said to be forecast better by a map that was
    fitted on the first half than by their last value."""
    look_back, horizon, better = 5, 3, 0
    for row in x:
        half = len(row) // 2
        model = LinearForecaster(look_back, horizon, window=3, from_last=True).double()
        model.fit_([row[:half, None]])
        windows = row[half - look_back :].unfold(0, look_back + horizon, 1)[..., None]
        past, truth = windows[:, :look_back], windows[:, look_back:]
        with torch.no_grad():
            losses = [(f(past, horizon) - truth).square() for f in (model, last_value)]
        verdict = diebold_mariano(*losses, horizon).verdict()
        better += verdict.startswith("better than the last value")
    return better


def test_on_random_walks_hardly_any_is_said_to_be_better_than_the_last_value():
    noise = torch.randn(200, 600, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert better_than_the_last_value(noise.cumsum(1)) <= 10
    regression = noise.clone()
    for t in range(1, 600):
        regression[:, t] += 0.5 * regression[:, t - 1]
    assert better_than_the_last_value(regression) >= 195
