"""Texts as rows of numbers, and back."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saiki.errors import InputError
from saiki.saving.description import describe, make
from saiki.text import BEGIN, END, MASK, PAD, TOKENISERS, UNKNOWN, Text

LINES = ["the cat saw the dog", "café in Paris", "私 は 猫 だ"] * 2
TEXTS = {name: Text.learn(name, LINES, 300) for name in TOKENISERS}
any_text = settings(max_examples=150, deadline=None, derandomize=True)


@any_text
@given(st.text())
def test_byte_pairs_give_back_any_text_in_its_composed_form(text):
    known = TEXTS["bpe"]
    assert known.decode(known.encode(text)) == unicodedata.normalize("NFC", text)


@any_text
@given(st.text("thecawsdogPriné私は猫だ "))
def test_characters_give_back_any_text_of_known_ones(text):
    known = TEXTS["characters"]
    assert known.decode(known.encode(text)) == text


@any_text
@given(st.text())
@pytest.mark.parametrize("name", TOKENISERS)
def test_each_number_is_that_of_the_token_at_its_place(name, text):
    known = TEXTS[name]
    tokens, numbers = known.split(text), known.encode(text)
    assert len(tokens) == len(numbers)
    for token, number in zip(tokens, numbers, strict=True):
        assert number == UNKNOWN or known.vocabulary.words[number] == token


@pytest.mark.parametrize("name", TOKENISERS)
def test_a_hidden_word_is_one_token(name):
    known = TEXTS[name]
    assert known.split("the [MASK]saw[MASK]").count("[MASK]") == 2
    assert known.encode("[MASK][MASK]") == [MASK, MASK]
    assert "[MASK]" in known.decode(known.encode("the [MASK] saw"))


@pytest.mark.parametrize("name", ["words", "characters", "bpe"])
def test_what_looks_the_same_is_the_same(name):
    known = Text.learn(name, ["cafe\u0301"] * 3, 300)
    assert known.encode("cafe\u0301") == known.encode("café")
    assert UNKNOWN not in known.encode("café")
    assert known.decode(known.encode("cafe\u0301")) == "café"


def test_unknown_words_are_shown_by_name():
    known = TEXTS["words"]
    assert known.encode("the cow") == [5, UNKNOWN]
    assert known.decode([5, UNKNOWN, MASK]) == "the <unk> [MASK]"


def test_decoding_ends_at_the_end_and_leaves_out_what_stands_for_nothing():
    assert TEXTS["words"].decode([BEGIN, 5, PAD, 5, END, 5]) == "the the"
    assert TEXTS["words"].decode([]) == ""


def test_half_a_character_is_refused():
    for name in TOKENISERS:
        with pytest.raises(InputError, match=r"not valid Unicode: '\\udc80' at place 2"):
            TEXTS[name].encode("ab\udc80")
        with pytest.raises(InputError, match="not valid Unicode"):
            Text.learn(name, ["ab", "\ud800"], 300)


def test_nothing_to_learn_is_told():
    with pytest.raises(InputError, match=r"no token of words occurs 7 times in 6 lines$"):
        Text.learn("words", LINES, minimum=7)
    with pytest.raises(InputError, match="there is no vocabulary to learn"):
        Text.learn("characters", [])


def test_it_is_described_as_data():
    for known in TEXTS.values():
        remade = make(json.loads(json.dumps(describe(known))))
        assert remade.vocabulary.words == known.vocabulary.words
        for text in (*LINES, "the [MASK] cow", "\0\ufeff\u3000"):
            assert remade.encode(text) == known.encode(text)
            assert remade.decode(remade.encode(text)) == known.decode(known.encode(text))
