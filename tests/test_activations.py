import copy
import math
import pickle

import numpy as np
import pytest
import torch

from saiki import InputError, activations
from saiki.activations import CATALOGUE, Activation
from saiki.cells import SimpleRNN


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softplus(x):
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


# Of one number; softmax, which needs several, has tests of its own.
FORMULAS = {
    "step": lambda x: 1.0 if x > 0 else 0.0,
    "sigmoid": sigmoid,
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "relu": lambda x: max(0.0, x),
    "leaky_relu": lambda x, alpha=0.01: x if x > 0 else alpha * x,
    "swish": lambda x, beta=1.0: x * sigmoid(beta * x),
    "identity": lambda x: x,
    "softplus": softplus,
    "gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * math.tanh(softplus(x)),
    "elu": lambda x, alpha=1.0: x if x > 0 else alpha * math.expm1(x),
    "hard_sigmoid": lambda x: min(1.0, max(0.0, x / 6 + 0.5)),
    "hard_tanh": lambda x: min(1.0, max(-1.0, x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "celu": lambda x, alpha=1.0: max(0.0, x) + min(0.0, alpha * math.expm1(x / alpha)),
    "exponential": math.exp,
    "hard_silu": lambda x: x * min(1.0, max(0.0, x / 6 + 0.5)),
    "relu6": lambda x: min(6.0, max(0.0, x)),
    "log_sigmoid": lambda x: -softplus(-x),
    "squareplus": lambda x: (x + math.hypot(x, 2)) / 2,
    "tanh_shrink": lambda x: x - math.tanh(x),
}
OTHER_PARAMETERS = [
    ("leaky_relu", {"alpha": 0.3}),
    ("swish", {"beta": 1.7}),
    ("elu", {"alpha": 0.4}),
    ("celu", {"alpha": 0.6}),
]
CASES = [*((name, {}) for name in FORMULAS), *OTHER_PARAMETERS]


def points():
    """320 random points, none near a kink (0, ±1, ±3 or 6), as (8, 40)."""
    x = np.random.default_rng(0).uniform(-12, 12, 1000)
    x = x[np.abs(x[:, None] - [-3, -1, 0, 1, 3, 6]).min(1) > 1e-3]
    return torch.tensor(x[:320].reshape(8, 40))


def test_every_activation_of_the_catalogue_has_a_formula_here():
    assert set(CATALOGUE) == {*FORMULAS, "softmax"}


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_values_are_those_of_the_formula(name, parameters):
    x = points()
    expected = np.vectorize(FORMULAS[name])(x.numpy(), **parameters)
    y = activations.get(name, **parameters)(x)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_closed_form_derivative_is_that_of_autograd(name, parameters):
    f = activations.get(name, **parameters)
    x = points().requires_grad_()
    (expected,) = torch.autograd.grad(f(x).sum(), x)
    torch.testing.assert_close(f.derivative(x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_derivative_keeps_single_precision(name, parameters):
    f = activations.get(name, **parameters)
    x = points().float()
    torch.testing.assert_close(f.derivative(x), f.derivative(x.double()).float())


def test_softmax_is_the_share_of_each_exponential_on_the_last_axis():
    x = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    e = np.exp(x.numpy())
    expected = e / e.sum(-1, keepdims=True)
    np.testing.assert_allclose(CATALOGUE["softmax"](x).numpy(), expected, rtol=1e-13)


def test_jacobian_of_softmax_is_that_of_autograd():
    rows = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    jacobians = CATALOGUE["softmax"].derivative(rows)
    for row, jacobian in zip(rows.view(6, 5), jacobians.view(6, 5, 5), strict=True):
        expected = torch.autograd.functional.jacobian(lambda x: torch.softmax(x, -1), row)
        torch.testing.assert_close(jacobian, expected, rtol=1e-12, atol=1e-15)


def of_one_number(name, parameters):
    """f as a map from numbers to numbers; for softmax the first of three, the others at 0."""
    f = activations.get(name, **parameters)
    if name == "softmax":
        return lambda x: f(torch.stack((x, 0 * x, 0 * x), -1))[..., 0]
    return f


@pytest.mark.parametrize(("name", "parameters"), [*CASES, ("softmax", {})])
def test_range_is_approached_and_never_left(name, parameters):
    x = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
    far = torch.tensor([-1e7, 1e7], dtype=torch.float64)  # softsign is slow
    y = of_one_number(name, parameters)(torch.cat((x, far)))
    low, high = activations.get(name, **parameters).range
    assert low - 1e-12 <= y.min()
    assert y.max() <= high + 1e-12
    assert y.min() < (low + 1e-6 if math.isfinite(low) else -0.5)  # −0.6 = 0.01 · −60, leaky ReLU
    assert y.max() > (high - 1e-6 if math.isfinite(high) else 59)


@pytest.mark.parametrize(("name", "parameters"), [*CASES, ("softmax", {})])
def test_gradient_vanishes_on_the_sides_that_saturate_and_on_no_other(name, parameters):
    x = torch.tensor([-1e5, 1e5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(of_one_number(name, parameters)(x).sum(), x)
    vanishes = (slope.abs() < 1e-9).tolist()
    assert (
        vanishes
        == {
            "both sides": [True, True],
            "negative side": [True, False],
            "positive side": [False, True],
            "neither side": [False, False],
        }[CATALOGUE[name].saturates]
    )


def test_parameters_of_a_copy_do_not_change_the_catalogue():
    activations.get("elu", alpha=0.25)
    assert CATALOGUE["elu"](torch.tensor(-100.0)) == -1


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies_keep_their_parameters(duplicate):
    x = points()
    f = activations.get("swish", beta=1.7)
    torch.testing.assert_close(duplicate(f)(x), x * torch.sigmoid(1.7 * x))


def test_an_activation_outside_the_catalogue_can_be_copied():
    cube = Activation(
        "cube",
        "x³",
        "3x²",
        lambda x: x**3,
        lambda x: 3 * x**2,
        lambda: (-math.inf, math.inf),
        "neither side",
    )
    cell = copy.deepcopy(SimpleRNN(3, 5, cube))
    assert cell.activation(torch.tensor(2.0)) == 8


def test_a_callable_is_taken_as_it_is():
    assert activations.get(torch.sin) is torch.sin


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rellu", {}), "no activation 'rellu'; there are step, sigmoid, tanh, relu"),
        (("relu", {"alpha": 0.1}), "relu has no parameter 'alpha'; it has none"),
        (("elu", {"beta": 0.1}), "elu has no parameter 'beta'; it has alpha"),
        (("elu", {"alpha": 0.0}), "alpha of elu must be positive and finite, got 0.0"),
        (("swish", {"beta": -1.0}), "beta of swish must be positive and finite, got -1.0"),
        (("swish", {"beta": math.inf}), "beta of swish must be positive and finite, got inf"),
        (("swish", {"beta": math.nan}), "beta of swish must be positive and finite, got nan"),
    ],
)
def test_what_the_catalogue_cannot_give_is_refused(arguments, sentence):
    name, parameters = arguments
    with pytest.raises(InputError, match=sentence):
        activations.get(name, **parameters)


def test_parameters_for_a_callable_are_refused_rather_than_dropped():
    with pytest.raises(InputError, match="alpha"):
        activations.get(torch.sin, alpha=0.1)


@pytest.mark.parametrize("value", [None, 3])
def test_what_is_neither_a_name_nor_callable_is_refused(value):
    with pytest.raises(InputError, match=repr(value)):
        activations.get(value)
