"""Attention is drawn where it was, in a picture of a bounded size."""

import numpy as np
import torch

from saiki.plots.attention import LONGEST, draw_attention


def test_the_map_holds_the_weights_under_the_tokens(figures, tmp_path):
    weights = torch.rand(2, 3).softmax(-1)
    draw_attention(tmp_path / "x.png", [(["a", "b", " "], ["c", "d"], weights)], "translate")
    axes = figures[0].axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), weights)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "␣"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "d"]
    assert axes.get_xlabel() == ""
    assert figures[0].get_suptitle() == "translate"


def test_long_texts_are_drawn_from_their_beginning_on_and_the_map_says_so(figures, tmp_path):
    source, target = ["ペン"] * 30, [str(i) for i in range(800)]
    maps = [(source, target, torch.full((800, 30), 1 / 30))] * 4
    draw_attention(tmp_path / "x.png", maps)
    width, height = figures[0].get_size_inches()
    assert width <= 22
    assert height <= 22
    axes = figures[0].axes[0]
    assert axes.images[0].get_array().shape == (LONGEST, 30)
    assert axes.get_xlabel() == "the first 60 of 800 tokens written"


def test_tokens_that_are_long_themselves_are_shortened(tmp_path):
    token = "x" * 3000
    path = draw_attention(tmp_path / "x.png", [([token], [token], torch.ones(1, 1))])
    assert path.stat().st_size > 1000
