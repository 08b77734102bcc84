"""Simple forecasts, by hand."""

import math
import sys
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch

from saiki.errors import InputError
from saiki.models import simple_forecasts as simple

NAN = torch.nan
SEASONAL = partial(simple.seasonal_last_value, period=3)
ALL = [simple.last_value, SEASONAL, simple.drift]


def by_loops(name, past, horizon):
    """Each row and target for itself."""
    out = torch.full((past.shape[0], horizon, past.shape[2]), NAN, dtype=past.dtype)
    for b in range(past.shape[0]):
        for i in range(past.shape[2]):
            x = past[b, :, i].tolist()
            known = [t for t, value in enumerate(x) if value == value]
            for h in range(horizon):
                if not known:
                    continue
                end = known[-1]
                if name == "last_value":
                    out[b, h, i] = x[end]
                elif name == "drift":
                    slope = (x[end] - x[known[0]]) / max(1, end - known[0])
                    out[b, h, i] = x[end] + (len(x) + h - end) * slope
                else:
                    same = [t for t in known if (len(x) + h - t) % 3 == 0]
                    out[b, h, i] = x[same[-1]] if same else NAN
    return out


@pytest.mark.parametrize("forecast", ALL)
@pytest.mark.parametrize("time", [3, 8])
@pytest.mark.parametrize("missing", [0.0, 0.4, 1.0])
def test_each_is_what_it_says(forecast, time, missing):
    generator = torch.Generator().manual_seed(time)
    past = torch.randn(5, time, 2, generator=generator, dtype=torch.float64)
    past[torch.rand(past.shape, generator=generator) < missing] = NAN
    name = "seasonal" if forecast is SEASONAL else forecast.__name__
    torch.testing.assert_close(forecast(past, 7), by_loops(name, past, 7), equal_nan=True)


def test_a_line_goes_on_and_a_season_too():
    line = torch.arange(10.0).view(1, 10, 1)
    torch.testing.assert_close(simple.drift(line, 3)[0, :, 0], torch.tensor([10.0, 11.0, 12.0]))
    assert simple.drift(torch.ones(1, 1, 1), 2).tolist() == [[[1.0], [1.0]]]
    season = torch.tensor([5.0, 1.0, 2.0, 5.0, 1.0]).view(1, 5, 1)
    assert SEASONAL(season, 4)[0, :, 0].tolist() == [2.0, 5.0, 1.0, 2.0]


def test_what_cannot_be_forecast_is_refused():
    for forecast in ALL:
        with pytest.raises(InputError, match="1 step or more"):
            forecast(torch.zeros(2, 5, 1), 0)
        with pytest.raises(InputError, match=r"shape \(5, 1\)"):
            forecast(torch.zeros(5, 1), 1)
    with pytest.raises(InputError, match="period of 3 steps"):
        SEASONAL(torch.zeros(1, 2, 1), 1)


class Counting:
    """In the place of statsforecast: the last value and a season more for each step."""

    def __init__(self, season_length):
        self.season_length = season_length

    def forecast(self, y, h):
        assert np.isfinite(y).all()
        return {"mean": y[-1] + self.season_length * np.arange(1, h + 1)}


def forecast(method, past, horizon, period=1):
    return simple.StatisticalForecast(method, period)(past, horizon)


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
    means = forecast("arima", past, 2, period=3)
    torch.testing.assert_close(means, wanted, equal_nan=True)
    torch.testing.assert_close(
        forecast("exponential_smoothing", past, 2, 3), wanted, equal_nan=True
    )


def test_methods_are_the_classes_of_their_names(statsforecast, monkeypatch):
    monkeypatch.setattr(statsforecast.AutoETS, "forecast", lambda self, y, h: {"mean": np.ones(h)})
    past = torch.zeros(1, 5, 1)
    assert forecast("exponential_smoothing", past, 2).tolist() == [[[1.0], [1.0]]]
    assert forecast("arima", past, 2).tolist() == [[[1.0], [2.0]]]


def test_what_is_missing_in_front_is_passed_over_and_gaps_are_not_filled(statsforecast):
    past = torch.tensor([math.nan, math.nan, 3.0, 4.0]).view(1, 4, 1)
    assert forecast("arima", past, 1).item() == 5
    gap = torch.tensor([1.0, math.nan, 3.0, 4.0]).view(1, 4, 1)
    assert math.isnan(forecast("arima", gap, 1).item())
    assert forecast("arima", gap * math.nan, 1).isnan().all()


def test_without_it_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(InputError, match=r"pip install 'saiki\[series\]'"):
        forecast("arima", torch.zeros(1, 5, 1), 1)


def test_what_there_is_not_is_refused(statsforecast):
    with pytest.raises(InputError, match="one of exponential_smoothing, arima"):
        simple.StatisticalForecast("prophet")
    with pytest.raises(InputError, match="period"):
        simple.StatisticalForecast("arima", 0)
    with pytest.raises(InputError, match="1 step or more"):
        forecast("arima", torch.zeros(5, 1), 1)
