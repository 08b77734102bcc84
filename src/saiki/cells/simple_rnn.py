"""The simple recurrent network (Elman 1990)."""

from torch import Tensor, nn

from saiki import activations
from saiki.cell import Cell
from saiki.initialise import initialise_


class SimpleRNN(Cell, name="simple_rnn.v1"):
    """The simple recurrent network (Elman 1990, "Finding structure in time").

    uᵗ = W xᵗ + U hᵗ⁻¹ + b,  hᵗ = f(uᵗ)

    W is also written W_in, U is also written W, and the hidden state h is also written z.

    Args:
        activation: f, a name of :mod:`saiki.activations` or any callable.
        bias: whether b exists.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str | activations.Function = "tanh",
        bias: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.activation = activations.get(activation)
        self.W = nn.Linear(input_size, hidden_size, bias=bias)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """W Xavier, U orthogonal, b zero."""
        initialise_(self.W.weight, "xavier")
        initialise_(self.U.weight, "orthogonal")
        if self.W.bias is not None:
            nn.init.zeros_(self.W.bias)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        u = self.W(x) + self.U(h)
        h = self.activation(u)
        return h
