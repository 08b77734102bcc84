"""A long short-term memory whose recurrent weights depend on the input."""

import torch

import saiki


class MultiplicativeLSTM(saiki.Cell):
    """An LSTM that reads m instead of h (Krause et al. 2016, "Multiplicative LSTM", §3).

    m = (W_m x) ∘ (U_m h)                   a different recurrence for each input
    i, f, o = σ(W x + U m + b)              a block each, as for g
    g = tanh(W_g x + U_g m + b_g)
    c ← f ∘ c + i ∘ g
    h ← o ∘ tanh(c)
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W_m = torch.nn.Linear(input_size, hidden_size, bias=False)
        self.U_m = torch.nn.Linear(hidden_size, hidden_size, bias=False)
        self.W = torch.nn.Linear(input_size, 4 * hidden_size)
        self.U = torch.nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def step(self, x, h, c):
        m = self.W_m(x) * self.U_m(h)
        i, f, g, o = (self.W(x) + self.U(m)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, c
