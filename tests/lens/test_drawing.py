"""The inside of layers is drawn as the lens saw it."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from saiki import Recurrent, lens
from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.lens import LayerView
from saiki.lens.drawing import draw_inside


def xy(line):
    return [list(map(float, data)) for data in line.get_data()]


def test_the_map_holds_the_norm_of_each_step_at_each_iteration(figures, tmp_path, history):
    draw_inside(tmp_path / "x.png", history([[1.0, 2.0], [0.5, 4.0], [0.0, 8.0]], [0.1] * 3))
    heat = figures[0].axes[0].collections[0]
    shown = heat.get_array().filled(math.nan)
    np.testing.assert_array_equal(shown, [[1.0, 0.5, math.nan], [2.0, 4.0, 8.0]])
    corners = heat.get_coordinates()  # each iteration reaches halfway to the next
    np.testing.assert_array_equal(corners[0, :, 0], [0.5, 5.5, 15, 20.5])
    np.testing.assert_array_equal(corners[:, 0, 1], [0.5, 1.5, 2.5])
    assert (heat.norm.vmin, heat.norm.vmax) == (0.5, 8.0)


def test_the_shares_of_saturated_units_are_drawn_where_they_are_known(figures, tmp_path, history):
    draw_inside(tmp_path / "x.png", history([[1.0], [1.0], [1.0]], [0.1, None, 0.3]))
    (line,) = figures[0].axes[1].lines
    assert (line.get_label(), xy(line)) == ("h", [[1, 20], [0.1, 0.3]])


def test_the_means_of_gates_are_drawn_beside_their_saturation(figures, tmp_path, history):
    draw_inside(tmp_path / "x.png", history([[1.0]] * 3, [0.1, None, 0.3]))
    (line,) = figures[0].axes[2].lines
    assert (line.get_label(), xy(line)) == ("h", [[1, 20], [0.0, 0.0]])


def test_each_layer_has_its_own_map_on_one_scale(figures, tmp_path, history):
    frames = history([[1.0, 2.0]] * 2, [0.5] * 2)
    other = LayerView({"c": [3.0, 40.0]}, {})
    both = [(step, {"below": view["layer"], "above": other}) for step, view in frames]
    draw_inside(tmp_path / "x.png", both)
    maps = [axes for axes in figures[0].axes if "gradient over time" in axes.get_title()]
    shown = {axes.get_title().split(":")[0]: axes.collections[0] for axes in maps}
    assert {name: heat.get_array().T.tolist() for name, heat in shown.items()} == {
        "below": [[1.0, 2.0]] * 2,
        "above": [[3.0, 40.0]] * 2,
    }
    assert {(heat.norm.vmin, heat.norm.vmax) for heat in shown.values()} == {(1.0, 40.0)}


def test_one_pass_is_drawn_as_it_was(figures, tmp_path):
    torch.manual_seed(0)
    layers = {"reader": Recurrent(LSTM(3, 4)), "writer": Recurrent(GRU(4, 5))}
    model = nn.ModuleDict(layers)
    with lens.watch(model) as view:
        y, _ = layers["reader"](torch.randn(2, 6, 3))
        layers["writer"](y)[0].square().sum().backward()
    lens.draw(view, tmp_path / "x.png", "title")
    panels = {axes.get_title(): axes for axes in figures[0].axes if axes.get_title()}
    assert list(panels) == [
        "reader: h over time",
        "reader: c over time",
        "reader: gradient over time",
        "reader: gates",
        "writer: h over time",
        "writer: gradient over time",
        "writer: gates",
    ]
    images = {title: axes.images[0] for title, axes in panels.items() if axes.images}
    np.testing.assert_allclose(images["reader: h over time"].get_array(), y[0].detach().T)
    bound = max(s.abs().max().item() for layer in view.values() for s in layer.states.values())
    limits = {(image.norm.vmin, image.norm.vmax) for image in images.values()}
    assert limits == {(-bound, bound)}
    for name, layer in view.items():
        first = panels[f"{name}: gradient over time"].lines[0]
        assert xy(first) == [[1, 2, 3, 4, 5, 6], pytest.approx(layer.gradient["h"])]
        bars = panels[f"{name}: gates"]
        labels = [label.get_text() for label in bars.get_xticklabels()]
        means, shares = ([bar.get_height() for bar in those] for those in bars.containers)
        assert set("zrn" if name == "writer" else "ifgo") == set(labels)
        assert means == [layer.values[gate].mean for gate in labels]
        assert shares == [layer.values[gate].saturated for gate in labels]


def test_a_pass_out_of_a_log_has_no_states_and_is_drawn_without(figures, tmp_path, history):
    draw_inside(tmp_path / "x.png", history([[1.0, 2.0]], [0.5]), "adder")
    assert figures[0].get_suptitle() == "adder, iteration 1"
    titles = [axes.get_title() for axes in figures[0].axes]
    assert titles == ["layer: gradient over time", "layer: gates"]


def test_states_that_are_not_finite_are_drawn(tmp_path):
    values = torch.tensor([[0.5, math.inf], [math.nan, -1.0]])
    view = {"": LayerView({"h": [math.nan, math.inf]}, {}, states={"h": values})}
    assert lens.draw(view, tmp_path / "x.svg").stat().st_size > 1000


def test_where_nothing_was_seen_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(InputError, match=r"^there is nothing to draw: no recurrent layer ran"):
        lens.draw({}, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("norm", [0.0, math.nan, math.inf])
def test_a_gradient_without_a_size_is_told_in_words(figures, tmp_path, norm, frames, history):
    draw_inside(tmp_path / "x.png", history([[norm, norm]] * frames, [0.5] * frames))
    words = [text.get_text() for text in figures[0].axes[0].texts]
    assert words == ["every gradient is 0 or not finite"]
