"""A recurrent unit without a product in its recurrence, made to run fast."""

import torch

import saiki


class SRU(saiki.Cell):
    """The simple recurrent unit (Lei et al. 2018, "Simple recurrent units", §3).

    f = σ(W_f x + v_f ∘ c + b_f)
    r = σ(W_r x + v_r ∘ c + b_r)    sees the old c, as f does
    c ← f ∘ c + (1 − f) ∘ (W_c x)
    h ← r ∘ c + (1 − r) ∘ (W_s x)   the paper's skip has W_s = 1, which needs as many inputs

    No step reads h: it is a state because the first state is what the layer returns.
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.v = torch.nn.Parameter(torch.zeros(2, hidden_size))
        self.b = torch.nn.Parameter(torch.zeros(2, hidden_size))

    def step(self, x, h, c):
        f, r, new, skip = self.W(x).chunk(4, dim=-1)
        f = torch.sigmoid(f + self.v[0] * c + self.b[0])
        r = torch.sigmoid(r + self.v[1] * c + self.b[1])
        c = f * c + (1 - f) * new
        h = r * c + (1 - r) * skip
        return h, c
