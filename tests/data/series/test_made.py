"""What is made up follows the law that is said of it."""

import numpy as np
import pytest

from saiki.data.series.made import ITEMS, MADE, coefficients


@pytest.mark.parametrize("name", MADE)
def test_the_same_seed_makes_the_same(name):
    made = MADE[name]
    one, same, other = (made.make(seed) for seed in (3, 3, 4))
    assert one.targets == (made.target,)
    for a, b, c in zip(one.series, same.series, other.series, strict=True):
        np.testing.assert_array_equal(a.targets, b.targets)
        assert not np.array_equal(a.targets, c.targets)
        assert len(a.times) == len(a)
        assert np.isfinite(a.targets).all()
        assert np.ptp(a.targets) > 0
    assert "made up" in one.in_words()


def correlation(x, lag):
    return np.corrcoef(x[lag:], x[:-lag])[0, 1]


def test_returns_of_prices_are_forecast_by_nothing_and_their_size_is_by_the_past():
    returns = []
    for seed in range(20):
        [series] = MADE["prices"].make(seed).series
        price = series.targets[:, 0]
        returns.append(price[1:] / price[:-1] - 1)
    both = np.array(returns)
    assert abs(np.mean([correlation(r, 1) for r in both])) < 0.02
    assert np.mean([correlation(np.abs(r), 1) for r in both]) > 0.1
    assert both.std() == pytest.approx(0.012, rel=0.2)
    assert np.is_busday(MADE["prices"].make(0).series[0].times.astype("M8[D]")).all()


def test_demand_is_counts_with_a_week():
    table = MADE["demand"].make(0)
    assert len(table.series) == ITEMS
    sold = np.array([series.targets[:, 0] for series in table.series])
    assert (sold >= 0).all()
    assert (sold == np.round(sold)).all()
    assert sold.mean(1).min() < 0.5
    assert sold.mean(1).max() > 40
    assert (sold.var(1) > sold.mean(1)).mean() > 0.9
    busy = sold.mean(1) > 20
    assert np.mean([correlation(x, 7) for x in sold[busy]]) > 0.1 + np.mean(
        [correlation(x, 3) for x in sold[busy]]
    )


@pytest.mark.parametrize("seed", range(3))
def test_an_autoregressive_series_has_its_coefficients(seed):
    [series] = MADE["autoregressive"].make(seed).series
    x = series.targets[:, 0]
    past = np.stack((x[1:-1], x[:-2]), 1)
    estimated, *_ = np.linalg.lstsq(past, x[2:], rcond=None)
    np.testing.assert_allclose(estimated, coefficients(seed), atol=0.08)
    assert (x[2:] - past @ np.array(coefficients(seed))).var() == pytest.approx(1, rel=0.1)


def test_a_random_walk_has_steps_that_follow_from_nothing():
    [series] = MADE["random-walk"].make(1).series
    steps = np.diff(series.targets[:, 0])
    assert abs(correlation(steps, 1)) < 0.06
    assert steps.std() == pytest.approx(1, rel=0.06)
