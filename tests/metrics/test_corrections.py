"""Marks beside the mistakes that were made, counted by hand."""

import math

import pytest

from saiki.data.text.typos import Example, Mark, Mistake
from saiki.metrics.corrections import THRESHOLDS, lowest_threshold, rates, scores, taken_for


def mark(place, kind, missing="", probability=0.75):
    return Mark(Mistake(place, kind, missing), probability)


def test_scores_are_counted_by_hand():
    examples = [
        Example("", "x" * 9, [Mistake(1, "swapped"), Mistake(4, "dropped", "a"),
                              Mistake(7, "dropped", "b")]),
        Example("", "x" * 9, [Mistake(2, "doubled")]),
        Example("", "x" * 9, []),
    ]  # fmt: skip
    predictions = [
        [mark(1, "swapped"), mark(4, "dropped", "a"), mark(7, "dropped", "c"), mark(8, "swapped")],
        [mark(2, "swapped"), mark(3, "doubled")],
        [mark(5, "doubled")],
    ]
    assert scores(examples, predictions) == pytest.approx({
        "f1": 2 * 3 / (7 + 4), "precision": 3 / 7, "recall": 3 / 4,
        "f1_swapped": 2 * 1 / (3 + 1), "f1_dropped": 1.0, "f1_doubled": 0.0,
        "mended": 2 / 4,
    })  # fmt: skip
    assert set(scores([], []).values()) == {0}


def test_what_each_mistake_was_taken_for_is_counted_by_hand():
    example = Example("", "x" * 4, [Mistake(1, "swapped"), Mistake(3, "doubled")])
    marks = [mark(1, "dropped"), mark(2, "doubled"), mark(3, "doubled")]
    # of 5 places: none stays none at 0 and 4, and is taken for doubled at 2
    assert taken_for([example], [marks]).tolist() == [
        [2, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1],
    ]  # fmt: skip


def test_what_is_spoiled_and_what_comes_right_is_counted_by_hand():
    examples = [
        Example("fox", "foxx", [Mistake(3, "doubled")]),
        Example("the", "teh", [Mistake(2, "swapped")]),
        Example("cat", "cat", []),
        Example("dog", "dgo", [Mistake(2, "swapped")]),
    ]
    clean = [[mark(2, "swapped", probability=0.5)], [], [mark(1, "swapped", probability=0.9)], []]
    typed = [
        [mark(3, "doubled", probability=0.8)],
        [mark(2, "swapped", probability=0.6)],
        [mark(2, "swapped")],  # of a text without mistakes
        [mark(2, "swapped", probability=0.9), mark(1, "swapped", probability=0.55)],
    ]
    assert rates(examples, clean, typed) == (2 / 4, 2 / 3)
    assert rates(examples, clean, typed, 0.58) == (1 / 4, 3 / 3)
    assert rates(examples, clean, typed, 0.7) == (1 / 4, 2 / 3)
    assert rates(examples, clean, typed, 0.95) == (0, 0)
    assert rates([], [], []) == (0, 0)


def test_the_lowest_threshold_that_serves_all_kinds_is_taken():
    def falling(at):
        """More clean texts than allowed are changed below the threshold of that place."""
        return [(0.02 if i >= at else 0.03, 0.5) for i in range(len(THRESHOLDS))]

    assert lowest_threshold([falling(0)], 0.02) == THRESHOLDS[0]
    assert lowest_threshold([falling(40), falling(20)], 0.02) == THRESHOLDS[40]
    assert lowest_threshold([falling(40), falling(99)], 0.02) == math.inf
    none_mended = [(0.0, 0.0)] * len(THRESHOLDS)
    assert lowest_threshold([falling(0), none_mended], 0.02) == math.inf
