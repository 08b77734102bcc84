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
    errors = forecasts.errors(forecast, truth)
    np.testing.assert_array_equal(errors, [[1, NAN, -2], [0, 3, NAN]])
    assert forecasts.mean_of_known(errors.abs()) == (1 + 2 + 0 + 3) / 4
    assert math.isnan(forecasts.mean_of_known(torch.full_like(truth, NAN)))


def test_a_forecast_that_is_no_number_is_wrong_and_not_missing():
    errors = forecasts.errors(torch.tensor([NAN, NAN, 1.0]), torch.tensor([1.0, NAN, 1.0]))
    np.testing.assert_array_equal(errors, [math.inf, NAN, 0.0])


def test_shapes_that_would_be_spread_are_refused():
    with pytest.raises(InputError, match=r"\(3, 1\).*\(3, 2\)"):
        forecasts.errors(torch.zeros(3, 1), torch.zeros(3, 2))
    with pytest.raises(InputError, match="2 quantiles"):
        forecasts.crps_of_quantiles(torch.zeros(3, 1), [0.1, 0.9], torch.zeros(3))
    with pytest.raises(InputError, match="rise"):
        forecasts.crps_of_quantiles(torch.zeros(3, 2), [0.9, 0.1], torch.zeros(3))


def test_the_error_of_the_seasonal_last_value_is_that_by_hand():
    training = torch.tensor([[1.0, 5.0], [4.0, 5.0], [3.0, 5.0], [NAN, 5.0], [5.0, 5.0]])
    scale = forecasts.seasonal_naive_error(training, 2)
    torch.testing.assert_close(scale, torch.tensor([2.0, 0.0], dtype=torch.float64))
    # of the value before: 3 and 1
    assert forecasts.seasonal_naive_error(training)[0] == 2
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


@pytest.mark.parametrize("law", ["gaussian", "student"])
def test_the_score_of_quantiles_comes_near_the_closed_form(law):
    levels = [(i + 0.5) / 1000 for i in range(1000)]
    y = torch.tensor([-1.0, 0.2, 3.0])
    if law == "gaussian":
        q, wanted = 1 + 2 * stats.norm.ppf(levels), [closed_gaussian(1, 2, v) for v in y.tolist()]
    else:
        q, wanted = stats.t.ppf(levels, 5), [closed_student(5, v) for v in y.tolist()]
    score = forecasts.crps_of_quantiles(torch.tensor(q).expand(3, 1000), levels, y)
    assert score.tolist() == pytest.approx(wanted, rel=2e-3)
    # of one quantile, the median, it is the absolute error
    median = torch.zeros(3, 1)
    torch.testing.assert_close(
        forecasts.crps_of_quantiles(median, [0.5], y), y.double().abs(), rtol=0, atol=1e-7
    )


def test_each_quantile_counts_for_the_levels_around_it():
    truth, quantiles = torch.tensor([1.0]), torch.tensor([[0.0, 2.0, 4.0]])
    # widths 0.3, 0.3 and 0.4 of levels 0.1, 0.5 and 0.7
    wanted = 2 * (0.3 * 0.1 * 1 + 0.3 * 0.5 * 1 + 0.4 * 0.3 * 3)
    score = forecasts.crps_of_quantiles(quantiles, [0.1, 0.5, 0.7], truth)
    assert score.item() == pytest.approx(wanted)
