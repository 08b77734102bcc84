"""Measures of forecasts against closed forms, by hand and by SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from saiki.errors import InputError
from saiki.metrics import forecasts

NAN = torch.nan


def closed_gaussian(mean, deviation, y):
    """Gneiting & Raftery 2007, §4.2."""
    z = (y - mean) / deviation
    return deviation * (
        z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi)
    )


def closed_student(freedom, y):
    """Jordan, Krüger & Lerch 2019, appendix A."""
    beta = math.gamma(0.5) * math.gamma(freedom - 0.5) / math.gamma(freedom)
    half = math.gamma(0.5) * math.gamma(freedom / 2) / math.gamma((freedom + 1) / 2)
    inside = y * (2 * stats.t.cdf(y, freedom) - 1)
    inside += 2 * stats.t.pdf(y, freedom) * (freedom + y * y) / (freedom - 1)
    return inside - 2 * math.sqrt(freedom) * beta / ((freedom - 1) * half**2)


def test_closed_forms_are_the_integral_of_the_score():
    for law, closed in (
        (stats.norm(0.5, 2), lambda y: closed_gaussian(0.5, 2, y)),
        (stats.t(4), lambda y: closed_student(4, y)),
    ):
        for y in (-1.0, 0.3, 4.0):
            below = integrate.quad(lambda x: law.cdf(x) ** 2, -np.inf, y)[0]  # noqa: B023
            above = integrate.quad(lambda x: law.sf(x) ** 2, y, np.inf)[0]  # noqa: B023
            assert closed(y) == pytest.approx(below + above, rel=1e-6)


def test_errors_are_those_by_hand_and_leave_out_what_is_missing():
    truth = torch.tensor([[1.0, NAN, 3.0], [0.0, 2.0, NAN]])
    forecast = torch.tensor([[2.0, 7.0, 1.0], [0.0, 5.0, 9.0]])
    assert forecasts.mae(forecast, truth) == (1 + 2 + 0 + 3) / 4
    assert forecasts.mse(forecast, truth) == (1 + 4 + 0 + 9) / 4
    assert forecasts.rmse(forecast, truth) == math.sqrt(14 / 4)
    assert math.isnan(forecasts.mae(forecast, torch.full_like(truth, NAN)))


def test_a_forecast_that_is_no_number_is_wrong_and_not_missing():
    truth = torch.tensor([[1.0, NAN]])
    assert forecasts.mae(torch.tensor([[NAN, NAN]]), truth) == math.inf
    assert forecasts.mae(torch.tensor([[1.0, NAN]]), truth) == 0
    samples = torch.tensor([[[NAN, 1.0]], [[1.0, NAN]]])
    assert forecasts.crps_of_samples(samples, truth)[0, 0] == math.inf
    assert forecasts.crps_of_samples(samples, truth)[0, 1].isnan()
    quantiles = torch.tensor([[[NAN], [NAN]]])
    assert forecasts.weighted_quantile_loss(quantiles, [0.5], truth) == math.inf


def test_shapes_that_would_be_spread_are_refused():
    with pytest.raises(InputError, match=r"\(3, 1\).*\(3, 2\)"):
        forecasts.mse(torch.zeros(3, 1), torch.zeros(3, 2))
    with pytest.raises(InputError, match="2 samples"):
        forecasts.crps_of_samples(torch.zeros(1, 3), torch.zeros(3))
    with pytest.raises(InputError, match="2 quantiles"):
        forecasts.crps_of_quantiles(torch.zeros(3, 1), [0.1, 0.9], torch.zeros(3))
    with pytest.raises(InputError, match="rise"):
        forecasts.crps_of_quantiles(torch.zeros(3, 2), [0.9, 0.1], torch.zeros(3))


def test_the_scaled_error_is_that_of_the_seasonal_last_value():
    training = torch.tensor([[1.0, 5.0], [4.0, 5.0], [3.0, 5.0], [NAN, 5.0], [5.0, 5.0]])
    scale = forecasts.seasonal_naive_error(training, 2)
    torch.testing.assert_close(scale, torch.tensor([2.0, 0.0], dtype=torch.float64))
    # of the value before: 3 and 1
    assert forecasts.seasonal_naive_error(training)[0] == 2
    truth = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]])
    forecast = torch.tensor([[[2.0, 9.0], [7.0, 9.0]]])
    # the second never changed, so it has no scale
    assert forecasts.mase(forecast, truth, scale) == (1 / 2 + 5 / 2) / 2
    assert math.isnan(forecasts.mase(forecast, truth, torch.zeros(2)))
    with pytest.raises(InputError, match="from 1 to 4"):
        forecasts.seasonal_naive_error(training, 5)


def test_the_quantile_loss_is_least_at_the_quantile():
    truth = torch.tensor(stats.norm.ppf((np.arange(4000) + 0.5) / 4000))
    for level in (0.1, 0.5, 0.9):
        at = [
            forecasts.quantile_loss(torch.full_like(truth, q), level, truth).mean().item()
            for q in stats.norm.ppf([level - 0.03, level, level + 0.03])
        ]
        assert at[1] == min(at)
    y, q = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 5.0])
    wanted = torch.tensor([0.3 * 1, 0.7 * 3], dtype=torch.float64)
    torch.testing.assert_close(forecasts.quantile_loss(q, 0.3, y), wanted)


def test_the_weighted_quantile_loss_is_a_share_of_the_truth():
    truth = torch.tensor([[2.0, NAN, -4.0]])
    quantiles = torch.tensor([[[1.0, 3.0], [0.0, 0.0], [-4.0, -2.0]]])
    # level 0.1: 0.1 · 1 and 0; level 0.8: 0.2 · 1 and 0.2 · 2
    wanted = 2 * ((0.1 + 0.0) + (0.2 + 0.4)) / 2 / 6
    found = forecasts.weighted_quantile_loss(quantiles, [0.1, 0.8], truth)
    assert found == pytest.approx(wanted)
    assert math.isnan(forecasts.weighted_quantile_loss(quantiles * 0, [0.1, 0.8], truth * 0))


@pytest.mark.parametrize("law", ["gaussian", "student"])
def test_the_score_of_quantiles_comes_near_the_closed_form(law):
    levels = [(i + 0.5) / 1000 for i in range(1000)]
    y = torch.tensor([-1.0, 0.2, 3.0])
    if law == "gaussian":
        q, wanted = 1 + 2 * stats.norm.ppf(levels), [closed_gaussian(1, 2, v) for v in y.tolist()]
    else:
        q, wanted = stats.t.ppf(levels, 5), [closed_student(5, v) for v in y.tolist()]
    found = forecasts.crps_of_quantiles(torch.tensor(q).expand(3, 1000), levels, y)
    assert found.tolist() == pytest.approx(wanted, rel=2e-3)
    # of one quantile, the median, it is the absolute error
    median = torch.zeros(3, 1)
    torch.testing.assert_close(
        forecasts.crps_of_quantiles(median, [0.5], y), y.double().abs(), rtol=0, atol=1e-7
    )


def test_each_quantile_counts_for_the_levels_around_it():
    truth, quantiles = torch.tensor([1.0]), torch.tensor([[0.0, 2.0, 4.0]])
    # widths 0.3, 0.3 and 0.4 of levels 0.1, 0.5 and 0.7
    wanted = 2 * (0.3 * 0.1 * 1 + 0.3 * 0.5 * 1 + 0.4 * 0.3 * 3)
    found = forecasts.crps_of_quantiles(quantiles, [0.1, 0.5, 0.7], truth)
    assert found.item() == pytest.approx(wanted)


def test_the_score_of_samples_is_that_of_all_pairs():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(7, 3, 2, generator=generator, dtype=torch.float64)
    truth = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    pairs = (samples[:, None] - samples[None]).abs().sum((0, 1))
    wanted = (samples - truth).abs().mean(0) - pairs / (2 * 7 * 6)
    torch.testing.assert_close(forecasts.crps_of_samples(samples, truth), wanted)


@pytest.mark.parametrize("count", [2, 5])
def test_the_score_of_few_samples_is_fair(count):
    """Its mean is the closed form, however few there are."""
    samples = torch.randn(
        count, 40_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    score = forecasts.crps_of_samples(samples, torch.full((40_000,), 0.7))
    error = score.std().item() / 200
    assert score.mean().item() == pytest.approx(closed_gaussian(0, 1, 0.7), abs=3 * error)
    assert error < 0.005
