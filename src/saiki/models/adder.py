"""The network that adds: a recurrent layer and an output unit, and one that learns with derivatives
that are not its own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saiki.activations import CATALOGUE
from saiki.cell import Cell
from saiki.cells import SimpleRNN
from saiki.layers import equations
from saiki.layers.recurrent import Recurrent
from saiki.saving.pretrained import DescribedModule


class AdderNetwork(DescribedModule, name="adder_network.v1"):
    """A recurrent layer and one sigmoid output unit: the bit of the sum at each step.

    yᵗ = σ(W_out hᵗ + c)
    """

    def __init__(self, cell: Cell, bias: bool, wrong_derivative: bool = False) -> None:
        super().__init__()
        self.layer = Recurrent(cell)
        self.readout = nn.Linear(self.layer.output_size, 1, bias=bias)
        self.output = sigmoid_with_slope_of_tanh if wrong_derivative else torch.sigmoid

    def forward(self, bits: Tensor) -> Tensor:
        """The pre-activation of each bit of the sum, ``(batch, bits)``."""
        h, _ = self.layer(bits)
        v: Tensor = self.readout(h).squeeze(-1)
        return v

    def equations(self) -> str:
        c = "" if self.readout.bias is None else " + c"
        layer = equations.of_layer(self.layer, writes="h")
        return f"{layer}\ny = σ(W_out h{c})    the bit of the sum"


class BorrowedDerivative(torch.autograd.Function):
    """y = f(u) in the forward pass, and in the backward pass a slope that is not f′(u)."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return f(u)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return gradients[0] * ctx.slope(u), None, None


def tanh_with_slope_of_sigmoid(u: Tensor) -> Tensor:
    """tanh(u), taught the derivative σ(u) (1 − σ(u))."""
    y: Tensor = BorrowedDerivative.apply(u, torch.tanh, CATALOGUE["sigmoid"].derivative)
    return y


def sigmoid_with_slope_of_tanh(u: Tensor) -> Tensor:
    """y = σ(u), taught the derivative 1 − tanh²(y)."""

    def slope(u: Tensor) -> Tensor:
        return CATALOGUE["tanh"].derivative(torch.sigmoid(u))

    y: Tensor = BorrowedDerivative.apply(u, torch.sigmoid, slope)
    return y


class WrongDerivativeRNN(SimpleRNN, name="wrong_derivative_rnn.v1"):
    """A tanh network whose backward pass was forgotten when sigmoid was changed to tanh.

    hᵗ = tanh(uᵗ), but its derivative is taken to be σ(uᵗ) (1 − σ(uᵗ)). ``check`` names every
    gradient this spoils.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size, tanh_with_slope_of_sigmoid, bias)
