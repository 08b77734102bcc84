"""Recurrences held orthogonal, unitary, of low rank, or otherwise structured."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from saiki import Cell


def modrelu(h, b):
    """Shrinks the absolute value and keeps the sign (Arjovsky, Shah & Bengio 2016, eq. 8)."""
    return torch.sign(h) * F.relu(h.abs() + b)


class ExpRNN(Cell):
    """The exponential of a skew-symmetric matrix (Lezcano-Casado & Martínez-Rubio 2019, eq. 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.A = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.b = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        A = self.A.triu(diagonal=1)
        return modrelu(h @ torch.matrix_exp(A - A.T) + self.W(x), self.b)


class ScoRNN(Cell):
    """The scaled Cayley transform of a skew-symmetric matrix (Helfrich et al. 2018, eq. 4)."""

    def __init__(self, input_size, hidden_size, negative=2):
        super().__init__(input_size, hidden_size)
        self.A = nn.Parameter(torch.randn(hidden_size, hidden_size))
        signs = torch.ones(hidden_size)
        signs[:negative] = -1
        self.register_buffer("D", torch.diag(signs))
        self.register_buffer("eye", torch.eye(hidden_size))
        self.W = nn.Linear(input_size, hidden_size)
        self.b = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        A = self.A - self.A.T
        W = torch.linalg.solve(self.eye + A, self.eye - A) @ self.D
        return modrelu(F.linear(h, W) + self.W(x), self.b)


class HouseholderRNN(Cell):
    """A product of reflections applied to the state (Mhammedi et al. 2017, eq. 7)."""

    def __init__(self, input_size, hidden_size, reflections=3):
        super().__init__(input_size, hidden_size)
        self.u = nn.Parameter(torch.randn(reflections, hidden_size))
        self.V = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        for u in self.u:
            h = h - 2 * (h @ u).unsqueeze(1) * u / u.dot(u)
        return F.leaky_relu(h + self.V(x), 0.3)


class SVDRNN(Cell):
    """Reflections on both sides of bounded singular values (Zhang et al. 2018, §4)."""

    def __init__(self, input_size, hidden_size, reflections=2, radius=0.1):
        super().__init__(input_size, hidden_size)
        self.left = nn.Parameter(torch.randn(reflections, hidden_size))
        self.right = nn.Parameter(torch.randn(reflections, hidden_size))
        self.p = nn.Parameter(torch.zeros(hidden_size))
        self.radius = radius
        self.W = nn.Linear(input_size, hidden_size)

    @staticmethod
    def reflect(h, vectors):
        for v in F.normalize(vectors, dim=-1).unbind(0):
            h = h - 2 * torch.outer(h @ v, v)
        return h

    def step(self, x, h):
        sigma = 2 * self.radius * (torch.sigmoid(self.p) - 0.5) + 1
        return torch.tanh(self.reflect(sigma * self.reflect(h, self.right), self.left) + self.W(x))


class GORU(Cell):
    """GRU gates around an orthogonal matrix (Jing et al. 2019, eq. 2 to 5)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.gates = nn.Linear(input_size + hidden_size, 2 * hidden_size)
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.A = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.b = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        z, r = self.gates(torch.cat([x, h], 1)).sigmoid().chunk(2, 1)
        U = torch.linalg.matrix_exp(self.A.tril(-1) - self.A.tril(-1).T)
        return z * h + (1 - z) * modrelu(self.W(x) + r * F.linear(h, U), self.b)


class ParametrisedOrthogonal(Cell):
    """PyTorch's own orthogonal parametrisation (Lezcano-Casado 2019, "Trivializations", §5)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = parametrizations.orthogonal(
            nn.Linear(hidden_size, hidden_size, bias=False), orthogonal_map="cayley"
        )

    def step(self, x, h):
        return torch.tanh(self.W(x) + self.U(h))


class QRRecurrence(Cell):
    """The orthogonal factor of a matrix, found anew (Lezcano-Casado & Martínez-Rubio 2019, §2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.A = nn.Parameter(torch.randn(hidden_size, hidden_size))

    def step(self, x, h):
        Q, R = torch.linalg.qr(self.A)
        return torch.tanh(self.W(x) + h @ (Q * R.diagonal().sign()))


class UnitaryRNN(Cell):
    """Phases, reflections, permutation and Fourier transform (Arjovsky et al. 2016, eq. 6)."""

    sizes = (5, 8)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        n = hidden_size // 2
        self.phases = nn.Parameter(torch.rand(3, n))
        self.reflect = nn.Parameter(torch.randn(2, n, 2))
        self.register_buffer("permute", torch.randperm(n))
        self.V = nn.Linear(input_size, hidden_size, bias=False)
        self.b = nn.Parameter(torch.zeros(n))

    def step(self, x, h):
        z = torch.view_as_complex(h.view(len(h), -1, 2))
        d1, d2, d3 = torch.polar(torch.ones_like(self.phases), self.phases)
        v1, v2 = torch.view_as_complex(self.reflect)
        z = torch.fft.fft(z * d1, norm="ortho")
        z = z - 2 * torch.outer(z @ v1.conj(), v1) / v1.abs().square().sum()
        z = torch.fft.ifft(z[:, self.permute] * d2, norm="ortho")
        z = (z - 2 * torch.outer(z @ v2.conj(), v2) / v2.abs().square().sum()) * d3
        z = z + torch.view_as_complex(self.V(x).view(len(x), -1, 2))
        size = z.abs() + 1e-6
        return torch.view_as_real(z * F.relu(size + self.b) / size).flatten(1)


class EUNN(Cell):
    """Layers of rotations of neighbouring pairs (Jing et al. 2017, "Tunable", eq. 6 to 9)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, layers=4):
        super().__init__(input_size, hidden_size)
        self.theta = nn.Parameter(torch.randn(layers, hidden_size // 2))
        self.W = nn.Linear(input_size, hidden_size)
        self.b = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        for layer, theta in enumerate(self.theta):
            h = torch.roll(h, layer % 2, dims=1)
            a, b = h[:, 0::2], h[:, 1::2]
            c, s = theta.cos(), theta.sin()
            h = torch.stack([c * a - s * b, s * a + c * b], dim=2).flatten(1)
        return modrelu(h + self.W(x), self.b)


class NormPreserving(Cell):
    """nnRNN: a Schur form, rotations and a triangle, of a square (Kerg et al. 2019, eq. 3)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        n = hidden_size
        self.P = nn.Parameter(torch.randn(n, n))
        self.T = nn.Parameter(torch.zeros(n, n))
        self.theta = nn.Parameter(torch.rand(n // 2))
        self.W = nn.Linear(input_size, n)

    def step(self, x, h):
        P = torch.matrix_exp(self.P - self.P.T)
        blocks = [
            torch.stack([c, -s, s, c]).view(2, 2)
            for c, s in zip(self.theta.cos(), self.theta.sin(), strict=True)
        ]
        V = P @ (torch.block_diag(*blocks) + torch.triu(self.T, 2)) @ P.T
        return F.elu(F.linear(h, V) + self.W(x))


class LowRankRNN(Cell):
    """A low-rank connectivity with a leak (Mastrogiuseppe & Ostojic 2018, eq. 1 and 2)."""

    def __init__(self, input_size, hidden_size, rank=2, leak=0.3):
        super().__init__(input_size, hidden_size)
        self.m = nn.Parameter(torch.randn(hidden_size, rank))
        self.n = nn.Parameter(torch.randn(hidden_size, rank))
        self.register_buffer("noise", torch.randn(hidden_size, hidden_size) / hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.leak = leak

    def step(self, x, h):
        J = self.noise + self.m @ self.n.T / self.hidden_size
        return h + self.leak * (-h + F.linear(torch.tanh(h), J) + self.W(x))


class TensorTrainRNN(Cell):
    """The recurrent matrix in tensor-train form (Tjandra, Sakti & Nakamura 2017, eq. 9)."""

    sizes = (5, 12)

    def __init__(self, input_size, hidden_size, rank=2):
        super().__init__(input_size, hidden_size)
        self.first = nn.Parameter(torch.randn(3, 3, rank))
        self.second = nn.Parameter(torch.randn(rank, 4, 4))
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        u = torch.einsum("bij,ikr,rjl->bkl", h.view(-1, 3, 4), self.first, self.second)
        return torch.tanh(u.reshape(-1, self.hidden_size) + self.W(x))


class KroneckerRNN(Cell):
    """The recurrent matrix a Kronecker product (Jose, Cissé & Fleuret 2018, eq. 8)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.A = nn.Parameter(torch.randn(2, 2))
        self.B = nn.Parameter(torch.randn(3, 3))
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(F.linear(h, torch.kron(self.A, self.B)) + self.W(x))


class CirculantRNN(Cell):
    """A circulant recurrent matrix, indexed from one vector (Wang et al. 2018, C-LSTM, §3.1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.c = nn.Parameter(torch.randn(hidden_size))
        i = torch.arange(hidden_size)
        self.register_buffer("index", (i[:, None] - i[None]) % hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(h @ self.c[self.index] + self.W(x))


class SparseRNN(Cell):
    """A block-diagonal recurrence with fixed zeros (Gray, Radford & Kingma 2017, §2)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, blocks=3):
        super().__init__(input_size, hidden_size)
        size = hidden_size // blocks
        self.blocks = nn.ParameterList(nn.Parameter(torch.randn(size, size)) for _ in range(blocks))
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        parts = h.chunk(len(self.blocks), dim=1)
        u = torch.cat([part @ U for part, U in zip(parts, self.blocks, strict=True)], dim=1)
        return torch.tanh(u + self.W(x)) / math.sqrt(2)


class PositiveDiagonal(Cell):
    """No self-connections, excitatory and inhibitory units (Song, Yang & Wang 2016, eq. 11)."""

    def __init__(self, input_size, hidden_size, excitatory=5, alpha=0.2):
        super().__init__(input_size, hidden_size)
        self.U = nn.Parameter(torch.randn(hidden_size, hidden_size))
        sign = torch.ones(hidden_size)
        sign[excitatory:] = -1
        self.register_buffer("sign", sign)
        self.W = nn.Linear(input_size, hidden_size)
        self.alpha = alpha

    def step(self, x, h):
        U = F.relu(self.U)
        U = U.clone().fill_diagonal_(0) @ self.sign.diag()
        return (1 - self.alpha) * h + self.alpha * (F.linear(F.relu(h), U) + self.W(x))
