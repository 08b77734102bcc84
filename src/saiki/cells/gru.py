"""The gated recurrent unit (Cho et al. 2014)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from saiki import activations
from saiki.cell import Cell
from saiki.errors import InputError
from saiki.initialise import initialise_


class GRU(Cell, name="gru.v1"):
    """The gated recurrent unit (Cho et al. 2014, §2.3).

    r = σ(W_r x + U_r h + b_r)              reset gate
    z = σ(W_z x + U_z h + b_z)              update gate: 1 keeps the old state
    n = φ(W_n x + U_n (r ∘ h) + b_n)        candidate, ``reset="before"``: the original form
    n = φ(W_n x + b_n + r ∘ (U_n h + b′))   candidate, ``reset="after"``: cuDNN's form
    h ← z ∘ h + (1 − z) ∘ n

    The gates lie in the order r, z, n. Chung et al. (2014, §3.2) write 1 − z for this z.

    Args:
        reset: whether the reset gate acts before or after the product with U_n.
        activation: φ.
        recurrent_activation: σ.
        bias: whether the biases exist; "after" has a second one inside the product, as cuDNN has.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset: Literal["after", "before"] = "after",
        activation: str | activations.Function = "tanh",
        recurrent_activation: str | activations.Function = "sigmoid",
        bias: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if reset not in ("after", "before"):
            raise InputError(f"reset must be 'after' or 'before', got {reset!r}")
        self.reset = reset
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.W = nn.Linear(input_size, 3 * hidden_size, bias=bias)
        self.U = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.b = nn.Parameter(torch.empty(hidden_size)) if bias and reset == "after" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """W Xavier and U orthogonal gate by gate, biases zero."""
        initialise_(self.W.weight, "xavier", gates=3)
        initialise_(self.U.weight, "orthogonal", gates=3)
        for bias in (self.W.bias, self.b):
            if bias is not None:
                nn.init.zeros_(bias)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        r, z, n = self.W(x).chunk(3, dim=-1)
        U_rz, U_n = self.U.weight.split([2 * self.hidden_size, self.hidden_size])
        r_h, z_h = linear(h, U_rz).chunk(2, dim=-1)
        r = self.recurrent_activation(r + r_h)
        z = self.recurrent_activation(z + z_h)
        if self.reset == "before":
            n = self.activation(n + linear(r * h, U_n))
        else:
            n = self.activation(n + r * linear(h, U_n, self.b))
        h = z * h + (1 - z) * n
        return h
