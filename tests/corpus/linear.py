"""Linear recurrences: state spaces, linear attention and gated relatives."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class SRU(Cell):
    """Simple recurrent unit with a highway (Lei et al. 2018, eq. 1 to 4)."""

    sizes = (7, 7)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.v_f = nn.Parameter(torch.zeros(hidden_size))
        self.v_r = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h, c):
        new, f, r = self.W(x).chunk(3, 1)
        f, r = torch.sigmoid(f + self.v_f * c), torch.sigmoid(r + self.v_r * c)
        c = f * c + (1 - f) * new
        return r * c + (1 - r) * x, c


class QRNN(Cell):
    """A convolution of width 2 over time, fo-pooling (Bradbury et al. 2017, eq. 2, 4 and 5)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.conv = nn.Linear(2 * input_size, 3 * hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size, self.input_size

    def step(self, x, h, c, before):
        z, f, o = self.conv(torch.cat([before, x], dim=-1)).chunk(3, dim=-1)
        f = torch.sigmoid(f)
        c = f * c + (1 - f) * torch.tanh(z)
        return torch.sigmoid(o) * c, c, x


class MinGRU(Cell):
    """A GRU whose gates do not see the state (Feng et al. 2024, "Were RNNs", §3.1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.z = nn.Linear(input_size, hidden_size)
        self.h = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        z, u = torch.sigmoid(self.z(x)), self.h(x)
        return (1 - z) * h + z * torch.where(u >= 0, u + 0.5, torch.sigmoid(u))


class MinLSTM(Cell):
    """An LSTM whose gates do not see the state, normalised (Feng et al. 2024, §3.2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size, 3 * hidden_size)

    def step(self, x, h):
        f, i, new = self.linear(x).split(self.hidden_size, dim=-1)
        f, i = f.sigmoid(), i.sigmoid()
        return f / (f + i) * h + i / (f + i) * new


class RGLRU(Cell):
    """The real gated linear unit of Griffin (De et al. 2024, eq. 1 to 4)."""

    sizes = (7, 7)

    def __init__(self, input_size, hidden_size, c=8.0):
        super().__init__(input_size, hidden_size)
        self.gates = nn.Linear(input_size, 2 * hidden_size)
        self.Lambda = nn.Parameter(torch.rand(hidden_size) + 2)
        self.c = c

    def step(self, x, h):
        r, i = torch.sigmoid(self.gates(x)).chunk(2, -1)
        log_a = -self.c * r * F.softplus(self.Lambda)
        return log_a.exp() * h + torch.sqrt(-torch.expm1(2 * log_a)) * (i * x)


class HGRN(Cell):
    """A lower bound under the forget gates (Qin, Yang & Zhong 2023, eq. 3 to 6)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size, 3 * hidden_size)
        self.bound = nn.Parameter(torch.zeros(2, hidden_size))

    def step(self, x, y, h):
        f, i, g = self.linear(x).chunk(3, 1)
        gamma = torch.softmax(self.bound, dim=0)[0]
        f = gamma + (1 - gamma) * f.sigmoid()
        h = f * h + (1 - f) * F.silu(i)
        return g.sigmoid() * h, h


class LRU(Cell):
    """Linear recurrent unit, complex numbers as pairs (Orvieto et al. 2023, eq. 5 to 7)."""

    def __init__(self, input_size, hidden_size, width=4):
        super().__init__(input_size, hidden_size)
        self.width = width
        self.nu = nn.Parameter(torch.rand(width))
        self.theta = nn.Parameter(torch.rand(width))
        self.B_re = nn.Linear(input_size, width, bias=False)
        self.B_im = nn.Linear(input_size, width, bias=False)
        self.C = nn.Linear(2 * width, hidden_size, bias=False)
        self.D = nn.Linear(input_size, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.width, self.width

    def step(self, x, y, a, b):
        size = torch.exp(-torch.exp(self.nu))
        re, im = size * torch.cos(self.theta), size * torch.sin(self.theta)
        gamma = torch.sqrt(1 - size**2)
        a, b = re * a - im * b + gamma * self.B_re(x), im * a + re * b + gamma * self.B_im(x)
        return self.C(torch.cat([a, b], 1)) + self.D(x), a, b


class ComplexLRU(Cell):
    """The same with torch.complex (Orvieto et al. 2023, eq. 5 to 7)."""

    def __init__(self, input_size, hidden_size, width=4):
        super().__init__(input_size, hidden_size)
        self.width = width
        self.nu = nn.Parameter(torch.rand(width))
        self.theta = nn.Parameter(torch.rand(width))
        self.B = nn.Parameter(torch.randn(input_size, width, 2))
        self.C = nn.Parameter(torch.randn(width, hidden_size, 2))

    @property
    def state_sizes(self):
        return self.hidden_size, 2 * self.width

    def step(self, x, y, s):
        Lambda = torch.exp(torch.complex(-self.nu.exp(), self.theta))
        B, C = torch.view_as_complex(self.B), torch.view_as_complex(self.C)
        s = torch.complex(*s.chunk(2, 1))
        s = Lambda * s + torch.sqrt(1 - Lambda.abs() ** 2) * (x.to(B.dtype) @ B)
        return (s @ C).real, torch.cat([s.real, s.imag], 1)


class S4D(Cell):
    """A diagonal state space per channel, as pairs of reals (Gu et al. 2022, §3, eq. 5)."""

    sizes = (5, 5)

    def __init__(self, input_size, hidden_size, n=3):
        super().__init__(input_size, hidden_size)
        self.n = n
        self.log_dt = nn.Parameter(torch.rand(hidden_size, 1))
        self.log_A = nn.Parameter(torch.zeros(hidden_size, n))
        self.A_im = nn.Parameter(math.pi * torch.arange(n).repeat(hidden_size, 1).float())
        self.C = nn.Parameter(torch.randn(2, hidden_size, n))
        self.D = nn.Parameter(torch.ones(hidden_size))

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size * self.n, self.hidden_size * self.n

    def step(self, x, y, re, im):
        dt = self.log_dt.exp()
        size = torch.exp(-dt * self.log_A.exp()).flatten()
        angle = (dt * self.A_im).flatten()
        u = (dt * torch.ones_like(self.A_im)).flatten() * x.repeat_interleave(self.n, dim=1)
        new = size * (re * angle.cos() - im * angle.sin()) + u
        im = size * (re * angle.sin() + im * angle.cos())
        C_re, C_im = self.C.flatten(1)
        y = (C_re * new - C_im * im).view(-1, self.hidden_size, self.n).sum(-1)
        return F.gelu(2 * y + self.D * x), new, im


class ComplexS4D(Cell):
    """The same, with complex numbers and three dimensions (Gu et al. 2022, listing 1)."""

    sizes = (3, 3)

    def __init__(self, input_size, hidden_size, n=2):
        super().__init__(input_size, hidden_size)
        self.n = n
        self.log_dt = nn.Parameter(torch.rand(hidden_size))
        self.log_A_real = nn.Parameter(torch.zeros(hidden_size, n))
        self.A_imag = nn.Parameter(math.pi * torch.arange(n).repeat(hidden_size, 1).float())
        self.C = nn.Parameter(torch.randn(hidden_size, n, 2))

    @property
    def state_sizes(self):
        return self.hidden_size, 2 * self.hidden_size * self.n

    def step(self, x, y, s):
        s = torch.view_as_complex(s.view(len(x), self.hidden_size, self.n, 2))
        A = torch.complex(-self.log_A_real.exp(), self.A_imag)
        dA = torch.exp(self.log_dt.exp()[:, None] * A)
        s = dA * s + (dA - 1) / A * x[:, :, None]
        y = 2 * (torch.view_as_complex(self.C) * s).sum(-1).real
        return y, torch.view_as_real(s).reshape(len(x), -1)


class S5(Cell):
    """One state space for all, bilinear steps (Smith, Warrington & Linderman 2023, eq. 6)."""

    def __init__(self, input_size, hidden_size, n=4, dt=0.1):
        super().__init__(input_size, hidden_size)
        self.n, self.dt = n, dt
        self.A = nn.Parameter(torch.randn(n, n) - 2 * torch.eye(n))
        self.B = nn.Parameter(torch.randn(n, input_size))
        self.C = nn.Linear(n, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.n

    def step(self, x, y, s):
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        inverse = torch.linalg.inv(eye - self.dt / 2 * self.A)
        A, B = inverse @ (eye + self.dt / 2 * self.A), inverse @ self.B * self.dt
        s = s @ A.T + x @ B.T
        return F.gelu(self.C(s)), s


class LMU(Cell):
    """Legendre memory beside a nonlinear state (Voelker, Kajić & Eliasmith 2019, eq. 6 to 8)."""

    def __init__(self, input_size, hidden_size, order=4, theta=10.0):
        super().__init__(input_size, hidden_size)
        self.order = order
        i = torch.arange(order, dtype=torch.get_default_dtype())
        below = torch.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
        scale = (2 * i[:, None] + 1) / theta
        self.register_buffer("A", torch.matrix_exp(scale * below))
        self.register_buffer("B", (scale[:, 0] * (-1.0) ** i))
        self.e_x, self.e_h, self.e_m = (
            nn.Linear(n, 1, bias=False) for n in (input_size, hidden_size, order)
        )
        self.W = nn.Linear(input_size + hidden_size + order, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.order

    def step(self, x, h, m):
        u = self.e_x(x) + self.e_h(h) + self.e_m(m)
        m = F.linear(m, self.A) + u * self.B
        return torch.tanh(self.W(torch.cat([x, h, m], dim=-1))), m


class HiPPOLegS(Cell):
    """Scaled Legendre memory: the step is a state (Gu et al. 2020, eq. 3 and 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        n = torch.arange(hidden_size, dtype=torch.get_default_dtype())
        root = torch.sqrt(2 * n + 1)
        A = torch.tril(root[:, None] * root, -1) + torch.diag(n + 1)
        self.register_buffer("A", A)
        self.register_buffer("B", root)
        self.f = nn.Linear(input_size, 1)

    @property
    def state_sizes(self):
        return self.hidden_size, 1

    def step(self, x, c, t):
        t = t.abs() + 1
        return c - F.linear(c, self.A) / (10 * t) + self.B * self.f(x) / (10 * t), t


class Mamba(Cell):
    """A selective scan: steps, B and C depend on x (Gu & Dao 2023, algorithm 2)."""

    sizes = (5, 5)

    def __init__(self, input_size, hidden_size, n=3):
        super().__init__(input_size, hidden_size)
        self.n = n
        self.A_log = nn.Parameter(torch.log(torch.arange(1, n + 1).float()).repeat(hidden_size, 1))
        self.D = nn.Parameter(torch.ones(hidden_size))
        self.project = nn.Linear(input_size, 2 * n + 1, bias=False)
        self.dt = nn.Linear(1, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size * self.n

    def step(self, x, y, s):
        dt, B, C = self.project(x).split([1, self.n, self.n], dim=-1)
        dt = F.softplus(self.dt(dt))
        dA = torch.exp(torch.einsum("bd,dn->bdn", dt, -torch.exp(self.A_log)))
        dB = torch.einsum("bd,bn->bdn", dt, B)
        s = s.view(len(x), -1, self.n) * dA + x.unsqueeze(-1) * dB
        y = torch.einsum("bdn,bn->bd", s, C) + self.D * x
        return y, s.flatten(1)


class FlatMamba(Cell):
    """The same without tensors of three dimensions (Gu & Dao 2023, algorithm 2)."""

    sizes = (5, 5)

    def __init__(self, input_size, hidden_size, n=3):
        super().__init__(input_size, hidden_size)
        self.n = n
        self.A_log = nn.Parameter(torch.rand(n, hidden_size))
        self.BC = nn.Linear(input_size, 2 * n, bias=False)
        self.dt = nn.Linear(input_size, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size * self.n

    def step(self, x, y, s):
        B, C = self.BC(x).chunk(2, 1)
        dt = F.softplus(self.dt(x))
        new = []
        y = torch.zeros_like(x)
        for i, part in enumerate(s.chunk(self.n, 1)):
            part = part * torch.exp(-dt * self.A_log[i].exp()) + dt * x * B[:, i : i + 1]
            y = y + part * C[:, i : i + 1]
            new.append(part)
        return y, torch.cat(new, 1)


class Mamba2(Cell):
    """A scalar decay per head, states as outer products (Dao & Gu 2024, eq. 16)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, heads=2, n=3):
        super().__init__(input_size, hidden_size)
        self.heads, self.n = heads, n
        self.project = nn.Linear(input_size, hidden_size + 2 * n + heads)
        self.A_log = nn.Parameter(torch.rand(heads))
        self.norm = nn.RMSNorm(hidden_size, eps=1e-5)

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size * self.n

    def step(self, x, y, s):
        u, B, C, dt = self.project(x).split([self.hidden_size, self.n, self.n, self.heads], -1)
        dt = F.softplus(dt)
        decay = torch.exp(-dt * self.A_log.exp())[..., None, None]
        u = (u.unflatten(1, (self.heads, -1)) * dt[..., None])[..., None] * B[:, None, None]
        s = decay * s.view_as(u) + u
        return self.norm((s * C[:, None, None]).sum(-1).flatten(1)), s.flatten(1)


class RetNet(Cell):
    """Retention in its recurrent form, a decay per head (Sun et al. 2023, eq. 6 and 8)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, heads=2):
        super().__init__(input_size, hidden_size)
        self.heads, self.d = heads, hidden_size // heads
        self.qkvg = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.register_buffer("gamma", 1 - 2.0 ** (-5 - torch.arange(heads).float()))
        self.norm = nn.GroupNorm(heads, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.hidden_size * self.d

    def step(self, x, y, s):
        q, k, v, g = self.qkvg(x).view(-1, 4, self.heads, self.d).unbind(1)
        s = s.view(-1, self.heads, self.d, self.d) * self.gamma[:, None, None]
        s = s + k.unsqueeze(-1) * v.unsqueeze(-2)
        y = torch.einsum("bhk,bhkv->bhv", q, s) / math.sqrt(self.d)
        return self.norm(y.flatten(1)) * F.silu(g.flatten(1)), s.flatten(1)


class RWKV(Cell):
    """Time mixing of RWKV-4 with a running maximum (Peng et al. 2023, eq. 11 to 16, appendix D)."""

    sizes = (5, 5)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.mu = nn.Parameter(torch.rand(3, input_size))
        self.r, self.k, self.v = (nn.Linear(input_size, hidden_size, bias=False) for _ in "rkv")
        self.w = nn.Parameter(torch.rand(hidden_size))
        self.u = nn.Parameter(torch.rand(hidden_size))
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)

    @property
    def state_sizes(self):
        return (self.hidden_size,) * 4 + (self.input_size,)

    def step(self, x, y, num, den, top, before):
        r, k, v = (
            f(mu * x + (1 - mu) * before)
            for f, mu in zip((self.r, self.k, self.v), self.mu, strict=True)
        )
        best = torch.maximum(top, self.u + k)
        e1, e2 = torch.exp(top - best), torch.exp(self.u + k - best)
        wkv = (e1 * num + e2 * v) / (e1 * den.abs() + e2)
        best = torch.maximum(top - self.w.exp(), k)
        e1, e2 = torch.exp(top - self.w.exp() - best), torch.exp(k - best)
        return self.out(torch.sigmoid(r) * wkv), e1 * num + e2 * v, e1 * den + e2, best, x


class RWKVChannelMix(Cell):
    """Channel mixing: a token shift and a squared rectifier (Peng et al. 2023, eq. 18 to 20)."""

    sizes = (5, 5)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.mu_r = nn.Parameter(torch.rand(input_size))
        self.mu_k = nn.Parameter(torch.rand(input_size))
        self.r = nn.Linear(input_size, hidden_size, bias=False)
        self.k = nn.Linear(input_size, 9, bias=False)
        self.v = nn.Linear(9, hidden_size, bias=False)

    def step(self, x, y, before):
        r = self.r(torch.lerp(before, x, self.mu_r))
        k = self.k(torch.lerp(before, x, self.mu_k))
        return torch.sigmoid(r) * self.v(torch.relu(k).square()), x


class LinearAttention(Cell):
    """Sums of outer products of keys and values (Katharopoulos et al. 2020, eq. 16 to 20)."""

    def __init__(self, input_size, hidden_size, keys=3):
        super().__init__(input_size, hidden_size)
        self.keys = keys
        self.qk = nn.Linear(input_size, 2 * keys)
        self.v = nn.Linear(input_size, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.keys * self.hidden_size, self.keys

    def step(self, x, y, s, z):
        q, k = (F.elu(self.qk(x)) + 1).chunk(2, dim=-1)
        s = s.view(-1, self.keys, self.hidden_size) + torch.einsum("bk,bv->bkv", k, self.v(x))
        z = z.abs() + k
        y = torch.einsum("bk,bkv->bv", q, s) / (q * z).sum(-1, keepdim=True).clamp_min(1e-3)
        return y, s.flatten(1), z


class DeltaNet(Cell):
    """The delta rule: what a key held is replaced (Schlag, Irie & Schmidhuber 2021, eq. 24)."""

    def __init__(self, input_size, hidden_size, keys=3):
        super().__init__(input_size, hidden_size)
        self.keys = keys
        self.qk = nn.Linear(input_size, 2 * keys)
        self.v = nn.Linear(input_size, hidden_size)
        self.beta = nn.Linear(input_size, 1)

    @property
    def state_sizes(self):
        return self.hidden_size, self.keys * self.hidden_size

    def step(self, x, y, W):
        q, k = (F.normalize(F.silu(u), dim=-1, eps=1e-6) for u in self.qk(x).chunk(2, dim=-1))
        W = W.view(-1, self.hidden_size, self.keys)
        old = torch.bmm(W, k.unsqueeze(2))
        new = self.beta(x).sigmoid().unsqueeze(2) * (self.v(x).unsqueeze(2) - old)
        W = torch.baddbmm(W, new, k.unsqueeze(1))
        return torch.bmm(W, q.unsqueeze(2)).squeeze(2), W.flatten(1)


class GatedDeltaNet(Cell):
    """The delta rule with a decay, one key at a time (Yang, Kautz & Hatamizadeh 2025, eq. 10)."""

    def __init__(self, input_size, hidden_size, keys=2):
        super().__init__(input_size, hidden_size)
        self.keys = keys
        self.qkv = nn.Linear(input_size, 2 * keys + hidden_size)
        self.alpha, self.beta = nn.Linear(input_size, 1), nn.Linear(input_size, 1)

    @property
    def state_sizes(self):
        return (self.hidden_size,) * (1 + self.keys)

    def step(self, x, y, s0, s1):
        q, k, v = self.qkv(x).split([self.keys, self.keys, self.hidden_size], 1)
        k = k / k.norm(dim=1, keepdim=True).clamp(min=1e-6)
        alpha, beta = torch.sigmoid(self.alpha(x)), torch.sigmoid(self.beta(x))
        (k0, k1), (q0, q1) = k.split(1, 1), q.split(1, 1)
        s0, s1 = alpha * s0, alpha * s1
        error = beta * (v - (s0 * k0 + s1 * k1))
        s0, s1 = s0 + error * k0, s1 + error * k1
        return s0 * q0 + s1 * q1, s0, s1


class GatedLinearAttention(Cell):
    """A data-dependent decay for each key (Yang et al. 2024, eq. 3)."""

    def __init__(self, input_size, hidden_size, keys=3, tau=16.0):
        super().__init__(input_size, hidden_size)
        self.keys, self.tau = keys, tau
        self.qka = nn.Linear(input_size, 3 * keys)
        self.vr = nn.Linear(input_size, 2 * hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.keys * self.hidden_size

    def step(self, x, y, S):
        q, k, a = self.qka(x).chunk(3, -1)
        v, r = self.vr(x).chunk(2, -1)
        alpha = torch.sigmoid(a) ** (1 / self.tau)
        S = alpha[:, :, None] * S.view(-1, self.keys, v.shape[1]) + k[:, :, None] @ v[:, None, :]
        y = self.norm((q[:, None, :] @ S)[:, 0]) * F.silu(r)
        return y, S.view(len(x), -1)


class TTTLinear(Cell):
    """The state is a model that learns, its gradient by hand (Sun et al. 2024, eq. 4)."""

    def __init__(self, input_size, hidden_size, width=3, eta=0.1):
        super().__init__(input_size, hidden_size)
        self.width, self.eta = width, eta
        self.views = nn.Linear(input_size, 3 * width, bias=False)
        self.out = nn.Linear(width, hidden_size)

    @property
    def state_sizes(self):
        return self.hidden_size, self.width**2

    def step(self, x, y, W):
        k, v, q = self.views(x).chunk(3, -1)
        W = W.unflatten(1, (self.width, self.width))
        error = torch.matmul(W, k.unsqueeze(-1)).squeeze(-1) - v
        W = W - self.eta * 2 * error.unsqueeze(-1) * k.unsqueeze(-2)
        return self.out(torch.matmul(W, q.unsqueeze(-1)).squeeze(-1)), W.flatten(1)
