"""Memory that is written and read by content, and states that settle."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class FastWeights(Cell):
    """A decaying sum of outer products, an inner loop over it (Ba et al. 2016, eq. 1 and 2)."""

    def __init__(self, input_size, hidden_size, inner=2, decay=0.95, eta=0.5):
        super().__init__(input_size, hidden_size)
        self.inner, self.decay, self.eta = inner, decay, eta
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size**2

    def step(self, x, h, A):
        n = self.hidden_size
        A = self.decay * A.view(-1, n, n) + self.eta * torch.bmm(h.unsqueeze(2), h.unsqueeze(1))
        slow = self.W(x) + self.U(h)
        h = torch.relu(slow)
        for _ in range(self.inner):
            h = torch.relu(self.norm(slow + torch.bmm(A, h.unsqueeze(2)).squeeze(2)))
        return h, A.view(-1, n * n)


class NTM(Cell):
    """Addressing by content, shift and sharpening (Graves et al. 2014, eq. 3 to 9)."""

    def __init__(self, input_size, hidden_size, slots=4, width=3):
        super().__init__(input_size, hidden_size)
        self.slots, self.width = slots, width
        self.controller = nn.Linear(input_size + hidden_size + width, hidden_size)
        self.head = nn.Linear(hidden_size, 3 * width + 6)

    @property
    def state_sizes(self):
        return self.hidden_size, self.slots * self.width, self.slots

    def step(self, x, h, M, w):
        M = M.view(-1, self.slots, self.width)
        w = torch.softmax(w, dim=-1)
        read = (w.unsqueeze(1) @ M).squeeze(1)
        h = torch.tanh(self.controller(torch.cat([x, h, read], 1)))
        sizes = [self.width] * 3 + [1, 1, 3, 1]
        key, erase, add, beta, g, shift, gamma = self.head(h).split(sizes, dim=1)
        similar = F.cosine_similarity(key.unsqueeze(1), M, dim=-1, eps=1e-6)
        content = torch.softmax(F.softplus(beta) * similar, dim=-1)
        w = torch.sigmoid(g) * content + (1 - torch.sigmoid(g)) * w
        s = torch.softmax(shift, -1)
        w = s[:, :1] * w.roll(-1, 1) + s[:, 1:2] * w + s[:, 2:] * w.roll(1, 1)
        w = w ** (1 + F.softplus(gamma))
        w = w / w.sum(1, keepdim=True)
        M = M * (1 - w.unsqueeze(2) * erase.sigmoid().unsqueeze(1))
        M = M + w.unsqueeze(2) * add.tanh().unsqueeze(1)
        return h, M.flatten(1), torch.log(w + 1e-6)


class SlotWriter(Cell):
    """Keys are parameters, values a state for each slot (Henaff et al. 2017, eq. 2 to 5)."""

    def __init__(self, input_size, hidden_size, slots=3):
        super().__init__(input_size, hidden_size)
        self.keys = nn.Parameter(torch.randn(slots, hidden_size))
        self.into = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)
        self.V = nn.Linear(hidden_size, hidden_size, bias=False)
        self.W = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x, a, b, c):
        s, new = self.into(x), []
        for w, h in zip(self.keys, (a, b, c), strict=True):
            g = torch.sigmoid((s * h).sum(1, keepdim=True) + (s @ w).unsqueeze(1))
            h = h + g * F.leaky_relu(self.U(h) + self.V(w) + self.W(s))
            new.append(h / h.norm(dim=1, keepdim=True).clamp(min=1e-3))
        return tuple(new)


class Hopfield(Cell):
    """Retrieval from learnt patterns by a softmax (Ramsauer et al. 2021, eq. 3)."""

    def __init__(self, input_size, hidden_size, patterns=4, beta=2.0, updates=2):
        super().__init__(input_size, hidden_size)
        self.patterns = nn.Parameter(torch.randn(patterns, hidden_size))
        self.beta, self.updates = beta, updates
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        state = h + self.W(x)
        for _ in range(self.updates):
            state = torch.softmax(self.beta * state @ self.patterns.T, dim=1) @ self.patterns
        return state


class EnergyDescent(Cell):
    """Steps down an energy, by autograd (Krotov & Hopfield 2021, eq. 1; Du & Mordatch 2019)."""

    def __init__(self, input_size, hidden_size, steps=2, rate=0.1):
        super().__init__(input_size, hidden_size)
        self.steps, self.rate = steps, rate
        self.patterns = nn.Parameter(torch.randn(4, hidden_size))
        self.W = nn.Linear(input_size, hidden_size)

    def energy(self, x, h):
        fit = torch.logsumexp(h @ self.patterns.T, dim=1)
        return 0.5 * (h * h).sum(1) - fit - (self.W(x) * h).sum(1)

    def step(self, x, h):
        with torch.enable_grad():
            if not h.requires_grad:
                h = h.detach().requires_grad_()
            for _ in range(self.steps):
                total = self.energy(x, h).sum()
                h = h - self.rate * torch.autograd.grad(total, h, create_graph=True)[0]
        return h


class HopfieldNetwork(Cell):
    """The continuous network of graded neurons, symmetric weights (Hopfield 1984, eq. 5)."""

    def __init__(self, input_size, hidden_size, dt=0.2, steps=3):
        super().__init__(input_size, hidden_size)
        self.dt, self.steps = dt, steps
        self.T = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, u):
        T = 0.5 * (self.T + self.T.T)
        T = T - torch.diag(torch.diagonal(T))
        for _ in range(self.steps):
            u = u + self.dt * (torch.tanh(u) @ T - u + self.W(x))
        return u


class PredictiveCoding(Cell):
    """The state follows the error of what it predicts of x (Rao & Ballard 1999, eq. 7)."""

    def __init__(self, input_size, hidden_size, rate=0.1):
        super().__init__(input_size, hidden_size)
        self.rate = rate
        self.U = nn.Parameter(torch.randn(input_size, hidden_size))
        self.V = nn.Linear(hidden_size, hidden_size)

    def step(self, x, r):
        prediction = torch.tanh(r @ self.U.T)
        error = (x - prediction) * (1 - prediction**2)
        return r + self.rate * (error @ self.U) + self.rate * (torch.tanh(self.V(r)) - r)


class Kalman(Cell):
    """Filtering with learnt matrices; the covariance is a state (Kalman 1960, eq. 21 to 25)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.F = nn.Parameter(0.5 * torch.eye(hidden_size))
        self.H = nn.Parameter(torch.randn(input_size, hidden_size))
        self.log_q = nn.Parameter(torch.zeros(hidden_size))
        self.log_r = nn.Parameter(torch.zeros(input_size))

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size**2

    def step(self, x, m, P):
        n = self.hidden_size
        root = P.view(-1, n, n)
        P = root @ root.transpose(1, 2)
        m, P = m @ self.F.T, self.F @ P @ self.F.T + torch.diag(self.log_q.exp())
        S = self.H @ P @ self.H.T + torch.diag(self.log_r.exp())
        K = torch.linalg.solve(S, self.H @ P).transpose(1, 2)
        m = m + (K @ (x - m @ self.H.T).unsqueeze(-1)).squeeze(-1)
        P = (torch.eye(n).to(P) - K @ self.H) @ P
        return m, P.reshape(len(x), -1)


class DiagonalKalman(Cell):
    """RKN: a filter whose covariances are vectors (Becker et al. 2019, eq. 2 to 6).

    x holds half observations, half their variances.
    """

    sizes = (6, 3)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.a = nn.Parameter(torch.ones(hidden_size))
        self.log_q = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, mean, variance):
        observed, noise = x.chunk(2, dim=1)
        mean, variance = self.a * mean, self.a**2 * variance.abs() + self.log_q.exp()
        gain = variance / (variance + F.softplus(noise))
        return mean + gain * (observed - mean), (1 - gain) * variance


class SteadyKalman(Cell):
    """A fixed gain from learnt covariances, positive definite (Haykin 2001, §1.3)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.A = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.C = nn.Parameter(torch.randn(input_size, hidden_size))
        self.L = nn.Parameter(torch.eye(hidden_size))
        self.log_r = nn.Parameter(torch.zeros(input_size))

    def step(self, x, h):
        P = self.L @ self.L.mT
        S = self.C @ P @ self.C.mT + torch.diag(self.log_r.exp())
        gain = torch.cholesky_solve(self.C @ P, torch.linalg.cholesky(S)).mT
        prior = torch.tanh(h @ self.A.mT)
        return prior + (x - prior @ self.C.mT) @ gain.mT


class HMMForward(Cell):
    """The forward recursion in the log domain (Rabiner 1989, eq. 19 and 20)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.transition = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.mean = nn.Parameter(torch.randn(hidden_size, input_size))

    def step(self, x, alpha):
        A = torch.log_softmax(self.transition, dim=1)
        emission = -0.5 * (x.unsqueeze(1) - self.mean).square().sum(-1)
        alpha = torch.logsumexp(alpha.unsqueeze(2) + A, dim=1) + emission
        return alpha - torch.logsumexp(alpha, dim=1, keepdim=True)


class ScaledHMMForward(Cell):
    """The same with probabilities that are rescaled at each step (Rabiner 1989, eq. 91 to 93)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.transition = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.emission = nn.Linear(input_size, hidden_size)

    def step(self, x, alpha):
        alpha = F.softplus(alpha) @ torch.softmax(self.transition, 1)
        alpha = alpha * torch.softmax(self.emission(x), 1)
        alpha = alpha / alpha.sum(dim=1, keepdim=True)
        return torch.log(torch.expm1(alpha))


class DelayLine(Cell):
    """NARX: the last three inputs and outputs are the state (Lin et al. 1996, eq. 2)."""

    def __init__(self, input_size, hidden_size, delays=3):
        super().__init__(input_size, hidden_size)
        self.delays = delays
        self.net = nn.Sequential(
            nn.Linear(delays * (input_size + hidden_size), 8), nn.Tanh(), nn.Linear(8, hidden_size)
        )

    @property
    def state_sizes(self):
        return self.hidden_size, self.delays * self.input_size, self.delays * self.hidden_size

    def step(self, x, y, xs, ys):
        xs = torch.cat([x, xs[:, : -self.input_size]], dim=1)
        y = self.net(torch.cat([xs, ys], dim=1))
        return y, xs, torch.cat([y, ys[:, : -self.hidden_size]], dim=1)


class GammaMemory(Cell):
    """A cascade of leaky integrators of x (de Vries & Principe 1992, eq. 8)."""

    def __init__(self, input_size, hidden_size, order=3):
        super().__init__(input_size, hidden_size)
        self.order = order
        self.mu = nn.Parameter(torch.zeros(order, 1))
        self.out = nn.Linear((order + 1) * input_size, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, *(self.input_size,) * self.order

    def step(self, x, y, a, b, c):
        taps, before = [x], x
        for old, mu in zip((a, b, c), self.mu.sigmoid(), strict=True):
            taps.append((1 - mu) * old + mu * before)
            before = old
        return torch.tanh(self.out(torch.cat(taps, 1))), *taps[1:]


class AttentionOverPast(Cell):
    """Attention over the last states, a shift register (Cheng et al. 2016, eq. 7 to 9)."""

    def __init__(self, input_size, hidden_size, window=4):
        super().__init__(input_size, hidden_size)
        self.window = window
        self.q = nn.Linear(input_size + hidden_size, hidden_size)
        self.k = nn.Linear(hidden_size, hidden_size, bias=False)
        self.gru = nn.GRUCell(input_size, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.window * self.hidden_size

    def step(self, x, h, past):
        tape = past.view(len(x), self.window, -1)
        query = self.q(torch.cat([x, h], 1))
        scores = torch.matmul(self.k(tape), query.unsqueeze(2)).squeeze(2)
        weights = torch.softmax(scores / math.sqrt(self.hidden_size), dim=1)
        h = self.gru(x, torch.einsum("bw,bwh->bh", weights, tape))
        return h, torch.cat([h, past[:, : -self.hidden_size]], 1)


class RSSM(Cell):
    """Deterministic path and the mean of a Gaussian latent (Hafner et al. 2019, PlaNet, eq. 4)."""

    def __init__(self, input_size, hidden_size, latent=4):
        super().__init__(input_size, hidden_size)
        self.latent = latent
        self.into = nn.Sequential(nn.Linear(latent + input_size, 8), nn.ELU())
        self.gru = nn.GRUCell(8, hidden_size)
        self.prior = nn.Sequential(nn.Linear(hidden_size, 8), nn.ELU(), nn.Linear(8, 2 * latent))

    @property
    def state_sizes(self):
        return self.hidden_size, self.latent, self.latent

    def step(self, x, h, mean, std):
        h = self.gru(self.into(torch.cat([mean, x], -1)), h)
        mean, std = self.prior(h).chunk(2, -1)
        return h, mean, F.softplus(std) + 0.1
