"""Plain and gated recurrent networks."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class Elman(Cell):
    """Simple recurrent network (Elman 1990, "Finding structure in time", fig. 2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x, h):
        return torch.sigmoid(self.W(x) + self.U(h))


class Jordan(Cell):
    """The output comes back, and so does its own trace (Jordan 1986, "Serial order", §3)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.hidden = nn.Linear(input_size + hidden_size, 2 * hidden_size)
        self.out = nn.Linear(2 * hidden_size, hidden_size)

    def step(self, x, y, plan):
        plan = 0.5 * plan + y
        y = torch.tanh(self.out(torch.sigmoid(self.hidden(torch.cat((x, plan), dim=1)))))
        return y, plan


class IRNN(Cell):
    """Rectified units that begin as the identity (Le, Jaitly & Hinton 2015, §2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Parameter(torch.eye(hidden_size))

    def step(self, x, h):
        return F.relu(self.W(x) + h @ self.U.T)


class SCRN(Cell):
    """Slow context units beside the fast ones (Mikolov et al. 2015, eq. 3 to 5)."""

    def __init__(self, input_size, hidden_size, context=3, alpha=0.95):
        super().__init__(input_size, hidden_size)
        self.context = context
        self.alpha = alpha
        self.A = nn.Linear(input_size, hidden_size)
        self.B = nn.Linear(input_size, context, bias=False)
        self.P = nn.Linear(context, hidden_size, bias=False)
        self.R = nn.Linear(hidden_size, hidden_size, bias=False)

    @property
    def state_sizes(self):
        return self.hidden_size, self.context

    def step(self, x, h, s):
        s = (1 - self.alpha) * self.B(x) + self.alpha * s
        h = torch.sigmoid(self.P(s) + self.A(x) + self.R(h))
        return h, s


class DeepTransition(Cell):
    """DT-RNN: a deep network from state to state (Pascanu et al. 2014, §3.3.1, eq. 9)."""

    def __init__(self, input_size, hidden_size, depth=4):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.layers = nn.ModuleList(nn.Linear(hidden_size, hidden_size) for _ in range(depth))
        self.skip = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x, h):
        u = h
        for layer in self.layers:
            u = torch.tanh(layer(u) + self.W(x))
        return torch.tanh(u + self.skip(h))


class Clockwork(Cell):
    """Groups of units that read only slower groups (Koutník et al. 2014, §3, eq. 1).

    The clock is a state that counts steps; groups whose period does not divide it hold still.
    """

    def __init__(self, input_size, hidden_size, periods=(1, 2, 4)):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        group = torch.arange(hidden_size) * len(periods) // hidden_size
        self.register_buffer("mask", (group[None] >= group[:, None]).float())
        self.register_buffer("period", torch.tensor(periods)[group].float())

    @property
    def state_sizes(self):
        return self.hidden_size, 1

    def step(self, x, h, t):
        new = torch.tanh(self.W(x) + F.linear(h, self.U.weight * self.mask))
        active = torch.remainder(torch.round(t), self.period) == 0
        return torch.where(active, new, h), t + 1


class MGU(Cell):
    """Minimal gated unit (Zhou et al. 2016, eq. 8)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.forget = nn.Linear(input_size + hidden_size, hidden_size)
        self.candidate = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        f = torch.sigmoid(self.forget(torch.cat([h, x], -1)))
        new = torch.tanh(self.candidate(torch.cat([f * h, x], -1)))
        return (1 - f) * h + f * new


class JANET(Cell):
    """Just another network: only the forget gate (van der Westhuizen & Lasenby 2018, eq. 6)."""

    def __init__(self, input_size, hidden_size, beta=1.0):
        super().__init__(input_size, hidden_size)
        self.beta = beta
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size, bias=False)

    def step(self, x, h):
        s, c = (self.W(x) + self.U(h)).chunk(2, -1)
        return torch.sigmoid(s) * h + (1 - torch.sigmoid(s - self.beta)) * torch.tanh(c)


class MinimalRNN(Cell):
    """The state only gates what an encoder made of x (Chen 2017, "MinimalRNN", eq. 3 and 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.encoder = nn.Sequential(
            nn.Linear(input_size, 11), nn.Tanh(), nn.Linear(11, hidden_size), nn.Tanh()
        )
        self.U_h = nn.Linear(hidden_size, hidden_size, bias=False)
        self.U_z = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        z = self.encoder(x)
        u = torch.sigmoid(self.U_h(h) + self.U_z(z))
        return u * h + (1 - u) * z


class LiGRU(Cell):
    """Light GRU: no reset gate, rectified, layer-normalised inputs (Ravanelli et al. 2018, §3)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.norm = nn.LayerNorm(2 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size, bias=False)

    def step(self, x, h):
        a, z = (self.norm(self.W(x)) + self.U(h)).split(self.hidden_size, dim=1)
        z = z.sigmoid()
        return z * h + (1 - z) * F.relu(a)


class UGRNN(Cell):
    """Update gate network (Collins, Sohl-Dickstein & Sussillo 2017, eq. 12 to 14)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, 2 * hidden_size)

    def step(self, x, h):
        c, g = self.linear(torch.cat([x, h], 1)).chunk(2, 1)
        g = torch.sigmoid(g + 1)
        return g * h + (1 - g) * torch.tanh(c)


class IntersectionRNN(Cell):
    """+RNN: gates in depth and in time (Collins, Sohl-Dickstein & Sussillo 2017, eq. 15 to 20)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.into = nn.Linear(input_size, hidden_size)
        self.linear = nn.Linear(2 * hidden_size, 4 * hidden_size)

    def step(self, x, y, h):
        x = self.into(x)
        a, b, g, f = self.linear(torch.cat([x, h], 1)).chunk(4, 1)
        g, f = torch.sigmoid(g), torch.sigmoid(f)
        return g * x + (1 - g) * F.relu(a), f * h + (1 - f) * torch.tanh(b)


class MUT1(Cell):
    """The best cell an evolution found (Jozefowicz, Zaremba & Sutskever 2015, §4, MUT1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.z = nn.Linear(input_size, hidden_size)
        self.r = nn.Linear(input_size + hidden_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        z = torch.sigmoid(self.z(x))
        r = torch.sigmoid(self.r(torch.cat((x, h), -1)))
        return torch.tanh(self.U(r * h) + torch.tanh(self.W(x))) * z + h * (1 - z)


class STAR(Cell):
    """Stackable recurrent cell (Turkoglu et al. 2021, §4, eq. 9)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.z = nn.Linear(input_size, hidden_size)
        self.k = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        k = self.k(torch.cat([x, h], -1)).sigmoid()
        return torch.tanh((1 - k) * h + k * torch.tanh(self.z(x)))


class BRC(Cell):
    """Bistable recurrent cell (Vecoven, Ernst & Drion 2021, eq. 4 to 6)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.w_a = nn.Parameter(torch.ones(hidden_size))
        self.w_c = nn.Parameter(torch.ones(hidden_size))

    def step(self, x, h):
        u_a, u_c, u = self.W(x).chunk(3, dim=-1)
        a = 1 + torch.tanh(u_a + self.w_a * h)
        c = torch.sigmoid(u_c + self.w_c * h)
        return c * h + (1 - c) * torch.tanh(u + a * h)


class NBRC(Cell):
    """Recurrently neuromodulated bistable cell (Vecoven, Ernst & Drion 2021, eq. 7)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size, bias=False)

    def step(self, x, h):
        u_a, u_c, u = self.W(x).chunk(3, dim=-1)
        v_a, v_c = self.U(h).chunk(2, dim=-1)
        c = torch.sigmoid(u_c + v_c)
        return c * h + (1 - c) * torch.tanh(u + (1 + torch.tanh(u_a + v_a)) * h)


class FastGRNN(Cell):
    """Gates that share low-rank matrices, with two scalars (Kusupati et al. 2018, eq. 3 and 4)."""

    def __init__(self, input_size, hidden_size, rank=2):
        super().__init__(input_size, hidden_size)
        self.W1 = nn.Parameter(torch.randn(input_size, rank))
        self.W2 = nn.Parameter(torch.randn(hidden_size, rank))
        self.U1 = nn.Parameter(torch.randn(hidden_size, rank))
        self.U2 = nn.Parameter(torch.randn(hidden_size, rank))
        self.b_z = nn.Parameter(torch.ones(hidden_size))
        self.b_h = nn.Parameter(torch.ones(hidden_size))
        self.zeta = nn.Parameter(torch.tensor(1.0))
        self.nu = nn.Parameter(torch.tensor(-4.0))

    def step(self, x, h):
        pre = x @ self.W1 @ self.W2.t() + h @ self.U1 @ self.U2.t()
        z = torch.sigmoid(pre + self.b_z)
        new = torch.tanh(pre + self.b_h)
        return (torch.sigmoid(self.zeta) * (1 - z) + torch.sigmoid(self.nu)) * new + z * h


class RHN(Cell):
    """Recurrent highway network, five layers deep (Zilly et al. 2017, eq. 6 to 8)."""

    def __init__(self, input_size, hidden_size, depth=5):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.R = nn.ModuleList(nn.Linear(hidden_size, 2 * hidden_size) for _ in range(depth))

    def step(self, x, s):
        for i, R in enumerate(self.R):
            u = R(s) + self.W(x) if i == 0 else R(s)
            h, t = u.chunk(2, 1)
            t = torch.sigmoid(t)
            s = torch.tanh(h) * t + s * (1 - t)
        return s


class ShallowRHN(RHN):
    """Recurrent highway network one layer deep, its carry gate its own (Zilly et al. 2017, §4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size, depth=1)
        self.C = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, s):
        h, t = (self.W(x) + self.R[0](s)).chunk(2, 1)
        c = torch.sigmoid(self.C(torch.cat([x, s], 1)))
        return h.tanh() * t.sigmoid() + s * c


class FastSlowRNN(Cell):
    """Two fast cells with a slow one between them (Mujika, Meier & Steger 2017, eq. 1 to 5)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.first = nn.GRUCell(input_size, hidden_size)
        self.slow = nn.GRUCell(hidden_size, 4)
        self.second = nn.GRUCell(4, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, 4

    def step(self, x, fast, slow):
        fast = self.first(x, fast)
        slow = self.slow(fast, slow)
        return self.second(slow, fast), slow


class SkipRNN(Cell):
    """Skips updates; a rounded probability, straight through (Campos et al. 2018, eq. 2 to 6)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.rnn = nn.Linear(input_size + hidden_size, hidden_size)
        self.p = nn.Linear(hidden_size, 1)

    @property
    def state_sizes(self):
        return self.hidden_size, 1

    def step(self, x, s, u):
        update = u + (torch.round(u) - u).detach()
        s = update * torch.tanh(self.rnn(torch.cat([x, s], 1))) + (1 - update) * s
        du = torch.sigmoid(self.p(s))
        u = update * du + (1 - update) * (u + torch.minimum(du, 1 - u))
        return s, u


class Zoneout(Cell):
    """GRU whose units keep their state, the mean at test time (Krueger et al. 2017, §3.1)."""

    def __init__(self, input_size, hidden_size, rate=0.15):
        super().__init__(input_size, hidden_size)
        self.rate = rate
        self.gru = nn.GRUCell(input_size, hidden_size)

    def step(self, x, h):
        return torch.lerp(self.gru(x, h), h, self.rate)


class IndRNN(Cell):
    """Independent units, recurrent weights clamped (Li et al. 2018, eq. 2 and §3.2)."""

    def __init__(self, input_size, hidden_size, steps=5):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.u = nn.Parameter(torch.rand(hidden_size))
        self.bound = math.pow(2, 1 / steps)

    def step(self, x, h):
        return F.relu(self.W(x) + self.u.clamp(-self.bound, self.bound) * h)


class MogrifierGRU(Cell):
    """x and h gate each other in turn (Melis, Kočiský & Blunsom 2020, eq. 1 and 2)."""

    def __init__(self, input_size, hidden_size, rounds=5):
        super().__init__(input_size, hidden_size)
        self.gru = nn.GRUCell(input_size, hidden_size)
        self.rounds = nn.ModuleList(
            nn.Linear(hidden_size, input_size) if i % 2 == 0 else nn.Linear(input_size, hidden_size)
            for i in range(rounds)
        )

    def step(self, x, h):
        for i, gate in enumerate(self.rounds):
            if i % 2 == 0:
                x = 2 * torch.sigmoid(gate(h)) * x
            else:
                h = 2 * torch.sigmoid(gate(x)) * h
        return self.gru(x, h)


class ChaosFree(Cell):
    """A network without chaos (Laurent & von Brecht 2017, eq. 6 to 8)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.gates = nn.Linear(hidden_size + input_size, 2 * hidden_size)

    def step(self, x, h):
        theta, eta = self.gates(torch.cat([h, x], 1)).sigmoid().chunk(2, 1)
        return theta * h.tanh() + eta * self.W(x).tanh()


class NRU(Cell):
    """Non-saturating unit with a memory it writes and erases (Chandar et al. 2019, §3.1)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, memory=8, k=2):
        super().__init__(input_size, hidden_size)
        self.memory, self.k, root = memory, k, int(math.sqrt(memory * k))
        self.hidden = nn.Linear(input_size + hidden_size + memory, hidden_size)
        both = hidden_size + memory
        self.alpha, self.beta = nn.Linear(both, k), nn.Linear(both, k)
        self.write, self.erase = nn.Linear(both, 2 * root), nn.Linear(both, 2 * root)
        self.root = root

    @property
    def state_sizes(self):
        return self.hidden_size, self.memory

    def direction(self, linear, hm):
        p, q = F.relu(linear(hm)).split(self.root, -1)
        v = torch.einsum("bi,bj->bij", p, q).reshape(len(hm), self.k, self.memory)
        return v / (v.norm(p=5, dim=-1, keepdim=True) + 1e-3)

    def step(self, x, h, m):
        h = F.relu(self.hidden(torch.cat([x, h, m], -1)))
        hm = torch.cat([h, m], -1)
        alpha, beta = F.relu(self.alpha(hm)), F.relu(self.beta(hm))
        write, erase = self.direction(self.write, hm), self.direction(self.erase, hm)
        m = m + (alpha.unsqueeze(2) * write).sum(1) - (beta.unsqueeze(2) * erase).sum(1)
        return h, m / self.memory
