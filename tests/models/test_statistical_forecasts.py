"""The wrapper around statsforecast, with a module in its place."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from saiki.errors import InputError
from saiki.models.statistical_forecasts import StatisticalForecast, arima, exponential_smoothing


class Counting:
    """Forecasts the last value and a season more for each step; bounds are a percent away."""

    def __init__(self, season_length):
        self.season_length = season_length

    def forecast(self, y, h, level=()):
        assert np.isfinite(y).all()
        mean = y[-1] + self.season_length * np.arange(1, h + 1)
        said = {"mean": mean}
        for share in level:
            said |= {f"lo-{share}": mean - share, f"hi-{share}": mean + share}
        return said


@pytest.fixture
def statsforecast(monkeypatch):
    package, models = ModuleType("statsforecast"), ModuleType("statsforecast.models")
    models.AutoETS = type("AutoETS", (Counting,), {})
    models.AutoARIMA = type("AutoARIMA", (Counting,), {})
    package.models = models
    monkeypatch.setitem(sys.modules, "statsforecast", package)
    monkeypatch.setitem(sys.modules, "statsforecast.models", models)
    return models


def test_each_series_has_a_model_of_its_own(statsforecast):
    past = torch.tensor([[[1.0, 10.0], [2.0, 20.0]], [[3.0, math.nan], [4.0, 40.0]]])
    wanted = torch.tensor([[[5.0, 23.0], [8.0, 26.0]], [[7.0, math.nan], [10.0, math.nan]]])
    found = arima(past, 2, period=3)
    torch.testing.assert_close(found, wanted, equal_nan=True)
    torch.testing.assert_close(exponential_smoothing(past, 2, 3), wanted, equal_nan=True)


def test_methods_are_the_classes_of_their_names(statsforecast, monkeypatch):
    monkeypatch.setattr(statsforecast.AutoETS, "forecast", lambda self, y, h: {"mean": np.ones(h)})
    past = torch.zeros(1, 5, 1)
    assert exponential_smoothing(past, 2).tolist() == [[[1.0], [1.0]]]
    assert arima(past, 2).tolist() == [[[1.0], [2.0]]]


def test_quantiles_are_bounds_of_intervals(statsforecast):
    forecast = StatisticalForecast("arima", 1)
    found = forecast.quantiles(torch.zeros(2, 5, 3), 4, [0.025, 0.1, 0.5, 0.9, 0.975])
    assert found.shape == (2, 4, 3, 5)
    wanted = torch.tensor([1 - 95.0, 1 - 80.0, 1.0, 1 + 80.0, 1 + 95.0])
    torch.testing.assert_close(found[1, 0, 2], wanted)


def test_what_is_missing_in_front_is_passed_over_and_gaps_are_not_filled(statsforecast):
    past = torch.tensor([math.nan, math.nan, 3.0, 4.0]).view(1, 4, 1)
    assert arima(past, 1).item() == 5
    gap = torch.tensor([1.0, math.nan, 3.0, 4.0]).view(1, 4, 1)
    assert math.isnan(arima(gap, 1).item())
    assert arima(gap * math.nan, 1).isnan().all()


def test_without_it_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(InputError, match=r"pip install 'saiki\[series\]'"):
        arima(torch.zeros(1, 5, 1), 1)


def test_what_there_is_not_is_refused(statsforecast):
    with pytest.raises(InputError, match="one of exponential_smoothing, arima"):
        StatisticalForecast("prophet")
    with pytest.raises(InputError, match="period"):
        StatisticalForecast("arima", 0)
    with pytest.raises(InputError, match="1 step or more"):
        arima(torch.zeros(5, 1), 1)
