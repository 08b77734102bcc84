"""Equations that the compiler once got wrong without a word: the numbers are those of ``step``.

A cell that cannot be compiled may run step by step, and says so; what it computes is the same.
"""

import collections
import copy
import functools
import math
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from compiler.changing import scaled, with_buffer
from compiler.twins import (
    BATCH,
    HIDDEN,
    TIME,
    TOLERANCE,
    assert_right,
    assert_same,
    cell,
    draw,
    inputs,
    layer,
    linear,
    results,
    step_by_step,
)
from saiki import Recurrent

pytestmark = [
    pytest.mark.one_in(5),
    pytest.mark.filterwarnings("ignore:running step by step:UserWarning"),
    pytest.mark.usefixtures("each_backend"),
]


@pytest.fixture(autouse=True)
def uninitialised_memory_holds_nan():
    """So that what is read before it is written cannot be right by chance."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def assert_right_twice(subject, others=(), size=None):
    """On two batches one after the other: the second meets what the first has left behind."""
    compiled = layer(subject)
    for seed in (3, 4):
        assert_right(compiled, inputs(size or subject.input_size, seed), others)


def _lstm(gates, c):
    i, f, g, o = gates.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _mixed(self, h):
    left, right = self.B(h).split(2, 1)
    return torch.tanh(self.A(torch.cat([right, h, left], 1)))


SLICES = {
    "a product of h beside a product": lambda: cell(
        lambda self, x, h: torch.tanh(self.A(torch.cat([h, self.B(h)], 1)) + x),
        inputs=4, A=linear(8, 4), B=linear(4, 4),
    ),
    "a product before h": lambda: cell(
        lambda self, x, h: torch.tanh(self.A(torch.cat([self.B(h), h], 1)) + x),
        inputs=4, A=linear(8, 4), B=linear(4, 4),
    ),
    "gates over x and a projection of h": lambda: cell(
        lambda self, x, h, c: _lstm(self.W(torch.cat([x, self.P(h)], 1)), c),
        W=linear(7, 16), P=linear(4, 4),
    ),
    "gates over x and a narrow projection": lambda: cell(
        lambda self, x, h, c: _lstm(self.W(torch.cat([x, self.P(h)], 1)), c),
        W=linear(5, 16), P=linear(4, 2, bias=False),
    ),
    "gates over many x and a projection": lambda: cell(
        lambda self, x, h, c: _lstm(self.W(torch.cat([x, self.P(h)], 1)), c),
        inputs=11, W=linear(15, 16), P=linear(4, 4),
    ),
    "a gated linear unit beside h": lambda: cell(
        lambda self, x, h: F.glu(torch.cat([self.U(h) + x, h], 1)), inputs=4, U=linear(4, 4)
    ),
    "a gated linear unit after h": lambda: cell(
        lambda self, x, h: F.glu(torch.cat([h, self.U(h) + x], 1)), inputs=4, U=linear(4, 4)
    ),
    "two projections": lambda: cell(
        lambda self, x, h: torch.tanh(self.A(torch.cat([self.B(h), x, self.C(h)], 1))),
        A=linear(9, 4), B=linear(4, 3), C=linear(4, 3),
    ),
    "a projection of a projection": lambda: cell(
        lambda self, x, h: torch.tanh(
            self.A(torch.cat([h, self.C(torch.cat([self.B(h), h], 1))], 1)) + self.W(x)
        ),
        A=linear(8, 4), B=linear(4, 4), C=linear(8, 4), W=linear(3, 4),
    ),
    "a slice of a product": lambda: cell(
        lambda self, x, h: torch.tanh(self.A(self.B(h)[:, 1:5]) + self.W(x)),
        A=linear(4, 4), B=linear(4, 7), W=linear(3, 4),
    ),
    "a slice of cats": lambda: cell(
        lambda self, x, h: torch.tanh(
            self.A(torch.cat([h, self.B(h), x], 1)[:, 2:9]) * self.B(h)
        ),
        A=linear(7, 4), B=linear(4, 4),
    ),
    "parts of a product in another order": lambda: cell(
        lambda self, x, h: _mixed(self, h) + self.W(x),
        A=linear(8, 4), B=linear(4, 4), W=linear(3, 4),
    ),
    "a stack of products": lambda: cell(
        lambda self, x, h: torch.tanh(
            self.A(torch.stack([self.B(h), h], 1).flatten(1)) + self.W(x)
        ),
        A=linear(8, 4), B=linear(4, 4), W=linear(3, 4),
    ),
    "two states across": lambda: cell(
        lambda self, x, h, c: (
            torch.tanh(self.A(torch.cat([c, self.B(h)], 1)) + self.W(x)),
            torch.tanh(self.A(torch.cat([h, self.B(c)], 1))),
        ),
        A=linear(8, 4), B=linear(4, 4), W=linear(3, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SLICES)
def test_products_of_slices_and_cats(case):
    assert_right_twice(SLICES[case]())


MANY = 11
"""Features of x, more than a loop multiplies by weights itself."""


def of_x(function, inputs=3, **modules):
    """What h is added to is made of x alone, so that it can be made before the loop."""
    return cell(
        lambda self, x, h: torch.tanh(function(self, x) + self.U(h)),
        inputs=inputs, U=linear(HIDDEN, HIDDEN), **modules,
    )  # fmt: skip


def gate_of_x(function, inputs=3, **modules):
    """The same as a factor, so that its gradient depends on the state."""
    return cell(
        lambda self, x, h: torch.tanh(self.U(h)) * function(self, x) + 0.1 * h,
        inputs=inputs, U=linear(HIDDEN, HIDDEN), **modules,
    )  # fmt: skip


def _heads(self, x):
    return self.W(x).view(-1, 2, 4)


def _pairs(self, x):
    return self.W(x).view(-1, 4, 2)


def _experts(self, x):
    weights = torch.softmax(self.G(x), -1)
    return (weights.unsqueeze(-1) * torch.stack([E(x) for E in self.experts], 1)).sum(1)


def _outer(self, x):
    return (self.W(x)[:, :2].unsqueeze(2) * self.V(x)[:, :2].unsqueeze(1)).flatten(1)


def _polar(self, x):
    z = torch.polar(torch.exp(0.1 * self.W(x)), self.V(x))
    return torch.cat([z.real[:, :2], z.imag[:, :2]], 1)


def _attention(self, x):
    q, k, v = (part.view(-1, 2, 2) for part in self.W(x).split(4, 1))
    return F.scaled_dot_product_attention(q, k, v).flatten(1)


OF_X = {
    "heads": (lambda s, x: torch.softmax(_heads(s, x), -1).sum(1), {"W": 8}),
    "heads side by side": (
        lambda s, x: torch.softmax(s.W(x).view(-1, 2, 2), -1).flatten(1), {"W": 4},
    ),
    "heads, log": (lambda s, x: torch.log_softmax(_heads(s, x), -1).sum(1), {"W": 8}),
    "heads, the other way": (lambda s, x: torch.softmax(_heads(s, x), 1).sum(1), {"W": 8}),
    "heads by unflatten": (lambda s, x: s.W(x).unflatten(1, (2, 4)).tanh().prod(1), {"W": 8}),
    "maxout": (lambda s, x: _pairs(s, x).amax(-1), {"W": 8}),
    "maxout with max": (lambda s, x: _pairs(s, x).max(-1).values, {"W": 8}),
    "maxout of chunks": (lambda s, x: torch.stack(s.W(x).chunk(2, 1)).amax(0), {"W": 8}),
    "log-sum-exp": (lambda s, x: _pairs(s, x).logsumexp(-1), {"W": 8}),
    "norms of heads": (lambda s, x: F.normalize(_heads(s, x), dim=-1).sum(1), {"W": 8}),
    "layer norms of heads": (lambda s, x: F.layer_norm(_heads(s, x), (4,)).sum(1), {"W": 8}),
    "root mean squares of heads": (
        lambda s, x: (_heads(s, x) * _heads(s, x).square().mean(-1, True).rsqrt()).sum(1),
        {"W": 8},
    ),
    "variances of heads": (lambda s, x: _pairs(s, x).var(-1), {"W": 8}),
    "group norm": (lambda s, x: F.group_norm(s.W(x), 2), {"W": 4}),
    "outer products": (_outer, {"W": 4, "V": 4}),
    "Fourier features": (lambda s, x: torch.fft.rfft(s.W(x)).abs(), {"W": 6}),
    "real part of a transform": (lambda s, x: torch.fft.fft(s.W(x)).real, {"W": 4}),
    "a transform and back": (
        lambda s, x: torch.fft.irfft(torch.fft.rfft(s.W(x)) * torch.fft.rfft(s.V(x)), n=4),
        {"W": 4, "V": 4},
    ),
    "a complex number of x": (lambda s, x: torch.complex(s.W(x), s.V(x)).abs(), {"W": 4, "V": 4}),
    "a complex exponential": (
        lambda s, x: torch.exp(torch.complex(0.1 * s.W(x), s.V(x))).real, {"W": 4, "V": 4},
    ),
    "polar": (_polar, {"W": 4, "V": 4}),
    "viewed as complex": (
        lambda s, x: torch.view_as_real(torch.view_as_complex(_pairs(s, x)).square()).sum(-1),
        {"W": 8},
    ),
    "einsum": (
        lambda s, x: torch.einsum("bi,bj,ijk->bk", s.W(x), s.V(x), s.T.weight.view(2, 2, 4)),
        {"W": 2, "V": 2, "T": (4, 4)},
    ),
    "bmm": (
        lambda s, x: torch.bmm(s.W(x).view(-1, 2, 4), s.V(x).view(-1, 4, 2)).flatten(1),
        {"W": 8, "V": 8},
    ),
    "matmul with a weight on the left": (
        lambda s, x: (s.T.weight @ s.W(x).view(-1, 4, 2)).sum(-1), {"W": 8, "T": (4, 4)},
    ),
    "attention among the heads of x": (_attention, {"W": 12}),
    "sorted": (lambda s, x: s.W(x).sort(-1).values, {"W": 4}),
    "the largest": (lambda s, x: s.W(x).topk(4).values, {"W": 7}),
    "summed up": (lambda s, x: s.W(x).cumsum(-1), {"W": 4}),
    "multiplied up": (lambda s, x: s.W(x).cumprod(-1), {"W": 4}),
    "padded": (lambda s, x: F.pad(s.W(x), (1, 1)), {"W": 2}),
    "rolled": (lambda s, x: s.W(x).roll(1, -1), {"W": 4}),
    "flipped": (lambda s, x: s.W(x).flip(-1) * s.W(x), {"W": 4}),
    "windows": (lambda s, x: s.W(x).unfold(1, 2, 2).prod(-1), {"W": 8}),
    "gathered": (lambda s, x: s.W(x)[:, [3, 0, 0, 2]], {"W": 4}),
    "repeated": (
        lambda s, x: s.W(x).repeat(1, 2) * s.V(x).repeat_interleave(2, 1), {"W": 2, "V": 2},
    ),
    "an embedding of what is largest": (
        lambda s, x: F.embedding(s.W(x).argmax(-1), s.T.weight), {"W": 4, "T": (4, 4)},
    ),
    "pooled": (lambda s, x: F.avg_pool1d(s.W(x).unsqueeze(1), 2).squeeze(1), {"W": 8}),
    "max-pooled": (lambda s, x: F.max_pool1d(s.W(x).unsqueeze(1), 2).squeeze(1), {"W": 8}),
    "an inverse": (
        lambda s, x: torch.linalg.inv(s.W(x).view(-1, 2, 2) + 5 * torch.eye(2).to(x)).flatten(1),
        {"W": 4},
    ),
    "a rotation": (
        lambda s, x: torch.matrix_exp(s.W(x).view(-1, 2, 2)).flatten(1), {"W": 4},
    ),
    "distances": (
        lambda s, x: (s.W(x).unsqueeze(1) - s.T.weight).norm(dim=-1), {"W": 4, "T": (4, 4)},
    ),
    "triangles": (lambda s, x: _heads(s, x)[:, :, :2].tril().flatten(1), {"W": 8}),
    "another layout": (lambda s, x: _pairs(s, x).transpose(1, 2).reshape(-1, 8)[:, 2:6], {"W": 8}),
    "bilinear": (
        lambda s, x: F.bilinear(s.W(x), s.V(x), s.T.weight.view(4, 2, 2)),
        {"W": 2, "V": 2, "T": (4, 4)},
    ),
}  # fmt: skip


def _modules(sizes):
    return {
        name: linear(*size) if isinstance(size, tuple) else linear(MANY, size)
        for name, size in sizes.items()
    }


@pytest.mark.parametrize("case", OF_X)
def test_what_is_made_of_x(case):
    function, sizes = OF_X[case]
    assert_right_twice(of_x(function, inputs=MANY, **_modules(sizes)))


@pytest.mark.parametrize(
    "case", ["heads side by side", "maxout", "norms of heads", "outer products", "polar", "bmm"]
)
def test_what_is_made_of_x_as_a_factor(case):
    function, sizes = OF_X[case]
    assert_right_twice(gate_of_x(function, inputs=MANY, **_modules(sizes)))


MODULES_OF_X = {
    "a mixture of experts": lambda: of_x(
        _experts, G=linear(MANY, 2), inputs=MANY,
        experts=nn.ModuleList([linear(MANY, 4), linear(MANY, 4)]),
    ),
    "GroupNorm": lambda: of_x(
        lambda s, x: s.norm(s.W(x)), norm=nn.GroupNorm(2, 4), W=linear(MANY, 4), inputs=MANY
    ),
    "LayerNorm of heads": lambda: of_x(
        lambda s, x: s.norm(_heads(s, x)).sum(1),
        norm=nn.LayerNorm(4), W=linear(MANY, 8), inputs=MANY,
    ),
    "Conv1d": lambda: of_x(
        lambda s, x: s.conv(x.unsqueeze(1)).flatten(1),
        conv=nn.Conv1d(1, 2, 2, padding=0), inputs=3,
    ),
    "Conv1d of many x": lambda: of_x(
        lambda s, x: s.conv(x.unsqueeze(1)).mean(-1), conv=nn.Conv1d(1, 4, 3, padding=1), inputs=12
    ),
    "Conv2d": lambda: of_x(
        lambda s, x: s.conv(x.view(-1, 1, 3, 4)).amax((2, 3)), conv=nn.Conv2d(1, 4, 2), inputs=12
    ),
    "a convolution, then a product": lambda: of_x(
        lambda s, x: s.W(s.conv(x.unsqueeze(1)).flatten(1)),
        conv=nn.Conv1d(1, 2, 2), W=linear(4, 4),
    ),
    "attention": lambda: of_x(
        lambda s, x: s.attention(*[s.W(x).view(-1, 2, 4)] * 3, need_weights=False)[0].sum(1),
        attention=nn.MultiheadAttention(4, 2, batch_first=True), W=linear(3, 8),
    ),
    "BatchNorm in evaluation": lambda: of_x(
        lambda s, x: s.norm(s.W(x)), norm=nn.BatchNorm1d(4).eval(), W=linear(3, 4)
    ),
    "Bilinear": lambda: of_x(lambda s, x: s.B(x, x), B=nn.Bilinear(3, 3, 4)),
    "PReLU": lambda: of_x(lambda s, x: s.f(s.W(x)), f=nn.PReLU(4), W=linear(3, 4)),
    "a few x in heads": lambda: of_x(
        lambda s, x: torch.softmax(s.W(x).view(-1, 2, 4), -1).sum(1), W=linear(3, 8)
    ),
    "x itself in heads": lambda: of_x(
        lambda s, x: torch.softmax(x.view(-1, 2, 4), -1).sum(1) * s.w,
        w=nn.Parameter(torch.ones(4)), inputs=8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MODULES_OF_X)
def test_modules_that_read_x(case):
    assert_right_twice(MODULES_OF_X[case]())


GLOBAL = torch.linspace(-1, 1, HIDDEN, dtype=torch.float64).requires_grad_()
GLOBAL_MODULE = nn.Linear(HIDDEN, HIDDEN).double()


def weight(*sizes):
    return draw(*(sizes or (HIDDEN,))).requires_grad_()


HOLDERS = {
    "attribute": lambda w: scaled(lambda self: self.w, w=w),
    "nested dict": lambda w: scaled(lambda self: self.w["a"][0]["b"], w={"a": [{"b": w}]}),
    "deque": lambda w: scaled(lambda self: self.w[0], w=collections.deque([w])),
    "field of an object": lambda w: scaled(lambda self: self.own.w, own=types.SimpleNamespace(w=w)),
    "closure": lambda w: cell(lambda self, x, h: torch.tanh(self.W(x) + w * h), W=linear(3, 4)),
    "buffer that learns": lambda w: with_buffer(scaled(lambda self: self.w), "w", w),
}


def attribute_matrix():
    w = weight(4, 4)
    return cell(lambda self, x, h: torch.tanh(self.W(x) + h @ self.w), W=linear(3, 4), w=w), [w]


def list_of_modules():
    parts = [linear(4, 4).double(), linear(4, 4).double()]
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.parts[0](h) * self.parts[1](h)),
        W=linear(3, 4), parts=parts,
    )  # fmt: skip
    return subject, [p for part in parts for p in part.parameters()]


def tensors_in_a_dict():
    w = {"decay": weight(), "gain": weight()}
    return scaled(lambda self: self.w["decay"] * self.w["gain"], w=w), list(w.values())


def tensors_in_a_tuple():
    w = weight(), weight()
    return scaled(lambda self: self.w[0] * self.w[1], w=w), list(w)


def parameters_in_a_list():
    w = [nn.Parameter(draw(4))]
    return scaled(lambda self: self.w[0], w=w), w


def module_level():
    return scaled(lambda self: GLOBAL), [GLOBAL]


def module_of_the_module():
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + GLOBAL_MODULE(h)), W=linear(3, 4))
    return subject, list(GLOBAL_MODULE.parameters())


def closure_of_a_method():
    w = weight()
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + self.read() * h), W=linear(3, 4))
    type(subject).read = lambda self: w.exp()
    return subject, [w]


def class_attribute():
    subject = scaled(lambda self: self.w)
    type(subject).w = w = weight()
    return subject, [w]


def keyword_of_a_partial():
    w = weight()
    read = functools.partial(torch.mul, other=w)
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.read(h)), W=linear(3, 4), read=read
    )
    return subject, [w]


def default_of_a_function():
    w = weight()

    def scaled(h, by=w):
        return by * h

    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + self.f(h)), W=linear(3, 4), f=scaled)
    return subject, [w]


def made_by_a_hypernetwork():
    hyper, code = linear(2, 4).double(), weight(2)
    return scaled(lambda self: self.w, w=hyper(code)), [code, hyper.weight, hyper.bias]


def matrix_made_by_a_hypernetwork():
    hyper, code = linear(2, 16).double(), weight(2)
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + h @ self.w),
        W=linear(3, 4), w=hyper(code).view(4, 4),
    )  # fmt: skip
    return subject, [code, hyper.weight, hyper.bias]


def buffer_made_by_a_hypernetwork():
    subject, code = scaled(lambda self: self.w), weight()
    subject.register_buffer("w", code.sigmoid())
    return subject, [code]


def view_of_another_module():
    table = nn.Embedding(7, 4).double()
    return scaled(lambda self: self.w, w=table.weight[2]), [table.weight]


def slot_of_a_module_outside():
    outside = linear(4, 4).double()
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.other[0](h)), W=linear(3, 4), other=[outside]
    )
    return subject, list(outside.parameters())


def bound_method_of_a_module_outside():
    outside = linear(4, 4).double()
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.f(h)), W=linear(3, 4), f=outside.forward
    )
    return subject, list(outside.parameters())


UNREGISTERED = [
    attribute_matrix, list_of_modules, tensors_in_a_dict, tensors_in_a_tuple, parameters_in_a_list,
    module_level, module_of_the_module, closure_of_a_method, class_attribute, keyword_of_a_partial,
    default_of_a_function, slot_of_a_module_outside, bound_method_of_a_module_outside,
]  # fmt: skip


@pytest.mark.parametrize("case", [*UNREGISTERED, *HOLDERS])
def test_tensors_that_are_no_parameters_get_their_gradients(case):
    w = weight()
    subject, others = (HOLDERS[case](w), [w]) if case in HOLDERS else case()
    compiled = layer(subject)
    assert_right(compiled, inputs(), others)
    with torch.no_grad():
        for tensor in others:
            if tensor.is_leaf:
                tensor.mul_(0.5).add_(0.1)  # as an optimiser does
    assert_right(compiled, inputs(seed=4), others)


MADE = [
    made_by_a_hypernetwork, matrix_made_by_a_hypernetwork, buffer_made_by_a_hypernetwork,
    view_of_another_module,
]  # fmt: skip


@pytest.mark.parametrize("case", MADE)
def test_tensors_that_are_made_outside_hand_their_gradients_on(case):
    subject, others = case()
    compiled = layer(subject)
    for seed in (3, 4):
        assert_right(compiled, inputs(seed=seed), others)


def on_weights(change):
    """A cell that multiplies its state by a copy of a weight, changed in place."""

    def step(self, x, h):
        w = self.U.weight.clone()
        seen = change(self, w)
        return torch.tanh(self.W(x) + h @ (w if seen is None else seen))

    return lambda: cell(step, W=linear(3, 4), U=linear(4, 4), v=nn.Parameter(draw(4)))


def on_rows(change):
    """A cell that changes a value of each row in place."""

    def step(self, x, h):
        u = self.U(h)
        seen = change(self, x, h, u)
        return torch.tanh(self.W(x) + (u if seen is None else seen))

    return lambda: cell(step, W=linear(3, 4), U=linear(4, 4), v=nn.Parameter(draw(4)))


def _parts(u):
    a, b = u[:, :2], u[:, 2:]
    a.add_(b)
    b.sub_(a)


def _view_before(u):
    part = u[:, :2]
    u.mul_(2)
    return torch.cat([part, u[:, 2:]], 1)


def _twice(u):
    whole = u.view(-1, 2, 2)
    whole[:, 0].add_(1)
    whole[:, :, 1].mul_(3)


def _filled(self, x, h):
    out = h.new_zeros(h.shape)
    out[:, :2] = self.U(h)[:, 1:3]
    out[:, 2:] += h[:, :2] * self.v[:2]
    return out


def _written(self, x, h):
    out = torch.empty_like(h)
    for i in range(4):
        out[:, i] = h[:, 3 - i] * self.v[i]
    return out


def _augmented(u, x):
    u += 0.5
    u *= 1.5
    u[:, 0] -= x[:, 0]


IN_PLACE = {
    "fill_diagonal_": on_weights(lambda s, w: w.fill_diagonal_(0)),
    "the diagonal zeroed": on_weights(lambda s, w: (w.diagonal().zero_(), None)[1]),
    "the diagonal filled": on_weights(lambda s, w: (w.diagonal().fill_(-1), None)[1]),
    "the diagonal replaced": on_weights(lambda s, w: (w.diagonal().copy_(s.v), None)[1]),
    "the diagonal scaled": on_weights(lambda s, w: (w.diagonal().mul_(s.v), None)[1]),
    "a row assigned": on_weights(lambda s, w: w.__setitem__(0, 0.0)),
    "columns assigned": on_weights(
        lambda s, w: w.__setitem__((slice(None), slice(1, 3)), s.v[:, None])
    ),
    "a block scaled": on_weights(lambda s, w: (w[:2, :2].mul_(0.5), None)[1]),
    "through the transposition": on_weights(lambda s, w: (w.t()[0].add_(s.v), None)[1]),
    "through a flat view": on_weights(lambda s, w: w.view(-1).__setitem__(3, 0.5)),
    "through select": on_weights(lambda s, w: (w.select(0, 1).zero_(), None)[1]),
    "through narrow": on_weights(lambda s, w: (w.narrow(0, 2, 2).tanh_(), None)[1]),
    "a view of a view": on_weights(lambda s, w: (w[1:][:, 1:][0].exp_(), None)[1]),
    "triangles": on_weights(lambda s, w: (w.tril_(), None)[1]),
    "masked": on_weights(lambda s, w: (w.masked_fill_(w > 0.2, 0.2), None)[1]),
    "by index": on_weights(
        lambda s, w: (w.index_add_(0, torch.tensor([1, 1]), w[2:].clone()), None)[1]
    ),
    "a mask of booleans": on_weights(lambda s, w: w.__setitem__(torch.eye(4).bool(), 0.0)),
    "a view of u": on_rows(lambda s, x, h, u: _view_before(u)),
    "a column of u": on_rows(lambda s, x, h, u: u.__setitem__((slice(None), 0), 0.0)),
    "every other column of u": on_rows(
        lambda s, x, h, u: u.__setitem__((slice(None), slice(None, None, 2)), 0.5)
    ),
    "columns of u from x": on_rows(
        lambda s, x, h, u: u.__setitem__((slice(None), slice(0, 3)), x * s.v[:3])
    ),
    "columns of u scaled": on_rows(lambda s, x, h, u: (u[:, 1:3].mul_(x[:, :2]), None)[1]),
    "halves of u": on_rows(lambda s, x, h, u: _parts(u)),
    "heads of u": on_rows(lambda s, x, h, u: _twice(u)),
    "augmented": on_rows(lambda s, x, h, u: _augmented(u, x)),
    "u masked": on_rows(lambda s, x, h, u: (u[:, :2].masked_fill_(u[:, 2:] > 0, 0.0), None)[1]),
    "a copy of h": on_rows(lambda s, x, h, u: h.clone().index_copy(1, torch.tensor([0]), u[:, :1])),
    "zeros filled": on_rows(lambda s, x, h, u: _filled(s, x, h)),
    "room filled": on_rows(lambda s, x, h, u: _written(s, x, h)),
    "scattered": on_rows(
        lambda s, x, h, u: (u.scatter_(1, torch.zeros_like(u[:, :1]).long(), h[:, :1]), None)[1]
    ),
    "copied over": on_rows(lambda s, x, h, u: u.copy_(h * s.v)),
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_changes_in_place(case):
    assert_right_twice(IN_PLACE[case]())


def of_weights(function):
    """A cell that multiplies its state by a matrix made of a weight."""
    return lambda: cell(
        lambda self, x, h: torch.tanh(self.W(x) + h @ function(self.U.weight)),
        W=linear(3, 4), U=linear(4, 4),
    )  # fmt: skip


MATRICES = {
    "qr": of_weights(lambda w: torch.linalg.qr(w)[0]),
    "qr, both": of_weights(lambda w: torch.linalg.qr(w).Q * torch.linalg.qr(w).R.sum()),
    "qr of a tall matrix": of_weights(lambda w: torch.linalg.qr(w[:, :2]).Q @ w[:2]),
    "a product of reflections": of_weights(
        lambda w: torch.linalg.householder_product(w[:, :2], w[0, :2])[:, :2] @ w[:2]
    ),
    "an exponential": of_weights(lambda w: torch.matrix_exp(w - w.T)),
    "Cayley": of_weights(
        lambda w: torch.linalg.solve(torch.eye(4).to(w) + w - w.T, torch.eye(4).to(w) - w + w.T)
    ),
    "an inverse": of_weights(lambda w: torch.linalg.inv(w @ w.T + torch.eye(4).to(w))),
    "Cholesky": of_weights(lambda w: torch.linalg.cholesky(w @ w.T + torch.eye(4).to(w))),
    "eigenvalues": of_weights(lambda w: torch.diag(torch.linalg.eigvalsh(w + w.T))),
    "singular values": of_weights(lambda w: w / torch.linalg.svdvals(w)[0]),
    "a norm": of_weights(lambda w: w / torch.linalg.matrix_norm(w, 2)),
    "a determinant": of_weights(lambda w: w * torch.linalg.det(w)),
    "Kronecker": of_weights(lambda w: torch.kron(w[:2, :2], w[2:, 2:])),
    "circulant": of_weights(lambda w: torch.stack([w[0].roll(i) for i in range(4)])),
    "a transform": of_weights(lambda w: torch.fft.fft(w).real),
    "a softmax": of_weights(lambda w: torch.softmax(w, -1)),
    "the largest kept": of_weights(lambda w: w * (w.abs() >= w.abs().flatten().kthvalue(5).values)),
    "a straight-through sign": of_weights(lambda w: w + (w.sign() - w).detach()),
}


@pytest.mark.parametrize("case", MATRICES)
def test_matrices_made_of_weights(case):
    assert_right_twice(MATRICES[case]())


def contents(value, seen=None):
    """What a cell holds at any depth, tensors as their numbers."""
    seen = seen or ()
    if id(value) in seen:
        return "again"
    seen = (*seen, id(value))
    if isinstance(value, torch.Tensor):
        assert type(value) in (torch.Tensor, nn.Parameter), f"a {type(value).__name__} is left over"
        return value.detach().clone().tolist()
    if isinstance(value, nn.Module):
        named = {**value._parameters, **value._buffers, **value._modules}
        own = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        return {name: contents(v, seen) for name, v in {**named, **own}.items()}
    if isinstance(value, dict):
        return {name: contents(v, seen) for name, v in value.items()}
    if isinstance(value, list | tuple | collections.deque):
        return [contents(v, seen) for v in value]
    return value if isinstance(value, int | float | str | None) else type(value).__name__


def assert_same_contents(actual, expected):
    """Equal in every name and number, but for rounding."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            assert_same_contents(actual[name], value)
    elif isinstance(expected, list):
        assert isinstance(actual, list)
        assert len(actual) == len(expected)
        for a, b in zip(actual, expected, strict=True):
            assert_same_contents(a, b)
    elif isinstance(expected, float):
        assert actual == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    else:
        assert actual == expected


def remembers(note, **attributes):
    """A cell that notes something at each step of training, and goes on as if it had not."""

    def step(self, x, h):
        h = torch.tanh(self.W(x) + self.U(h))
        if self.training:
            note(self, x, h)
        return h

    return cell(step, W=linear(3, 4), U=linear(4, 4), **attributes)


def _average(self, x, h):
    self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)


def _average_in_place(self, x, h):
    with torch.no_grad():
        self.mean.mul_(0.9).add_(0.1 * h.mean(0))


def _average_of_data(self, x, h):
    self.mean.data.lerp_(h.detach().mean(0), 0.1)


def _count(self, x, h):
    self.count += 1


def _norm(self, x, h):
    self.norm(h.detach())


def _weights_move(self, x, h):
    with torch.no_grad():
        self.slow.lerp_(self.U.weight, 0.1)


def _normalised(self, x, h):
    if self.training:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
    return torch.tanh(self.W(x - self.mean) + self.U(h))


def _weights_shrink(self, x, h):
    if self.training:
        with torch.no_grad():
            self.U.weight.mul_(0.99)
    return torch.tanh(self.W(x) + h @ self.U.weight.detach().clone())


def _clock(self, x, h):
    if self.training:
        self.count += 1
    return torch.tanh(self.W(x) + self.U(h)) * (0.5 if self.count % 3 == 0 else 1.0)


def _annealed(self, x, h):
    if self.training:
        self.rate *= 0.9
    return torch.tanh(self.W(x) + self.rate * self.U(h))


STATEFUL = {
    "an average": lambda: remembers(_average, mean=draw(4)),
    "an average as a buffer": lambda: with_buffer(remembers(_average)),
    "an average in place": lambda: remembers(_average_in_place, mean=draw(4)),
    "a buffer in place": lambda: with_buffer(remembers(_average_in_place)),
    "the data of a buffer": lambda: with_buffer(remembers(_average_of_data)),
    "an average that is read": lambda: cell(
        _normalised, W=linear(3, 4), U=linear(4, 4), mean=draw(3)
    ),
    "a buffer that is read": lambda: with_buffer(
        cell(_normalised, W=linear(3, 4), U=linear(4, 4)), value=draw(3)
    ),
    "a counter": lambda: remembers(_count, count=0),
    "a counter as a buffer": lambda: with_buffer(remembers(_count), "count", torch.tensor(0)),
    "a counter that is read": lambda: cell(_clock, W=linear(3, 4), U=linear(4, 4), count=0),
    "a rate that falls": lambda: cell(_annealed, W=linear(3, 4), U=linear(4, 4), rate=1.0),
    "a weight that moves": lambda: with_buffer(remembers(_weights_move), "slow", draw(4, 4)),
    "a weight that shrinks": lambda: cell(_weights_shrink, W=linear(3, 4), U=linear(4, 4)),
    "the last state": lambda: remembers(lambda s, x, h: setattr(s, "seen", h.detach()), seen=None),
    "the last state with its graph": lambda: remembers(
        lambda s, x, h: setattr(s, "seen", h), seen=None
    ),
    "what was made of x": lambda: remembers(lambda s, x, h: setattr(s, "seen", s.W(x)), seen=None),
    "a list": lambda: remembers(lambda s, x, h: s.seen.append(h.detach()), seen=[]),
    "a list of numbers": lambda: remembers(lambda s, x, h: s.seen.append(len(s.seen)), seen=[]),
    "a dict": lambda: remembers(lambda s, x, h: s.seen.update(last=h.detach()), seen={}),
    "a deque": lambda: remembers(
        lambda s, x, h: s.seen.append(h.detach()), seen=collections.deque(maxlen=2)
    ),
    "a field of a field": lambda: remembers(lambda s, x, h: s.seen["a"].append(1), seen={"a": []}),
    "a new attribute": lambda: remembers(lambda s, x, h: setattr(s, "seen_once", True)),
    "statistics of a BatchNorm": lambda: remembers(_norm, norm=nn.BatchNorm1d(4)),
    "spectral norm": lambda: cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.U(h)),
        W=linear(3, 4), U=parametrizations.spectral_norm(linear(4, 4)),
    ),
    "spectral norm of what reads x": lambda: cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.U(h)),
        W=parametrizations.spectral_norm(linear(3, 4)), U=linear(4, 4),
    ),
    "spectral norm as it was": lambda: cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.U(h)),
        W=linear(3, 4), U=nn.utils.spectral_norm(linear(4, 4)),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*spectral_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("case", STATEFUL)
def test_what_a_cell_keeps_for_itself(case):
    compiled = layer(STATEFUL[case]().eval())
    twin = copy.deepcopy(compiled)
    twin.backend = "eager"
    for part in (compiled, twin):
        part.train()
    for seed in (3, 4, 5):
        x = inputs(seed=seed)
        expected = results(twin, x)
        assert_same(results(compiled, x), expected, TOLERANCE)
        assert_same_contents(contents(compiled.cell), contents(twin.cell))
    for part in (compiled, twin):
        part.eval()
    x = inputs(seed=6)
    assert_same(results(compiled, x), results(twin, x), TOLERANCE)


SEEN = []


def test_what_a_step_leaves_outside():
    SEEN.clear()
    count = 0

    def step(self, x, h):
        nonlocal count
        count += 1
        h = torch.tanh(self.W(x) + h)
        SEEN.append(h.detach())
        return h

    compiled = layer(cell(step, W=linear(3, 4)))
    SEEN.clear()
    count = 0
    y, _ = compiled(inputs())
    assert count == TIME
    assert_same({"y": torch.stack(SEEN, 1)}, {"y": y.detach()}, TOLERANCE)


def rowwise(function):
    """A cell whose step does to its sum what the function says."""
    return lambda: cell(
        lambda self, x, h: torch.tanh(function(self.W(x) + self.U(h), x, h)),
        W=linear(3, 4), U=linear(4, 4),
    )  # fmt: skip


def _under_autocast(u, x, h):
    with torch.autocast("cpu", torch.bfloat16):
        return (u @ h.new_ones(4, 4)).to(h)


def _casts_weights(self, x, h):
    return torch.tanh(self.W(x) + h @ self.U.weight.bfloat16().double())


CASTS = {
    "float": rowwise(lambda u, x, h: u.float().double()),
    "half": rowwise(lambda u, x, h: u.half().to(h)),
    "bfloat16": rowwise(lambda u, x, h: u.to(torch.bfloat16).type_as(h)),
    "of x": rowwise(lambda u, x, h: u + x.half().double().sum(-1, True)),
    "of h": rowwise(lambda u, x, h: u * h.float().double()),
    "of weights": lambda: cell(_casts_weights, W=linear(3, 4), U=linear(4, 4)),
    "whole numbers": rowwise(lambda u, x, h: u + (3 * h).int().double()),
    "whole numbers of x": rowwise(lambda u, x, h: u + (3 * x).long().double().sum(-1, True)),
    "comparisons": rowwise(lambda u, x, h: u * (h > 0).double() + u * (u > 0.3).float().double()),
    "a sum in another type": rowwise(
        lambda u, x, h: u + u.sum(-1, True, dtype=torch.float32).to(h)
    ),
    "a softmax in another type": rowwise(lambda u, x, h: u.softmax(-1, dtype=torch.float32).to(h)),
    "an inner autocast": rowwise(_under_autocast),
    "a cast that rounds": rowwise(lambda u, x, h: u.round(decimals=1) + u),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*autocast.*:UserWarning")
@pytest.mark.parametrize("case", CASTS)
def test_casts_inside_the_loop(case):
    subject = CASTS[case]()
    compiled = layer(subject)
    # the eager loop rounds the gradient of a weight at each step, a kernel once, at the end
    rounded = {"a softmax in another type": 1e-7, "of weights": torch.finfo(torch.bfloat16).eps}
    for seed in (3, 4):
        assert_right(compiled, inputs(seed=seed), tolerance=rounded.get(case, TOLERANCE))


def test_a_wider_type_inside_the_loop():
    """What is smaller than float32 can tell is seen in float64."""

    def step(self, x, h):
        u = (self.W(x) + h).double()
        return torch.tanh(((1 + 1e-9 * u) - 1) * 1e9).float()

    compiled = layer(cell(step, W=linear(3, 4)).float())
    x = inputs().float()
    assert_right(compiled, x, tolerance=1e-4)


SIZES = {
    "divided by the rows": rowwise(lambda u, x, h: u / len(x)),
    "divided by the shape": rowwise(lambda u, x, h: u / x.shape[0]),
    "divided by the size": rowwise(lambda u, x, h: u * h.size(0) / 4),
    "what is made of x": rowwise(lambda u, x, h: u + x.sum(-1, True) / len(x)),
    "a root": rowwise(lambda u, x, h: u / math.sqrt(x.shape[0])),
    "all entries": rowwise(lambda u, x, h: u / x.numel()),
    "the number of each row": rowwise(lambda u, x, h: u + torch.arange(len(x)).to(x)[:, None]),
    "a line over the rows": rowwise(
        lambda u, x, h: u * torch.linspace(0, 1, len(x), dtype=x.dtype)[:, None]
    ),
    "filled with the rows": rowwise(lambda u, x, h: u + x.new_full((len(x), 1), float(len(x)))),
    "where": rowwise(lambda u, x, h: torch.where(torch.tensor(x.shape[0] > 5), u, -u)),
    "where there are many": rowwise(lambda u, x, h: torch.where(torch.tensor(len(h) > 100), -u, u)),
    "if there are many": rowwise(lambda u, x, h: -u if len(x) > 100 else u),
    "a loop over rows": rowwise(
        lambda u, x, h: u + sum(0.1 * i for i in range(min(len(x), 8))) if len(x) < 50 else u
    ),
    "a unit matrix": rowwise(lambda u, x, h: torch.eye(len(x), dtype=x.dtype) @ u),
    "clamped": rowwise(lambda u, x, h: u.clamp(max=1 / len(x))),
    "to a power": rowwise(lambda u, x, h: torch.sigmoid(u) ** x.shape[0]),
    "a modulus": rowwise(lambda u, x, h: u * (x.shape[0] % 4)),
    "in a tensor": rowwise(lambda u, x, h: u / torch.tensor(float(len(x))).to(x)),
    "the shape as a tensor": rowwise(lambda u, x, h: u / torch.tensor(x.shape).to(x)[0]),
    "strides": rowwise(lambda u, x, h: u * u.contiguous().stride(0)),
}


@pytest.mark.parametrize("case", SIZES)
def test_sizes_of_the_batch_as_numbers(case):
    compiled = layer(SIZES[case]())
    for rows in (BATCH, 2, 7):
        assert_right(compiled, inputs(rows=rows))


@pytest.mark.parametrize("case", ["divided by the rows", "the number of each row"])
def test_sizes_of_the_batch_where_rows_end(case):
    compiled = layer(SIZES[case]())
    assert_right(compiled, inputs(), lengths=torch.tensor([6, 2, 4, 4, 1]))


def test_a_complex_parameter_gets_its_gradient():
    """The eigenvalues of a linear recurrent unit as they are written (Orvieto et al. 2023)."""
    eigenvalues = nn.Parameter(0.5 * torch.randn(4, dtype=torch.complex128))
    subject = cell(lambda self, x, h: (self.e * torch.complex(h, self.W(x))).real, W=linear(3, 4))
    subject.e = eigenvalues
    compiled, x = layer(subject), inputs()
    expected = results(step_by_step(compiled), x)
    for name, value in results(compiled, x).items():
        assert torch.allclose(value, expected[name]), name
    assert expected["gradient of cell.e"].abs().min() > 0


def test_every_other_feature_beside_all_of_them():
    """A slice with a step is no run of features, wherever it goes."""

    def step(self, x, h):
        with torch.no_grad():
            u = torch.tanh(self.A(h))
        return torch.cat([u, u[:, ::2]], 1)

    subject = cell(step, inputs=5, hidden=8, A=linear(8, 5))
    expected = Recurrent(subject, backend="eager")(inputs(5))[0]
    compiled = Recurrent(subject, backend="cpu")(inputs(5))[0]
    torch.testing.assert_close(compiled, expected, rtol=1e-12, atol=1e-12)
