"""Mistakes of typing: undone to the letter, marked where they can be seen, and counted."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from saiki.data.text.typos import (
    KINDS,
    Mark,
    Mistake,
    change,
    marked,
    mend,
    mended,
    mistype,
    possible,
)
from saiki.metrics.text import edit_distance

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz ")


class Fixed:
    """Random numbers that let one mistake of a kind begin at one place."""

    def __init__(self, place, kind):
        self.place = place
        self.kind = KINDS.index(kind)

    def random(self, size):
        return np.where(np.arange(size) == self.place, 0.0, 1.0)

    def integers(self, bound, size):
        assert bound == len(KINDS)
        return np.full(size, self.kind)


@pytest.mark.parametrize(
    ("clean", "place", "text", "mistake"),
    [
        ("the end", 1, "teh end", Mistake(2, "swapped")),
        ("the end", 3, "thee nd", Mistake(4, "swapped")),
        ("quick one", 2, "quck one", Mistake(2, "dropped", "i")),
        ("quick one", 0, "uick one", Mistake(0, "dropped", "q")),
        ("look out", 1, "lok out", Mistake(2, "dropped", "o")),
        ("look out", 2, "lok out", Mistake(2, "dropped", "o")),
        ("of the", 2, "ofthe", Mistake(2, "dropped", " ")),
        ("fox\n", 2, "fo\n", Mistake(2, "dropped", "x")),
        ("the fox ran", 5, "the foox ran", Mistake(6, "doubled")),
        ("look out", 1, "loook out", Mistake(3, "doubled")),
        ("look out", 2, "loook out", Mistake(3, "doubled")),
        ("the fox", 3, "the  fox", Mistake(4, "doubled")),
        # no room, nothing to swap, or not to be touched
        ("the end", 6, "the end", None),
        ("look", 1, "look", None),
        ("a 1b c", 2, "a 1b c", None),
        ("a 1b c", 1, "a 1b c", None),
    ],
)
def test_a_mistake_is_marked_at_the_last_character_that_it_touches(clean, place, text, mistake):
    kinds = KINDS if mistake is None else [mistake.kind]
    for kind in kinds:
        if mistake is None and (clean, place) == ("look", 1) and kind != "swapped":
            continue
        if mistake is None and (clean, place) == ("a 1b c", 1) and kind != "swapped":
            continue
        wanted = (text, [] if mistake is None else [mistake])
        assert mistype(clean, 0.5, LETTERS, Fixed(place, kind)) == wanted


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
def test_mending_undoes_every_mistake(rate):
    random = np.random.default_rng(3)
    counts = Counter()
    for _ in range(300):
        clean = "".join(random.choice(list("aab lo7"), random.integers(0, 40)))
        text, mistakes = mistype(clean, rate, LETTERS, random)
        assert mend(text, mistakes) == clean
        places = [mistake.place for mistake in mistakes]
        assert places == sorted(set(places))
        assert all(possible(text, mistake.place, mistake.kind) for mistake in mistakes)
        assert text[-1:] == clean[-1:]
        assert Counter(text)["7"] == Counter(clean)["7"]
        counts.update(mistake.kind for mistake in mistakes)
        costs = {"swapped": 2, "dropped": 1, "doubled": 1}
        assert edit_distance(text, clean) <= sum(costs[m.kind] for m in mistakes)
    assert min(counts[kind] for kind in KINDS) > 20


def test_the_rate_is_that_of_beginnings_and_kinds_are_even():
    random = np.random.default_rng(0)
    clean = "".join(random.permutation(list("abcdefghijklmnopqrstuvwxyz" * 2000)))
    _, mistakes = mistype(clean, 0.02, LETTERS, random)
    # a mistake takes the room of those that begin within the next two characters or so
    assert len(mistakes) / len(clean) == pytest.approx(0.02 * (1 - 2.5 * 0.02), rel=0.1)
    for count in Counter(m.kind for m in mistakes).values():
        assert count == pytest.approx(len(mistakes) / 3, rel=0.15)


def test_the_same_random_numbers_make_the_same_mistakes():
    clean = "the quick brown fox jumps over the lazy dog " * 5
    one, two, other = (
        mistype(clean, 0.1, LETTERS, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one == two != other
    assert mistype(clean, 0.0, LETTERS, np.random.default_rng(1)) == (clean, [])
    assert mistype("", 1.0, LETTERS, np.random.default_rng(1)) == ("", [])


def test_marks_that_no_mistake_leaves_are_mended_all_the_same():
    assert mend("abc", [Mistake(0, "swapped")]) == "abc"
    assert mend("abc", [Mistake(1, "doubled"), Mistake(2, "swapped")]) == "ca"
    assert mend("abc", [Mistake(2, "dropped", "x"), Mistake(0, "doubled")]) == "bxc"


def test_what_is_possible_is_what_mistakes_leave():
    for text in map("".join, itertools.product("ab", repeat=3)):
        for place in range(5):
            same = 0 < place < 3 and text[place] == text[place - 1]
            other = 0 < place < 3 and text[place] != text[place - 1]
            possibilities = [
                possible(text, place, kind) for kind in ("swapped", "dropped", "doubled")
            ]
            assert possibilities == [other, True, same]


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
