"""Measures of texts against their definitions."""

import math

import numpy as np
import pytest

from saiki.metrics.text import edit_distance, error_rate, exact_match, perplexity


def recursive(a, b):
    """Levenshtein's distance as it is defined."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return recursive(a[1:], b[1:])
    return 1 + min(recursive(a[1:], b), recursive(a, b[1:]), recursive(a[1:], b[1:]))


def test_the_edit_distance_is_as_defined():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "") == 0
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    random = np.random.default_rng(0)
    for _ in range(60):
        a, b = ("".join(random.choice(list("abc"), random.integers(0, 7))) for _ in range(2))
        assert edit_distance(a, b) == recursive(a, b)


def test_rates_are_counted_by_hand():
    texts, wanted = ["kitten", "abc", ""], ["sitting", "abc", "de"]
    assert error_rate(texts, wanted) == (3 + 0 + 2) / (7 + 3 + 2)
    assert exact_match(texts, wanted) == pytest.approx(1 / 3)


def test_a_perplexity_beyond_every_number_is_infinite_and_that_of_none_is_none():
    assert perplexity(math.log(7)) == pytest.approx(7)
    assert perplexity(1e9) == math.inf
    assert math.isnan(perplexity(math.nan))
