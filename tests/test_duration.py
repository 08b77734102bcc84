"""How long a training is: passes over examples, bounded where they are few or many."""

import math

import pytest

from saiki.duration import Epochs, Updates
from saiki.errors import InputError


@pytest.mark.parametrize(
    ("knobs", "epoch", "updates"),
    [
        ({"epochs": 3.0}, 100, 300),
        ({"epochs": 0.01}, 3.5, 1),
        ({"epochs": 2.0, "updates": 50}, 4, 50),  # few examples
        ({"epochs": 2.0, "updates": 50}, 400, 800),
        ({"epochs": 2.0, "updates": 50, "most_updates": 700}, 10_000, 700),  # many
        ({"epochs": 2.0, "updates": 50, "most_updates": 700, "iterations": 7}, 10_000, 7),
        ({"iterations": 1000}, 1, 1000),
    ],
)
def test_passes_are_bounded_by_numbers_of_updates(knobs, epoch, updates):
    assert Epochs(**knobs).updates_of(epoch) == updates


def test_bounds_that_cross_are_refused():
    with pytest.raises(InputError, match="most_updates must be 0 or at least updates, 50, got 7"):
        Epochs(updates=50, most_updates=7)


def test_updates_may_be_told_as_epochs_where_examples_end():
    assert Updates(iterations=30).updates_of(math.inf) == 30
    assert Updates(iterations=30, epochs=1.5).updates_of(100) == 150
    with pytest.raises(InputError, match="drawn without end; say how long by iterations"):
        Updates(epochs=2.0).updates_of(math.inf)
