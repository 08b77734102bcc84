"""Characters that the usual font lacks are found in another one, or told by their numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from saiki.activations import CATALOGUE
from saiki.lens import LayerView, Statistics
from saiki.lens.drawing import draw_inside
from saiki.plots import canvas
from saiki.plots.activations import draw_activations
from saiki.plots.attention import draw_attention
from saiki.plots.augmentation import draw_techniques
from saiki.plots.codes import draw_codes
from saiki.plots.confusion import draw_confusion
from saiki.plots.corrections import draw_marks
from saiki.plots.curves import draw_curves
from saiki.plots.errors import draw_errors
from saiki.plots.first_step import FirstStep, draw_first_step
from saiki.plots.fonts import columns, fonts, shortened
from saiki.plots.forecasts import Fan, draw_fans
from saiki.plots.images import draw_rows
from saiki.plots.influence import Moved, draw_influence
from saiki.plots.latent import Plane, draw_plane
from saiki.plots.sentences import draw_by_length
from saiki.plots.series import draw_written
from saiki.plots.sound_codes import CodedSound, draw_sound_codes
from saiki.plots.sounds import draw_sounds
from saiki.plots.spread import draw_spread
from saiki.plots.training import draw_training
from saiki.plots.words import draw_words

pytestmark = pytest.mark.one_in(5)


@pytest.mark.parametrize(
    "text", ["plain", "ペン を 持っている", "漢字 and Latin", "Привет", "5 § 日"]
)
def test_every_character_is_in_one_of_the_fonts(text):
    families, missing = fonts([text])
    known = set()
    for family in families:
        known |= set(FT2Font(findfont(FontProperties(family=[family]))).get_charmap())
    assert {ord(c) for c in text} <= known
    assert not missing


NAMES = ["犬", "猫の鳴き声", "$x_1$", "_下線", "\U0010fffd\x07", "名前" * 40, "\\frac$"]
TITLE = "実験, データ 日本語.tsv, \\alpha $"
VIEW = LayerView({"状態": [0.1, 2.0]}, {"門": Statistics(0.2, 0.1, 0, 1, 0.5)})
LINES = {name: [([1, 2], [3.0, i + 0.01])] for i, name in enumerate(NAMES)}
WEIGHTS = torch.full((len(NAMES), len(NAMES)), 0.1)
PLANE = Plane(
    np.eye(len(NAMES))[:, :2],
    np.arange(len(NAMES)),
    NAMES,
    (0, 1),
    torch.rand(4, 1, 4, 4),
    ([0.0, 1.0], [0.0, 1.0]),
    True,
)
PICTURES = {
    "activations": lambda path: draw_activations(path, [CATALOGUE["mish"]]),
    "attention": lambda path: draw_attention(path, [(NAMES, NAMES, WEIGHTS)] * 3, TITLE),
    "augmentation": lambda path: draw_techniques(
        path, {name: (NAMES[:2], torch.rand(2, 3, 4, 4)) for name in NAMES}, TITLE
    ),
    "codes": lambda path: draw_codes(
        path,
        torch.ones(1, 8),
        torch.rand(2, 1, 4, 4),
        torch.zeros(2, 2, 2, 1, dtype=torch.long),
        torch.rand(2, 1, 4, 4),
        TITLE,
    ),
    "spread": lambda path: draw_spread(
        path,
        {name: {1.0: [0.1, 0.2], 10.0: [0.3, 0.4]} for name in NAMES},
        {name: [0.1, -0.1] for name in NAMES},
        xlabel="例",
        ylabel="正解率",
        gained="差",
        title=TITLE,
    ),
    "confusion": lambda path: draw_confusion(
        path, [(name, NAMES[0]) for name in NAMES], NAMES, dict.fromkeys(NAMES, 0.5), TITLE
    ),
    "corrections": lambda path: draw_marks(
        path, np.eye(len(NAMES), dtype=int), NAMES, dict.fromkeys(NAMES, 0.5), TITLE
    ),
    "curves": lambda path: draw_curves(path, LINES, ylabel="損失", kind="magnitude", title=TITLE),
    "one point": lambda path: draw_curves(
        path, {name: [([1], [2.0])] for name in NAMES}, ylabel="損失", kind="score", title=TITLE
    ),
    "errors": lambda path: draw_errors(path, {name: np.ones((2, 3)) for name in NAMES}, TITLE),
    "forecasts": lambda path: draw_fans(
        path,
        [
            Fan(name, np.arange(6.0), np.ones(3), None, np.ones(3), np.ones((3, 3)))
            for name in NAMES
        ],
        (0.1, 0.5, 0.9),
        TITLE,
    ),
    "first_step": lambda path: draw_first_step(
        path,
        FirstStep(NAMES[0], np.arange(6.0), *np.ones((3, 6)), True, NAMES[1]),
        TITLE,
    ),
    "images": lambda path: draw_rows(path, {name: torch.rand(2, 1, 4, 4) for name in NAMES}, TITLE),
    "influence": lambda path: draw_influence(
        path, [Moved("言った", NAMES, [0.1 * i - 0.3 for i in range(len(NAMES))])], TITLE
    ),
    "latent": lambda path: draw_plane(path, PLANE, TITLE),
    "lens": lambda path: draw_inside(path, [(1, {"層": VIEW}), (9, {"層": VIEW})], TITLE),
    "sentences": lambda path: draw_by_length(path, torch.eye(len(NAMES)), range(len(NAMES)), TITLE),
    "series": lambda path: draw_written(
        path, np.arange(9.0), {0: np.arange(9.0)}, ("気温", "$電力$"), TITLE
    ),
    "sounds": lambda path: draw_sounds(
        path, {name: np.sin(np.arange(999)) for name in NAMES}, 8000, TITLE
    ),
    "sound_codes": lambda path: draw_sound_codes(
        path,
        [
            CodedSound(
                name, torch.rand(9, 5), torch.zeros(3, 2, dtype=torch.long), torch.rand(9, 5)
            )
            for name in NAMES
        ],
        codes=8,
        pace=(0.01, 0.03),
        highest=4000.0,
        title=TITLE,
    ),
    "training": lambda path: draw_training(
        path.parent, [{"step": i, "loss": 1 / i} for i in (1, 2)], TITLE
    ),
    "words": lambda path: draw_words(path, NAMES, np.eye(len(NAMES)), title=TITLE),
}


def test_each_kind_of_picture_is_drawn_with_names_in_japanese():
    modules = {path.stem for path in Path(canvas.__file__).parent.glob("*.py")}
    kinds = {"one point", "lens"} | modules - {"__init__", "canvas", "fonts"}
    assert set(PICTURES) == kinds


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_the_glyphs_of_every_name(tmp_path, monkeypatch, name, ending):
    figures = []
    fit = canvas.fit
    monkeypatch.setattr(canvas, "fit", lambda figure: (fit(figure), figures.append(figure)))
    PICTURES[name](tmp_path / f"picture.{ending}")  # a glyph that is missing would be a warning
    [figure] = figures
    for text in figure.findobj(Text):
        assert fonts([text.get_text()])[1] == frozenset()


def test_names_are_shown_as_they_are_written(figures, tmp_path):
    PICTURES["curves"](tmp_path / "x.png")
    canvas.fit(figures[0])
    shown = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert shown[:5] == ["犬", "猫の鳴き声", "$x_1$", "_下線", "\\u10fffd\\u0007"]
    assert not any(text.get_parse_math() for text in figures[0].legends[0].get_texts())


@pytest.mark.parametrize(
    ("text", "shown"),
    [("short", "short"), ("runs/adder/seed=3", "runs/…eed=3"), ("名前" * 9, "名前…名前"), ("", "")],
)
def test_a_long_name_loses_its_middle(text, shown):
    assert shortened(text, 11) == shown
    assert columns(shown) <= 11
