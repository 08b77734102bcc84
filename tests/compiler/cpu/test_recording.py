"""Recorded functions beside the same functions, for one batch after another."""

import itertools
import random

import pytest
import torch
from torch.nn import functional as F

from compiler.comparison import draw, randomised
from compiler.random_cells import generate, load
from compiler.test_against_eager import ALL
from saiki import Bidirectional, Cell, Recurrent, Stack
from saiki.cells import GRU, LSTM
from saiki.compiler.cpu.recording import recorder
from saiki.compiler.cpu.recording.recorder import Native
from saiki.errors import CompileError

pytestmark = pytest.mark.one_in(5)

FLOATS = [torch.float32, torch.float64]


def agrees(function, *shapes, dtype=torch.float64, seed=0, count=3):
    """Record the function for one batch, and compare for others."""
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]

    native = Native(lambda batch: list(function(*batch)), draw())
    rounding = 1e3 * torch.finfo(dtype).eps
    for _ in range(count):
        batch = draw()
        before = [tensor.clone() for tensor in batch]
        actual = [t.clone() for t in native(batch)]
        assert all(map(torch.equal, batch, before))
        wanted = list(function(*[tensor.clone() for tensor in batch]))
        for a, b in zip(actual, wanted, strict=True):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=rounding, atol=rounding)


def changed_in_place(x, y):
    z = x.clone()
    z.mul_(y).add_(1, alpha=2).clamp_min_(-0.5)
    z[:, 1:3] = y[:, :2]
    z[0].zero_()
    z[1, ::2].fill_(3.0)
    return (z,)


def one_by_one(x, y):
    parts = [x.clone(), y[0].clone()]
    norms = torch._foreach_norm(parts, 2.0)
    torch._foreach_mul_(parts, norms[0])
    torch._foreach_clamp_max_(parts, 1.5)
    return (*parts, torch.stack(norms))


POINTWISE = {
    "arithmetic": lambda x, y: (x + y, x - 2 * y, 3 - x, x * y / (1 + y * y), -x, x.reciprocal()),
    "functions": lambda x, y: (x.exp(), x.tanh(), y.sigmoid(), x.abs().sqrt(), (x * x).log1p()),
    "powers": lambda x, y: (x**2, x**3, x.abs() ** 1.5, 2.0**x),
    "limits": lambda x, y: (x.clamp(-0.5, 0.5), torch.maximum(x, y), x.relu(), x.clamp_min(0)),
    "choices": lambda x, y: (torch.where(x > y, x, 0.5 * y), x * (y > 0), (x > 0) & (y > 0)),
    "copies": lambda x, y: (x.t().contiguous(), x.t().clone().unsqueeze_(0), x[1:, ::2] * 1),
    "perhaps a view": lambda x, y: (
        torch.ops.aten.contiguous(x.t()), torch.ops.aten.contiguous(x) * 2,
        torch.ops.aten.reshape(y.t(), (-1,)), torch.ops.aten.flatten(y) + 1,
    ),
    "places": lambda x, y: (torch.where(torch.arange(x.shape[1]) == 2, x, y), x.tril()),
    "broadcast": lambda x, y: (x + y[0], x * y[:, :1], x.t() - y[:, 0], x + 1.5, y[2, 3] * x),
    "pieces": lambda x, y: (torch.cat((x, y), 1), torch.stack((x, y)), torch.cat((x[:2], y))),
    "in place": changed_in_place,
    "one by one": one_by_one,
    "losses": lambda x, y: (
        F.mse_loss(x, y),
        F.binary_cross_entropy_with_logits(x, y.sigmoid()),
        F.smooth_l1_loss(x, y),
    ),
    "constants": lambda x, y: (torch.zeros_like(x) + 1, torch.full((3,), 2.0, dtype=x.dtype)),
    "reductions": lambda x, y: (
        x.sum(), x.sum(0), x.sum(1), x.sum((0, 1), True), x.mean(), y.mean(1, True),
        x.amax(1), y.amin(0), x.t().sum(0), x[:, ::2].sum(1), (x > 0).to(x.dtype).sum(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(4, 5), (17, 33), (5, 40)])
@pytest.mark.parametrize("name", POINTWISE)
def test_operations(name, shape, dtype):
    agrees(POINTWISE[name], shape, shape, dtype=dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("rows", "inner", "columns"),
    [*itertools.product([1, 3, 9], [1, 7, 35], [1, 5, 37])],
)
def test_products(rows, inner, columns, dtype):
    def products(x, y, b, s, w):
        return (
            x @ y, torch.addmm(b, x, y), torch.addmm(s, x, y), y.t() @ x.t(),
            torch.addmm(w[::2], x, y),
            x.t().contiguous().t() @ y, x @ y.t().contiguous().t(), x.t() @ (x @ y),
            torch.bmm(torch.stack((x, 2 * x)), torch.stack((y, y))), x @ y[:, 0], y[:, 0] @ x.t(),
            torch.baddbmm(b.expand(2, rows, columns), torch.stack((x, x)), torch.stack((y, -y))),
        )  # fmt: skip

    shapes = (rows, inner), (inner, columns), (columns,), (rows, 1), (2 * columns,)
    agrees(products, *shapes, dtype=dtype)


def test_any_strides_and_sizes():
    """Views of views, drawn at random, under operations of all kinds."""
    chosen = random.Random(0)
    for seed in range(60):
        rank = chosen.randint(1, 4)
        shape = tuple(chosen.choice([1, 2, 3, 8, 16, 19]) for _ in range(rank))
        order = chosen.sample(range(rank), rank)
        over = chosen.sample(range(rank), chosen.randint(1, rank))
        cut = chosen.randrange(rank)
        step = chosen.choice([1, 2])

        def work(x, y, order=order, over=over, cut=cut, step=step):
            slices = [slice(None)] * x.ndim
            slices[cut] = slice(0, None, step)
            a, b = x.permute(order), y[tuple(slices)]
            c = y.permute(order) * a
            return c, c.sum(over), b * b.sum(cut, True), a.amax(over, True) + a, b.contiguous()

        agrees(work, shape, shape, seed=seed, count=2)


STEPS = {
    "beside a row": lambda a, b, cut: b + a[cut],
    "beside": lambda a, b, cut: a + b,
    "in place": lambda a, b, cut: a.mul_(0.5).add_(b * 0.1) + 0,
    "into a part": lambda a, b, cut: (a[:, cut:].copy_(b[:, : 8 - cut].clone()), a * 0.5)[1],
    "from a part": lambda a, b, cut: torch.cat((a[:, cut:], b[:, :cut]), 1),
    "into a row": lambda a, b, cut: (a[cut].copy_(b.sum(0) * 0.1), a * 0.5)[1],
    "sums": lambda a, b, cut: (a * b).sum(1, keepdim=True) * 0.1 + b,
    "products": lambda a, b, cut: a @ b.t() @ b * 0.01,
}


@pytest.mark.parametrize("seed", range(8))
def test_what_is_done_in_the_same_memory_is_done_in_its_order(seed):
    chosen = random.Random(seed)
    plan = [
        (chosen.choice([*STEPS.values()]), chosen.random(), chosen.random(), chosen.randint(1, 4))
        for _ in range(30)
    ]

    def work(x, y):
        values = [x.clone(), y.clone()]
        for step, i, j, cut in plan:
            a, b = (values[int(at * len(values))] for at in (i, j))
            values.append(step(a, b, cut))
        return values

    agrees(work, (5, 8), (5, 8), seed=seed, count=2)


CELLS = ("rnn", "lstm layer norm", "gru reset before", "PeepholeLSTM", "SRU", "Shared", "Buffers")
LAYERS = {
    **{name: (lambda name=name: Recurrent(ALL[name](3, 5), backend="cpu")) for name in CELLS},
    "backwards": lambda: Recurrent(LSTM(3, 5), reverse=True, backend="cpu"),
    "both ways": lambda: Bidirectional(Recurrent(GRU(3, 5), backend="cpu")),
    "step by step": lambda: Recurrent(LSTM(3, 5), backend="eager"),
    "stack": lambda: Stack(
        [Bidirectional(Recurrent(LSTM(3, 5))), Recurrent(GRU(10, 4, reset="before"))]
    ),
}  # fmt: skip


def agrees_in_training(layer, draw):
    """A training step of the layer, recorded and not, for one batch after another."""
    parameters = [p for p in layer.parameters() if p.requires_grad]

    def step(batch):
        for p in parameters:
            p.grad = None
        loss = (layer(batch[0])[0] ** 2).mean()
        loss.backward()
        return [loss.detach(), *(p.grad for p in parameters)]

    step([draw()])
    native = Native(step, [draw()])
    for _ in range(3):
        batch = [draw()]
        actual = [None if t is None else t.clone() for t in native(batch)]
        for a, b in zip(actual, step(batch), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        with torch.no_grad():
            for p in parameters:
                p.mul_(0.9)  # in place, as an optimiser does


@pytest.mark.parametrize("name", LAYERS)
def test_a_training_step_of_any_layer(name):
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    agrees_in_training(layer, lambda: torch.randn(4, 6, layer.input_size, dtype=torch.float64))


def test_flags_from_before_are_read_where_they_lie():
    flags = torch.tensor([True, False, True])
    native = Native(
        lambda batch: [torch.where(flags, batch[0], -batch[0]), ~flags], [torch.ones(3)]
    )
    for _ in range(2):
        chosen, others = native([torch.ones(3)])
        assert torch.equal(chosen, torch.where(flags, 1.0, -1.0))
        assert torch.equal(others, ~flags)
        flags.logical_not_()


COUNT = torch.tensor(2)
FLAGS = torch.tensor([True] * 6)
REFUSED = {
    "random numbers": lambda x: (x + torch.randn_like(x),),
    "random numbers beside it": lambda x: (x + torch.rand(6),),
    "a number that may change": lambda x: (x * COUNT,),
    "changed flags": lambda x: (FLAGS.logical_and_(x[0] > 0), x + FLAGS),
    "a changed constant": lambda x: (torch.arange(6, dtype=x.dtype).mul_(x[0]),),
    "dropout": lambda x: (F.dropout(x, 0.5, True),),
    "a number": lambda x: (x * x.sum().item(),),
    "whole numbers": lambda x: (x[(x[:, 0] > 0).long()],),
    "another type": lambda x: (x.half() * 2,),
    "sorting": lambda x: (x.sort(1).values,),
    "solutions": lambda x: (torch.linalg.inv(x),),
    "itself, moved": lambda x: (x.clone().copy_(x), x[1:].copy_(x[:-1])),
    "a decision": lambda x: (x if bool((x > 0).all()) else -x,),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_recording_can_say_is_refused(name):
    with pytest.raises(CompileError):
        Native(lambda batch: list(REFUSED[name](*batch)), [torch.randn(6, 6)])


def test_ragged_rows_are_refused():
    layer = Recurrent(LSTM(3, 5))
    x = torch.randn(2, 4, 3)
    layer(x, lengths=torch.tensor([4, 2]))
    with pytest.raises(CompileError):
        Native(lambda batch: [layer(batch[0], lengths=torch.tensor([4, 2]))[0]], [x])


class Dropping(Cell):
    def __init__(self):
        super().__init__(3, 3)

    def step(self, x, h):
        return torch.tanh(x + F.dropout(h, 0.5))


def test_tensors_without_numbers_are_refused():
    with pytest.raises(CompileError, match="without numbers"):
        Native(lambda batch: [batch[0] + 1], [torch.randn(0, 3)])


def test_a_loop_that_draws_is_refused():
    layer = Recurrent(Dropping(), backend="cpu")
    x = torch.randn(2, 4, 3)
    layer(x)
    with pytest.raises(CompileError, match="draw"):
        Native(lambda batch: [layer(batch[0])[0]], [x])


def test_what_takes_long_is_not_recorded(monkeypatch):
    monkeypatch.setattr(recorder, "MAX_COST", 1000)
    assert Native(lambda batch: [batch[0] @ batch[0]], [torch.randn(9, 9)])
    with pytest.raises(CompileError, match="takes so long"):
        Native(lambda batch: [batch[0] @ batch[0]], [torch.randn(11, 11)])


def test_inputs_may_lie_in_any_way():
    native = Native(lambda batch: [2 * batch[0]], [torch.randn(6, 4)])
    x = torch.randn(4, 6).t()
    torch.testing.assert_close(native([x])[0], 2 * x)
    torch.testing.assert_close(native([x[:1].expand(6, 4)])[0], 2 * x[:1].expand(6, 4))


def test_special_values_go_through():
    special = torch.tensor([[0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e38, 1e-40]])

    def work(batch):
        (x,) = batch
        return [x + 1, x * 2, x.tanh(), x.sigmoid(), x.relu(), torch.maximum(x, -x), x.clamp(-1, 1)]

    native = Native(work, [torch.ones(1, 7)])
    for actual, wanted in zip(native([special]), work([special]), strict=True):
        torch.testing.assert_close(actual, wanted, equal_nan=True)


@pytest.mark.parametrize("seed", [2, 99, 103, 109])
def test_random_cells(seed):
    torch.manual_seed(seed)
    layer = Recurrent(randomised(load(generate(seed).source)()))
    agrees_in_training(layer, lambda: draw(4, 5, layer.input_size))
