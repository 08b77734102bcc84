"""A long short-term memory whose gates also see the cell."""

import torch

import saiki


class PeepholeLSTM(saiki.Cell):
    """Long short-term memory whose gates also see the cell (Gers & Schmidhuber 2000).

    i = σ(W_i x + U_i h + p_i ∘ c + b_i)
    f = σ(W_f x + U_f h + p_f ∘ c + b_f)
    c ← f ∘ c + i ∘ tanh(W_g x + U_g h + b_g)
    o = σ(W_o x + U_o h + p_o ∘ c + b_o)    sees the new c
    h ← o ∘ tanh(c)
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, 4 * hidden_size)
        self.U = torch.nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.p = torch.nn.Parameter(torch.zeros(3, hidden_size))

    def step(self, x, h, c):
        i, f, g, o = (self.W(x) + self.U(h)).chunk(4, dim=-1)
        i = torch.sigmoid(i + self.p[0] * c)
        f = torch.sigmoid(f + self.p[1] * c)
        c = f * c + i * torch.tanh(g)
        h = torch.sigmoid(o + self.p[2] * c) * torch.tanh(c)
        return h, c
