"""The inside of layers is drawn as the lens saw it."""

import math

import numpy as np
import pytest

from saiki.lens import LayerView
from saiki.plots.lens import draw_inside


def xy(line):
    return [list(map(float, data)) for data in line.get_data()]


def test_the_map_holds_the_norm_of_each_step_at_each_iteration(drawn, tmp_path, history):
    draw_inside(tmp_path / "x.png", history([[1.0, 2.0], [0.5, 4.0], [0.0, 8.0]], [0.1] * 3))
    heat = drawn[0].axes[0].collections[0]
    shown = heat.get_array().filled(math.nan)
    np.testing.assert_array_equal(shown, [[1.0, 0.5, math.nan], [2.0, 4.0, 8.0]])
    corners = heat.get_coordinates()  # each iteration reaches halfway to the next
    np.testing.assert_array_equal(corners[0, :, 0], [0.5, 5.5, 15, 20.5])
    np.testing.assert_array_equal(corners[:, 0, 1], [0.5, 1.5, 2.5])
    assert (heat.norm.vmin, heat.norm.vmax) == (0.5, 8.0)


def test_the_shares_of_saturated_units_are_drawn_where_they_are_known(drawn, tmp_path, history):
    draw_inside(tmp_path / "x.png", history([[1.0], [1.0], [1.0]], [0.1, None, 0.3]))
    (line,) = drawn[0].axes[1].lines
    assert (line.get_label(), xy(line)) == ("h", [[1, 20], [0.1, 0.3]])


def test_each_layer_has_its_own_map_and_shares(drawn, tmp_path, history):
    ((step, view),) = history([[1.0, 2.0]], [0.5])
    other = LayerView({"c": [3.0, 4.0]}, {})
    draw_inside(tmp_path / "x.png", [(step, {"below": view["layer"], "above": other})])
    maps = [axes for axes in drawn[0].axes if "gradient over time" in axes.get_title()]
    shown = {axes.get_title().split(":")[0]: axes.collections[0].get_array().T for axes in maps}
    assert {name: norms.tolist() for name, norms in shown.items()} == {
        "below": [[1.0, 2.0]],
        "above": [[3.0, 4.0]],
    }


@pytest.mark.parametrize("norm", [0.0, math.nan, math.inf])
def test_a_gradient_without_a_size_is_told_in_words(drawn, tmp_path, norm, history):
    draw_inside(tmp_path / "x.png", history([[norm, norm]], [0.5]))
    words = [text.get_text() for text in drawn[0].axes[0].texts]
    assert words == ["every gradient is 0 or not finite"]
