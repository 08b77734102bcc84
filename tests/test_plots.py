"""Pictures: whole PNG files that hold the numbers they were given."""

import math

import matplotlib.image
import numpy as np
import pytest

from saiki import plots
from saiki.activations import CATALOGUE
from saiki.errors import SaikiError
from saiki.lens import LayerView, Statistics


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved."""
    figures = []

    def keep(figure, path):
        figures.append(figure)
        return path

    monkeypatch.setattr(plots, "save", keep)
    return figures


def xy(line):
    return [list(map(float, data)) for data in line.get_data()]


def history(gradients, saturated):
    """One layer at the iterations 1, 10, 20, …, with these norms and shares of h."""
    frames = []
    for i, (norms, share) in enumerate(zip(gradients, saturated, strict=True)):
        values = {"h": Statistics(0, 1, -1, 1, share), "u": Statistics(0, 1, -1, 1, None)}
        frames.append((10 * i or 1, {"layer": LayerView({"h": norms}, values)}))
    return frames


def test_each_picture_is_a_png_of_the_size_it_says(tmp_path):
    views = history([[1.0, 2.0], [0.5, 2.0]], [0.1, 0.2])
    made = {
        plots.curves(tmp_path / "loss.png", {"": [([1, 2], [3, 4])]}, ylabel="loss"): (840, 504),
        plots.inside(tmp_path / "lens.png", views): (900, 720),
        plots.activation_sheet(tmp_path / "tanh.png", [CATALOGUE["tanh"]]): (552, 408),
    }
    for path, (width, height) in made.items():
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        picture = matplotlib.image.imread(path)  # decodes it to the last byte
        assert picture.shape[:2] == (height, width)
        assert np.unique(picture[..., :3].reshape(-1, 3), axis=0).shape[0] > 10  # not blank
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lens.png", "loss.png", "tanh.png"]


def test_a_picture_may_have_a_name_without_png(tmp_path):
    path = plots.activation_sheet(tmp_path / "picture", [CATALOGUE["relu"]])
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_picture_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaikiError, match=r"^cannot write .*tanh\.png: "):
        plots.activation_sheet(tmp_path / "file" / "tanh.png", [CATALOGUE["tanh"]])


def test_every_curve_holds_its_data_under_its_label(drawn, tmp_path):
    lines = {"slow": [([1, 2, 3], [9.0, 8.5, 8.0])], "fast": [([1, 2], [9.0, 1.0])]}
    plots.curves(tmp_path / "x.png", lines, ylabel="training loss", title="two rates")
    (axes,) = drawn[0].axes
    assert {line.get_label(): xy(line) for line in axes.lines} == {
        "slow": [[1, 2, 3], [9.0, 8.5, 8.0]],
        "fast": [[1, 2], [9.0, 1.0]],
    }
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["slow", "fast"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iteration", "training loss")
    assert axes.get_title() == "two rates"
    assert axes.get_ylim()[0] == 0  # so that a small gain does not look large


def test_a_point_that_was_no_number_is_left_out_of_its_curve():
    points = [
        {"step": 1, "loss": 0.5, "f1": None},
        {"step": 2, "loss": None, "f1": 0.0},
        {"step": 3, "loss": 0.25},
    ]
    assert plots.curves_of(points) == {"loss": ([1, 3], [0.5, 0.25]), "f1": ([2], [0.0])}
    assert plots.curves_of([]) == {}


def test_curves_of_several_seeds_show_their_mean_and_their_extremes(drawn, tmp_path):
    seeds = [([5, 10, 15], [1.0, 2.0, 6.0]), ([5, 10], [3.0, 8.0]), ([], [])]  # two stopped early
    plots.curves(tmp_path / "x.png", {"tanh": seeds}, ylabel="loss")
    (axes,) = drawn[0].axes
    assert xy(axes.lines[0]) == [[5, 10, 15], [2.0, 5.0, 6.0]]
    band = {tuple(map(float, point)) for point in axes.collections[0].get_paths()[0].vertices}
    assert band == {(5, 1), (10, 2), (15, 6), (5, 3), (10, 8)}


def test_one_curve_without_a_label_has_no_legend(drawn, tmp_path):
    plots.curves(tmp_path / "x.png", {"": [([1, 2], [3, 4])]}, ylabel="loss")
    assert drawn[0].legends == []


def test_runs_without_a_point_make_an_empty_picture(drawn, tmp_path):
    plots.curves(tmp_path / "x.png", {"a": [([], [])], "b": [([], [])]}, ylabel="loss")
    assert len(drawn[0].axes[0].lines) == 0


def test_the_map_holds_the_norm_of_each_step_at_each_iteration(drawn, tmp_path):
    plots.inside(tmp_path / "x.png", history([[1.0, 2.0], [0.5, 4.0], [0.0, 8.0]], [0.1] * 3))
    heat = drawn[0].axes[0].collections[0]
    shown = heat.get_array().filled(math.nan)
    np.testing.assert_array_equal(shown, [[1.0, 0.5, math.nan], [2.0, 4.0, 8.0]])
    corners = heat.get_coordinates()  # each iteration reaches halfway to the next
    np.testing.assert_array_equal(corners[0, :, 0], [0.5, 5.5, 15, 20.5])
    np.testing.assert_array_equal(corners[:, 0, 1], [0.5, 1.5, 2.5])
    assert (heat.norm.vmin, heat.norm.vmax) == (0.5, 8.0)


def test_the_shares_of_saturated_units_are_drawn_where_they_are_known(drawn, tmp_path):
    plots.inside(tmp_path / "x.png", history([[1.0], [1.0], [1.0]], [0.1, None, 0.3]))
    (line,) = drawn[0].axes[1].lines
    assert (line.get_label(), xy(line)) == ("h", [[1, 20], [0.1, 0.3]])


def test_each_layer_has_its_own_map_and_shares(drawn, tmp_path):
    ((step, view),) = history([[1.0, 2.0]], [0.5])
    other = LayerView({"c": [3.0, 4.0]}, {})
    plots.inside(tmp_path / "x.png", [(step, {"below": view["layer"], "above": other})])
    maps = [axes for axes in drawn[0].axes if "gradient over time" in axes.get_title()]
    shown = {axes.get_title().split(":")[0]: axes.collections[0].get_array().T for axes in maps}
    assert {name: norms.tolist() for name, norms in shown.items()} == {
        "below": [[1.0, 2.0]],
        "above": [[3.0, 4.0]],
    }


@pytest.mark.parametrize("norm", [0.0, math.nan, math.inf])
def test_a_gradient_without_a_size_is_told_in_words(drawn, tmp_path, norm):
    plots.inside(tmp_path / "x.png", history([[norm, norm]], [0.5]))
    words = [text.get_text() for text in drawn[0].axes[0].texts]
    assert words == ["every gradient is 0 or not finite"]


def test_the_sheet_has_one_axes_for_each_activation_with_its_name_and_equation(drawn, tmp_path):
    plots.activation_sheet(tmp_path / "x.png", list(CATALOGUE.values()))
    shown = [axes for axes in drawn[0].axes if axes.axison]
    assert len(shown) == len(CATALOGUE)
    for axes, activation in zip(shown, CATALOGUE.values(), strict=True):
        assert activation.name in axes.get_title()
        assert activation.equation in axes.get_title()


X = np.linspace(-5, 5, 1001)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


BY_HAND = {
    "tanh": (np.tanh(X), 1 / np.cosh(X) ** 2),
    "relu": (np.maximum(X, 0), (X > 0) * 1.0),
    "step": ((X > 0) * 1.0, 0 * X),
    # of two inputs the first, with the second at 0: e^x / (e^x + 1)
    "softmax": (sigmoid(X), sigmoid(X) * (1 - sigmoid(X))),
    "elu": (np.where(X > 0, X, np.expm1(X)), np.where(X > 0, 1, np.exp(np.minimum(X, 0)))),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_function_and_its_derivative_are_drawn(drawn, tmp_path, name):
    plots.activation_sheet(tmp_path / "x.png", [CATALOGUE[name]])
    lines = {line.get_label(): line for line in drawn[0].axes[0].lines}
    for label, wanted in zip(("f(x)", "f′(x)"), BY_HAND[name], strict=True):
        x, y = lines[label].get_data()
        np.testing.assert_allclose(x, X, atol=1e-12)
        np.testing.assert_allclose(np.asarray(y)[X != 0], wanted[X != 0], atol=1e-12)


def test_parameters_show_in_the_title_and_in_the_curve(drawn, tmp_path):
    plots.activation_sheet(tmp_path / "x.png", [CATALOGUE["leaky_relu"].with_parameters(alpha=0.3)])
    (axes,) = drawn[0].axes
    assert "α = 0.3" in axes.get_title()
    y = next(line.get_ydata() for line in axes.lines if line.get_label() == "f(x)")
    np.testing.assert_allclose(y, np.where(X > 0, X, 0.3 * X), atol=1e-12)


def test_more_curves_than_colours_are_told_apart(drawn, tmp_path):
    lines = {f"line {i}": [([1, 2], [i, i + 1])] for i in range(12)}
    plots.curves(tmp_path / "loss.png", lines, ylabel="loss")
    looks = [(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].lines]
    assert len(set(looks)) == 12
