"""Calibrated intervals: they cover what they say."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import saiki
from saiki.errors import InputError
from saiki.nn.calibration import ConformalIntervals, interval

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def skewed(count, seed):
    """A truth of which the quantiles, far too narrow, know only the level."""
    level = normal(count, 3, 2, seed=seed)
    truth = level + normal(count, 3, 2, seed=seed + 1).exp() * torch.tensor([1.0, 5.0])
    offsets = torch.tensor([-0.2, -0.1, 0.0, 0.1, 0.2], dtype=torch.float64)
    return level[..., None] + offsets, truth


@pytest.mark.parametrize("count", [19, 40, 200])
def test_intervals_cover_at_least_what_they_say_and_hardly_more(count):
    """Over many calibrations, of n exchangeable values ⌈(n + 1) s⌉ / (n + 1) lie within."""
    trials = 4000
    quantiles = torch.tensor([-0.4, -0.1, 0.0, 0.1, 0.6]).double().expand(count, trials, 1, 5)
    truth = normal(count, trials, 1).exp()
    calibrated = ConformalIntervals(LEVELS, trials, 1).double().fit_(quantiles, truth)
    new = normal(trials, 1, seed=1).exp()
    widened = calibrated(quantiles[0])
    for share in (0.8, 0.95):
        low, high = interval(widened, LEVELS, share)
        within = int(((low <= new) & (new <= high)).sum())
        bounds = stats.binomtest(within, trials).proportion_ci(0.999)
        wanted = math.ceil((count + 1) * share - 1e-9) / (count + 1)
        assert bounds.low <= wanted <= bounds.high
        assert share <= wanted <= share + 1 / (count + 1)


def test_the_80_percent_interval_of_new_values_covers_within_its_binomial_interval():
    quantiles, truth = skewed(4000, seed=0)
    calibrated = ConformalIntervals(LEVELS, 3, 2).double().fit_(quantiles, truth)
    quantiles, truth = skewed(4000, seed=10)
    low, high = interval(quantiles, LEVELS, 0.8)
    assert ((low <= truth) & (truth <= high)).double().mean() < 0.2
    low, high = interval(calibrated(quantiles), LEVELS, 0.8)
    for step in range(3):
        for target in range(2):
            within = ((low <= truth) & (truth <= high))[:, step, target]
            # both parts are of 4000, so the error is √2 times that of one
            bound = 3 * math.sqrt(2 * 0.8 * 0.2 / 4000)
            assert within.double().mean().item() == pytest.approx(0.8, abs=bound)


def test_margins_are_the_scores_of_their_rank():
    quantiles, truth = skewed(57, seed=3)
    truth[5:12, 1, 0] = math.nan
    calibrated = ConformalIntervals(LEVELS, 3, 2).double().fit_(quantiles, truth)
    for i, share in enumerate((0.95, 0.8)):
        for h, j in np.ndindex(3, 2):
            q, y = quantiles[:, h, j], truth[:, h, j]
            scores = torch.maximum(q[:, i] - y, y - q[:, -1 - i])[~y.isnan()].tolist()
            rank = math.ceil((len(scores) + 1) * share)
            assert calibrated.margins[h, j, i].item() == sorted(scores)[rank - 1]


def test_intervals_that_are_too_wide_become_narrower():
    quantiles = torch.tensor([-90.0, -50.0, 0.0, 50.0, 90.0]).expand(500, 1, 1, 5)
    calibrated = ConformalIntervals(LEVELS, 1, 1).fit_(quantiles, normal(500, 1, 1))
    bounds = calibrated(quantiles[:1])[0, 0, 0].tolist()
    assert bounds[4] - bounds[0] == pytest.approx(2 * 1.96, rel=0.15)
    assert bounds[3] - bounds[1] == pytest.approx(2 * 1.2816, rel=0.15)


def test_wider_intervals_hold_narrower_ones_and_bounds_never_cross():
    calibrated = ConformalIntervals(LEVELS, 1, 1)
    calibrated.margins.copy_(torch.tensor([-3.0, 0.5]))  # the wider shrinks below the narrower
    bounds = calibrated(torch.tensor([-4.0, -2.0, 9.0, 2.0, 4.0]).view(1, 1, 1, 5))[0, 0, 0]
    assert bounds.tolist() == [-2.5, -2.5, 2.5, 2.5, 2.5]
    calibrated.margins.copy_(torch.tensor([-30.0, -30.0]))
    assert (calibrated(normal(9, 1, 1, 5).sort(-1).values.float()).diff(dim=-1) >= 0).all()


def test_around_one_number_it_is_the_split_conformal_interval():
    forecast, truth = normal(99, 2, 1), normal(99, 2, 1, seed=1)
    calibrated = ConformalIntervals((0.1, 0.9), 2, 1).double()
    bounds = calibrated.fit_(forecast[..., None].expand(-1, -1, -1, 2), truth)(
        torch.zeros(1, 2, 1, 2, dtype=torch.float64)
    )
    for h in range(2):
        distance = (truth - forecast).abs()[:, h, 0].sort().values[79].item()
        assert bounds[0, h, 0].tolist() == pytest.approx([-distance, distance])


def test_unfitted_and_with_fewer_steps_it_does_no_more_than_it_says(tmp_path):
    quantiles, truth = skewed(60, seed=0)
    calibrated = ConformalIntervals(LEVELS, 3, 2)
    torch.testing.assert_close(calibrated(quantiles), quantiles)
    calibrated.fit_(quantiles, truth)
    torch.testing.assert_close(calibrated(quantiles[:, :2]), calibrated(quantiles)[:, :2])
    calibrated.save_pretrained(tmp_path)
    assert torch.equal(saiki.load(tmp_path)(quantiles), calibrated(quantiles))
    median = torch.zeros(2, 3, 2, 1)
    assert torch.equal(ConformalIntervals((0.5,), 3, 2)(median), median)


def test_too_few_values_and_other_shapes_are_refused():
    quantiles, truth = skewed(38, seed=0)
    calibrated = ConformalIntervals(LEVELS, 3, 2)
    calibrated.fit_(quantiles[:39], truth[:39])
    with pytest.raises(InputError, match=r"95 % interval .* 19 known values .* there are 18"):
        calibrated.fit_(quantiles[:18], truth[:18])
    truth[:30, 1, 1] = math.nan
    with pytest.raises(InputError, match="there are 8"):
        calibrated.fit_(quantiles, truth)
    with pytest.raises(InputError, match="3 steps of 2 targets"):
        calibrated.fit_(quantiles[:, :2], truth[:, :2])
    with pytest.raises(InputError, match="3 steps of 2 targets"):
        calibrated(quantiles[..., :3])
    with pytest.raises(InputError, match="no margin"):
        calibrated.fit_(quantiles * math.nan, skewed(38, seed=0)[1])
    for levels in ((0.1, 0.8), (0.9, 0.1), (0.0, 1.0), ()):
        with pytest.raises(InputError, match="mirrors"):
            ConformalIntervals(levels, 1, 1)
    with pytest.raises(InputError, match=r"level 0\.25"):
        interval(quantiles, LEVELS, 0.5)
