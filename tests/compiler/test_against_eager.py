"""Every compiled cell beside its own eager loop: outputs, last states and all gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compiler.comparison import (
    assert_agrees,
    assert_same,
    compiled,
    draw,
    eager,
    hoist_all,
    outcome,
    randomised,
)
from saiki import Bidirectional, Cell, Recurrent, Stack
from saiki.activations import CATALOGUE
from saiki.cells import GRU, LSTM, VARIANTS, SimpleRNN
from test_examples import CELLS

pytestmark = pytest.mark.one_in(5)

BUILT_IN = {name: cell for family in VARIANTS.values() for name, cell in family.items()}
LENGTHS = torch.tensor([3, 5, 1, 5, 2])


class Pointwise(Cell):
    """h ← f(W x + U h)"""

    def __init__(self, input_size, hidden_size, f):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.f = f

    def step(self, x, h):
        return self.f(self.W(x) + self.U(h))


FUNCTIONS = {
    **CATALOGUE,
    "exponential": lambda u: CATALOGUE["exponential"](torch.tanh(u)),  # or it grows beyond bounds
    "where": lambda u: torch.where(u > 0.1, u, 0.3 * u * u),
    "masked fill": lambda u: u.masked_fill(u < 0, 0.1),
    "times a comparison": lambda u: u * (u > 0),
    "both of two comparisons": lambda u: torch.where((u > 0) & (u < 1), u, 0.5 * u),
    "neither": lambda u: torch.where(~((u > 0) | (u < -1)), u, 0.5 * u),
    "equal comparisons": lambda u: torch.where((u > 0) == (u > 1), u, 0.5 * u),
    "clamp": lambda u: u.clamp(-0.5, 0.7),
    "clamp from below": lambda u: u.clamp(min=-0.2),
    "clamp from above": lambda u: u.clamp(max=0.3),
    "abs": torch.abs,
    "power 2": lambda u: torch.tanh(u) ** 2,
    "power 3": lambda u: torch.tanh(u) ** 3,
    "power 4": lambda u: torch.tanh(u) ** 4,
    "power 0.5": lambda u: (u * u + 0.1) ** 0.5,
    "power -1": lambda u: (1 + u * u) ** -1,
    "power 1.7": lambda u: torch.tanh((u * u + 0.1) ** 1.7),
    "power of a number": lambda u: 2 ** torch.tanh(u),
    "power of tensors": lambda u: (u * u + 0.1) ** torch.tanh(u),
    "division": lambda u: u / (1 + u * u),
    "number by tensor": lambda u: 1 / (1 + u.abs()),
    "exp": lambda u: torch.exp(-u * u),
    "expm1": lambda u: torch.tanh(torch.expm1(u)),
    "log": lambda u: torch.log(1 + u * u),
    "log1p": lambda u: torch.log1p(u * u),
    "sqrt": lambda u: torch.sqrt(u * u + 0.1),
    "rsqrt": lambda u: torch.rsqrt(u * u + 0.1),
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "sign": lambda u: u * torch.sign(u),
    "floor, ceil, round": lambda u: u - (u.floor() + u.ceil() + u.round() + u.trunc()) / 4,
    "maximum": lambda u: torch.maximum(u, -0.5 * u),
    "minimum": lambda u: torch.minimum(u, -0.5 * u),
    "gelu by tanh": lambda u: F.gelu(u, approximate="tanh"),
    "softplus with a threshold": lambda u: F.softplus(u, 2.0, 1.0),
    "selu": F.selu,
    "hardswish": F.hardswish,
    "logsigmoid": F.logsigmoid,
    "remainder of multiples": lambda u: u * torch.remainder(torch.round(4 * u), -2.0),
    "lerp": lambda u: torch.lerp(u, torch.tanh(u), torch.sigmoid(u)),
    "layer norm": lambda u: F.layer_norm(u, u.shape[-1:]),
    "rms norm": lambda u: F.rms_norm(u, u.shape[-1:]),
    "log softmax": lambda u: F.log_softmax(u, -1),
    "logsumexp": lambda u: u - u.logsumexp(-1, keepdim=True),
    "sum": lambda u: torch.tanh(u.sum(-1, keepdim=True) + u),
    "sum without its axis": lambda u: torch.tanh(u.sum(-1).unsqueeze(1) + u),
    "mean": lambda u: u - u.mean(-1, keepdim=True),
    "variance": lambda u: torch.tanh(u * u.var(-1, keepdim=True)),
    "variance without correction": lambda u: torch.tanh(u * u.var(-1, correction=0)[:, None]),
    "some features replaced": lambda u: u.slice_scatter(torch.sin(u[:, 1:3]), 1, 1, 3),
    "amax": lambda u: u - u.amax(-1, keepdim=True),
    "amax, detached": lambda u: u - u.detach().amax(-1, keepdim=True),
    "amin": lambda u: u - u.amin(-1, keepdim=True),
    "norm": lambda u: u / (1 + torch.linalg.vector_norm(u, dim=-1, keepdim=True)),
    "a column": lambda u: torch.tanh(u[:, 2:3] * u),
    "a column without its axis": lambda u: torch.tanh(u[:, 2].unsqueeze(1) * u),
    "columns in another order": lambda u: torch.tanh(torch.cat([u[:, 3:], u[:, 1:3], u[:, :1]], 1)),
    "columns stacked": lambda u: torch.stack([c * i for i, c in enumerate(u.unbind(1))], 1).sin(),
    "detach": lambda u: u + torch.tanh(u).detach(),
    "a chosen nan": lambda u: torch.where(u.isnan(), 0.0, u),
    "times a range": lambda u: torch.tanh(u * torch.arange(5)),
    "times a constant in float32": lambda u: u * torch.tensor(0.25),
    "count of comparisons": lambda u: torch.tanh(u) + (u > 0).sum(-1, keepdim=True),
    "sum and difference with a factor": lambda u: torch.sub(u, torch.add(1, u, alpha=2), alpha=0.3),
}


def learning(*shape, dtype=torch.float64):
    return draw(*shape, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_pointwise_work_and_reductions(name):
    layer = compiled(Pointwise(3, 5, FUNCTIONS[name]))
    assert_agrees(layer, learning(3, 4, 3), draw(3, 5))


def test_all_pointwise_work_and_reductions_in_one_step():
    layer = compiled(Pointwise(3, 5, lambda u: sum(torch.tanh(f(u)) for f in FUNCTIONS.values())))
    assert_agrees(layer, learning(3, 4, 3), draw(3, 5))


class Chain(Cell):
    """Products one after the other, each of what came before."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.A = nn.Linear(hidden_size, 7)
        self.B = nn.Linear(7, 2, bias=False)
        self.C = nn.Linear(2, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.C(torch.sin(self.B(torch.tanh(self.A(h) * 0.5)))) + self.W(x) * h)


class Leaky(Cell):
    """No product in the recurrence."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.decay = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        return torch.sigmoid(self.decay) * h + self.W(x)


class ThreeStates(Cell):
    """States of different sizes, the first of which depends on all."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.up = nn.Linear(2, hidden_size)
        self.down = nn.Linear(hidden_size, 2)
        self.mix = nn.Linear(hidden_size, 9)

    @property
    def state_sizes(self):
        return self.hidden_size, 2, 9

    def step(self, x, h, a, b):
        h = torch.tanh(self.W(x) + self.up(a) + b[:, : self.hidden_size])
        return h, 0.5 * a + self.down(h), torch.sin(self.mix(h)) + 0.1 * b


class FourStates(Cell):
    """One state goes round, one counts, one is handed on, one stays as it is."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h, before, count, fixed):
        return torch.tanh(self.W(torch.cat([x, before], 1)) + fixed), h, count + 1, fixed


class SwappedStates(Cell):
    """The states change places at every step."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h, c):
        return c, h + torch.tanh(self.W(x))


class Shared(Cell):
    """One matrix in two products, plain and transposed, and in pointwise work."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Parameter(torch.zeros(hidden_size, hidden_size))

    def step(self, x, h):
        return torch.tanh(self.W(x) + torch.sin(h @ self.U) @ self.U.T + self.U[0])


class OneLinear(Cell):
    """The same layer reads x and h."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, input_size)
        self.W = nn.Linear(input_size, input_size)

    def step(self, x, h):
        return torch.tanh(self.W(x) + 0.5 * self.W(h))


class Concatenated(Cell):
    """x and h side by side through one layer."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size + hidden_size, 2 * hidden_size)

    def step(self, x, h):
        z, n = self.W(torch.cat([x, h], -1)).chunk(2, -1)
        return h + torch.sigmoid(z) * (torch.tanh(n) - h)


class Buffers(Cell):
    """Buffers as numbers, as a matrix and as a choice."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.register_buffer("scale", torch.rand(hidden_size))
        self.register_buffer("M", torch.randn(hidden_size, hidden_size) / 3)

    def step(self, x, h):
        return torch.tanh(self.W(x) + (self.scale * h) @ self.M)


class FlagBuffer(Cell):
    """A buffer of truth values."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.register_buffer("on", torch.arange(hidden_size) % 2 == 0)

    def step(self, x, h):
        return torch.where(self.on, torch.tanh(self.W(x) + h), h)


class Constants(Cell):
    """Numbers and tensors that are no parameters."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.rate = 0.3
        self.steps = 2
        self.shift = torch.linspace(-1, 1, hidden_size, dtype=torch.float64)
        self.M = torch.linspace(-1, 1, hidden_size**2, dtype=torch.float64).view(hidden_size, -1)

    def step(self, x, h):
        new = torch.tanh(self.W(x) + (h @ self.M) / self.steps + self.shift)
        return (1 - self.rate) * h + self.rate * new


class Blind(Cell):
    """x is not read."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.U(h))


class Forgetful(Cell):
    """The state is not read."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.W(x))


class Unlearnt(Cell):
    """There are no parameters at all, and x is added as it is."""

    def step(self, x, h):
        return torch.sin(x.sum(-1, keepdim=True) + h)


class Unused(Cell):
    """A parameter that nothing depends on."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.idle = nn.Linear(2, 3)

    def step(self, x, h):
        return torch.tanh(self.W(x) + h)


class Network(Cell):
    """Modules in modules, with a normalisation that sees x and h."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.net = nn.Sequential(
            nn.Linear(input_size + hidden_size, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 5)
        )
        self.gain = nn.Parameter(torch.ones(()))

    def step(self, x, h):
        return h + self.gain * self.net(torch.cat([x, h], -1))


class Attending(Cell):
    """The state chooses among learned vectors by a softmax."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.keys = nn.Parameter(torch.zeros(6, hidden_size))

    def step(self, x, h):
        weights = torch.softmax(h @ self.keys.T, -1)
        return torch.tanh(self.W(x) + weights @ self.keys)


class Loops(Cell):
    """Python loops over matrices that are parameters of their own."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.ParameterList(nn.Parameter(torch.zeros(5, 5)) for _ in range(3))

    def step(self, x, h):
        u = self.W(x)
        for U in self.U:
            u = u + torch.tanh(h @ U)
            h = torch.addmm(u, h, U, beta=0.5, alpha=2)
        return torch.tanh(h)


class ReadsItsInput(Cell):
    """x itself, not a product of it, is what the gradients need."""

    def __init__(self, input_size, hidden_size):
        super().__init__(1, hidden_size)
        self.v = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, h):
        return torch.tanh(self.v * x + h)


class ChoosesByInput(Cell):
    """Comparisons of what depends on x alone, made before the loop and needed after it."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        u = self.W(x)
        return torch.where(u > 0.1, torch.tanh(torch.relu(u) + self.U(h)), h)


STRUCTURES = {
    cell.__name__: cell
    for cell in (
        Chain, Leaky, ThreeStates, FourStates, SwappedStates, Shared, OneLinear, Concatenated,
        Buffers, FlagBuffer, Constants, Blind, Forgetful, Unlearnt, Unused, Network, Attending,
        Loops, ReadsItsInput, ChoosesByInput,
    )
}  # fmt: skip
ALL = {**BUILT_IN, **CELLS, **STRUCTURES}
UNREAD = "the gradient of a state that no step reads is memory as it was found"


@pytest.mark.parametrize("input_size", [3, 9], ids=["in the loop", "hoisted"])
@pytest.mark.parametrize("name", ALL)
def test_in_float64(name, input_size, monkeypatch):
    """Products of x with few weights are done in the loop, others in front of it."""
    if input_size == 9:
        hoist_all(monkeypatch)
    layer = compiled(ALL[name](input_size, 5))
    start = tuple(draw(5, size) for size in layer.cell.state_sizes)
    start = start if len(start) > 1 else start[0]
    assert_agrees(layer, learning(5, 5, layer.input_size), start)
    x = draw(5, 6, layer.input_size)
    x[torch.arange(6) >= LENGTHS[:, None]] = math.nan
    assert_agrees(layer, x.requires_grad_(), start, LENGTHS)


@pytest.mark.parametrize("name", [n for n in ALL if n != "Constants"])  # they are of float64
def test_in_float32(name):
    """Beside the eager loop in float64, so that the error is the kernel's alone; with so many
    features of x that the way back reads products with them, and makes none again."""
    layer = compiled(ALL[name](9, 5), torch.float32)
    # a normalisation divides by a spread that may be small: the error grows by its inverse
    tolerance = 2e-5 if "norm" in name.lower() else 1e-5
    x = learning(5, 5, layer.input_size, dtype=torch.float32)
    assert_agrees(layer, x, tolerance=tolerance)


@pytest.mark.parametrize("input_size", [1, 4])
@pytest.mark.parametrize("hidden_size", [1, 16, 19, 33])
@pytest.mark.parametrize("name", ["lstm", "gru reset before", "LayerNormGRU"])
def test_sizes(name, hidden_size, input_size):
    cell = ALL[name](input_size, hidden_size)
    layer = compiled(cell)
    for batch in (1, 2, 3, 4, 5, 9):
        assert_agrees(layer, learning(batch, 3, input_size))
    assert_agrees(layer, learning(3, 1, input_size))


@pytest.mark.parametrize("hidden_size", [16, 33])
def test_sizes_in_float32(hidden_size):
    layer = compiled(LSTM(4, hidden_size), torch.float32)
    for batch in (1, 2, 3, 4, 5, 9):
        assert_agrees(layer, learning(batch, 3, 4, dtype=torch.float32))


def test_products_deeper_than_the_nearest_cache():
    """The inner size is taken in slices then, whose sums add up."""
    layer = compiled(SimpleRNN(2, 230))
    with torch.no_grad():
        layer.cell.U.weight.div_(8)
    for batch in (1, 6):
        assert_agrees(layer, learning(batch, 3, 2))


class Started(LSTM):
    """An LSTM that learns where to begin."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.start = nn.Parameter(torch.zeros(2, hidden_size))

    def initial_state(self, batch):
        return tuple(s.expand(batch, -1) for s in self.start)


@pytest.fixture(scope="module")
def lstm():
    torch.manual_seed(2)
    return compiled(LSTM(3, 5))


@pytest.fixture(scope="module")
def unscripted():
    """Another cell, whose gradients take two stages."""
    torch.manual_seed(3)
    return compiled(GRU(3, 5, reset="before"), reverse=True)


class TestSequences:
    @pytest.mark.parametrize("lengths", [None, LENGTHS, torch.tensor([4, 4, 4, 4, 4])])
    def test_in_reverse(self, unscripted, lengths):
        x = draw(5, 5, 3)
        if lengths is not None:
            x[torch.arange(5) >= lengths[:, None]] = math.nan
        assert_agrees(unscripted, x.requires_grad_(), draw(5, 5), lengths)

    def test_a_learned_initial_state(self):
        layer = compiled(Started(3, 5))
        assert_agrees(layer, learning(5, 5, 3))
        assert_agrees(layer, learning(5, 5, 3), None, LENGTHS)

    @pytest.mark.parametrize("lengths", [None, LENGTHS])
    @pytest.mark.parametrize("merge", ["concat", "mul"])
    def test_bidirectional(self, merge, lengths):
        layer = randomised(Bidirectional(Recurrent(LSTM(3, 5), backend="cpu"), merge=merge))
        start = tuple((draw(5, 5), draw(5, 5)) for _ in range(2))
        assert_agrees(layer, learning(5, 5, 3), start, lengths)

    @pytest.mark.parametrize("families", [(LSTM, Blind), (Blind, LSTM)])
    def test_one_direction_that_does_not_read_x(self, families):
        first, second = (family(3, 5) for family in families)
        layers = Recurrent(first, backend="cpu"), Recurrent(second, reverse=True, backend="cpu")
        layer = randomised(Bidirectional(layers[0], backward=layers[1]))
        assert outcome(layer, learning(5, 5, 3))["gradient of x"].any()
        assert_agrees(layer, learning(5, 5, 3))

    def test_stack(self):
        parts = [
            Recurrent(SimpleRNN(3, 5), backend="cpu"),
            Bidirectional(Recurrent(GRU(5, 4), backend="cpu")),
            Recurrent(LSTM(8, 2), reverse=True, backend="cpu"),
        ]
        assert_agrees(randomised(Stack(parts)), learning(5, 5, 3), None, LENGTHS)

    def test_continues_from_the_state_it_returned(self, lstm):
        x = draw(4, 9, 3)
        whole, end = lstm(x)
        first, middle = lstm(x[:, :4])
        rest, last = lstm(x[:, 4:], middle)
        assert torch.equal(torch.cat([first, rest], 1), whole)
        assert all(torch.equal(a, b) for a, b in zip(last, end, strict=True))

    def test_leaves_what_it_is_given(self, lstm):
        x, start = draw(4, 5, 3), (draw(4, 5), draw(4, 5))
        copies = [t.clone() for t in (x, *start)]
        y, last = lstm(x, start)
        (y.sum() + last[1].sum()).backward()
        lstm.zero_grad()
        assert all(torch.equal(a, b) for a, b in zip((x, *start), copies, strict=True))


class TestWhatIsAsked:
    @pytest.mark.parametrize("lengths", [None, LENGTHS])
    @pytest.mark.parametrize(
        "select",
        [
            lambda y, last: [y],
            lambda y, last: last,
            lambda y, last: [last[1]],
            lambda y, last: [y[:, 2]],
            lambda y, last: [y.sum().expand(3, 2)],
        ],
        ids=["y", "last states", "last c", "one step", "sum of y"],
    )
    def test_some_outputs_alone(self, lstm, select, lengths):
        x, start = learning(5, 5, 3), (draw(5, 5), draw(5, 5))
        assert_agrees(lstm, x, start, lengths, select=select)

    def test_no_gradient_for_x(self, lstm):
        assert_agrees(lstm, draw(5, 5, 3))

    @pytest.mark.parametrize("frozen", ["W", "U", "b", "W U b"])
    def test_frozen_parameters(self, frozen):
        layer = compiled(LSTM(3, 5))
        for name, p in layer.cell.named_parameters():
            p.requires_grad_(name.split(".")[0] not in frozen)
        assert_agrees(layer, learning(5, 5, 3), (draw(5, 5), draw(5, 5)))
        assert_agrees(layer, draw(5, 5, 3), (draw(5, 5), draw(5, 5)))

    def test_a_hidden_size_of_one_under_a_plain_sum(self):
        """The gradient of a sum is one number in all places, and the rows have no stride."""
        layer = compiled(SimpleRNN(3, 1))
        x = learning(4, 5, 3)
        twin = eager(layer)
        for part in (layer, twin):
            part(x)[0].sum().backward()
        for a, b in zip(layer.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


class TestMemory:
    @pytest.mark.parametrize(
        "view",
        [
            lambda: draw(5, 4, 3).transpose(0, 1),
            lambda: draw(4, 3, 5).transpose(1, 2),
            lambda: draw(4, 10, 6)[:, ::2, ::2],
            lambda: draw(4, 5, 1).expand(4, 5, 3),
            lambda: draw(1, 5, 3).expand(4, 5, 3),
            lambda: draw(4, 1, 3).expand(4, 5, 3),
            lambda: draw(4, 5, 3).flip(0)[1:],
        ],
        ids=["time first", "features first", "steps", "features", "rows", "times", "offset"],
    )
    @pytest.mark.parametrize("lengths", [None, [5, 1, 4]])
    def test_x_of_any_layout(self, lstm, view, lengths):
        x = view()[:3]
        assert_same(
            outcome(lstm, x, None, lengths),
            outcome(eager(lstm), x.contiguous(), None, lengths),
            1e-10,
        )

    def test_x_as_it_is_where_nothing_is_hoisted(self):
        """Without a product x goes into the loop in whatever layout it has."""
        layer = compiled(Unlearnt(4, 4))
        for x in (draw(5, 3, 4).transpose(0, 1), draw(3, 4, 5).mT, draw(3, 5, 8)[..., ::2]):
            assert_same(outcome(layer, x), outcome(eager(layer), x.contiguous()), 1e-10)

    def test_states_of_any_layout(self, lstm):
        x = learning(5, 4, 3)
        start = draw(5, 5).T, draw(1, 5).expand(5, 5)
        assert_agrees(lstm, x, start)

    @pytest.mark.parametrize("lengths", [None, torch.tensor([2, 5, 1, 5])], ids=["all", "ragged"])
    def test_outputs_may_be_changed_in_place(self, lengths):
        layer = compiled(LSTM(3, 5))
        x = draw(4, 5, 3)
        gradients = []
        for part in (layer, eager(layer)):
            y, (_, c) = part(x, lengths=lengths)
            c.mul_(3)
            loss = y.mul_(2).square().sum() + c.sum()
            gradients.append(torch.autograd.grad(loss, list(part.parameters())))
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


class TestModes:
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_the_same_numbers_without_gradients(self, lstm, mode):
        x = draw(4, 5, 3)
        y, last = lstm(x)
        with mode():
            other, other_last = lstm(x)
        assert not other.requires_grad
        assert torch.equal(y, other)
        assert all(torch.equal(a, b) for a, b in zip(last, other_last, strict=True))

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_learns_after_a_first_call_without_gradients(self, mode):
        layer = compiled(GRU(3, 5, reset="before"))
        with mode():
            layer(draw(4, 5, 3))
        assert_agrees(layer, learning(4, 5, 3))

    def test_both_types_from_one_layer(self):
        layer = compiled(GRU(3, 5))
        assert_agrees(layer, learning(4, 5, 3))
        assert_agrees(layer.float(), learning(4, 5, 3, dtype=torch.float32))
        assert_agrees(layer.double(), learning(4, 5, 3))
