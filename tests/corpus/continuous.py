"""Continuous time: ordinary differential equations solved within a step."""

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class LeakyESN(Cell):
    """A fixed reservoir with leaky units (Jaeger et al. 2007, eq. 2)."""

    def __init__(self, input_size, hidden_size, leak=0.3, radius=0.9):
        super().__init__(input_size, hidden_size)
        reservoir = torch.randn(hidden_size, hidden_size)
        reservoir *= radius / torch.linalg.eigvals(reservoir).abs().max()
        self.register_buffer("reservoir", reservoir)
        self.register_buffer("into", torch.rand(hidden_size, input_size) - 0.5)
        self.leak = leak
        self.readout = nn.Linear(hidden_size, hidden_size)

    def step(self, x, y, s):
        new = torch.tanh(F.linear(x, self.into) + F.linear(s, self.reservoir))
        s = (1 - self.leak) * s + self.leak * new
        return self.readout(s), s


class PlainESN(Cell):
    """A reservoir with nothing to learn, noise of the weights fixed (Jaeger 2001, eq. 1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.register_buffer("W", 0.3 * torch.randn(hidden_size, hidden_size))
        self.register_buffer("W_in", torch.randn(input_size, hidden_size))

    def step(self, x, h):
        return torch.tanh(x @ self.W_in.to(x.dtype) + h @ self.W.to(x.dtype))


class CTRNN(Cell):
    """Euler steps (Funahashi & Nakamura 1993, eq. 1; Yang et al. 2019, eq. 1)."""

    def __init__(self, input_size, hidden_size, dt=20.0):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.log_tau = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, r):
        alpha = self.dt / (100 * self.log_tau.exp()).clamp(min=self.dt)
        return r * (1 - alpha) + alpha * F.softplus(self.W(x) + self.U(r))


class LTC(Cell):
    """Liquid time constants, six fused solver steps (Hasani et al. 2021, eq. 3, algorithm 1)."""

    def __init__(self, input_size, hidden_size, unfolds=6):
        super().__init__(input_size, hidden_size)
        self.unfolds = unfolds
        self.f = nn.Linear(input_size + hidden_size, hidden_size)
        self.A = nn.Parameter(torch.ones(hidden_size))
        self.log_tau = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        dt = 1 / self.unfolds
        for _ in range(self.unfolds):
            f = torch.sigmoid(self.f(torch.cat([x, h], 1)))
            h = (h + dt * f * self.A) / (1 + dt * (torch.exp(-self.log_tau) + f))
        return h


class SynapticLTC(Cell):
    """A sigmoid for the synapse of each pair (Lechner et al. 2020, eq. 1 to 3)."""

    def __init__(self, input_size, hidden_size, unfolds=2):
        super().__init__(input_size, hidden_size)
        n = hidden_size
        self.unfolds = unfolds
        self.W = nn.Linear(input_size, n)
        self.mu, self.sigma, self.w, self.E = (nn.Parameter(torch.randn(n, n)) for _ in range(4))
        self.leak = nn.Parameter(torch.rand(n))

    def step(self, x, v):
        for _ in range(self.unfolds):
            gate = torch.sigmoid(self.sigma * (v.unsqueeze(-1) - self.mu)) * F.softplus(self.w)
            gain = F.softplus(self.leak)
            v = (v + 0.5 * ((gate * self.E).sum(1) + self.W(x))) / (1 + 0.5 * (gain + gate.sum(1)))
        return v


class CfC(Cell):
    """A closed form of LTC; the last feature of x is time (Hasani et al. 2022, eq. 10)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.backbone = nn.Sequential(
            nn.Linear(input_size - 1 + hidden_size, 9), nn.SiLU(), nn.Linear(9, 9), nn.SiLU()
        )
        self.ff1, self.ff2 = nn.Linear(9, hidden_size), nn.Linear(9, hidden_size)
        self.time_a, self.time_b = nn.Linear(9, hidden_size), nn.Linear(9, hidden_size)

    def step(self, x, h):
        x, t = x[:, :-1], x[:, -1:]
        u = self.backbone(torch.cat([x, h], dim=1))
        gate = torch.sigmoid(self.time_a(u) * t + self.time_b(u))
        return torch.tanh(self.ff1(u)) * (1 - gate) + gate * torch.tanh(self.ff2(u))


class ODERNN(Cell):
    """A field integrated by RK4 between observations, then a GRU (Rubanova et al. 2019, alg. 1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.field = nn.Sequential(nn.Linear(hidden_size, 8), nn.Tanh(), nn.Linear(8, hidden_size))
        self.gru = nn.GRUCell(input_size, hidden_size)

    def step(self, x, h):
        dt = F.softplus(x[:, :1])
        k1 = self.field(h)
        k2 = self.field(h + dt * k1 / 2)
        k3 = self.field(h + dt * k2 / 2)
        k4 = self.field(h + dt * k3)
        return self.gru(x, h + dt * (k1 + 2 * k2 + 2 * k3 + k4) / 6)


class ODELSTM(Cell):
    """The output of an LSTM moves on in continuous time (Lechner & Hasani 2020, algorithm 1)."""

    def __init__(self, input_size, hidden_size, unfolds=4):
        super().__init__(input_size, hidden_size)
        self.unfolds = unfolds
        self.lstm = nn.LSTMCell(input_size, hidden_size)
        self.f = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.Tanh())

    def step(self, x, h, c):
        h, c = self.lstm(x, (h, c))
        for _ in range(self.unfolds):
            h = h + self.f(h) / self.unfolds
        return h, c


class GRUODE(Cell):
    """The GRU as a differential equation, midpoint steps (De Brouwer et al. 2019, eq. 4)."""

    def __init__(self, input_size, hidden_size, dt=0.2, steps=2):
        super().__init__(input_size, hidden_size)
        self.dt, self.steps = dt, steps
        self.gates = nn.Linear(input_size + hidden_size, 2 * hidden_size)
        self.new = nn.Linear(input_size + hidden_size, hidden_size)

    def derivative(self, x, h):
        r, z = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        return (1 - z) * (torch.tanh(self.new(torch.cat([x, r * h], 1))) - h)

    def step(self, x, h):
        for _ in range(self.steps):
            middle = h + self.dt / 2 * self.derivative(x, h)
            h = h + self.dt * self.derivative(x, middle)
        return h


class GRUD(Cell):
    """Decay of inputs and state with the time since the last value (Che et al. 2018, eq. 3 to 10).

    A third of x each: values, masks, time since.
    """

    sizes = (6, 7)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        n = input_size // 3
        self.n = n
        self.gamma_x = nn.Parameter(torch.rand(n))
        self.gamma_h = nn.Linear(n, hidden_size)
        self.gru = nn.GRUCell(2 * n, hidden_size)
        self.register_buffer("mean", torch.randn(n))

    @property
    def state_sizes(self):
        return self.hidden_size, self.n

    def step(self, x, h, last):
        value, mask, delta = x.split(self.n, dim=1)
        mask = (mask > 0).to(x.dtype)
        decay = torch.exp(-F.relu(self.gamma_x * delta))
        last = mask * value + (1 - mask) * last
        value = mask * value + (1 - mask) * (decay * last + (1 - decay) * self.mean)
        h = h * torch.exp(-F.relu(self.gamma_h(delta)))
        return self.gru(torch.cat([value, mask], 1), h), last


class TimeAwareLSTM(Cell):
    """T-LSTM: short-term memory is discounted by elapsed time (Baytas et al. 2017, eq. 3)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.decompose = nn.Linear(hidden_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, 4 * hidden_size)

    def step(self, x, h, c):
        elapsed = x[:, 0:1].abs()
        short = torch.tanh(self.decompose(c))
        c = c - short + short / torch.log(torch.e + elapsed)
        i, f, g, o = self.linear(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class CTLSTM(Cell):
    """Neural Hawkes: the cell decays towards a target (Mei & Eisner 2017, eq. 5 to 7)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, 7 * hidden_size)

    def step(self, x, h, c, target):
        i, f, o, z, i2, f2, delta = self.linear(torch.cat([x, h], dim=1)).chunk(7, 1)
        z = 2 * torch.sigmoid(z) - 1
        start = f.sigmoid() * c + i.sigmoid() * z
        target = f2.sigmoid() * target + i2.sigmoid() * z
        c = target + (start - target) * torch.exp(-F.softplus(delta) * x[:, :1].abs())
        return o.sigmoid() * (2 * torch.sigmoid(2 * c) - 1), c, target


class NeuralCDE(Cell):
    """A field of matrices multiplied by the increment of x (Kidger et al. 2020, eq. 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.f = nn.Linear(hidden_size, hidden_size * input_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.input_size

    def step(self, x, z, before):
        field = torch.tanh(self.f(z)).view(-1, self.hidden_size, self.input_size)
        return z + (field @ (x - before).unsqueeze(-1)).squeeze(-1), x.clone()


class DEQ(Cell):
    """Towards the fixed point by ten damped iterations (Bai, Kolter & Koltun 2019, eq. 5)."""

    def __init__(self, input_size, hidden_size, iterations=10):
        super().__init__(input_size, hidden_size)
        self.iterations = iterations
        self.U = nn.Linear(hidden_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        u, z = self.W(x) + h, torch.zeros_like(h)
        for _ in range(self.iterations):
            z = 0.5 * z + 0.5 * torch.tanh(self.U(z) + u)
        return z


class ReactionDiffusion(Cell):
    """Excitable units on a ring, six Euler steps (FitzHugh 1961, eq. 1; Nagumo 1962)."""

    def __init__(self, input_size, hidden_size, dt=0.05, steps=6):
        super().__init__(input_size, hidden_size)
        self.dt, self.steps = dt, steps
        self.W = nn.Linear(input_size, hidden_size)
        self.diffusion = nn.Parameter(torch.tensor(0.2))

    def step(self, x, v, w):
        current = self.W(x)
        for _ in range(self.steps):
            neighbours = torch.roll(v, 1, -1) + torch.roll(v, -1, -1) - 2 * v
            dv = v - v.pow(3) / 3 - w + current + self.diffusion * neighbours
            dw = 0.08 * (v + 0.7 - 0.8 * w)
            v, w = v + self.dt * dv, w + self.dt * dw
        return v, w
