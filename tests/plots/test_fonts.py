"""Characters that the usual font lacks are found in another one, or told by their numbers."""

import warnings

import pytest
import torch
from matplotlib.ft2font import FT2Font

from saiki.plots.attention import draw_attention
from saiki.plots.fonts import font


@pytest.mark.parametrize(
    "text", ["plain", "ペン を 持っている", "漢字 and Latin", "Привет", "5 § 日"]
)
def test_every_character_is_in_one_of_the_fonts(text):
    properties, shown = font(text)
    assert shown == text
    from matplotlib.font_manager import FontProperties, findfont

    known = set()
    for family in properties.get_family():
        known |= set(FT2Font(findfont(FontProperties(family=[family]))).get_charmap())
    assert {ord(c) for c in text} <= known


def test_what_no_font_has_is_told_by_its_number():
    _, shown = font("a\U0010fffdb\x07")
    assert shown == "a\\u10fffdb\\u0007"


def test_attention_is_drawn_with_whatever_tokens_there_are(tmp_path):
    source, target = ["ペン", "を", "$x_1$", " ", "</s>"], ["a", "\x07", "ก็", "</s>"]
    weights = torch.full((4, 5), 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that is missing would be a warning
        picture = draw_attention(tmp_path / "a.png", [(source, target, weights)] * 3)
    assert picture.stat().st_size > 5_000
