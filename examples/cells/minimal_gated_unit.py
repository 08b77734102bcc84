"""A gated unit with a single gate."""

import torch

import saiki


class MinimalGatedUnit(saiki.Cell):
    """A GRU whose one gate both resets and updates (Zhou et al. 2016, "Minimal gated unit").

    f = σ(W_f x + U_f h + b_f)
    n = tanh(W_n x + U_n (f ∘ h) + b_n)
    h ← (1 − f) ∘ h + f ∘ n
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, 2 * hidden_size)
        self.U_f = torch.nn.Linear(hidden_size, hidden_size, bias=False)
        self.U_n = torch.nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x, h):
        f, n = self.W(x).chunk(2, dim=-1)
        f = torch.sigmoid(f + self.U_f(h))
        n = torch.tanh(n + self.U_n(f * h))
        return (1 - f) * h + f * n
