"""Sheets of pictures, and figures with their spread."""

import pytest
import torch

from saiki.plots.augmentation import draw_techniques, draw_variants
from saiki.plots.spread import draw_spread


def test_a_sheet_shows_each_picture_in_its_place(figures, tmp_path):
    pictures = torch.rand(36, 3, 10, 10)
    draw_variants(tmp_path / "a.png", pictures, 6, "title")
    [axes] = figures[0].axes
    [shown] = axes.images
    array = torch.as_tensor(shown.get_array())
    assert array.shape == (65, 65, 3)
    torch.testing.assert_close(array[22:32, 11:21].movedim(2, 0), pictures[13])


def test_each_technique_is_a_row_with_what_is_said_of_each_picture(figures, tmp_path):
    rows = {
        "rotation": (["10°", "20°", "30°"], torch.rand(3, 3, 8, 8)),
        "mixup": (["10%"], torch.rand(1, 3, 8, 8)),
    }
    draw_techniques(tmp_path / "a.png", rows)
    first, second = figures[0].axes
    assert first.get_ylabel() == "rotation"
    assert [text.get_text() for text in first.get_xticklabels()] == ["10°", "20°", "30°"]
    assert [text.get_text() for text in second.get_xticklabels()] == ["10%"]
    assert [im.get_array().shape for a in (first, second) for im in a.images] == [(8, 26, 3)] * 2


def test_means_lie_among_their_seeds_and_gains_are_in_order(figures, tmp_path):
    lines = {"plain": {500: [0.7, 0.8], 2000: [0.9, 0.9]}, "augmented": {500: [0.8, 0.82]}}
    gains = {"flip": [0.01, 0.03], "noise": [-0.02, -0.01], "crop": [0.0, 0.01]}
    labels = {"xlabel": "examples", "ylabel": "accuracy", "gained": "gained"}
    draw_spread(tmp_path / "a.png", lines, gains, **labels)
    left, right = figures[0].axes
    assert left.get_xlabel() == "examples"
    plain = left.containers[0].lines[0]
    assert list(plain.get_ydata()) == [pytest.approx(0.75), pytest.approx(0.9)]
    assert [text.get_text() for text in right.get_yticklabels()] == ["noise", "crop", "flip"]
    assert [bar.get_width() for bar in right.patches] == [
        pytest.approx(x) for x in (-0.015, 0.005, 0.02)
    ]
    draw_spread(tmp_path / "b.png", lines, {}, **labels)
    assert len(figures[1].axes) == 1
