"""Simple forecasts, by hand."""

from functools import partial

import numpy as np
import pytest
import torch

from saiki.errors import InputError
from saiki.models import simple_forecasts as simple

NAN = torch.nan
SEASONAL = partial(simple.seasonal_last_value, period=3)
ALL = [simple.last_value, SEASONAL, simple.drift, simple.mean]


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
                elif name == "mean":
                    out[b, h, i] = sum(x[t] for t in known) / len(known)
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


def test_quantiles_are_those_of_numpy_without_what_is_missing():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(41, 3, 2, generator=generator, dtype=torch.float64)
    x[torch.rand(x.shape, generator=generator) < 0.3] = NAN
    levels = [0.0, 0.1, 0.5, 0.975, 1.0]
    wanted = torch.from_numpy(np.moveaxis(np.nanquantile(x.numpy(), levels, axis=0), 0, -1))
    torch.testing.assert_close(simple.quantiles_of_known(x, levels), wanted)
    assert simple.quantiles_of_known(x[:2] * NAN, [0.5]).isnan().all()


def test_errors_by_steps_ahead_are_those_of_all_origins():
    series = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)).cumsum(0)
    found = simple.ErrorQuantiles.of(simple.last_value, series, 5, 4, [0.1, 0.9])
    for h in range(4):
        errors = [(series[t + h] - series[t - 1]).tolist() for t in range(5, 57)]
        wanted = np.quantile(errors, [0.1, 0.9], axis=0).T
        np.testing.assert_allclose(found.values[h].numpy(), wanted, rtol=1e-5)
    around = found.around(torch.zeros(3, 2, 2))
    torch.testing.assert_close(around, found.values[:2].expand(3, 2, 2, 2))


def test_intervals_of_a_random_walk_are_as_wide_as_its_law():
    walk = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)).cumsum(0)
    found = simple.ErrorQuantiles.of(simple.last_value, walk, 1, 9, [0.1, 0.9], origins=10**6)
    for h in (1, 4, 9):
        low, high = found.values[h - 1, 0].tolist()
        assert high - low == pytest.approx(2 * 1.2816 * h**0.5, rel=0.05)


def test_origins_are_spread_over_several_series():
    series = [torch.zeros(30, 1), torch.zeros(3, 1), torch.ones(70, 1).cumsum(0)]
    seen = []

    def noted(past, horizon):
        seen.extend(past[:, -1, 0].tolist())
        return simple.last_value(past, horizon)

    simple.ErrorQuantiles.of(noted, series, 4, 2, [0.5], origins=30)
    assert len(seen) == 30
    assert 6 <= seen.count(0.0) <= 9  # 25 of 90 origins
    assert len({*seen}) > 20
    with pytest.raises(InputError, match=r"4 \+ 100 steps"):
        simple.ErrorQuantiles.of(simple.mean, series, 4, 100, [0.5])
    with pytest.raises(InputError, match="no forecast"):
        simple.ErrorQuantiles.of(simple.mean, torch.full((9, 1), NAN), 4, 2, [0.5])
