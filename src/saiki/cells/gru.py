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

    def equations(self) -> str:
        sigma = activations.written(self.recurrent_activation)
        phi = activations.written(self.activation)
        b_r, b_z, b_n = ("" if self.W.bias is None else f" + b_{gate}" for gate in "rzn")
        if self.reset == "before":
            candidate = f"W_n x + U_n (r ∘ h){b_n}"
        else:
            candidate = f"W_n x{b_n} + r ∘ {'(U_n h + b′)' if b_n else 'U_n h'}"
        return "\n".join(
            (
                f"r = {sigma}(W_r x + U_r h{b_r})",
                f"z = {sigma}(W_z x + U_z h{b_z})",
                f"n = {phi}({candidate})",
                "h ← z ∘ h + (1 − z) ∘ n",
            )
        )

    def gates(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, z and n, whose products see h."""
        r, z, n = self.W(x).chunk(3, dim=-1)
        U_rz, U_n = self.U.weight.split([2 * self.hidden_size, self.hidden_size])
        r_h, z_h = linear(h, U_rz).chunk(2, dim=-1)
        r = self.recurrent_activation(r + r_h)
        z = self.recurrent_activation(z + z_h)
        if self.reset == "before":
            n = self.activation(n + linear(r * h, U_n))
        else:
            n = self.activation(n + r * linear(h, U_n, self.b))
        return r, z, n

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        r, z, n = self.gates(x, h)  # noqa: RUF059 -- the lens sees r
        h = z * h + (1 - z) * n
        return h
