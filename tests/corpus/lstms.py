"""Long short-term memory and what was made of it."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class PeepholeLSTM(Cell):
    """Gates that see the cell (Gers & Schmidhuber 2000; as in Graves 2013, eq. 7 to 11)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size + hidden_size, 4 * hidden_size)
        self.w_ci = nn.Parameter(torch.zeros(hidden_size))
        self.w_cf = nn.Parameter(torch.zeros(hidden_size))
        self.w_co = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h, c):
        i, f, g, o = self.W(torch.cat([x, h], 1)).chunk(4, 1)
        i = torch.sigmoid(i + self.w_ci * c)
        f = torch.sigmoid(f + self.w_cf * c)
        c = f * c + i * torch.tanh(g)
        o = torch.sigmoid(o + self.w_co * c)
        return o * torch.tanh(c), c


class CIFG(Cell):
    """Coupled input and forget gate (Greff et al. 2017, §III and appendix)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.gates = nn.ModuleDict(
            {n: nn.Linear(input_size + hidden_size, hidden_size) for n in ("f", "g", "o")}
        )

    def step(self, x, h, c):
        u = {name: gate(torch.cat([x, h], 1)) for name, gate in self.gates.items()}
        f = u["f"].sigmoid()
        c = f * c + (1 - f) * u["g"].tanh()
        return u["o"].sigmoid() * c.tanh(), c


class LSTMP(Cell):
    """A recurrent projection layer (Sak, Senior & Beaufays 2014, eq. 7 to 13)."""

    def __init__(self, input_size, hidden_size, projection=3):
        super().__init__(input_size, hidden_size)
        self.projection = projection
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(projection, 4 * hidden_size, bias=False)
        self.P = nn.Linear(hidden_size, projection, bias=False)

    @property
    def state_sizes(self):
        return self.projection, self.hidden_size

    def step(self, x, r, c):
        i, f, g, o = (self.W(x) + self.U(r)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return self.P(torch.sigmoid(o) * torch.tanh(c)), c


class ProjectedAsRead(Cell):
    """The wide output is the state, projected as it is read (Sak et al. 2014, eq. 12)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.P = nn.Linear(hidden_size, 3)
        self.gates = nn.Linear(input_size + 3, 4 * hidden_size)

    def step(self, x, h, c):
        i, f, g, o = self.gates(torch.cat([x, self.P(h)], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class BottleneckLSTM(Cell):
    """All gates read a narrow rectified map of x and h (Liu & Zhu 2018, §3.3, eq. 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.bottleneck = nn.Linear(input_size + hidden_size, 4)
        self.gates = nn.Linear(4, 4 * hidden_size)

    def step(self, x, h, c):
        b = F.relu6(self.bottleneck(torch.cat([x, h], 1)))
        f, i, o, g = self.gates(b).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * F.relu6(g)
        return torch.sigmoid(o) * F.relu6(c), c


class NestedLSTM(Cell):
    """The cell is itself an LSTM (Moniz & Krueger 2017, eq. 6 to 13)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.outer = nn.Linear(input_size + hidden_size, 4 * hidden_size)
        self.inner = nn.LSTMCell(hidden_size, hidden_size)

    def step(self, x, h, c, inner):
        i, f, g, o = self.outer(torch.cat([x, h], 1)).chunk(4, 1)
        c, inner = self.inner(i.sigmoid() * g.tanh(), (f.sigmoid() * c, inner))
        return o.sigmoid() * c.tanh(), c, inner


class PhasedLSTM(Cell):
    """A gate open once a period; time is a feature of x (Neil et al. 2016, eq. 6 to 10)."""

    def __init__(self, input_size, hidden_size, leak=0.001):
        super().__init__(input_size, hidden_size)
        self.leak = leak
        self.lstm = nn.LSTMCell(input_size, hidden_size)
        self.log_tau = nn.Parameter(torch.rand(hidden_size))
        self.shift = nn.Parameter(torch.rand(hidden_size))
        self.r_on = nn.Parameter(torch.full((hidden_size,), 0.05))

    def step(self, x, h, c):
        tau = self.log_tau.exp()
        phase = torch.fmod((x[:, :1] - self.shift).abs(), tau) / tau
        on = self.r_on.abs() + 0.1
        k = torch.where(phase < on, 2 - 2 * phase / on, self.leak * phase)
        k = torch.where(phase < on / 2, 2 * phase / on, k)
        new_h, new_c = self.lstm(x, (h, c))
        return k * new_h + (1 - k) * h, k * new_c + (1 - k) * c


class MultiplicativeLSTM(Cell):
    """Transitions that depend on the input (Krause et al. 2017, eq. 18 to 22)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.Wmx = nn.Linear(input_size, hidden_size, bias=False)
        self.Wmh = nn.Linear(hidden_size, hidden_size, bias=False)
        self.Wx = nn.Linear(input_size, 4 * hidden_size)
        self.Wm = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def step(self, x, h, c):
        m = self.Wmx(x) * self.Wmh(h)
        new, i, f, o = (self.Wx(x) + self.Wm(m)).split(self.hidden_size, -1)
        c = f.sigmoid() * c + i.sigmoid() * new.tanh()
        return torch.tanh(c * o.sigmoid()), c


class ONLSTM(Cell):
    """Ordered neurons: gates that are cumulated softmaxes (Shen et al. 2019, eq. 3 to 12)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, 6 * hidden_size)

    def step(self, x, h, c):
        f, i, o, g, mf, mi = self.linear(torch.cat([x, h], -1)).chunk(6, -1)
        mf = torch.softmax(mf, -1).cumsum(-1)
        mi = 1 - torch.softmax(mi, -1).cumsum(-1)
        both = mf * mi
        f = f.sigmoid() * both + (mf - both)
        i = i.sigmoid() * both + (mi - both)
        c = f * c + i * g.tanh()
        return o.sigmoid() * c.tanh(), c


class HyperLSTM(Cell):
    """A small LSTM scales the weights of a large one (Ha, Dai & Le 2017, §3.2, eq. 10 to 13)."""

    def __init__(self, input_size, hidden_size, hyper=3, embedding=2):
        super().__init__(input_size, hidden_size)
        self.small = nn.LSTMCell(input_size + hidden_size, hyper)
        self.z = nn.Linear(hyper, 8 * embedding)
        self.d = nn.Linear(embedding, hidden_size, bias=False)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.hyper = hyper

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size, self.hyper, self.hyper

    def step(self, x, h, c, small_h, small_c):
        small_h, small_c = self.small(torch.cat([x, h], 1), (small_h, small_c))
        scales = [self.d(z) for z in self.z(small_h).chunk(8, 1)]
        wx, uh = self.W(x).chunk(4, 1), self.U(h).chunk(4, 1)
        i, f, g, o = (
            a * u + b * v for a, u, b, v in zip(scales[:4], wx, scales[4:], uh, strict=True)
        )
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * self.norm(c).tanh(), c, small_h, small_c


class HyperRNN(Cell):
    """A whole matrix made by a network from an embedding (Ha, Dai & Le 2017, §3.1, eq. 2)."""

    def __init__(self, input_size, hidden_size, embedding=3):
        super().__init__(input_size, hidden_size)
        self.z = nn.Parameter(torch.randn(embedding))
        self.make = nn.Linear(embedding, hidden_size * hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        matrix = self.make(self.z).view(self.hidden_size, self.hidden_size)
        return torch.tanh(self.W(x) + h @ matrix)


class SLSTM(Cell):
    """sLSTM: exponential gates, a normaliser and a stabiliser (Beck et al. 2024, eq. 8 to 17)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, heads=2):
        super().__init__(input_size, hidden_size)
        self.heads = heads
        self.W = nn.Linear(input_size, 4 * hidden_size)
        width = hidden_size // heads
        self.R = nn.Parameter(torch.randn(heads, width, 4 * width))

    def step(self, x, h, c, n, m):
        heads = h.view(len(h), self.heads, -1)
        recurrent = torch.einsum("bhd,hde->bhe", heads, self.R)
        recurrent = recurrent.unflatten(-1, (4, -1)).transpose(1, 2).flatten(1)
        i, f, z, o = (self.W(x) + recurrent).chunk(4, -1)
        f = F.logsigmoid(f)
        new_m = torch.maximum(f + m, i)
        i, f = torch.exp(i - new_m), torch.exp(f + m - new_m)
        c = f * c + i * torch.tanh(z)
        n = f * n + i
        return torch.sigmoid(o) * c / n.clamp(min=1e-2), c, n, new_m


class DenseSLSTM(Cell):
    """sLSTM with one head, initial state log-domain (Beck et al. 2024, eq. 8 to 17)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, 4 * hidden_size)

    def step(self, x, h, c, n, m):
        i, f, z, o = self.linear(torch.cat([x, h], -1)).chunk(4, -1)
        logf = -F.softplus(-f)
        stabiliser = torch.max(logf + m, i)
        i, f = torch.exp(i - stabiliser), torch.exp(logf + m - stabiliser)
        c, n = f * c + i * z.tanh(), f * n.abs() + i
        return o.sigmoid() * (c / n), c, n, stabiliser


class MLSTM(Cell):
    """mLSTM: a matrix memory, flattened into the state (Beck et al. 2024, eq. 19 to 27)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.qkv = nn.Linear(input_size, 3 * hidden_size)
        self.gates = nn.Linear(input_size, 2)
        self.out = nn.Linear(input_size, hidden_size)

    @property
    def state_sizes(self):
        d = self.hidden_size
        return d, d * d, d, 1

    def step(self, x, h, C, n, m):
        q, k, v = self.qkv(x).chunk(3, -1)
        k = k / math.sqrt(self.hidden_size)
        i, f = self.gates(x).chunk(2, -1)
        f = F.logsigmoid(f)
        new_m = torch.maximum(f + m, i)
        i, f = torch.exp(i - new_m), torch.exp(f + m - new_m)
        C = f.unsqueeze(-1) * C.view(len(x), q.shape[1], -1) + torch.einsum("bv,bk->bvk", i * v, k)
        n = f * n + i * k
        scale = torch.clamp((n * q).sum(-1, keepdim=True).abs(), min=1.0)
        h = self.out(x).sigmoid() * (torch.einsum("bvk,bk->bv", C, q) / scale)
        return h, C.flatten(1), n, new_m


class AssociativeLSTM(Cell):
    """Complex keys, real and imaginary part as pairs (Danihelka et al. 2016, eq. 10 to 18)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        half = hidden_size // 2
        self.gates = nn.Linear(input_size + hidden_size, 3 * half)
        self.u = nn.Linear(input_size + hidden_size, 3 * hidden_size)

    @staticmethod
    def bound(h):
        a, b = h.chunk(2, 1)
        d = torch.clamp(torch.sqrt(a * a + b * b + 1e-8), min=1.0)
        return torch.cat([a / d, b / d], 1)

    @staticmethod
    def times(a, b):
        (ar, ai), (br, bi) = a.chunk(2, 1), b.chunk(2, 1)
        return torch.cat([ar * br - ai * bi, ar * bi + ai * br], 1)

    def step(self, x, h, c):
        xh = torch.cat([x, h], 1)
        f, i, o = torch.sigmoid(self.gates(xh)).repeat(1, 2).unflatten(1, (2, 3, -1)).unbind(2)
        f, i, o = f.flatten(1), i.flatten(1), o.flatten(1)
        u, key, query = (self.bound(part) for part in self.u(xh).chunk(3, 1))
        c = f * c + self.times(key, i * u)
        return o * self.bound(self.times(query, c)), c


class WeightDroppedLSTM(Cell):
    """One fixed mask over the recurrent weights (Merity, Keskar & Socher 2018, §2)."""

    def __init__(self, input_size, hidden_size, drop=0.3):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Parameter(torch.randn(4 * hidden_size, hidden_size))
        self.register_buffer("mask", (torch.rand_like(self.U) > drop) / (1 - drop))

    def step(self, x, h, c):
        i, f, g, o = torch.chunk(self.W(x) + F.linear(h, self.mask * self.U), 4, dim=1)
        c = torch.addcmul(f.sigmoid() * c, i.sigmoid(), g.tanh())
        return o.sigmoid() * c.tanh(), c


class StackRNN(Cell):
    """Push, pop and stay on a stack, mixed by a softmax (Joulin & Mikolov 2015, eq. 4 to 6)."""

    def __init__(self, input_size, hidden_size, depth=4):
        super().__init__(input_size, hidden_size)
        self.depth = depth
        self.W = nn.Linear(input_size, hidden_size)
        self.R = nn.Linear(hidden_size, hidden_size, bias=False)
        self.P = nn.Linear(depth, hidden_size, bias=False)
        self.action = nn.Linear(hidden_size, 3)
        self.D = nn.Linear(hidden_size, 1)

    @property
    def state_sizes(self):
        return self.hidden_size, self.depth

    def step(self, x, h, stack):
        h = torch.sigmoid(self.W(x) + self.R(h) + self.P(stack))
        push, pop, stay = torch.softmax(self.action(h), dim=-1).split(1, dim=1)
        pushed = torch.cat([torch.sigmoid(self.D(h)), stack[:, :-1]], dim=1)
        popped = F.pad(stack[:, 1:], (0, 1))
        return h, push * pushed + pop * popped + stay * stack
