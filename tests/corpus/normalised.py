"""Normalised gates and weights."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from saiki import Cell


class LayerNormLSTM(Cell):
    """LN of both products and of the cell (Ba, Kiros & Hinton 2016, eq. 20 to 22)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.b = nn.Parameter(torch.zeros(4 * hidden_size))
        self.ln_x, self.ln_h = nn.LayerNorm(4 * hidden_size), nn.LayerNorm(4 * hidden_size)
        self.ln_c = nn.LayerNorm(hidden_size)

    def step(self, x, h, c):
        f, i, o, g = (self.ln_h(self.U(h)) + self.ln_x(self.W(x)) + self.b).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * self.ln_c(c).tanh(), c


class LayerNormGRU(Cell):
    """LN of the gates and of the candidate apart (Ba, Kiros & Hinton 2016, eq. 23 to 26)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.gates_x = nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.gates_h = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.new_x = nn.Linear(input_size, hidden_size, bias=False)
        self.new_h = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norms = nn.ModuleList(nn.LayerNorm(n * hidden_size) for n in (2, 2, 1, 1))

    def step(self, x, h):
        n1, n2, n3, n4 = self.norms
        z, r = torch.sigmoid(n1(self.gates_h(h)) + n2(self.gates_x(x))).chunk(2, dim=1)
        new = torch.tanh(n3(self.new_x(x)) + r * n4(self.new_h(h)))
        return (1 - z) * h + z * new


class DreamerGRU(Cell):
    """One LN over all gates, update bias −1 (Hafner et al. 2021, DreamerV2, appendix D)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, 3 * hidden_size, bias=False)
        self.norm = nn.LayerNorm(3 * hidden_size, eps=1e-3)

    def step(self, x, h):
        reset, candidate, update = self.norm(self.linear(torch.cat([x, h], -1))).chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return update * candidate + (1 - update) * h


class RMSNormRNN(Cell):
    """The recurrence divided by its root mean square (Zhang & Sennrich 2019, eq. 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.RMSNorm(hidden_size, eps=1e-6)

    def step(self, x, h):
        return torch.tanh(self.norm(self.W(x) + self.U(h)))


class PartialRMSNorm(Cell):
    """pRMSNorm: estimated from the first features, by hand (Zhang & Sennrich 2019, eq. 7)."""

    def __init__(self, input_size, hidden_size, part=3):
        super().__init__(input_size, hidden_size)
        self.part = part
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)
        self.gain = nn.Parameter(torch.ones(hidden_size))

    def step(self, x, h):
        u = self.linear(torch.cat([x, h], dim=1))
        scale = torch.rsqrt(u[:, : self.part].pow(2).mean(dim=1, keepdim=True) + 1e-5)
        return torch.tanh(u * scale * self.gain)


class WeightNormLSTM(Cell):
    """Length and direction of weights apart (Salimans & Kingma 2016, eq. 2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = parametrizations.weight_norm(nn.Linear(input_size, 4 * hidden_size))
        self.U = parametrizations.weight_norm(nn.Linear(hidden_size, 4 * hidden_size))

    def step(self, x, h, c):
        i, f, g, o = (self.W(x) + self.U(h)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class NormalisedWeightsByHand(Cell):
    """The same written out in the step (Salimans & Kingma 2016, eq. 2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.v = nn.Parameter(torch.randn(hidden_size, input_size + hidden_size))
        self.g = nn.Parameter(torch.ones(hidden_size))
        self.b = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        w = self.g[:, None] * self.v / torch.linalg.vector_norm(self.v, dim=1, keepdim=True)
        return torch.tanh(F.linear(torch.cat([x, h], 1), w, self.b))


class CosineNorm(Cell):
    """The cosine of weights and inputs in place of their product (Luo et al. 2018, eq. 2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.w = nn.Parameter(torch.randn(hidden_size, input_size + hidden_size))
        self.g = nn.Parameter(torch.tensor(2.0))

    def step(self, x, h):
        u = F.normalize(torch.cat([x, h], dim=1), dim=1)
        return torch.tanh(self.g * F.linear(u, F.normalize(self.w, dim=1)))


class GroupNormRNN(Cell):
    """Group norm over the features of the recurrence (Wu & He 2018, eq. 7)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, groups=2):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.GroupNorm(groups, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.norm(self.W(x) + self.U(h)))


class GroupNormOfInput(Cell):
    """Group norm of what comes in alone (Wu & He 2018, eq. 7)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, groups=3):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.norm = nn.GroupNorm(groups, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.norm(self.W(x)) + self.U(h))


class FrozenBatchNormLSTM(Cell):
    """Batch norm with the statistics of the population (Cooijmans et al. 2017, eq. 6 to 8)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.norm_x = nn.BatchNorm1d(4 * hidden_size).eval()
        self.norm_h = nn.BatchNorm1d(4 * hidden_size).eval()

    def step(self, x, h, c):
        f, i, o, g = (self.norm_x(self.W(x)) + self.norm_h(self.U(h))).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class SpectralNormRNN(Cell):
    """The largest singular value kept at 1, at test time (Miyato et al. 2018, eq. 8)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = parametrizations.spectral_norm(nn.Linear(hidden_size, hidden_size)).eval()

    def step(self, x, h):
        return torch.tanh(self.W(x) + self.U(h))


class DynamicTanhRNN(Cell):
    """DyT in place of normalisation (Zhu et al. 2025, "Transformers without normalization", §4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)
        self.alpha = nn.Parameter(torch.ones(1) * 0.5)
        self.gamma = nn.Parameter(torch.ones(hidden_size))
        self.beta = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        u = torch.tanh(self.alpha * self.linear(torch.cat([x, h], 1)))
        return F.gelu(self.gamma * u + self.beta)


class StandardisedState(Cell):
    """Mean and variance of the features taken away by hand (Laurent et al. 2016, eq. 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        u = self.W(x) + self.U(h)
        variance, mean = torch.var_mean(u, dim=1, keepdim=True, unbiased=False)
        return torch.tanh((u - mean) / torch.sqrt(variance + 1e-3)) + 0.1 * u.std(1, keepdim=True)
