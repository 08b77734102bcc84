"""Activation functions and their derivatives are drawn as they are."""

import numpy as np
import pytest

from saiki.activations import CATALOGUE
from saiki.plots.activations import draw_activations


def test_the_sheet_has_one_axes_for_each_activation_with_its_name_and_equation(figures, tmp_path):
    draw_activations(tmp_path / "x.png", list(CATALOGUE.values()))
    shown = [axes for axes in figures[0].axes if axes.axison]
    assert len(shown) == len(CATALOGUE)
    for axes, activation in zip(shown, CATALOGUE.values(), strict=True):
        assert activation.name in axes.get_title()
        assert activation.equation in axes.get_title()


X = np.linspace(-5, 5, 1001)


BY_HAND = {
    "tanh": (np.tanh(X), 1 / np.cosh(X) ** 2),
    "relu": (np.maximum(X, 0), (X > 0) * 1.0),
    "step": ((X > 0) * 1.0, 0 * X),
    "elu": (np.where(X > 0, X, np.expm1(X)), np.where(X > 0, 1, np.exp(np.minimum(X, 0)))),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_function_and_its_derivative_are_drawn(figures, tmp_path, name):
    draw_activations(tmp_path / "x.png", [CATALOGUE[name]])
    lines = {line.get_label(): line for line in figures[0].axes[0].lines}
    for label, wanted in zip(("f(x)", "f′(x)"), BY_HAND[name], strict=True):
        x, y = lines[label].get_data()
        np.testing.assert_allclose(x, X, atol=1e-12)
        np.testing.assert_allclose(np.asarray(y)[X != 0], wanted[X != 0], atol=1e-12)


def test_softmax_is_drawn_as_the_function_of_a_vector_that_it_is(figures, tmp_path):
    draw_activations(tmp_path / "x.png", [CATALOGUE["softmax"]])
    (axes,) = figures[0].axes
    assert "of the vector (x, 1, -1)" in axes.get_title()
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    e = np.exp([X, np.full_like(X, 1.0), np.full_like(X, -1.0)])
    y = e / e.sum(0)
    slopes = np.array([y[0] * (1 - y[0]), -y[0] * y[1], -y[0] * y[2]])
    for i, index in enumerate("₁₂₃"):
        np.testing.assert_allclose(lines[f"y{index}"], y[i], atol=1e-12)
        np.testing.assert_allclose(lines[f"∂y{index}/∂x"], slopes[i], atol=1e-12)


def test_parameters_show_in_the_title_and_in_the_curve(figures, tmp_path):
    draw_activations(tmp_path / "x.png", [CATALOGUE["leaky_relu"].with_parameters(alpha=0.3)])
    (axes,) = figures[0].axes
    assert "α = 0.3" in axes.get_title()
    y = next(line.get_ydata() for line in axes.lines if line.get_label() == "f(x)")
    np.testing.assert_allclose(y, np.where(X > 0, X, 0.3 * X), atol=1e-12)
