"""The catalogue of activation functions, each with its equation and its derivative in closed form.

``saiki plot activations`` draws them. A cell takes one by name or any callable:
``get("leaky_relu", alpha=0.1)``, ``get(torch.sin)``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.errors import InputError

Function = Callable[..., Tensor]
Sides = Literal["neither side", "negative side", "positive side", "both sides"]


@dataclass(frozen=True)
class Activation:
    """A function of a pre-activation x, with what a learner wants to know about it.

    ``activation(x)`` evaluates it and ``activation.derivative(x)`` its derivative in closed form,
    both at ``x`` of any shape (softmax works over the last axis, and its derivative is the
    Jacobian, one axis more).
    """

    name: str
    equation: str
    derivative_equation: str
    function: Function = field(repr=False)
    slope: Function = field(repr=False)
    bounds: Callable[..., tuple[float, float]] = field(repr=False)
    saturates: Sides
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x, **self.parameters)

    def derivative(self, x: Tensor) -> Tensor:
        """f′(x) in closed form."""
        return self.slope(x, **self.parameters)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.name, dict(self.parameters))  # by name: its functions do not pickle

    def __deepcopy__(self, memo: dict[int, object]) -> "Activation":
        return self  # frozen

    @property
    def range(self) -> tuple[float, float]:
        """Infimum and supremum of f."""
        return self.bounds(**self.parameters)

    def with_parameters(self, **parameters: float) -> "Activation":
        """The same function with other parameters, such as α of the leaky ReLU or β of Swish."""
        for name, value in parameters.items():
            if name not in self.parameters:
                has = f"has {', '.join(self.parameters)}" if self.parameters else "has none"
                raise InputError(f"{self.name} has no parameter {name!r}; it {has}")
            if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} of {self.name} must be positive and finite, got {value}")
        return replace(self, parameters={**self.parameters, **parameters})


def _heaviside(x: Tensor) -> Tensor:
    return x.clamp(0, 1).ceil()  # unlike a comparison, it has a gradient: zero


def _sigmoid_slope(x: Tensor) -> Tensor:
    y = torch.sigmoid(x)
    return y * (1 - y)


def _swish_slope(x: Tensor, beta: float) -> Tensor:
    s = torch.sigmoid(beta * x)
    return s + beta * x * s * (1 - s)


def _softmax_jacobian(x: Tensor) -> Tensor:
    y = torch.softmax(x, -1)
    return torch.diag_embed(y) - y[..., :, None] * y[..., None, :]


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density


def _mish_slope(x: Tensor) -> Tensor:
    w = torch.tanh(F.softplus(x))
    return w + x * (1 - w * w) * torch.sigmoid(x)


def _celu(x: Tensor, alpha: float) -> Tensor:
    # PyTorch's own takes 1 / α in single precision
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0) / alpha))


def _hard_silu_slope(x: Tensor) -> Tensor:
    return torch.where(x < 3, torch.where(x > -3, x / 3 + 0.5, 0.0), 1.0)


def _between(x: Tensor, low: float, high: float, slope: float) -> Tensor:
    return torch.where((x > low) & (x < high), torch.full_like(x, slope), 0.0)


_SWISH_MINIMUM = -0.2784645427610738  # x σ(x) at x = −1.2784645427610738 = −(1 + W₀(1/e))
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Those with which mean 0 and variance 1 stay (Klambauer et al. 2017)."""
_UNBOUNDED = (-math.inf, math.inf)

CATALOGUE: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation(
            "step",
            "1 if x > 0 else 0",
            "0 (undefined at 0)",
            _heaviside,
            torch.zeros_like,
            lambda: (0, 1),
            "both sides",
        ),
        Activation(
            "sigmoid",
            "σ(x) = 1 / (1 + e⁻ˣ)",
            "σ(x) (1 − σ(x))",
            torch.sigmoid,
            _sigmoid_slope,
            lambda: (0, 1),
            "both sides",
        ),
        Activation(
            "tanh",
            "(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)",
            "1 − tanh²(x)",
            torch.tanh,
            lambda x: 1 - torch.tanh(x) ** 2,
            lambda: (-1, 1),
            "both sides",
        ),
        Activation(
            "relu",
            "max(0, x)",
            "1 if x > 0 else 0",
            torch.relu,
            lambda x: (x > 0).to(x.dtype),
            lambda: (0, math.inf),
            "negative side",
        ),
        Activation(
            "leaky_relu",
            "x if x > 0 else αx",
            "1 if x > 0 else α",
            lambda x, alpha: F.leaky_relu(x, alpha),
            lambda x, alpha: torch.where(x > 0, torch.ones_like(x), alpha),
            lambda alpha: _UNBOUNDED,
            "neither side",
            {"alpha": 0.01},
        ),
        Activation(
            "swish",
            "x σ(βx)",
            "σ(βx) + βx σ(βx) (1 − σ(βx))",
            lambda x, beta: x * torch.sigmoid(beta * x),
            _swish_slope,
            lambda beta: (_SWISH_MINIMUM / beta, math.inf),
            "negative side",
            {"beta": 1.0},
        ),
        Activation(
            "softmax",
            "yᵢ = e^xᵢ / Σⱼ e^xⱼ",
            "∂yᵢ/∂xⱼ = yᵢ (δᵢⱼ − yⱼ)",
            lambda x: torch.softmax(x, -1),
            _softmax_jacobian,
            lambda: (0, 1),
            "both sides",
        ),
        Activation(
            "identity",
            "x",
            "1",
            lambda x: x,
            torch.ones_like,
            lambda: _UNBOUNDED,
            "neither side",
        ),
        Activation(
            "softplus",
            "ln(1 + eˣ)",
            "σ(x)",
            F.softplus,
            torch.sigmoid,
            lambda: (0, math.inf),
            "negative side",
        ),
        Activation(
            "gelu",
            "x Φ(x), Φ the normal distribution",
            "Φ(x) + x φ(x)",
            F.gelu,
            _gelu_slope,
            lambda: (-0.16997120747990369, math.inf),
            "negative side",
        ),
        Activation(
            "silu",
            "x σ(x)",
            "σ(x) (1 + x (1 − σ(x)))",
            F.silu,
            lambda x: _swish_slope(x, 1.0),
            lambda: (_SWISH_MINIMUM, math.inf),
            "negative side",
        ),
        Activation(
            "mish",
            "x tanh(softplus(x))",
            "ω + x (1 − ω²) σ(x), ω = tanh(softplus(x))",
            F.mish,
            _mish_slope,
            lambda: (-0.30884341301725, math.inf),
            "negative side",
        ),
        Activation(
            "elu",
            "x if x > 0 else α (eˣ − 1)",
            "1 if x > 0 else αeˣ",
            lambda x, alpha: F.elu(x, alpha),
            lambda x, alpha: torch.where(x > 0, 1.0, alpha * torch.exp(x.clamp(max=0))),
            lambda alpha: (-alpha, math.inf),
            "negative side",
            {"alpha": 1.0},
        ),
        Activation(
            "hard_sigmoid",
            "min(1, max(0, x/6 + 1/2))",
            "1/6 if −3 < x < 3 else 0",
            lambda x: (x / 6 + 0.5).clamp(0, 1),
            lambda x: _between(x, -3, 3, 1 / 6),
            lambda: (0, 1),
            "both sides",
        ),
        Activation(
            "hard_tanh",
            "min(1, max(−1, x))",
            "1 if −1 < x < 1 else 0",
            F.hardtanh,
            lambda x: _between(x, -1, 1, 1.0),
            lambda: (-1, 1),
            "both sides",
        ),
        Activation(
            "softsign",
            "x / (1 + |x|)",
            "1 / (1 + |x|)²",
            F.softsign,
            lambda x: 1 / (1 + x.abs()) ** 2,
            lambda: (-1, 1),
            "both sides",
        ),
        Activation(
            "selu",
            "λx if x > 0 else λα (eˣ − 1)",
            "λ if x > 0 else λαeˣ",
            F.selu,
            lambda x: (
                _SELU_SCALE * torch.where(x > 0, 1.0, _SELU_ALPHA * torch.exp(x.clamp(max=0)))
            ),
            lambda: (-_SELU_SCALE * _SELU_ALPHA, math.inf),
            "negative side",
        ),
        Activation(
            "celu",
            "x if x > 0 else α (e^(x/α) − 1)",
            "1 if x > 0 else e^(x/α)",
            _celu,
            lambda x, alpha: torch.exp(x.clamp(max=0) / alpha),
            lambda alpha: (-alpha, math.inf),
            "negative side",
            {"alpha": 1.0},
        ),
        Activation(
            "exponential",
            "eˣ",
            "eˣ",
            torch.exp,
            torch.exp,
            lambda: (0, math.inf),
            "negative side",
        ),
        Activation(
            "hard_silu",
            "x min(1, max(0, x/6 + 1/2))",
            "0 if x < −3, x/3 + 1/2, 1 if x > 3",
            F.hardswish,
            _hard_silu_slope,
            lambda: (-0.375, math.inf),
            "negative side",
        ),
        Activation(
            "relu6",
            "min(6, max(0, x))",
            "1 if 0 < x < 6 else 0",
            F.relu6,
            lambda x: _between(x, 0, 6, 1.0),
            lambda: (0, 6),
            "both sides",
        ),
        Activation(
            "log_sigmoid",
            "−ln(1 + e⁻ˣ)",
            "σ(−x)",
            F.logsigmoid,
            lambda x: torch.sigmoid(-x),
            lambda: (-math.inf, 0),
            "positive side",
        ),
        Activation(
            "squareplus",
            "(x + √(x² + 4)) / 2",
            "(1 + x / √(x² + 4)) / 2",
            lambda x: (x + torch.sqrt(x * x + 4)) / 2,
            lambda x: (1 + x / torch.sqrt(x * x + 4)) / 2,
            lambda: (0, math.inf),
            "negative side",
        ),
        Activation(
            "tanh_shrink",
            "x − tanh(x)",
            "tanh²(x)",
            F.tanhshrink,
            lambda x: torch.tanh(x) ** 2,
            lambda: _UNBOUNDED,
            "neither side",
        ),
    )
}


def _restore(name: str, parameters: dict[str, float]) -> Activation:
    return CATALOGUE[name].with_parameters(**parameters)


def get(activation: str | Function, **parameters: float) -> Function:
    """The activation of that name, or the callable itself.

    >>> get("leaky_relu", alpha=0.1)(torch.tensor([-1.0, 2.0]))
    tensor([-0.1000,  2.0000])

    Raises:
        InputError: the catalogue has no such name, or the function no such parameter.
    """
    if callable(activation):
        if parameters:
            raise InputError(f"a callable takes no parameters, got {', '.join(parameters)}")
        return activation
    if not isinstance(activation, str):
        raise InputError(f"an activation is a name or a callable, got {activation!r}")
    if activation not in CATALOGUE:
        raise InputError(f"no activation {activation!r}; there are {', '.join(CATALOGUE)}")
    return CATALOGUE[activation].with_parameters(**parameters)


def written(function: Function) -> str:
    """How equations write an activation: σ for the sigmoid, otherwise its name."""
    name = getattr(function, "name", None) or getattr(function, "__name__", "φ")
    return "σ" if name == "sigmoid" else str(name)
