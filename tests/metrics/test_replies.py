"""Measures of replies, by hand."""

import math

import numpy as np
import pytest

from saiki.metrics.replies import distinct, mean_length, most_frequent, similarities

REPLIES = [("a", "b", "a", "b"), ("a", "b"), ("a", "b"), ("c",)]


def test_distinct_counts_different_grams():
    assert distinct(REPLIES, 1) == 3 / 9
    assert distinct(REPLIES, 2) == 2 / 5
    assert distinct([("a",)], 2) == 0
    assert distinct([], 1) == 0


def test_lengths_and_the_most_frequent_reply():
    assert mean_length(REPLIES) == 9 / 4
    assert most_frequent(REPLIES) == ("a b", 0.5)


def test_vectors_tell_how_near_replies_are():
    vectors = {
        "up": np.array([0.0, 2.0], np.float32),
        "right": np.array([1.0, 0.0], np.float32),
        "left": np.array([-3.0, 0.0], np.float32),
    }
    similarity = similarities(
        [("up", "right"), ("unknown",)], [("left", "up", "?"), ("up",)], vectors
    )
    # means (½, 1) and (−3/2, 1); extrema (1, 2) and (−3, 2)
    assert similarity["average"] == pytest.approx((-0.75 + 1) / math.sqrt(1.25 * 3.25))
    assert similarity["extrema"] == pytest.approx(1 / math.sqrt(5 * 13))
    # up has 1, right has 0; left has 0, up has 1
    assert similarity["greedy"] == pytest.approx(0.5)
    assert all(math.isnan(value) for value in similarities([("x",)], [("y",)], vectors).values())
