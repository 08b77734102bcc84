"""Seasons that are found where they are, and seldom where they are not."""

import math

import pytest
import torch

from saiki.errors import InputError
from saiki.models.season import period_of

SERIES = 250


def noise(length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SERIES, length, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("length", [100, 1000])
@pytest.mark.parametrize("law", ["white noise", "random walk"])
def test_noise_and_random_walks_have_none(law, length):
    rows = noise(length) if law == "white noise" else noise(length).cumsum(1)
    periodic = sum(period_of(row) is not None for row in rows)
    assert periodic / SERIES <= 0.03


def test_autoregressions_have_none():
    rows = noise(300)
    for t in range(1, rows.shape[1]):
        rows[:, t] += 0.9 * rows[:, t - 1]
    assert sum(period_of(row) is not None for row in rows) / SERIES <= 0.05
    assert sum(period_of(row.cumsum(0)) is not None for row in rows) / SERIES <= 0.06


@pytest.mark.parametrize("period", [2, 4, 7, 12, 24, 60])
def test_a_season_is_found_in_noise_and_on_a_trend(period):
    t = torch.arange(period * 30.0)
    profile = torch.randn(period, generator=torch.Generator().manual_seed(period))
    profile = 3 * profile / profile.std()
    rows = profile.repeat(30) + 0.3 * t + noise(len(t))[:20]
    periods = [period_of(row) for row in rows]
    assert periods.count(period) >= 18, periods


def test_a_pure_wave_and_one_of_whole_numbers_are_found():
    t = torch.arange(240)
    assert period_of(torch.sin(2 * math.pi * t / 24)) == 24
    assert period_of((t % 7 == 0).float()) == 7
    assert period_of((t % 7 == 0).float() * 1e9 + 1e12) == 7
    for length in (60, 61):
        assert period_of((torch.arange(length) % 2).float()) == 2


def test_a_day_within_a_week_is_not_taken_for_the_week():
    t = torch.arange(24 * 7 * 8)
    day, week = torch.sin(2 * math.pi * t / 24), torch.sin(2 * math.pi * t / 168)
    assert period_of(3 * day + 0.2 * week + 0.3 * noise(len(t))[0]) == 24
    assert period_of(day + week + 0.3 * noise(len(t))[0]) == 168


def test_what_is_missing_does_not_hide_it():
    t = torch.arange(480)
    row = torch.sin(2 * math.pi * t / 24) + 0.3 * noise(480)[0]
    row[torch.rand(480, generator=torch.Generator().manual_seed(0)) < 0.2] = math.nan
    assert period_of(row) == 24
    assert period_of(row * math.nan) is None


def test_most_columns_decide():
    t = torch.arange(480)
    daily = torch.sin(2 * math.pi * t / 24)
    weekly = torch.sin(2 * math.pi * t / 7)
    columns = torch.stack([daily, noise(480)[0], noise(480)[1], daily, weekly, daily], 1)
    assert period_of(columns) == 24
    assert period_of(noise(480)[:3].T) is None


def test_what_says_nothing_has_none():
    assert period_of(torch.ones(100)) is None
    assert period_of(torch.arange(100.0)) is None
    assert period_of(torch.zeros(0)) is None
    assert period_of(torch.rand(5)) is None
    assert period_of(torch.sin(2 * math.pi * torch.arange(200) / 24), longest=20) is None
    with pytest.raises(InputError, match="columns"):
        period_of(torch.zeros(2, 3, 4))
