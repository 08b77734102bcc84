"""``saiki plot``."""

from pathlib import Path

import pytest

from commands import refused, saiki
from saiki.activations import CATALOGUE


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("activations", "activations.png"),
        ("mish", "mish.png"),
        ("elu --alpha 0.5 --out deep/er.png", "deep/er.png"),
    ],
)
def test_plot_writes_the_picture_it_names(words, file):
    assert saiki("plot", *words.split()) == (0, [file], [])
    assert Path(file).read_bytes()[:4] == b"\x89PNG"


def test_every_activation_can_be_drawn_by_its_name():
    for name in CATALOGUE:
        assert saiki("plot", name, "--out", "x.png")[0] == 0


def test_a_picture_that_cannot_be_written_is_one_line():
    Path("file").write_text("")
    assert "cannot write file/x.png" in refused("plot", "tanh", "--out", "file/x.png")
