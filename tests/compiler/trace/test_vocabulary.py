"""What people write in steps beside products and pointwise work, each beside the eager loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compiler.comparison import assert_agrees, compiled, draw, eager
from saiki import Cell, Recurrent
from saiki.errors import CompileError

pytestmark = pytest.mark.one_in(5)

INPUT, HIDDEN = 4, 6
LENGTHS = torch.tensor([3, 5, 1, 5])


class Written(Cell):
    """h ← f(self, W x, h), with parameters of any shape."""

    def __init__(self, f, hidden_size=HIDDEN, /, **shapes):
        super().__init__(INPUT, hidden_size)
        self.W = nn.Linear(INPUT, hidden_size)
        self.f = f
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)))

    def step(self, x, h):
        return self.f(self, self.W(x), h)


def heads(h, count=2):
    return h.view(-1, count, h.shape[-1] // count)


def block_diagonal(c, x, h):
    return torch.tanh(x + torch.einsum("bgi,gij->bgj", heads(h, 3), c.U).flatten(1))


def block_diagonal_by_bmm(c, x, h):
    return torch.tanh(x + torch.bmm(heads(h, 3).transpose(0, 1), c.U).transpose(0, 1).flatten(1))


def shared_by_heads(c, x, h):
    return torch.tanh(x + (heads(h) @ c.U).reshape(-1, HIDDEN))


def bilinear(c, x, h):
    return torch.tanh(x + torch.einsum("bi,ijk,bj->bk", h, c.U, torch.tanh(x)))


def softmax_per_head(c, x, h):
    return torch.tanh(x) + heads(h @ c.U).softmax(-1).flatten(1)


def attention_between_heads(c, x, h):
    q, k, v = heads(h @ c.U), heads(torch.tanh(x)), heads(h)
    return torch.tanh(x + ((q @ k.mT).softmax(-1) @ v).flatten(1))


def fast_weights(c, x, h):
    A, u = h[:, :9].view(-1, 3, 3), torch.tanh(x[:, :3])
    A = 0.9 * A + torch.bmm(u.unsqueeze(2), u.unsqueeze(1))
    return torch.cat([A.flatten(1), torch.tanh(torch.bmm(A, u.unsqueeze(2))[..., 0])], 1)


def linear_attention(c, x, h):
    S, k, v = h[:, :9].view(-1, 3, 3), torch.sigmoid(x[:, :3]), x[:, 3:6]
    S = S + torch.einsum("bi,bj->bij", k, v)
    y = torch.einsum("bi,bij->bj", torch.sigmoid(x[:, 6:9]), S)
    return torch.cat([S.reshape(-1, 9), y], 1)


def delta_rule(c, x, h):
    S, k, v = h[:, :9].view(-1, 3, 3), F.normalize(x[:, :3], dim=-1), x[:, 3:6]
    error = v - (S * k.unsqueeze(-1)).sum(1)
    S = S + k.unsqueeze(-1) * error.unsqueeze(1)
    return torch.cat([S.flatten(1), torch.tanh(error)], 1)


def multi_head_linear_attention(c, x, h):
    S = h.view(-1, 2, 2, 3)
    k, v = x[:, :4].sigmoid().view(-1, 2, 2), x[:, 4:10].view(-1, 2, 3)
    S = 0.9 * S + k[..., None] * v[:, :, None]
    return S.flatten(1)


def selective_state_space(c, x, h):
    dt, B = F.softplus(x[:, :3]), x[:, 3:7]
    decay = torch.exp(dt.unsqueeze(-1) * -torch.exp(c.A))
    return (decay * h.view(-1, 3, 4) + (dt * x[:, :3]).unsqueeze(-1) * B.unsqueeze(1)).flatten(1)


def liquid(c, x, h):
    f = torch.sigmoid(c.gamma * (h.unsqueeze(2) - c.mu))
    return h + 0.1 * ((c.w * f * (c.E - h.unsqueeze(1))).sum(1) - h + torch.tanh(x))


def turing(c, x, h):
    M, w = h.view(-1, 3, 4), x[:, :3].softmax(-1)
    M = M * (1 - w.unsqueeze(2) * torch.sigmoid(x[:, 4:8]).unsqueeze(1))
    M = M + w.unsqueeze(2) * torch.tanh(x[:, 8:12]).unsqueeze(1)
    read = F.cosine_similarity(M, x[:, :4].unsqueeze(1), dim=-1).softmax(-1)
    return (M + torch.einsum("bn,bnd->bd", read, M).unsqueeze(1) * 0.1).flatten(1)


def highest(c, x, h):
    value, _ = h.max(-1)
    return torch.tanh(x + h - value.unsqueeze(1))


def batch_norm(c, x, h):
    return torch.tanh(x + F.batch_norm(h, c.mean.detach(), c.spread.detach().exp(), c.g, c.b))


def gathered(c, x, h):
    return torch.tanh(x + h[:, torch.tensor([3, 0, 0, 5, 2, 1])])


def convolved(c, x, h):
    padded = F.pad(h, (1, 1))
    return torch.tanh(x + sum(padded[:, i : i + HIDDEN] * c.k[i] for i in range(3)))


def maxout(c, x, h):
    return torch.tanh(x + (h @ c.U).view(-1, HIDDEN, 2).max(-1).values)


U = {"U": (HIDDEN, HIDDEN)}
CELLS = {
    "einsum with a parameter": Written(
        lambda c, x, h: torch.tanh(x + torch.einsum("bi,ij->bj", h, c.U)), **U
    ),
    "einsum, transposed": Written(
        lambda c, x, h: torch.tanh(x + torch.einsum("ij,bj->bi", c.U, h)), **U
    ),
    "a permuted parameter": Written(lambda c, x, h: torch.tanh(x + h @ c.U.permute(1, 0)), **U),
    "a parameter on the left": Written(lambda c, x, h: torch.tanh(x + (c.U @ h.T).T), **U),
    "a matrix times each row": Written(
        lambda c, x, h: torch.tanh(x + (c.U @ h.unsqueeze(-1)).squeeze(-1)), **U
    ),
    "bmm with a parameter": Written(
        lambda c, x, h: torch.tanh(
            x + torch.bmm(h.unsqueeze(1), c.U.expand(len(h), -1, -1)).squeeze(1)
        ),
        **U,
    ),
    "tensordot": Written(lambda c, x, h: torch.tanh(x + torch.tensordot(h, c.U, 1)), **U),
    "bilinear": Written(bilinear, U=(HIDDEN, HIDDEN, HIDDEN)),
    "a bilinear layer": Written(
        lambda c, x, h: torch.tanh(x + F.bilinear(h, torch.tanh(x), c.U)),
        U=(HIDDEN, HIDDEN, HIDDEN),
    ),
    "block diagonal": Written(block_diagonal, U=(3, 2, 2)),
    "block diagonal by bmm": Written(block_diagonal_by_bmm, U=(3, 2, 2)),
    "shared by heads": Written(shared_by_heads, U=(3, 3)),
    "scaled by head": Written(
        lambda c, x, h: torch.tanh(x + (heads(h) * c.s[:, None]).flatten(1)), s=(2,)
    ),
    "softmax per head": Written(softmax_per_head, **U),
    "norm per head": Written(
        lambda c, x, h: torch.tanh(x + F.normalize(heads(h), dim=-1).flatten(1))
    ),
    "attention between heads": Written(attention_between_heads, **U),
    "chunks of heads": Written(
        lambda c, x, h: torch.tanh(x + torch.cat(heads(h).unbind(1)[::-1], 1))
    ),
    "shuffled channels": Written(
        lambda c, x, h: torch.tanh(x + heads(h).transpose(1, 2).reshape(-1, HIDDEN))
    ),
    "fast weights": Written(fast_weights, 12),
    "linear attention": Written(linear_attention, 12),
    "delta rule": Written(delta_rule, 12),
    "multi-head linear attention": Written(multi_head_linear_attention, 12),
    "selective state space": Written(selective_state_space, 12, A=(3, 4)),
    "liquid time constants": Written(
        liquid, gamma=(HIDDEN, HIDDEN), mu=(HIDDEN, HIDDEN), w=(HIDDEN, HIDDEN), E=(HIDDEN, HIDDEN)
    ),
    "neural Turing machine": Written(turing, 12),
    "max and its place": Written(highest),
    "max(-1).values": Written(lambda c, x, h: torch.tanh(x + h - h.max(-1, keepdim=True).values)),
    "min(-1).values": Written(lambda c, x, h: torch.tanh(x + h - h.min(-1).values[:, None])),
    "maxout": Written(maxout, U=(HIDDEN, 2 * HIDDEN)),
    "turned around twice": Written(
        lambda c, x, h: torch.tanh(x + (_turned(_turned(h.view(-1, 2, 2, 2))) * c.s).flatten(1)),
        8,
        s=(2, 2, 2),
    ),
    "a parameter turned around twice": Written(
        lambda c, x, h: torch.tanh(x + h @ (c.U.permute(1, 2, 0).permute(1, 2, 0) * c.V).sum(0)),
        U=(HIDDEN, HIDDEN, HIDDEN),
        V=(HIDDEN, HIDDEN, HIDDEN),
    ),
    "sum of a stack": Written(lambda c, x, h: torch.tanh(torch.stack([x, h, x * h]).sum(0))),
    "mean of a stack": Written(lambda c, x, h: torch.tanh(torch.stack([x, h, x * h], 1).mean(1))),
    "max of a stack": Written(lambda c, x, h: torch.tanh(torch.stack([x, h, x * h], -1).amax(-1))),
    "pad": Written(convolved, k=(3,)),
    "pad with a number": Written(
        lambda c, x, h: torch.tanh(x + F.pad(h[:, 2:], (2, 0), value=0.5))
    ),
    "circular pad": Written(
        lambda c, x, h: torch.tanh(
            x + F.pad(h[:, 1:-1].unsqueeze(1), (1, 1), mode="circular")[:, 0]
        )
    ),
    "unfold": Written(
        lambda c, x, h: torch.tanh(x[:, :5] + h.unfold(1, 2, 1).mean(-1)[:, :5]).repeat(1, 2)[:, :6]
    ),
    "repeat": Written(lambda c, x, h: torch.tanh(x + h[:, :3].repeat(1, 2))),
    "repeat_interleave": Written(lambda c, x, h: torch.tanh(x + h[:, :3].repeat_interleave(2, 1))),
    "tile": Written(lambda c, x, h: torch.tanh(x + h[:, :2].tile(3))),
    "roll": Written(lambda c, x, h: torch.tanh(x + torch.roll(h, 1, -1))),
    "flip": Written(lambda c, x, h: torch.tanh(x + h.flip(-1))),
    "every other": Written(lambda c, x, h: torch.tanh(x + torch.cat([h[:, ::2], h[:, 1::2]], 1))),
    "backwards by index": Written(gathered),
    "index_select": Written(
        lambda c, x, h: torch.tanh(x + h.index_select(1, torch.tensor([5, 4, 3, 2, 1, 0])))
    ),
    "one feature": Written(lambda c, x, h: torch.tanh(x + h[:, 2].unsqueeze(1) * h[:, -1:])),
    "written in parts": Written(
        lambda c, x, h: torch.tanh(x + h.clone().index_fill(1, torch.tensor([1]), 0.5))
    ),
    "a part assigned": Written(lambda c, x, h: torch.tanh(x + _assigned(h))),
    "diagonal": Written(lambda c, x, h: torch.tanh(x + h.diag_embed().diagonal(dim1=1, dim2=2))),
    "cumsum": Written(lambda c, x, h: torch.tanh(x + h.cumsum(-1))),
    "cumax": Written(lambda c, x, h: torch.tanh(x) * h.softmax(-1).cumsum(-1)),
    "logcumsumexp": Written(lambda c, x, h: torch.tanh(x + h.logcumsumexp(-1))),
    "prod": Written(lambda c, x, h: torch.tanh(x + h.prod(-1, keepdim=True))),
    "prod of a stack": Written(lambda c, x, h: torch.tanh(torch.stack([x, h, x + h]).prod(0))),
    "var_mean": Written(lambda c, x, h: torch.tanh(x + _normal(h))),
    "std": Written(lambda c, x, h: torch.tanh(x + h / (0.1 + h.std(-1, keepdim=True)))),
    "group norm": Written(
        lambda c, x, h: torch.tanh(x + F.group_norm(h, 2, c.g, c.b)), g=(HIDDEN,), b=(HIDDEN,)
    ),
    "instance norm of heads": Written(
        lambda c, x, h: torch.tanh(x + F.instance_norm(heads(h)).flatten(1))
    ),
    "layer norm per head": Written(
        lambda c, x, h: torch.tanh(x + F.layer_norm(heads(h), (3,)).flatten(1))
    ),
    "batch norm in evaluation": Written(
        batch_norm, mean=(HIDDEN,), spread=(HIDDEN,), g=(HIDDEN,), b=(HIDDEN,)
    ),
    "cosine similarity": Written(
        lambda c, x, h: torch.tanh(x + h * F.cosine_similarity(x, h, dim=-1).unsqueeze(1))
    ),
    "cosine similarity to parameters": Written(
        lambda c, x, h: torch.tanh(x + F.cosine_similarity(h.unsqueeze(1), c.U, dim=-1)), **U
    ),
    "distances to parameters": Written(
        lambda c, x, h: torch.tanh(x + (h.unsqueeze(1) - c.U).square().sum(-1)), **U
    ),
    "tensor bounds of clamp": Written(
        lambda c, x, h: torch.tanh(x + h.clamp(-c.s.exp(), torch.tanh(x))), s=(HIDDEN,)
    ),
    "a tensor bound of clamp": Written(lambda c, x, h: torch.tanh(x + h.clamp(max=x.abs()))),
    "log2": Written(lambda c, x, h: torch.tanh(x + torch.log2(1.1 + h * h))),
    "log10": Written(lambda c, x, h: torch.tanh(x + torch.log10(1.1 + h * h))),
    "exp2": Written(lambda c, x, h: torch.tanh(x + torch.exp2(torch.tanh(h)))),
    "atan": Written(lambda c, x, h: torch.tanh(x + torch.atan(3 * h))),
    "atan2": Written(lambda c, x, h: torch.tanh(x + torch.atan2(h, x))),
    "asin, acos": Written(
        lambda c, x, h: torch.tanh(
            x + torch.asin(0.9 * torch.tanh(h)) * torch.acos(0.5 * torch.sin(h))
        )
    ),
    "sinh": Written(lambda c, x, h: torch.tanh(x + torch.sinh(h))),
    "cosh": Written(lambda c, x, h: torch.tanh(x + torch.cosh(h))),
    "asinh": Written(lambda c, x, h: torch.tanh(x) + torch.asinh(h)),
    "acosh, atanh": Written(
        lambda c, x, h: torch.tanh(x + torch.acosh(1.5 + h * h) * torch.atanh(0.9 * torch.tanh(h)))
    ),
    "tan": Written(lambda c, x, h: torch.tanh(x + torch.tan(torch.tanh(h)))),
    "hypot": Written(lambda c, x, h: torch.tanh(torch.hypot(x, h + 0.1))),
    "logaddexp": Written(lambda c, x, h: torch.tanh(torch.logaddexp(x, h))),
    "logit": Written(lambda c, x, h: torch.tanh(x + torch.logit(0.1 + 0.8 * torch.sigmoid(h)))),
    "erfc, ndtr": Written(lambda c, x, h: torch.tanh(x + torch.erfc(h) * torch.special.ndtr(h))),
    "xlogy": Written(lambda c, x, h: torch.tanh(x + torch.xlogy(h.sigmoid(), h * h + 0.1))),
    "sinc": Written(lambda c, x, h: torch.tanh(x + torch.sinc(h + 0.1))),
    "remainder": Written(lambda c, x, h: torch.tanh(x + torch.remainder(h, 0.7))),
    "frac": Written(lambda c, x, h: torch.tanh(x + h.frac())),
    "square, copysign": Written(lambda c, x, h: torch.tanh(torch.copysign(h.square() + 0.1, x))),
    "heaviside": Written(
        lambda c, x, h: torch.tanh(
            x + h * torch.heaviside(h.detach(), torch.tensor(0.5, dtype=h.dtype))
        )
    ),
    "any": Written(
        lambda c, x, h: torch.where(
            (h > 0.5).any(-1, keepdim=True), torch.tanh(x), torch.tanh(x + h)
        )
    ),
    "all": Written(
        lambda c, x, h: torch.where(
            (h > -0.5).all(-1, keepdim=True), torch.tanh(x), torch.tanh(x + h)
        )
    ),
    "nan_to_num": Written(lambda c, x, h: torch.tanh(x + torch.nan_to_num(h))),
    "addcmul, addcdiv": Written(
        lambda c, x, h: torch.tanh(torch.addcmul(x, h, h, value=0.5).addcdiv(x, 1 + h * h))
    ),
    "glu": Written(lambda c, x, h: torch.tanh(x + F.glu(h @ c.U)), U=(HIDDEN, 2 * HIDDEN)),
    "outer by broadcasting": Written(
        lambda c, x, h: torch.tanh(x + (h.unsqueeze(2) * h.unsqueeze(1)).sum(2))
    ),
    "triangular": Written(lambda c, x, h: torch.tanh(x + h @ c.U.tril()), **U),
    "convolution": Written(
        lambda c, x, h: torch.tanh(x + F.conv1d(h.unsqueeze(1), c.k, padding=1).squeeze(1)),
        k=(1, 1, 3),
    ),
    "matrix exponential of a parameter": Written(
        lambda c, x, h: torch.tanh(x + h @ torch.matrix_exp(c.U - c.U.T)), **U
    ),
}


def _assigned(h):
    h = h.clone()
    h[:, 1:3] = 0.5
    h[:, 4] = h[:, 0] * 2
    return h


def _turned(A):
    return A.permute(0, 2, 3, 1)


def _normal(h):
    var, mean = torch.var_mean(h, -1, keepdim=True)
    return (h - mean) * torch.rsqrt(var + 0.1)


TURNS = {name: turn for turn, name in enumerate(CELLS)}


@pytest.mark.usefixtures("each_backend")
@pytest.mark.parametrize("name", CELLS)
def test_is_compiled_as_the_eager_loop_computes(name):
    """Forwards and in reverse by turns; in float32 too, for some."""
    for dtype in (torch.float64, torch.float32)[: 1 + (TURNS[name] % 4 == 3)]:
        torch.manual_seed(0)
        layer = compiled(CELLS[name], dtype, reverse=TURNS[name] % 2 == 1)
        x = draw(4, 5, INPUT, dtype=dtype).requires_grad_()
        start = 0.5 * draw(4, CELLS[name].hidden_size, dtype=dtype)
        tolerance = 1e-9 if dtype == torch.float64 else 2e-4
        for lengths in (None, LENGTHS):
            assert_agrees(layer, x, start, lengths, tolerance)


def test_nothing_spills_over_from_where_it_is_moved():
    """What is infinite in one feature is seen by those that it moves to and by no other."""
    functions = (
        lambda h: h.roll(1, -1),
        lambda h: heads(h).transpose(1, 2).flatten(1),
        lambda h: h[:, :3].repeat(1, 2),
        lambda h: heads(h).sum(1).repeat(1, 2),
        lambda h: h.cumsum(-1),
        lambda h: torch.cat([heads(h).amax(-1), h[:, 2:]], 1),
    )
    for function in functions:
        layer = compiled(Written(lambda c, x, h, f=function: x + f(h)))
        start = draw(3, HIDDEN)
        start[1, 1], start[2, 4] = math.inf, math.nan
        x = draw(3, 1, INPUT)
        actual, expected = (part(x, start)[0] for part in (layer, eager(layer)))
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_of_the_c_library_take_subnormals_for_zeros(dtype):
    """As the rest of the loop does; seen by their bits alone, they would be neither."""
    functions = (torch.atan2, torch.hypot, lambda h, x: 1 + torch.atan2(h, -x))
    small = torch.finfo(dtype).smallest_normal / 8
    h = torch.tensor([[small] * 6, [-small] * 6], dtype=dtype)
    for function in functions:
        layer = compiled(Written(lambda c, x, h, f=function: f(h, -1 - x * x)), dtype)
        x = draw(2, 1, INPUT, dtype=dtype)
        recurrent, expected = layer(x, h)[0], eager(layer)(x, h * 0)[0]
        torch.testing.assert_close(recurrent, expected)


@pytest.mark.parametrize("largest", [torch.max, torch.min])
def test_the_first_of_several_that_are_largest_gets_the_gradient(largest):
    layer = compiled(Written(lambda c, x, h: torch.tanh(x) * 0 + h * largest(h, -1)[0][:, None]))
    start = torch.tensor([[1.0, 2, 2, 0, 0, 2], [0, 0, 0, 0, 0, 0]]).double()
    assert_agrees(layer, draw(2, 1, INPUT).requires_grad_(), start, None, 1e-12)


class OfOneFeature(Cell):
    def step(self, x, h):
        return F.group_norm(x[:, :1].expand(-1, 6), 3)[:, 1:5]


def test_what_is_done_before_the_loop_may_lie_in_any_way():
    layer = Recurrent(OfOneFeature(7, 4).double(), backend="cpu")
    x = draw(3, 4, 7).requires_grad_()
    torch.testing.assert_close(layer(x)[0], eager(layer)(x)[0], rtol=1e-10, atol=1e-10)


def test_a_step_that_raises_for_a_batch_of_one_is_no_fault_of_the_kernel():
    """As a group norm does whose groups have one entry: it is refused by that name."""
    layer = compiled(Written(lambda c, x, h: torch.tanh(x + h + F.group_norm(h, HIDDEN))))
    with pytest.raises(CompileError, match="for a batch of one it raises ValueError"):
        layer(draw(3, 2, INPUT))
