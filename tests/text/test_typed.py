"""Texts as somebody types them, in the form of those learned from."""

import pytest

from saiki.text import SPECIAL, Text, tokeniser
from saiki.text.typed import in_known_characters, in_known_words

ENGLISH = Text.learn(
    "words", ["i have a pen .", "he can 't say '' no , mr. hall '' !", "a well - off u.s. tv"]
)
JAPANESE = Text.learn("words", ["私 は ペン を 持 っ て い る 。", "３ 時 に 着 い た ！ ｃｄ"])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I have a pen.", "i have a pen ."),
        ("i have a pen .", "i have a pen ."),
        ("He can’t say “no”, Mr. Hall!", "he can 't say '' no '' , mr. hall !"),
        ("The well-off U.S.", "the well - off u.s."),
        ("Zebras, pens.", "Zebras , pens ."),
        ("x-y zebra", "x - y zebra"),
        ("zebra?!", "zebra? !"),
        ("", ""),
    ],
)
def test_english_is_written_small_and_cut_at_signs(text, tokens):
    assert ENGLISH.read(text) == tokens.split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("私はペンを持っている。", "私 は ペン を 持 っ て い る 。"),
        ("私は3時に着いた! CD", "私 は ３ 時 に 着 い た ！ ｃｄ"),
        ("私 は 猫 を 持 っ て い る 。", "私 は 猫 を 持 っ て い る 。"),
        ("I have", "I have"),
    ],
)
def test_japanese_is_cut_anywhere_and_takes_the_width_it_has_learned(text, tokens):
    assert JAPANESE.read(text) == tokens.split()


def test_capitals_that_were_learned_stay():
    text = Text.learn("words", ["The TV is on"])
    assert text.read("the Tv IS On") == ["the", "Tv", "is", "on"]


def test_characters_too_and_hidden_words_stay_whole():
    text = Text.learn("characters", ["2024年3月", "may 5"])
    assert "".join(text.read("２０２４年３月 MAY")) == "2024年3月 may"
    assert text.read("May [MASK]") == [*"may ", SPECIAL[4]]
    assert ENGLISH.read("I have a [MASK].")[3:] == [SPECIAL[4], "."]


def test_byte_pairs_stay_as_they_are():
    pytest.importorskip("tokenizers")
    text = Text(pieces := tokeniser("bpe", ["a pen"] * 9, 300), pieces.vocabulary())
    assert text.read("I’m") == text.split("I’m")


def test_what_cannot_be_known_is_not_touched():
    assert in_known_characters("Zoë İ ﬁ \x00\u200b\n", "abc") == "Zoë İ ﬁ \x00\u200b\n"
    assert in_known_words([], {"a"}) == []
    assert in_known_words(["猫の"], set()) == ["猫の"]
