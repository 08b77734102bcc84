"""Heads, experts, pieces and convolutions: tensors of three dimensions inside a step."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class Maxout(Cell):
    """The largest of several affine pieces (Goodfellow et al. 2013, "Maxout networks", §2)."""

    def __init__(self, input_size, hidden_size, pieces=3):
        super().__init__(input_size, hidden_size)
        self.pieces = pieces
        self.W = nn.Linear(input_size, pieces * hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        u = self.W(x).view(-1, self.hidden_size, self.pieces).amax(dim=2)
        return torch.tanh(u + self.U(h))


class MaxoutOfBoth(Cell):
    """Maxout over input and state together (Goodfellow et al. 2013, "Maxout networks", §2)."""

    def __init__(self, input_size, hidden_size, pieces=2):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, pieces * hidden_size)

    def step(self, x, h):
        u = self.linear(torch.cat([x, h], dim=1))
        return torch.tanh(u.reshape(len(u), self.hidden_size, -1).max(dim=-1).values)


class GLUGate(Cell):
    """A gated linear unit as the new state (Dauphin et al. 2017, eq. 1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return F.glu(torch.cat([self.U(h) + self.W(x), h], dim=1), dim=1)


class SwiGLU(Cell):
    """A gated feed-forward block around the state (Shazeer 2020, "GLU variants", eq. 6)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size + hidden_size, 9, bias=False)
        self.V = nn.Linear(input_size + hidden_size, 9, bias=False)
        self.W2 = nn.Linear(9, hidden_size, bias=False)

    def step(self, x, h):
        u = torch.cat([x, h], -1)
        return 0.9 * h + self.W2(F.silu(self.W(u)) * self.V(u))


class MixtureOfExperts(Cell):
    """Experts over x, mixed by a softmax of x (Jacobs et al. 1991, eq. 1.3)."""

    def __init__(self, input_size, hidden_size, experts=3):
        super().__init__(input_size, hidden_size)
        self.experts = nn.Linear(input_size, experts * hidden_size)
        self.gate = nn.Linear(input_size, experts)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        weights = torch.softmax(self.gate(x), -1)
        experts = self.experts(x).view(len(x), -1, self.hidden_size)
        return torch.tanh(torch.einsum("be,beh->bh", weights, experts) + self.U(h))


class RecurrentExperts(Cell):
    """Each expert a recurrent network, the gate sees the state (Shazeer et al. 2017, eq. 1)."""

    def __init__(self, input_size, hidden_size, experts=3):
        super().__init__(input_size, hidden_size)
        self.experts = nn.ModuleList(
            nn.Linear(input_size + hidden_size, hidden_size) for _ in range(experts)
        )
        self.gate = nn.Linear(input_size + hidden_size, experts)

    def step(self, x, h):
        u = torch.cat([x, h], 1)
        weights = torch.softmax(self.gate(u), dim=1)
        return sum(weights[:, i : i + 1] * torch.tanh(e(u)) for i, e in enumerate(self.experts))


class StackedExperts(Cell):
    """The experts one batched product, their mixture another (Eigen et al. 2014, eq. 1)."""

    def __init__(self, input_size, hidden_size, experts=3):
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.randn(experts, input_size, hidden_size))
        self.gate = nn.Linear(input_size, experts)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        each = torch.tanh(torch.einsum("bi,eih->beh", x, self.weight))
        weights = torch.softmax(self.gate(x), dim=-1).unsqueeze(1)
        return torch.tanh(torch.bmm(weights, each).squeeze(1) + self.U(h))


class MixtureOfSoftmaxes(Cell):
    """A state that is a mixture of softmaxes (Yang et al. 2018, §2.4)."""

    def __init__(self, input_size, hidden_size, components=3):
        super().__init__(input_size, hidden_size)
        self.components = components
        self.prior = nn.Linear(hidden_size, components, bias=False)
        self.latent = nn.Linear(input_size, components * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        prior = self.prior(h).softmax(-1)
        latent = torch.tanh(self.latent(x)).view(-1, self.components, self.hidden_size)
        each = F.softmax(self.out(latent), dim=-1)
        return (prior.unsqueeze(-1) * each).sum(dim=1)


class InputHeads(Cell):
    """A softmax per head of x, as in routing by agreement (Sabour et al. 2017, eq. 3)."""

    def __init__(self, input_size, hidden_size, heads=2, width=4):
        super().__init__(input_size, hidden_size)
        self.heads, self.width = heads, width
        self.W = nn.Linear(input_size, heads * width)
        self.out = nn.Linear(heads * width, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x, h):
        attention = torch.softmax(self.W(x).view(-1, self.heads, self.width), -1)
        return torch.tanh(self.out(attention.flatten(1)) + self.U(h))


class DiscreteLatent(Cell):
    """The state is several softmaxes, as categorical latents (Hafner et al. 2021, §2, eq. 1)."""

    sizes = (5, 12)

    def __init__(self, input_size, hidden_size, classes=4):
        super().__init__(input_size, hidden_size)
        self.classes = classes
        self.gru = nn.GRUCell(input_size, hidden_size)
        self.logits = nn.Linear(hidden_size, hidden_size)

    def step(self, x, z):
        logits = self.logits(self.gru(x, z)).unflatten(1, (-1, self.classes))
        return logits.softmax(-1).mul(0.99).add(0.01 / self.classes).flatten(1)


class HeadNorm(Cell):
    """Each head of x divided by its own norm, as queries (Henry et al. 2020, eq. 4)."""

    def __init__(self, input_size, hidden_size, heads=3, width=2):
        super().__init__(input_size, hidden_size)
        self.heads = heads
        self.W = nn.Linear(input_size, heads * width)
        self.out = nn.Linear(heads * width, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        q = F.normalize(self.W(x).view(x.shape[0], self.heads, -1), dim=-1, eps=1e-6)
        return torch.tanh(self.out(q.reshape(x.shape[0], -1)) + self.U(h))


class FourierFeatures(Cell):
    """Sines of fixed random projections of x (Tancik et al. 2020, eq. 4)."""

    def __init__(self, input_size, hidden_size, frequencies=6):
        super().__init__(input_size, hidden_size)
        self.register_buffer("B", torch.randn(frequencies, input_size))
        self.W = nn.Linear(2 * frequencies, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        angle = 2 * math.pi * x @ self.B.T
        features = torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(1)
        return torch.tanh(self.W(features) + self.U(h))


class LearntFourierFeatures(Cell):
    """The same with learnt frequencies, as a complex exponential (Rahimi & Recht 2007, §3)."""

    def __init__(self, input_size, hidden_size, frequencies=4):
        super().__init__(input_size, hidden_size)
        self.B = nn.Linear(input_size, frequencies, bias=False)
        self.W = nn.Linear(2 * frequencies, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        angle = self.B(x)
        wave = torch.polar(torch.ones_like(angle), angle)
        features = torch.view_as_real(wave).reshape(len(x), -1)
        return torch.tanh(self.W(features) + self.U(h))


class BilinearInput(Cell):
    """The outer product of x with itself feeds the cell (Lin, RoyChowdhury & Maji 2015, eq. 1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.down = nn.Linear(input_size, 3)
        self.W = nn.Linear(9, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        v = self.down(x)
        outer = (v.unsqueeze(2) * v.unsqueeze(1)).flatten(1)
        return torch.tanh(self.W(torch.sign(outer) * (outer.abs() + 1e-6).sqrt()) + self.U(h))


class BilinearBoth(Cell):
    """A bilinear form of x and h beside the linear ones (Goudreau et al. 1994, eq. 2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.bilinear = nn.Bilinear(input_size, hidden_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.bilinear(x, h))


class ConvolvedInput(Cell):
    """A convolution over the features of x, as over mel bands (Amodei et al. 2016, §3.4)."""

    def __init__(self, input_size, hidden_size, channels=2):
        super().__init__(input_size, hidden_size)
        self.conv = nn.Conv1d(1, channels, kernel_size=3, padding=1)
        self.W = nn.Linear(channels * input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        u = F.relu(self.conv(x.unsqueeze(1))).flatten(1)
        return torch.tanh(self.W(u) + self.U(h))


class ConvLSTM(Cell):
    """Convolutions in place of products, over one dimension (Shi et al. 2015, eq. 3)."""

    sizes = (6, 12)

    def __init__(self, input_size, hidden_size, channels=2):
        super().__init__(input_size, hidden_size)
        self.channels = channels
        self.conv = nn.Conv1d(1 + channels, 4 * channels, 3, padding="same")

    def step(self, x, h, c):
        maps = h.view(len(h), self.channels, -1)
        gates = self.conv(torch.cat([x.unsqueeze(1), maps], dim=1))
        i, f, o, g = gates.chunk(4, dim=1)
        c = f.sigmoid() * c.view_as(maps) + i.sigmoid() * g.tanh()
        return (o.sigmoid() * c.tanh()).flatten(1), c.flatten(1)


class ConvGRU(Cell):
    """Neural GPU: gated convolutions of the state (Kaiser & Sutskever 2016, §2.1)."""

    sizes = (8, 8)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.u = nn.Conv1d(2, 1, 3, padding=1)
        self.r = nn.Conv1d(2, 1, 3, padding=1)
        self.new = nn.Conv1d(2, 1, 3, padding=1)

    def step(self, x, s):
        x, s = x[:, None], s[:, None]
        both = torch.cat((x, s), 1)
        u, r = torch.sigmoid(self.u(both)), torch.sigmoid(self.r(both))
        s = u * s + (1 - u) * torch.tanh(self.new(torch.cat((x, r * s), 1)))
        return s[:, 0]


class StateHeads(Cell):
    """Attention of each head of x over the heads of the state (Vaswani et al. 2017, eq. 1)."""

    sizes = (5, 12)

    def __init__(self, input_size, hidden_size, width=4):
        super().__init__(input_size, hidden_size)
        self.width = width
        self.q = nn.Linear(input_size, hidden_size)
        self.kv = nn.Linear(hidden_size, 2 * hidden_size)

    def step(self, x, h):
        q = self.q(x).view(len(x), -1, self.width)
        k, v = (part.view_as(q) for part in self.kv(h).chunk(2, -1))
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(self.width), dim=-1)
        return torch.tanh((weights @ v).flatten(1)) * 0.5 + 0.5 * h


class RelationalMemory(Cell):
    """Slots that attend to each other and to x, then a gate each (Santoro et al. 2018, §3.3)."""

    sizes = (5, 12)

    def __init__(self, input_size, hidden_size, slots=3):
        super().__init__(input_size, hidden_size)
        width = hidden_size // slots
        self.slots, self.width = slots, width
        self.project = nn.Linear(input_size, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Linear(width, width)
        self.gates = nn.Linear(2 * width, 2 * width)

    def step(self, x, m):
        m = m.view(-1, self.slots, self.width)
        x = self.project(x).unsqueeze(1)
        q, k, v = self.qkv(torch.cat([m, x], dim=1)).chunk(3, dim=-1)
        new = F.scaled_dot_product_attention(q[:, : self.slots], k, v)
        new = self.norm(m + new)
        new = self.norm(new + F.relu(self.mlp(new)))
        i, f = self.gates(torch.cat([x.expand_as(m), m.tanh()], -1)).sigmoid().chunk(2, -1)
        return (i * new.tanh() + f * m).flatten(1)


class RIMs(Cell):
    """Independent mechanisms; only those that attend most to x move (Goyal et al. 2021, §2)."""

    sizes = (5, 12)

    def __init__(self, input_size, hidden_size, units=4, active=2):
        super().__init__(input_size, hidden_size)
        self.units, self.active, width = units, active, hidden_size // units
        self.query = nn.Parameter(torch.randn(units, width, 3))
        self.key = nn.Linear(input_size, 3)
        self.W = nn.Parameter(torch.randn(units, input_size, width))
        self.U = nn.Parameter(torch.randn(units, width, width))

    def step(self, x, h):
        h = h.view(len(h), self.units, -1)
        scores = torch.einsum("bud,udk,bk->bu", h, self.query, self.key(x))
        top = scores.topk(self.active, dim=1).indices
        mask = torch.zeros_like(scores).scatter(1, top, scores.gather(1, top).sigmoid())
        mask = mask.unsqueeze(2)
        new = torch.einsum("bi,uid->bud", x, self.W) + torch.einsum("bud,ude->bue", h, self.U)
        return (mask * torch.tanh(new) + (1 - mask) * h).flatten(1)


class QuaternionRNN(Cell):
    """The Hamilton product as the recurrence (Parcollet et al. 2019, eq. 10 and 12)."""

    sizes = (5, 8)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        n = hidden_size // 4
        self.r, self.i, self.j, self.k = (nn.Parameter(torch.randn(n, n)) for _ in range(4))
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        r, i, j, k = self.r, self.i, self.j, self.k
        hamilton = torch.cat(
            [
                torch.cat([r, -i, -j, -k], dim=1),
                torch.cat([i, r, -k, j], dim=1),
                torch.cat([j, k, r, -i], dim=1),
                torch.cat([k, -j, i, r], dim=1),
            ]
        )
        return torch.tanh(F.linear(h, hamilton) + self.W(x))
