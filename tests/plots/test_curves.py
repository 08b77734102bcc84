"""Curves hold the numbers they were given."""

from saiki.plots.curves import curves_of, draw_curves


def xy(line):
    return [list(map(float, data)) for data in line.get_data()]


def test_every_curve_holds_its_data_under_its_label(drawn, tmp_path):
    lines = {"slow": [([1, 2, 3], [9.0, 8.5, 8.0])], "fast": [([1, 2], [9.0, 1.0])]}
    draw_curves(tmp_path / "x.png", lines, ylabel="training loss", title="two rates")
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
    assert curves_of(points) == {"loss": ([1, 3], [0.5, 0.25]), "f1": ([2], [0.0])}
    assert curves_of([]) == {}


def test_curves_of_several_seeds_show_their_mean_and_their_extremes(drawn, tmp_path):
    seeds = [([5, 10, 15], [1.0, 2.0, 6.0]), ([5, 10], [3.0, 8.0]), ([], [])]  # two stopped early
    draw_curves(tmp_path / "x.png", {"tanh": seeds}, ylabel="loss")
    (axes,) = drawn[0].axes
    assert xy(axes.lines[0]) == [[5, 10, 15], [2.0, 5.0, 6.0]]
    band = {tuple(map(float, point)) for point in axes.collections[0].get_paths()[0].vertices}
    assert band == {(5, 1), (10, 2), (15, 6), (5, 3), (10, 8)}


def test_one_curve_without_a_label_has_no_legend(drawn, tmp_path):
    draw_curves(tmp_path / "x.png", {"": [([1, 2], [3, 4])]}, ylabel="loss")
    assert drawn[0].legends == []


def test_runs_without_a_point_make_an_empty_picture(drawn, tmp_path):
    draw_curves(tmp_path / "x.png", {"a": [([], [])], "b": [([], [])]}, ylabel="loss")
    assert len(drawn[0].axes[0].lines) == 0


def test_more_curves_than_colours_are_told_apart(drawn, tmp_path):
    lines = {f"line {i}": [([1, 2], [i, i + 1])] for i in range(12)}
    draw_curves(tmp_path / "loss.png", lines, ylabel="loss")
    looks = [(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].lines]
    assert len(set(looks)) == 12
