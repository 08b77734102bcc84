"""Curves hold the numbers they were given."""

import pytest

from saiki.plots.curves import curves_of, draw_curves


def xy(line):
    return [list(map(float, data)) for data in line.get_data()]


def test_every_curve_holds_its_data_under_its_label(figures, tmp_path):
    lines = {"slow": [([1, 2, 3], [9.0, 8.5, 8.0])], "fast": [([1, 2], [9.0, 1.0])]}
    draw_curves(tmp_path / "x.png", lines, ylabel="loss", kind="score", title="two rates")
    (axes,) = figures[0].axes
    assert {line.get_label(): xy(line) for line in axes.lines} == {
        "slow": [[1, 2, 3], [9.0, 8.5, 8.0]],
        "fast": [[1, 2], [9.0, 1.0]],
    }
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["slow", "fast"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iteration", "loss")
    assert figures[0].get_suptitle() == "two rates"
    assert axes.get_ylim()[0] == 0  # so that a small gain does not look large


def test_a_point_that_was_no_number_is_left_out_of_its_curve():
    points = [
        {"step": 1, "loss": 0.5, "f1": None},
        {"step": 2, "loss": None, "f1": 0.0},
        {"step": 3, "loss": 0.25},
    ]
    assert curves_of(points) == {"loss": ([1, 3], [0.5, 0.25]), "f1": ([2], [0.0])}
    assert curves_of([]) == {}


def test_curves_of_several_seeds_show_their_mean_and_their_extremes(figures, tmp_path):
    seeds = [([5, 10, 15], [1.0, 2.0, 6.0]), ([5, 10], [3.0, 8.0]), ([], [])]  # two stopped early
    draw_curves(tmp_path / "x.png", {"tanh": seeds}, ylabel="loss", kind="magnitude")
    (axes,) = figures[0].axes
    assert xy(axes.lines[0]) == [[5, 10, 15], [2.0, 5.0, 6.0]]
    band = {tuple(map(float, point)) for point in axes.collections[0].get_paths()[0].vertices}
    assert band == {(5, 1), (10, 2), (15, 6), (5, 3), (10, 8)}


def test_one_curve_without_a_label_has_no_legend(figures, tmp_path):
    draw_curves(tmp_path / "x.png", {"": [([1, 2], [3, 4])]}, ylabel="loss", kind="magnitude")
    assert figures[0].legends == []


def test_runs_without_a_point_make_a_picture_that_says_so(figures, tmp_path):
    draw_curves(
        tmp_path / "x.png", {"a": [([], [])], "b": [([], [])]}, ylabel="loss", kind="magnitude"
    )
    assert words(figures[0].axes[0]) == "no loss was measured"


def test_single_points_are_told_in_words(figures, tmp_path):
    lines = {"slow": [([60], [2.0]), ([60], [0.004])], "fast": [([], [])]}
    draw_curves(tmp_path / "x.png", lines, ylabel="loss", kind="magnitude")
    (axes,) = figures[0].axes
    assert words(axes) == "slow: loss 2 at iteration 60\nslow: loss 4·10⁻³ at iteration 60"
    assert not axes.axison


def words(axes):
    assert len(axes.lines) == 0
    (text,) = axes.texts
    return text.get_text()


@pytest.mark.parametrize(
    ("kind", "values", "scale", "bottom"),
    [
        ("magnitude", [500.0, 2.0, 5.0], "log", None),
        ("magnitude", [3.0, 2.0, 1.0], "linear", 0.0),
        ("magnitude", [500.0, 2.0, 0.0], "linear", 0.0),  # 0 lies on no logarithmic axis
        ("score", [0.01, 20.0, 30.0], "linear", 0.0),
        ("share", [0.5, 0.51, 0.52], "linear", -0.02),
    ],
)
def test_the_axis_is_the_one_that_a_figure_asks_for(figures, tmp_path, kind, values, scale, bottom):
    draw_curves(tmp_path / "x.png", {"": [([1, 2, 3], values)]}, ylabel="figure", kind=kind)
    (axes,) = figures[0].axes
    assert axes.get_yscale() == scale
    if bottom is not None:
        assert axes.get_ylim()[0] == bottom
    if kind == "share":
        assert axes.get_ylim()[1] == 1.02


def test_the_numbers_on_a_logarithmic_axis_are_plain_text(figures, tmp_path):
    lines = {"": [([1, 2, 3], [1e-5, 1.0, 10.0])]}
    draw_curves(tmp_path / "x.png", lines, ylabel="figure", kind="magnitude")
    shown = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert "1·10⁻³" in shown
    assert not any("$" in label for label in shown)


def test_more_curves_than_colours_are_told_apart(figures, tmp_path):
    lines = {f"line {i}": [([1, 2], [i, i + 1])] for i in range(12)}
    draw_curves(tmp_path / "loss.png", lines, ylabel="loss", kind="magnitude")
    looks = [(line.get_color(), line.get_linestyle()) for line in figures[0].axes[0].lines]
    assert len(set(looks)) == 12
