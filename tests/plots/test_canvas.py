"""Pictures are whole PNG files of the size they say."""

import matplotlib.image
import numpy as np
import pytest

from saiki.activations import CATALOGUE
from saiki.errors import InputError, SaikiError
from saiki.lens.drawing import draw_inside
from saiki.plots.activations import draw_activations
from saiki.plots.curves import draw_curves


def test_each_picture_is_a_png_of_the_size_it_says(tmp_path, history):
    views = history([[1.0, 2.0], [0.5, 2.0]], [0.1, 0.2])
    made = {
        draw_curves(tmp_path / "loss.png", {"": [([1, 2], [3, 4])]}, ylabel="loss", kind="score"): (
            840,
            504,
        ),
        draw_inside(tmp_path / "lens.png", views): (900, 960),
        draw_activations(tmp_path / "tanh.png", [CATALOGUE["tanh"]]): (552, 408),
    }
    for path, (width, height) in made.items():
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        picture = matplotlib.image.imread(path)  # decodes it to the last byte
        assert picture.shape[:2] == (height, width)
        assert np.unique(picture[..., :3].reshape(-1, 3), axis=0).shape[0] > 10  # not blank
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lens.png", "loss.png", "tanh.png"]


def test_a_picture_may_have_a_name_without_png(tmp_path):
    path = draw_activations(tmp_path / "picture", [CATALOGUE["relu"]])
    assert path.read_bytes()[:4] == b"\x89PNG"


BEGINNINGS = {
    "a.png": b"\x89PNG",
    "a.PNG": b"\x89PNG",
    "a.jpg": b"\xff\xd8\xff",
    "a.jpeg": b"\xff\xd8\xff",
    "a.svg": b"<?xml",
    "a.pdf": b"%PDF",
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_name_decides_the_format_and_the_same_picture_has_the_same_bytes(tmp_path, name):
    first, second = (
        draw_activations(tmp_path / folder / name, [CATALOGUE["relu"]]).read_bytes()
        for folder in ("one", "two")
    )
    assert first.startswith(BEGINNINGS[name])
    assert first == second


def test_another_format_is_refused_in_a_sentence(tmp_path):
    wanted = r"^a picture is written as \.png, \.jpg, \.svg or \.pdf, got '\.gif' in .*x\.gif$"
    with pytest.raises(InputError, match=wanted):
        draw_activations(tmp_path / "new" / "x.gif", [CATALOGUE["relu"]])
    assert list(tmp_path.iterdir()) == []


def test_a_long_title_is_wrapped_and_takes_no_room_from_the_picture(figures, tmp_path):
    title = ", ".join(f"knob_{i} {i}" for i in range(30))
    draw_curves(
        tmp_path / "x.png", {"": [([1, 2], [3, 4])]}, ylabel="loss", kind="score", title=title
    )
    lines = figures[0].get_suptitle().splitlines()
    assert " ".join(lines) == title
    assert figures[0].get_figheight() == pytest.approx(4.2 + 0.16 * len(lines))


def test_a_picture_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaikiError, match=r"^cannot write .*tanh\.png: "):
        draw_activations(tmp_path / "file" / "tanh.png", [CATALOGUE["tanh"]])
