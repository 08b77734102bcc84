"""Activation functions as ONNX names them, and those that only ONNX has."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saiki import activations
from saiki.activations import Activation, Function
from saiki.errors import InputError
from saiki.saving.description import Described

ALPHA = {
    "Affine": 1.0,
    "Elu": 1.0,
    "HardSigmoid": 0.2,
    "LeakyRelu": 0.01,
    "ScaledTanh": 1.0,
    "ThresholdedRelu": 1.0,
}
"""The functions of ONNX that have an α, with its default."""
BETA = {"Affine": 0.0, "HardSigmoid": 0.5, "ScaledTanh": 1.0}
"""Those that have a β, too."""
_PLAIN = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign",
    "Tanh": "tanh",
}  # fmt: skip


@dataclass(frozen=True)
class OnnxFunction(Described, name="onnx_function.v1"):
    """A function of ONNX, with its parameters.

    ===============  ===================  ===============  ====================================
    Affine           αx + β               LeakyRelu        x if x ≥ 0 else αx
    Elu              x or α (eˣ − 1)      ScaledTanh       α tanh(βx)
    HardSigmoid      αx + β within 0, 1   Softsign         x / (1 + |x|)
    ThresholdedRelu  x if x ≥ α else 0    Relu, Sigmoid, Softplus, Tanh
    ===============  ===================  ===============  ====================================
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        match self.name:
            case "Affine":
                return self.alpha * x + self.beta
            case "Elu":
                return torch.where(x >= 0, x, self.alpha * torch.expm1(x.clamp(max=0)))
            case "HardSigmoid":
                return (self.alpha * x + self.beta).clamp(0, 1)
            case "LeakyRelu":
                return torch.where(x >= 0, x, self.alpha * x)
            case "ScaledTanh":
                return self.alpha * torch.tanh(self.beta * x)
            case "ThresholdedRelu":
                return torch.where(x >= self.alpha, x, 0.0)
        plain: Tensor = activations.get(_PLAIN[self.name])(x)
        return plain


@dataclass(frozen=True)
class Clipped(Described, name="clipped.v1"):
    """``activation`` of x limited to [−bound, bound]: the attribute ``clip`` of ONNX.

    >>> Clipped(activations.get("identity"), 2.0)(torch.tensor([-3.0, 1.0]))
    tensor([-2.,  1.])
    """

    activation: Function
    bound: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.activation(x.clamp(-self.bound, self.bound))


def to_onnx(function: Function) -> OnnxFunction | None:
    """What ONNX calls ``function``, clipped or not; None if it has no such function."""
    if isinstance(function, Clipped):
        function = function.activation
    if isinstance(function, OnnxFunction):
        return function
    if not isinstance(function, Activation):
        return None
    match function.name:
        case "elu":
            return OnnxFunction("Elu", function.parameters["alpha"])
        case "hard_sigmoid":
            return OnnxFunction("HardSigmoid", 1 / 6, 0.5)
        case "identity":
            return OnnxFunction("Affine", 1.0, 0.0)
        case "leaky_relu":
            return OnnxFunction("LeakyRelu", function.parameters["alpha"])
    names = {ours: theirs for theirs, ours in _PLAIN.items()}
    return OnnxFunction(names[function.name]) if function.name in names else None


def from_onnx(function: OnnxFunction) -> Function:
    """The equal of ``function`` in the catalogue, if there is one."""
    alpha, beta = function.alpha, function.beta
    if function.name in _PLAIN:
        return activations.get(_PLAIN[function.name])
    if function.name == "Affine" and (alpha, beta) == (1, 0):
        return activations.get("identity")
    if function.name == "HardSigmoid" and math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return activations.get("hard_sigmoid")
    if function.name in ("Elu", "LeakyRelu") and alpha > 0:
        name = "elu" if function.name == "Elu" else "leaky_relu"
        return activations.get(name, alpha=alpha)
    return function


def clip_of(functions: Sequence[Function]) -> float | None:
    """The bound that all ``functions`` share, infinite without one; None if they differ."""
    bounds = {f.bound if isinstance(f, Clipped) else math.inf for f in functions}
    return bounds.pop() if len(bounds) == 1 else None


def parse(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]
) -> list[OnnxFunction]:
    """Functions from the attributes of a node, where those that have an α or β consume one each.

    Raises:
        InputError: ONNX has no such function.
    """
    known = {name.lower(): name for name in (*ALPHA, *_PLAIN)}
    remaining = iter(alphas), iter(betas)

    def parameter(name: str, defaults: dict[str, float], values: Iterator[float]) -> float:
        return next(values, defaults[name]) if name in defaults else 0.0

    functions = []
    for spelling in names:
        if spelling.lower() not in known:
            raise InputError(f"there is no activation {spelling!r} in ONNX")
        name = known[spelling.lower()]
        functions.append(
            OnnxFunction(
                name, parameter(name, ALPHA, remaining[0]), parameter(name, BETA, remaining[1])
            )
        )
    return functions
