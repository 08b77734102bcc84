"""Marks: what they change, by hand."""

import pytest
import torch

from saiki.data.text.corrections import Mark, change, marked, mended
from saiki.data.text.typos import KINDS, Mistake


def mark(place, kind, missing="", probability=0.75):
    return Mark(Mistake(place, kind, missing), probability)


@pytest.mark.parametrize(
    ("line", "mark", "was", "now"),
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
def test_a_change_is_told_with_the_words_around_it(line, mark, was, now):
    described = change(line, mark)
    assert described == {
        "kind": mark.mistake.kind,
        "missing": mark.mistake.missing,
        "probability": 0.75,
        "was": was,
        "is": now,
    }
    assert was in line
    assert mended(line, [mark]) == line.replace(was, now)


def test_a_text_may_end_in_a_line_feed():
    assert mended("teh\n", [mark(2, "swapped")]) == "the\n"
    assert mended("fo\n", [mark(2, "dropped", "x")]) == "fox\n"
    assert mended("", []) == ""


@pytest.mark.parametrize(
    "address", ["https://ab.org/ccd?q=1", "http://x.org", "www.abb.org", "me.too+1@abb.co.uk"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_within_an_address_is_a_mistake(address, kind):
    text = f"so see {address} ab"
    kinds = torch.zeros(len(text) + 1, 1 + len(KINDS))
    kinds[:, 1 + KINDS.index(kind)] = 0.9  # everywhere
    marks = marked(text, kinds, ["x"] * (len(text) + 1), 0.5)
    first, after = text.index(address), text.index(address) + len(address)
    assert marks
    for one in marks:
        mended_text = mended(text, [one])
        assert address in mended_text, (one, mended_text)
    if kind == "dropped":
        assert {first, after} <= {one.mistake.place for one in marks}  # a space may lack there
