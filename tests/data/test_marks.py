"""Marks: what they change, and their scores, by hand."""

import pytest

from saiki.data.marks import Example, Mark, change, mended, scores
from saiki.data.typos import Mistake


def mark(place, kind, missing="", probability=0.75):
    return Mark(Mistake(place, kind, missing), probability)


@pytest.mark.parametrize(
    ("line", "given", "was", "now"),
    [
        ("see teh fox", mark(6, "swapped"), "teh", "the"),
        ("quck", mark(2, "dropped", "i"), "quck", "quick"),
        ("ofthe day", mark(2, "dropped", " "), "ofthe", "of the"),
        ("the fo", mark(6, "dropped", "x"), "fo", "fox"),
        ("the fo ran off", mark(6, "dropped", "x"), "fo ran", "fox ran"),
        ("the foxx", mark(7, "doubled"), "foxx", "fox"),
        ("a  b c", mark(2, "doubled"), "a  b", "a b"),
        ("on et wo", mark(3, "swapped"), "on et", "one t"),
        ("on et wo", mark(6, "swapped"), "et wo", "etw o"),
    ],
)
def test_a_change_is_told_with_the_words_around_it(line, given, was, now):
    told = change(line, given)
    assert told == {
        "kind": given.mistake.kind,
        "missing": given.mistake.missing,
        "probability": 0.75,
        "was": was,
        "is": now,
    }
    assert was in line
    assert mended(line, [given]) == line.replace(was, now)


def test_a_text_may_end_in_a_line_feed():
    assert mended("teh\n", [mark(2, "swapped")]) == "the\n"
    assert mended("fo\n", [mark(2, "dropped", "x")]) == "fox\n"
    assert mended("", []) == ""


def test_scores_are_counted_by_hand():
    examples = [
        Example("", "x" * 9, [Mistake(1, "swapped"), Mistake(4, "dropped", "a"),
                              Mistake(7, "dropped", "b")]),
        Example("", "x" * 9, [Mistake(2, "doubled")]),
        Example("", "x" * 9, []),
    ]  # fmt: skip
    found = [
        [mark(1, "swapped"), mark(4, "dropped", "a"), mark(7, "dropped", "c"), mark(8, "swapped")],
        [mark(2, "swapped"), mark(3, "doubled")],
        [mark(5, "doubled")],
    ]
    assert scores(examples, found) == pytest.approx({
        "f1": 2 * 3 / (7 + 4), "precision": 3 / 7, "recall": 3 / 4,
        "f1_swapped": 2 * 1 / (3 + 1), "f1_dropped": 1.0, "f1_doubled": 0.0,
        "mended": 2 / 4,
    })  # fmt: skip
    assert set(scores([], []).values()) == {0}
