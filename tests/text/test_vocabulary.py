"""Words and their numbers."""

import json

import pytest

from saiki.errors import InputError
from saiki.saving.description import describe, make
from saiki.text import BEGIN, END, MASK, PAD, SPECIAL, UNKNOWN, Vocabulary

ODD = ["\0", "\ufeff", "\u3000", "a b", "👩‍🔬", '"', "\\", "\u2028", "é", "𠮷"]


def test_the_special_entries_come_first():
    assert (PAD, UNKNOWN, BEGIN, END, MASK) == (0, 1, 2, 3, 4)
    known = Vocabulary(["a"])
    assert known.words == (*SPECIAL, "a")
    assert len(known) == 6


def test_the_most_frequent_words_are_kept_and_of_equals_the_first():
    sentences = [["b", "a", "a"], ["c", "b", "a", "d"]]
    assert Vocabulary.count(sentences).words[5:] == ("a", "b", "c", "d")
    assert Vocabulary.count(sentences, size=8).words[5:] == ("a", "b", "c")
    assert Vocabulary.count(sentences, minimum=2).words[5:] == ("a", "b")
    assert Vocabulary.count(iter(sentences), size=6, minimum=2).words[5:] == ("a",)


def test_a_word_that_is_not_known_is_unknown():
    known = Vocabulary(["cat", "dog"])
    assert known.ids(["dog", "cow", "cat"]) == [6, UNKNOWN, 5]
    assert known.tokens([6, 1, 5]) == ["dog", "<unk>", "cat"]
    assert "dog" in known
    assert "cow" not in known


def test_a_text_cannot_say_padding_begin_or_end():
    known = Vocabulary.count([["<pad>", "<s>", "</s>", "<unk>", "[MASK]", "cat"]])
    assert known.words == (*SPECIAL, "cat")
    assert known.ids(SPECIAL) == [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, MASK]
    assert [name in known for name in SPECIAL] == [False, False, False, False, True]


@pytest.mark.parametrize("number", [-1, 6])
def test_a_number_that_is_none_of_its_words_is_refused(number):
    with pytest.raises(InputError, match=rf"are 0 to 5, got {number}$"):
        Vocabulary(["a"]).tokens([number])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a", "b", "a"], "'a' cannot be put in the vocabulary: it is in it already"),
        (["a", "</s>"], "'</s>' cannot be put in the vocabulary: it is the name of a special one"),
        (["a", 3], "must be text, got 3"),
        (["a\ud800"], r"not valid Unicode: '\\ud800' at place 1"),
    ],
)
def test_words_that_cannot_be_are_refused(words, reason):
    with pytest.raises(InputError, match=reason):
        Vocabulary(words)


@pytest.mark.parametrize("size", [1, 5])
def test_a_size_without_room_for_words_is_refused(size):
    with pytest.raises(InputError, match=rf"at least 6, got {size}$"):
        Vocabulary.count([["a"]], size)


def test_it_is_described_as_data():
    described = json.loads(json.dumps(describe(Vocabulary(ODD))))
    assert make(described).words == Vocabulary(ODD).words
