"""Headers of two columns, and first pairs that only look like one."""

import pytest

from saiki.data.text.pairs import FEWEST, header

NUMBERS = [(str(n), "〇一二三四五六七八九"[n]) for n in range(10)]
WORDS = [("pen", "ペン"), ("to run", "走る"), ("Tokyo", "東京"), ("CD", "ＣＤ"), ("ten", "１０")]
WORDS += [("a cat", "ねこ"), ("is", "です")]
DATES = [(f"{n} mars 2024", f"2024-03-{n:02}") for n in range(1, 9)]


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        (("number", "漢数字"), NUMBERS),
        (("数", "漢数字"), NUMBERS),
        (("English", "Japanese"), WORDS),
        (("ENGLISH", "japanese"), WORDS[:1]),
        (("英語", "日本語"), WORDS),
        (("Englisch", "Deutsch"), WORDS),
        (("en", "ja"), WORDS[:2]),
        (("Source", "Target"), []),
        (("sentence", "translation"), WORDS),
        (("date", "iso"), DATES),
    ],
)
def test_a_header_is_found(first, rows):
    assert header([first, *rows], "en", "ja") == (True, False)


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        *((rows[0], rows[1:]) for rows in (NUMBERS, WORDS, DATES)),
        *((pair, [p for p in WORDS if p != pair]) for pair in WORDS),
        (("10", "十"), NUMBERS),
        (("English", "英語"), WORDS),
        (("Japanese", "日本語"), WORDS),
        (("Polish", "磨く"), WORDS),
        (("number", "数"), WORDS),
        (("one", "一"), NUMBERS[: FEWEST - 1]),
        (("!", "？"), WORDS),
        (("", ""), WORDS),
    ],
)
def test_a_first_pair_stays(first, rows):
    assert header([first, *rows], "en", "ja") == (False, False)


def test_languages_in_the_other_order_are_noticed():
    assert header([("Japanese", "English"), *WORDS], "en", "ja") == (True, True)
    assert header([("日本語", "英語"), *WORDS], "en", "ja") == (True, True)
    assert header([("French", "English"), *WORDS], "en", "ja") == (True, False)
    assert header([], "en", "ja") == (False, False)
