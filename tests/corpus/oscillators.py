"""Oscillators and other discretised differential equations of second order."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class AntisymmetricRNN(Cell):
    """An antisymmetric matrix with diffusion, Euler steps (Chang et al. 2019, eq. 7)."""

    def __init__(self, input_size, hidden_size, epsilon=0.1, gamma=0.05):
        super().__init__(input_size, hidden_size)
        self.epsilon, self.gamma = epsilon, gamma
        self.W = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.V = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        A = self.W - self.W.T - self.gamma * torch.eye(self.hidden_size).to(self.W)
        return h + self.epsilon * torch.tanh(h @ A.T + self.V(x))


class GatedAntisymmetricRNN(Cell):
    """The same with an input gate that shares its matrix (Chang et al. 2019, eq. 8)."""

    def __init__(self, input_size, hidden_size, epsilon=0.1):
        super().__init__(input_size, hidden_size)
        self.epsilon = epsilon
        self.W = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.register_buffer("eye", torch.eye(hidden_size))
        self.V = nn.Linear(input_size, 2 * hidden_size)

    def step(self, x, h):
        A = torch.triu(self.W, 1)
        u = F.linear(h, A - A.mT - 0.01 * self.eye)
        v, z = self.V(x).chunk(2, dim=-1)
        return torch.add(h, torch.sigmoid(u + z) * torch.tanh(u + v), alpha=self.epsilon)


class CoRNN(Cell):
    """Coupled damped oscillators, implicit-explicit steps (Rusch & Mishra 2021, eq. 3)."""

    def __init__(self, input_size, hidden_size, dt=0.1, gamma=2.7, epsilon=4.7):
        super().__init__(input_size, hidden_size)
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon
        self.linear = nn.Linear(input_size + 2 * hidden_size, hidden_size)

    def step(self, x, y, z):
        drive = torch.tanh(self.linear(torch.cat((x, z, y), 1)))
        z = z + self.dt * (drive - self.gamma * y - self.epsilon * z)
        y = y + self.dt * z
        return y, z


class UnICORNN(Cell):
    """Uncoupled oscillators with a learnt step for each (Rusch & Mishra 2021, ICML, eq. 4)."""

    def __init__(self, input_size, hidden_size, dt=0.2, alpha=0.9):
        super().__init__(input_size, hidden_size)
        self.dt, self.alpha = dt, alpha
        self.V = nn.Linear(input_size, hidden_size)
        self.w = nn.Parameter(torch.rand(hidden_size))
        self.c = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, y, z):
        dt = self.dt * (0.5 + 0.5 * torch.tanh(self.c / 2))
        z = z - dt * (torch.tanh(self.w * y + self.V(x)) + self.alpha * y)
        return y + dt * z, z


class LEM(Cell):
    """Long expressive memory, two time scales (Rusch et al. 2022, eq. 3)."""

    def __init__(self, input_size, hidden_size, dt=0.8):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.inp2hid = nn.Linear(input_size, 4 * hidden_size)
        self.hid2hid = nn.Linear(hidden_size, 3 * hidden_size)
        self.transform_z = nn.Linear(hidden_size, hidden_size)

    def step(self, x, y, z):
        i_dt1, i_dt2, i_z, i_y = self.inp2hid(x).chunk(4, 1)
        h_dt1, h_dt2, h_y = self.hid2hid(y).chunk(3, 1)
        ms_dt_bar = self.dt * torch.sigmoid(i_dt1 + h_dt1)
        ms_dt = self.dt * torch.sigmoid(i_dt2 + h_dt2)
        z = (1 - ms_dt) * z + ms_dt * torch.tanh(i_y + h_y)
        y = (1 - ms_dt_bar) * y + ms_dt_bar * torch.tanh(self.transform_z(z) + i_z)
        return y, z


class Hopf(Cell):
    """Hopf oscillators, three RK4 sub-steps (Righetti, Buchli & Ijspeert 2006, eq. 1)."""

    def __init__(self, input_size, hidden_size, dt=0.05, substeps=3):
        super().__init__(input_size, hidden_size)
        self.dt, self.substeps = dt, substeps
        self.mu = nn.Parameter(torch.ones(hidden_size))
        self.omega = nn.Parameter(torch.rand(hidden_size))
        self.W = nn.Linear(input_size, hidden_size)

    def field(self, u, v, drive):
        r = self.mu - (u * u + v * v)
        return r * u - self.omega * v + drive, r * v + self.omega * u

    def step(self, x, u, v):
        drive, dt = self.W(x), self.dt
        for _ in range(self.substeps):
            a1, b1 = self.field(u, v, drive)
            a2, b2 = self.field(u + dt / 2 * a1, v + dt / 2 * b1, drive)
            a3, b3 = self.field(u + dt / 2 * a2, v + dt / 2 * b2, drive)
            a4, b4 = self.field(u + dt * a3, v + dt * b3, drive)
            u = u + dt / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
            v = v + dt / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
        return u, v


class Kuramoto(Cell):
    """Phases pulled together by their coupling (Kuramoto 1984, §5.4; Miyato et al. 2025, eq. 2)."""

    def __init__(self, input_size, hidden_size, dt=0.1):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.omega = nn.Linear(input_size, hidden_size)
        self.K = nn.Parameter(torch.randn(hidden_size, hidden_size))

    def step(self, x, theta):
        s, c = torch.sin(theta), torch.cos(theta)
        pull = c * (s @ self.K.T) - s * (c @ self.K.T)
        theta = theta + self.dt * (self.omega(x) + pull / self.hidden_size)
        return torch.remainder(theta + math.pi, 2 * math.pi) - math.pi


class KuramotoPairs(Cell):
    """The same with the differences of all pairs written out (Kuramoto 1984, §5.4, eq. 5.4.1)."""

    def __init__(self, input_size, hidden_size, dt=0.1):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.omega = nn.Linear(input_size, hidden_size)
        self.K = nn.Parameter(torch.randn(hidden_size, hidden_size))

    def step(self, x, theta):
        difference = theta[:, None, :] - theta[:, :, None]
        pull = (self.K * torch.sin(difference)).mean(dim=2)
        return theta + self.dt * (self.omega(x) + pull)


class VanDerPol(Cell):
    """Relaxation oscillators by Heun's method (van der Pol 1926, eq. 2)."""

    def __init__(self, input_size, hidden_size, dt=0.05):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.mu = nn.Parameter(torch.ones(hidden_size))
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, u, v):
        def field(u, v):
            return v, F.softplus(self.mu) * (1 - u**2) * v - u + self.W(x)

        du, dv = field(u, v)
        eu, ev = field(u + self.dt * du, v + self.dt * dv)
        return u + 0.5 * self.dt * (du + eu), v + 0.5 * self.dt * (dv + ev)


class HarmonicOscillators(Cell):
    """HORN: driven damped harmonic oscillators (Effenberger et al. 2025, eq. 1)."""

    def __init__(self, input_size, hidden_size, dt=0.1):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.register_buffer("omega2", (0.5 + torch.rand(hidden_size)) ** 2)
        self.register_buffer("gamma", 0.1 + 0.1 * torch.rand(hidden_size))
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, p, v):
        force = torch.tanh((self.W(x) + self.U(v)) / math.sqrt(self.hidden_size))
        v = v + self.dt * (force - 2 * self.gamma * v - self.omega2 * p)
        return p + self.dt * v, v


class LinOSS(Cell):
    """Forced harmonic oscillators, an implicit step (Rusch & Rus 2025, eq. 5 and 6)."""

    def __init__(self, input_size, hidden_size, dt=0.3):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.A = nn.Parameter(torch.rand(hidden_size))
        self.B = nn.Linear(input_size, hidden_size, bias=False)

    def step(self, x, y, z):
        A = F.softplus(self.A)
        S = 1 / (1 + self.dt**2 * A)
        z = S * z - self.dt * A * S * y + self.dt * S * self.B(x)
        return y + self.dt * z, z


class Hamiltonian(Cell):
    """A leapfrog step along the gradient of a learnt energy (Greydanus et al. 2019, eq. 2)."""

    def __init__(self, input_size, hidden_size, dt=0.1):
        super().__init__(input_size, hidden_size)
        self.dt = dt
        self.potential = nn.Sequential(
            nn.Linear(input_size + hidden_size, 6), nn.Tanh(), nn.Linear(6, 1)
        )

    def step(self, x, q, p):
        with torch.enable_grad():
            at = q if q.requires_grad else q.detach().requires_grad_()
            energy = self.potential(torch.cat([x, at], 1)).sum()
            (force,) = torch.autograd.grad(energy, at, create_graph=True)
        p = p - self.dt * force
        return q + self.dt * p, p
