"""Phrases are those that gensim finds, however a text is cut, and memory is bounded."""

import numpy as np
import pytest
from gensim.models.phrases import Phrases

from saiki.data.text import phrases
from saiki.data.text.numbered import BREAK, NumberedText
from saiki.data.text.phrases import find, join, learn, recall

THRESHOLD, DISCOUNT = 2.0, 3


@pytest.fixture
def lines():
    """Words of which some like to stand together, also three of them, and twice the same."""
    draw = np.random.default_rng(1)
    usual = [f"w{i}" for i in range(30)]
    together = ["new york city", "new york", "ice cream", "da da da", "cream soda"]
    return [
        " ".join(
            draw.choice(together) if draw.random() < 0.2 else draw.choice(usual) for _ in range(12)
        )
        for _ in range(400)
    ]


@pytest.fixture(params=[1 << 22, 7, 1])
def at_once(request, monkeypatch):
    monkeypatch.setattr(phrases, "AT_ONCE", request.param)


def numbered(lines):
    """Each line apart from the next one, as gensim takes them."""
    return NumberedText((part for line in lines for part in (line, "")), str.split)


def shown(text):
    """The lines of a text of numbers."""
    words = list(text.numbers)
    part = text.piece(0, text.length, text.places(words))
    joined = " ".join(words[n] if n != BREAK else "\n" for n in part)
    return [line.split() for line in joined.split("\n") if line.strip()]


def theirs(lines, text):
    """gensim's, whose scores are in proportion to its vocabulary instead of the words of a text."""
    rows = [line.split() for line in lines]
    kinds = len(Phrases(rows, min_count=DISCOUNT, threshold=1).vocab)
    model = Phrases(rows, min_count=DISCOUNT, threshold=THRESHOLD * kinds / text.words)
    return model, kinds, rows


@pytest.mark.usefixtures("at_once")
def test_phrases_scores_and_texts_are_those_of_gensim(lines):
    text = numbered(lines)
    scores, (model, kinds, rows) = find(text, THRESHOLD, DISCOUNT), theirs(lines, text)
    wanted = {n: score * text.words / kinds for n, score in model.export_phrases().items()}
    assert {"_".join(pair): score for pair, score in scores.items()} == pytest.approx(wanted)
    assert len(scores) > 4
    assert shown(join(text, scores)) == [model[row] for row in rows]


@pytest.mark.usefixtures("at_once")
def test_a_second_pass_joins_more_and_its_phrases_are_found_again(lines):
    text = learn(numbered(lines), 2, THRESHOLD, DISCOUNT)
    words, counts = text.frequent()
    assert {"new_york_city", "ice_cream", "da_da_da"} <= {*words}
    words_shown = [word for line in shown(text) for word in line]
    assert counts.tolist() == [words_shown.count(word) for word in words]
    assert text.words == len(words_shown)


@pytest.mark.usefixtures("at_once")
def test_phrases_that_are_known_are_found_again_the_longest_first():
    text = numbered(["the new york city hall", "new york", "city hall new", "a b", "new york city"])
    recalled = recall(text, ["new_york", "new_york_city_hall", "city_hall", "a_c", "b"])
    assert shown(recalled) == [
        ["the", "new_york_city_hall"], ["new_york"], ["city_hall", "new"], ["a", "b"],
        ["new_york", "city"],
    ]  # fmt: skip
    assert {*recalled.numbers} == {
        "the",
        "new_york_city_hall",
        "new_york",
        "city_hall",
        "new",
        "city",
        *"ab",
    }


def test_no_phrase_goes_across_a_break():
    text = NumberedText(["new", "york", "", "new", "", "york"] * 20, str.split)
    joined = join(text, {("new", "york")})
    assert shown(joined)[:3] == [["new_york"], ["new"], ["york", "new_york"]]


def test_a_text_without_phrases_is_left_alone():
    text = NumberedText(["a b c d"], str.split)
    assert learn(text, 3, 1.0, 5) is text
    empty = NumberedText([], str.split)
    assert learn(empty, 1, 1.0, 0) is empty
    assert learn(NumberedText(["", ""], str.split), 1, 1.0, 0).words == 0


def test_of_too_many_pairs_the_rarest_are_forgotten(lines, monkeypatch):
    monkeypatch.setattr(phrases, "AT_ONCE", 50)
    monkeypatch.setattr(phrases, "MOST_PAIRS", 40)
    scores = find(numbered(lines), THRESHOLD, DISCOUNT)
    assert {("new", "york"), ("ice", "cream"), ("da", "da")} <= scores.keys()
