"""Spiking neurons, with surrogate gradients, and other cells that round or switch."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class FastSigmoid(torch.autograd.Function):
    """A spike where v > 0, the gradient of a fast sigmoid (Zenke & Ganguli 2018, eq. 5)."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, d_spike):
        (v,) = ctx.saved_tensors
        return d_spike / (10 * v.abs() + 1) ** 2


class Triangle(torch.autograd.Function):
    """A spike with a triangle for its derivative (Bellec et al. 2018, §2, eq. 2)."""

    @staticmethod
    def forward(ctx, v, gamma):
        ctx.save_for_backward(v)
        ctx.gamma = gamma
        return torch.heaviside(v, torch.zeros_like(v))

    @staticmethod
    def backward(ctx, d_spike):
        (v,) = ctx.saved_tensors
        return ctx.gamma * torch.clamp(1 - v.abs(), min=0) * d_spike, None


class LIF(Cell):
    """Leaky integrate and fire, soft reset (Neftci, Mostafa & Zenke 2019, eq. 4 and 5)."""

    def __init__(self, input_size, hidden_size, alpha=0.8, beta=0.9):
        super().__init__(input_size, hidden_size)
        self.alpha, self.beta = alpha, beta
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x, spike, current, v):
        current = self.alpha * current + self.W(x) + self.U(spike)
        v = self.beta * v + current - spike
        return FastSigmoid.apply(v - 1), current, v


class HardResetLIF(Cell):
    """The membrane set to zero by a spike, the reset detached (Eshraghian et al. 2023, eq. 5)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.beta = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, spike, v):
        v = self.beta.sigmoid() * v * (1 - spike.detach()) + self.W(x)
        return FastSigmoid.apply(v - 0.5), v


class ALIF(Cell):
    """LSNN: thresholds that rise with each spike (Bellec et al. 2018, eq. 1 and 2)."""

    def __init__(self, input_size, hidden_size, tau_m=20.0, tau_a=200.0, beta=1.7):
        super().__init__(input_size, hidden_size)
        self.alpha, self.rho, self.beta = math.exp(-1 / tau_m), math.exp(-1 / tau_a), beta
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.register_buffer("others", 1 - torch.eye(hidden_size))

    def step(self, x, z, v, b):
        b = self.rho * b + (1 - self.rho) * z
        threshold = 0.6 + self.beta * b
        into = self.W(x) + F.linear(z, self.U.weight * self.others)
        v = self.alpha * v + (1 - self.alpha) * into * 20 - z * threshold
        return Triangle.apply((v - threshold) / threshold, 0.3), v, b


class StraightThroughLIF(Cell):
    """The surrogate by detaching: a step forward, a sigmoid back (Bengio et al. 2013, §4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, spike, v):
        v = 0.9 * v + self.W(torch.cat([x, spike], 1)) - spike
        soft = torch.sigmoid(4 * (v - 1))
        hard = (v > 1).to(v)
        return hard + soft - soft.detach(), v


class Izhikevich(Cell):
    """Two variables and a quadratic, reset by torch.where (Izhikevich 2003, eq. 1 to 3)."""

    def __init__(self, input_size, hidden_size, dt=0.5):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, v, u):
        current = 10 + 3 * self.W(x)
        w = 65 * v - 65
        for _ in range(2):
            w = w + self.dt * (0.04 * w.square() + 5 * w + 140 - 20 * u + current)
        u = u + 2 * self.dt * 0.02 * (0.2 * w / 20 - u)
        fired = w >= 30
        w = torch.where(fired, -65.0, w)
        return (w + 65) / 65, torch.where(fired, u + 0.4, u)


class SpikingGRU(Cell):
    """SpikGRU: gates around a spiking membrane (Dampfhoffer et al. 2022, eq. 5 to 8)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.current = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, s, i, v):
        u = torch.cat([x, s], -1)
        z = self.gate(u).sigmoid()
        i = 0.9 * i + self.current(u)
        v = z * v + (1 - z) * i - s
        return FastSigmoid.apply(v - 0.3), i, v


class BinarisedRNN(Cell):
    """Weights of −1 and 1 with a scale, straight through (Rastegari et al. 2016, eq. 6)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Parameter(torch.randn(hidden_size, hidden_size))

    def step(self, x, h):
        scale = self.U.abs().mean(dim=1, keepdim=True)
        binary = torch.where(self.U >= 0, 1.0, -1.0)
        U = scale * (binary + self.U.clamp(-1, 1) - self.U.clamp(-1, 1).detach())
        return torch.tanh(self.W(x) + F.linear(h, U))


class QuantisedState(Cell):
    """States rounded to a grid, straight through (Hubara et al. 2018, §4.2)."""

    def __init__(self, input_size, hidden_size, levels=8):
        super().__init__(input_size, hidden_size)
        self.levels = levels
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        h = torch.tanh(self.linear(torch.cat([x, h], 1)))
        return h + ((h * self.levels).round() / self.levels - h).detach()


class HMLSTM(Cell):
    """Updates, copies or flushes at a boundary (Chung, Ahn & Bengio 2017, eq. 2 to 8)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, 4 * hidden_size + 1)

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size, 1

    def step(self, x, h, c, z):
        below = (x[:, :1] > 0).to(x)
        n = self.hidden_size
        f, i, o, g, edge = self.linear(torch.cat([x, h], 1)).split([n, n, n, n, 1], dim=1)
        new = i.sigmoid() * g.tanh()
        updated = f.sigmoid() * c + new
        c = z * new + (1 - z) * (below * updated + (1 - below) * c)
        h = torch.where((below + z) > 0, o.sigmoid() * c.tanh(), h)
        soft = ((edge + 1) / 2).clamp(0, 1)
        return h, c, soft + (soft.round() - soft).detach()
