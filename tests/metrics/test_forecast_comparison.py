"""Comparisons of forecasts: as often right as they say."""

import math

import pytest
import torch
from scipy import stats

from saiki.errors import InputError
from saiki.metrics.forecast_comparison import (
    Comparison,
    Coverage,
    Precision,
    coverage,
    critical_t,
    diebold_mariano,
    precision_of_mean,
)

PAIRS = 2000


def moving_averages(rows, length, horizon, generator):
    """Errors of optimal forecasts so many steps ahead: moving averages of variance 1."""
    noise = torch.randn(rows, length + horizon, generator=generator, dtype=torch.float64)
    sums = noise.cumsum(1)
    return (sums[:, horizon:] - sums[:, :-horizon]) / horizon**0.5


@pytest.mark.parametrize(
    ("origins", "horizon"),
    [(20, 1), (200, 4), (480, 24), (1400, 24), (60, 20), (30, 20), (720, 240)],
)
def test_equally_good_forecasts_differ_in_3_to_7_percent(origins, horizon):
    generator = torch.Generator().manual_seed(origins + horizon)
    first, second = (moving_averages(PAIRS, origins, horizon, generator) for _ in "ab")
    rejected = sum(
        diebold_mariano(a.square(), b.square(), horizon).p < 0.05
        for a, b in zip(first, second, strict=True)
    )
    interval = stats.binomtest(rejected, PAIRS).proportion_ci()
    message = f"{rejected / PAIRS:.3f}, in [{interval.low:.3f}, {interval.high:.3f}]"
    assert 0.03 <= rejected / PAIRS <= 0.07, message
    assert interval.low < 0.05 + 0.015, message
    assert interval.high > 0.05 - 0.015, message


def test_a_better_forecast_is_found():
    generator = torch.Generator().manual_seed(0)
    first, second = (moving_averages(200, 500, 4, generator) for _ in "ab")
    rejected = sum(
        diebold_mariano(a.square(), 2 * b.square(), 4).is_better
        for a, b in zip(first, second, strict=True)
    )
    assert rejected > 190
    one = diebold_mariano(2 * second[0].square(), first[0].square(), 4)
    assert not one.is_better
    assert one.p < 0.05


def by_hand(d, h):
    """Harvey, Leybourne & Newbold 1997, eqs. 1 to 9, as loops."""
    n, mean = len(d), sum(d) / len(d)
    gamma = [sum((d[t] - mean) * (d[t - k] - mean) for t in range(k, n)) / n for k in range(h)]
    variance = (gamma[0] + 2 * sum(gamma[1:])) / n
    s = mean / math.sqrt(variance) * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return 2 * stats.t.sf(abs(s), n - 1)


@pytest.mark.parametrize("horizon", [1, 3])
def test_with_many_origins_it_is_the_test_of_the_paper(horizon):
    generator = torch.Generator().manual_seed(3)
    a, b = (moving_averages(1, 170, 3, generator)[0].square() for _ in "ab")
    d = (a - b + 0.2).tolist()
    comparison = diebold_mariano(a + 0.2, b, horizon)
    assert comparison.p == pytest.approx(by_hand(d, horizon), rel=1e-9)
    assert comparison.precision.freedom == 169


def test_with_few_origins_the_error_is_that_of_the_lowest_frequencies():
    x = torch.randn(40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    precision = precision_of_mean(x, 3)  # 40 / 12 = 3 ordinates
    waves = [
        abs(sum(x[t].item() * complex(math.cos(w * t), -math.sin(w * t)) for t in range(40))) ** 2
        for w in (2 * math.pi * j / 40 for j in (1, 2, 3))
    ]
    assert precision.freedom == 6
    assert precision.error == pytest.approx(math.sqrt(sum(waves) / 3 / 40 / 40))


def test_steps_and_series_of_an_origin_are_one_observation():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 60, 4, 3, generator=generator, dtype=torch.float64)
    comparison = diebold_mariano(a, b, 4)
    wanted = diebold_mariano(a.mean((1, 2)), b.mean((1, 2)), 4)
    assert comparison.p == pytest.approx(wanted.p)
    assert comparison.loss == pytest.approx(wanted.loss)
    # copies of the same series are no evidence
    doubled = diebold_mariano(torch.cat([a, a], 2), torch.cat([b, b], 2), 4)
    assert doubled.p == pytest.approx(wanted.p)


def test_what_is_missing_in_one_is_left_out_of_both():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 100, 2, generator=generator, dtype=torch.float64)
    a[::7, 0], b[::5, 1], a[:3], b[50] = math.nan, math.nan, math.nan, math.nan
    comparison = diebold_mariano(a, b, 1)
    known = ~(a.isnan() | b.isnan())
    assert comparison.loss == pytest.approx(a[known].mean().item())
    assert comparison.other == pytest.approx(b[known].mean().item())
    assert 0 < comparison.p < 1
    assert diebold_mariano(a * math.nan, b, 1).p == 1
    # the same difference in each origin is no spread, however much of it is known
    same = torch.zeros(100, 4, dtype=torch.float64)
    same[::3, 1:] = math.nan
    assert diebold_mariano(same, same + 0.1, 1).precision.error == pytest.approx(0, abs=1e-12)


def test_what_cannot_be_compared_is_not_different():
    x = torch.rand(30)
    assert diebold_mariano(x, x, 5).p == 1
    assert diebold_mariano(x[:2], x[:2] + 1, 1).p == 1
    assert diebold_mariano(x, x.flip(0) + 1, 21).p == 1
    wrong = x.clone()
    wrong[3] = math.inf
    assert "no finite number" in diebold_mariano(wrong, x, 1).verdict()
    assert "too few" in diebold_mariano(x, x + 1, 21).verdict()
    with pytest.raises(InputError, match="same origins"):
        diebold_mariano(x, x[:-1], 1)
    with pytest.raises(InputError, match="overlap of 0"):
        diebold_mariano(x, x, 0)


def test_the_verdict_is_a_sentence():
    precise = Precision(0.01, 1000)
    assert Comparison(0.88, 1.0, precise).verdict() == "better than the last value by 12 ± 2 %"
    assert Comparison(1.5, 1.0, precise).verdict("drift") == "worse than drift by 50 ± 2 %"
    assert Comparison(9.0, 10.0, Precision(0.01, 1000)).verdict() == (
        "better than the last value by 10.00 ± 0.20 %"
    )
    p_04 = Precision(0.1, 10_000)
    assert Comparison(1.084, 1.0, p_04).verdict() == "not better than the last value (p = 0.4)"
    assert Comparison(0.805, 1.0, p_04).verdict() == "not better than the last value (p = 0.05)"
    assert Comparison(0.9, 1.0, Precision(0.0, 5)).is_better
    assert not Comparison(0.9, 1.0, Precision(1.0, 50)).is_better
    assert Comparison(1.0, 0.0, Precision(0.1, 50)).verdict().startswith("not better")


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_a_shift_is_found_in_3_to_7_percent_where_there_is_none(ratio):
    """Where bounds are quantiles of another part, their own error counts."""
    draw = torch.Generator().manual_seed(7)
    tested, horizon, shifted = 400, 4, 0
    for _ in range(PAIRS):
        errors = moving_averages(1, tested + int(ratio * tested), horizon, draw)[0].abs()
        bound = errors[tested:].quantile(0.8)
        inside = errors[:tested, None]
        share = coverage(-bound.expand_as(inside), bound.expand_as(inside), inside, horizon)
        shifted += share.differs_from(0.8, ratio)
    assert 0.03 <= shifted / PAIRS <= 0.07


def test_that_all_lie_within_is_no_proof_where_there_are_few():
    truth = torch.zeros(5, 2)
    share = coverage(truth - 1, truth + 1, truth, 1)
    assert share.share == 1
    assert not share.differs_from(0.8)
    many = torch.zeros(500, 2)
    assert coverage(many - 1, many + 1, many, 1).differs_from(0.8)
    assert not coverage(many * math.nan, many, many * math.nan, 1).differs_from(0.8)
    assert str(coverage(truth[:2] - 1, truth[:2] + 1, truth[:2], 1)) == "100.0 %"


def test_critical_values_are_those_of_student():
    for freedom in (1, 2, 7, 100, 3001):
        assert critical_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)


def test_the_share_within_bounds_leaves_out_what_is_missing():
    truth = torch.tensor([[1.0, math.nan], [2.0, 0.0], [3.0, 9.0]])
    lower, upper = torch.full((3, 2), 1.0), torch.full((3, 2), 2.5)
    share = coverage(lower, upper, truth)
    assert share.share == 2 / 5
    assert share.count == 5
    # half of each origin, however much of it is known
    half = torch.tensor([0.0, 9.0, 0.0, 9.0]).repeat(60, 1)
    half[::3, 2:] = math.nan
    assert coverage(half * 0 - 1, half * 0 + 1, half, 1).precision.error == 0
    empty = coverage(lower, upper, truth * math.nan)
    assert math.isnan(empty.share)
    assert empty.count == 0
    assert str(Coverage(0.812, Precision(0.01, 1000), 9)) == "81.2 ± 2.0 %"
    with pytest.raises(InputError, match="bounds"):
        coverage(lower[:2], upper, truth)


def test_intervals_of_the_coverage_hold_where_forecasts_overlap():
    """Of random walks with known law: the 95 % interval of the share holds 80 % about as often as
    it says, and one of independent values far less often."""
    horizon, origins, rows, held, naive = 12, 300, 300, 0, 0
    generator = torch.Generator().manual_seed(0)
    walks = torch.randn(rows, origins + horizon, generator=generator).cumsum(1)
    width = 1.2815516 * torch.arange(1, horizon + 1).sqrt()[None, :, None]
    for walk in walks:
        steps = (walk[1:].unfold(0, horizon, 1) - walk[:-horizon, None])[..., None]
        share = coverage(-width.expand_as(steps), width.expand_as(steps), steps)
        held += abs(share.share - 0.8) <= share.precision.half_width
        naive += abs(share.share - 0.8) <= 1.96 * math.sqrt(0.8 * 0.2 / share.count)
    assert 0.90 <= held / rows <= 0.98
    assert naive / rows < 0.6
