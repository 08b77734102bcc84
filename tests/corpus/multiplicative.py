"""Products of inputs and states."""

import torch
import torch.nn.functional as F
from torch import nn

from saiki import Cell


class MRNN(Cell):
    """Multiplicative network by factors (Sutskever, Martens & Hinton 2011, eq. 7 and 8)."""

    def __init__(self, input_size, hidden_size, factors=4):
        super().__init__(input_size, hidden_size)
        self.fx = nn.Linear(input_size, factors, bias=False)
        self.fh = nn.Linear(hidden_size, factors, bias=False)
        self.hf = nn.Linear(factors, hidden_size, bias=False)
        self.hx = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        f = torch.diag_embed(self.fx(x)) @ self.fh(h).unsqueeze(-1)
        return torch.tanh(self.hf(f.squeeze(-1)) + self.hx(x))


class MIRNN(Cell):
    """Multiplicative integration, general form (Wu et al. 2016, eq. 4)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.alpha = nn.Parameter(torch.ones(hidden_size))
        self.beta1 = nn.Parameter(torch.ones(hidden_size))
        self.beta2 = nn.Parameter(torch.ones(hidden_size))
        self.b = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        wx, uh = self.W(x), self.U(h)
        return torch.tanh(self.alpha * wx * uh + self.beta1 * uh + self.beta2 * wx + self.b)


class MILSTM(Cell):
    """The same in every gate of an LSTM (Wu et al. 2016, appendix, MI-LSTM)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.mi = nn.Parameter(torch.ones(4, 4 * hidden_size))

    def step(self, x, h, c):
        wx, uh = self.W(x), self.U(h)
        alpha, beta1, beta2, bias = self.mi.unbind()
        i, f, o, g = (alpha * wx * uh + beta1 * uh + beta2 * wx + bias).chunk(4, -1)
        c = i.sigmoid() * g.tanh() + f.sigmoid() * c
        return o.sigmoid() * c.tanh(), c


class SecondOrder(Cell):
    """A third-order tensor of weights (Giles et al. 1992, eq. 1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Parameter(torch.randn(hidden_size, hidden_size, input_size))

    def step(self, x, h):
        return torch.sigmoid(torch.einsum("ijk,bj,bk->bi", self.W, h, x))


class SecondOrderByLoop(Cell):
    """The same, one matrix for each input (Giles et al. 1992, eq. 1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Parameter(torch.randn(input_size, hidden_size, hidden_size))
        self.b = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        u = self.b
        for i in range(self.input_size):
            u = u + x[:, i : i + 1] * (h @ self.W[i])
        return torch.sigmoid(u)


class RNTN(Cell):
    """Recursive neural tensor network over a chain (Socher et al. 2013, eq. 4)."""

    sizes = (4, 4)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        n = input_size + hidden_size
        self.V = nn.Parameter(torch.randn(hidden_size, n, n))
        self.W = nn.Linear(n, hidden_size)

    def step(self, x, h):
        u = torch.cat([x, h], dim=1)
        form = torch.einsum("bi,kij,bj->bk", u, self.V, u)
        return torch.tanh(form + self.W(u))


class PolynomialRNN(Cell):
    """A polynomial of x and h, as products of affine maps (Chrysos et al. 2020, Π-nets, eq. 4)."""

    def __init__(self, input_size, hidden_size, degree=3):
        super().__init__(input_size, hidden_size)
        n = input_size + hidden_size
        self.A = nn.ModuleList(nn.Linear(n, hidden_size, bias=False) for _ in range(degree))
        self.C = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        z = torch.cat([x, h], -1)
        u = self.A[0](z)
        for A in self.A[1:]:
            u = A(z) * u + u
        return torch.tanh(self.C(u))


class FiLMRNN(Cell):
    """x scales and shifts the recurrence (Perez et al. 2018, eq. 2)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.film = nn.Linear(input_size, 2 * hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        gamma, beta = self.film(x).chunk(2, dim=1)
        return F.relu6((1 + gamma) * self.U(h) + beta)


class InputSwitchedAffine(Cell):
    """Each input chooses the affine map: a soft choice (Foerster et al. 2017, eq. 1)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Parameter(torch.randn(input_size, hidden_size, hidden_size))
        self.b = nn.Parameter(torch.randn(input_size, hidden_size))

    def step(self, x, h):
        p = torch.softmax(x, dim=-1)
        W = torch.tensordot(p, self.W, dims=1)
        return torch.bmm(W, h.unsqueeze(-1)).squeeze(-1) * 0.5 + p @ self.b


class OuterProductCell(Cell):
    """A state that is an outer product, decayed (Ba et al. 2016, eq. 1)."""

    sizes = (5, 9)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.a, self.b = nn.Linear(input_size, 3), nn.Linear(input_size, 3)
        self.decay = nn.Parameter(torch.zeros(1))

    def step(self, x, h):
        outer = torch.einsum("bi,bj->bij", self.a(x).tanh(), self.b(x).tanh())
        return torch.sigmoid(self.decay) * h + outer.flatten(1)


class TensorProductRNN(Cell):
    """Fillers bound to roles by outer products (Palangi et al. 2018, eq. 1 to 3)."""

    sizes = (5, 6)

    def __init__(self, input_size, hidden_size, roles=2):
        super().__init__(input_size, hidden_size)
        self.filler = nn.Linear(input_size + hidden_size, hidden_size // roles)
        self.role = nn.Linear(input_size + hidden_size, roles)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        u = torch.cat([x, h], 1)
        filler, role = torch.tanh(self.filler(u)), torch.softmax(self.role(u), dim=1)
        binding = (filler[:, :, None] * role[:, None, :]).reshape(len(x), -1)
        return torch.tanh(binding + self.U(h))
