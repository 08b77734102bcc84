"""A gated recurrent unit with layer normalisation."""

import torch

import saiki


class LayerNormGRU(saiki.Cell):
    """A GRU that normalises what it reads (Ba, Kiros & Hinton 2016, "Layer normalization").

    r, z = σ(LN(W x) + LN(U h))
    n = tanh(LN(W_n x) + r ∘ LN(U_n h))
    h ← z ∘ h + (1 − z) ∘ n

    Each LN has a gain and a bias of its own, so W and U need none.
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.U = torch.nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.W_n = torch.nn.Linear(input_size, hidden_size, bias=False)
        self.U_n = torch.nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm_x = torch.nn.LayerNorm(2 * hidden_size)
        self.norm_h = torch.nn.LayerNorm(2 * hidden_size)
        self.norm_n_x = torch.nn.LayerNorm(hidden_size)
        self.norm_n_h = torch.nn.LayerNorm(hidden_size)

    def step(self, x, h):
        r, z = torch.sigmoid(self.norm_x(self.W(x)) + self.norm_h(self.U(h))).chunk(2, dim=-1)
        n = torch.tanh(self.norm_n_x(self.W_n(x)) + r * self.norm_n_h(self.U_n(h)))
        return z * h + (1 - z) * n
