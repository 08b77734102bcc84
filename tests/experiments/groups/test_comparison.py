"""Settings compared over seeds."""

import math

import pytest

from saiki.experiment import Trial
from saiki.experiments.groups.comparison import compare, in_every_seed, spread


def trial(*values):
    return Trial({}, tuple({"accuracy": value} for value in values))


def test_a_difference_counts_where_it_is_more_than_chance_seed_by_seed():
    first, second = trial(0.1, 0.5, 0.9), trial(0.2, 0.61, 0.99)
    difference = compare(first, second, "accuracy")
    assert difference.values == pytest.approx((0.1, 0.11, 0.09))
    assert difference.is_more
    assert not difference.is_less
    assert compare(second, first, "accuracy").is_less
    assert str(difference) == "+0.1 ± 0.01 (p = 0.0033)"
    noisy = compare(first, trial(0.3, 0.5, 0.91), "accuracy")
    assert not noisy.is_more
    assert not noisy.is_less


def test_one_seed_and_runs_without_the_figure_tell_nothing():
    assert not compare(trial(0.1), trial(0.9), "accuracy").is_more
    assert not compare(trial(0.1, 0.1), trial(0.9, None), "accuracy").is_more
    assert not in_every_seed([trial(1.0)], "accuracy", lambda value: value > 0)
    assert not in_every_seed([trial(1.0, math.nan)], "accuracy", lambda value: value > 0)


def test_it_may_fall_short_by_what_is_allowed():
    first, second = trial(0.80, 0.82, 0.84), trial(0.796, 0.815, 0.835)
    assert not compare(first, second, "accuracy").is_more
    assert compare(first, second, "accuracy", 0.01).is_more


def test_every_seed_of_every_setting_counts():
    good, bad = trial(0.9, 0.95), trial(0.9, 0.85)
    assert in_every_seed([good, good], "accuracy", lambda value: value >= 0.9)
    assert not in_every_seed([good, bad], "accuracy", lambda value: value >= 0.9)


def test_the_spread_is_the_deviation_over_seeds():
    assert spread([1.0, 3.0]) == "2 ± 1.4"
    assert spread([0.5]) == "0.5 (one seed)"
    assert spread([math.nan, 1.0]) == "nan ± nan"
