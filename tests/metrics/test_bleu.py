"""How BLEU cuts texts that are compared, chosen by the texts themselves."""

import pytest

from saiki.metrics.bleu import bleu, fitting


@pytest.mark.parametrize(
    ("tokens", "texts", "how"),
    [
        ("words", ["二 一", "三 四 五", "六"], "none"),
        ("words", ["彼はペンを持っている。"] * 3, "char"),
        ("characters", ["2024-03-05", "1999-12-31"], "char"),
        ("characters", ["He has a pen.", "So do I."], "13a"),
        ("bpe", ["Donaudampfschifffahrt ist ein langes Wort."], "13a"),
        ("bpe", ["彼は Python を毎日書いていると言っていました。"], "char"),
        ("japanese", ["私 は ペン を 持 っ て い る 。"], "char"),
    ],
)
def test_texts_without_spaces_are_cut_into_characters(tokens, texts, how):
    assert fitting(tokens, texts) == how


def test_short_texts_that_are_right_are_worth_all_and_long_ones_as_before():
    assert bleu("char").corpus_score(["二十", "三"], [["二十", "三"]]).score == pytest.approx(100)
    # n-grams of 1 to 4: 5/6, 3/5, 2/4, 1/3
    score = bleu("none").corpus_score(["the cat sat on a mat"], [["the cat sat on the mat"]])
    assert score.score == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 / 3) ** 0.25)
