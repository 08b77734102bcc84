"""Texts as somebody types them, in the form of those learned from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saiki.text import SPECIAL, Text, tokeniser
from saiki.text.typed import WITHOUT_SPACES, cut, in_known_characters, in_known_words

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


@pytest.mark.parametrize(
    ("text", "known", "words"),
    [
        (
            "私はペンを持っている。",
            "私 は ペン を 持 っ て い る ペ 。",
            "私 は ペン を 持 っ て い る 。",
        ),
        ("ab", "a b ab", "ab"),
        ("abc", "ab bc a c", "ab c"),
        ("xya", "a", "xy a"),
        ("axbyyc", "a b c", "a x b yy c"),
        ("", "a", ""),
        ("xx", "", "xx"),
    ],
)
def test_the_fewest_unknown_characters_then_the_fewest_words(text, known, words):
    assert cut(text, set(known.split())) == words.split()


@given(st.text("abc", max_size=12), st.sets(st.text("abc", min_size=1, max_size=3)))
def test_nothing_is_lost_and_no_cut_has_fewer_unknown_characters(text, known):
    words = cut(text, known)
    assert "".join(words) == text

    def fewest(rest):
        if not rest:
            return 0
        options = [1 + fewest(rest[1:])]
        options += [fewest(rest[len(w) :]) for w in known if rest.startswith(w)]
        return min(options)

    if len(text) <= 8:
        assert sum(len(w) for w in words if w not in known) <= fewest(text)


def test_scripts_without_spaces_are_told_from_others():
    assert all(WITHOUT_SPACES.search(text) for text in ("ペン", "です", "日本", "ไทย"))
    assert not any(WITHOUT_SPACES.search(text) for text in ("pen", "Straße", "Привет", "한국"))
