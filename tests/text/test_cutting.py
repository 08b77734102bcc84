"""Texts without spaces in known words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saiki.text.typed import WITHOUT_SPACES, cut


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
