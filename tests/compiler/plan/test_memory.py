"""Cells with memory, compiled, beside the same cells step by step."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

from compiler.comparison import assert_agrees, compiled, draw, eager
from compiler.test_operation import Calls
from saiki import Cell, Recurrent
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.pipeline import derive
from saiki.compiler.plan.memory import lower_memory
from saiki.compiler.trace.record import Source
from saiki.compiler.watch.watch import Watch
from saiki.errors import CompileError

pytestmark = pytest.mark.one_in(4)

LENGTHS = torch.tensor([2, 4, 1, 4, 3])


class Reads(Cell):
    """hᵗ = tanh(W [xᵗ; hᵗ⁻¹; rᵗ⁻¹]), rᵗ = tanh(V [c; hᵗ]), c read with the weights of ``score``."""

    def __init__(self, input_size=3, hidden_size=5, value_size=4):
        super().__init__(input_size, hidden_size)
        self.value_size = value_size
        self.W = nn.Linear(input_size + 2 * hidden_size, hidden_size)
        self.V = nn.Linear(value_size + hidden_size, hidden_size)
        self.Q = nn.Linear(hidden_size, hidden_size)
        self.v = nn.Linear(hidden_size, 1, bias=False)

    @property
    def memory_shapes(self):
        return {
            "keys": ("source", self.hidden_size),
            "values": ("source", self.value_size),
            "mask": ("source",),
        }

    def step(self, x, h, r, *, keys, values, mask):
        h = torch.tanh(self.W(torch.cat((x, h, r), -1)))
        p = torch.softmax(self.score(h, keys) + mask, -1)
        c = self.read(p, values)
        return h, torch.tanh(self.V(torch.cat((c, h), -1)))

    def score(self, h, keys):
        return torch.einsum("bsk,bk->bs", keys, h)

    def read(self, p, values):
        return torch.einsum("bs,bsv->bv", p, values)


SCORES = {
    "einsum": lambda self, h, keys: torch.einsum("bsk,bk->bs", keys, h),
    "bmm": lambda self, h, keys: torch.bmm(keys, h.unsqueeze(2)).squeeze(2),
    "matmul": lambda self, h, keys: (keys @ h.unsqueeze(-1)).squeeze(-1),
    "turned": lambda self, h, keys: (h.unsqueeze(1) @ keys.transpose(1, 2)).squeeze(1),
    "written out": lambda self, h, keys: (keys * h[:, None]).sum(-1),
    "scaled": lambda self, h, keys: torch.einsum("bsk,bk->bs", keys, h) / math.sqrt(5),
    "general": lambda self, h, keys: torch.einsum("bsk,bk->bs", keys, self.Q(h)),
    "of rows of one": lambda self, h, keys: (keys @ self.Q(h.unsqueeze(1)).mT).squeeze(2),
    "additive": lambda self, h, keys: self.v(torch.tanh(keys + self.Q(h).unsqueeze(1))).squeeze(-1),
    "a vector": lambda self, h, keys: torch.tanh(keys + self.Q(h)[:, None]) @ self.v.weight[0],
    "products": lambda self, h, keys: (
        torch.sigmoid(keys * h[:, None]) * self.v.weight * self.Q.bias
    ).sum(-1),
    "distance": lambda self, h, keys: -((keys - h[:, None]) ** 2).sum(-1),
    "largest": lambda self, h, keys: (keys * h[:, None]).amax(-1),
    "chosen": lambda self, h, keys: torch.where(keys > h[:, None], keys, 0.1).sum(-1),
    "one feature": lambda self, h, keys: torch.einsum("bsk,bk->bs", keys, h) * h[:, :1],
    "no query": lambda self, h, keys: keys.sum(-1),
}
READS = {
    "bmm": lambda self, p, values: torch.bmm(p.unsqueeze(1), values).squeeze(1),
    "matmul": lambda self, p, values: (p[:, None] @ values)[:, 0],
    "written out": lambda self, p, values: (p[..., None] * values).sum(1),
    "turned": lambda self, p, values: (values.mT @ p[..., None]).squeeze(-1),
    "saturated": lambda self, p, values: torch.tanh(p[..., None] * values).sum(1),
}


def memory_of(cell, batch=5, source=6, masked=True):
    """Random memory, of which the first row lacks the last two positions."""
    memory = {
        name: draw(batch, *(source if isinstance(n, str) else n for n in shape))
        for name, shape in cell.memory_shapes.items()
    }
    if masked and "mask" in memory and source > 2:
        memory["mask"][0, -2:] = -torch.inf
    return memory


class Over(nn.Module):
    """A layer that finds its memory among its parameters, so that gradients of it are compared."""

    def __init__(self, layer, memory):
        super().__init__()
        self.layer = layer
        self.names = list(memory)
        self.memory = nn.ParameterList(memory.values())

    def forward(self, x, start=None, lengths=None):
        memory = dict(zip(self.names, self.memory, strict=True))
        return self.layer(x, start, lengths, memory=memory)


def agrees(cell, batch=5, time=4, source=6, reverse=False, lengths=None, dtype=torch.float64):
    layer = compiled(cell, dtype, reverse=reverse)
    start = tuple(draw(batch, size).to(dtype) for size in cell.state_sizes)
    memory = {n: m.to(dtype) for n, m in memory_of(cell, batch, source).items()}
    x = draw(batch, time, cell.input_size, dtype=dtype).requires_grad_()
    start = start if len(start) > 1 else start[0]
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    assert_agrees(Over(layer, memory), x, start, lengths, tolerance)


@pytest.mark.parametrize("score", SCORES)
def test_any_score(score):
    agrees(type("Scores", (Reads,), {"score": SCORES[score]})())


@pytest.mark.parametrize("read", list(READS))
def test_any_reading(read):
    agrees(type("Takes", (Reads,), {"read": READS[read]})())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("score", ["general", "additive"])
def test_ragged_rows_and_the_other_direction(score, lengths, reverse):
    cell = type("Scores", (Reads,), {"score": SCORES[score]})()
    agrees(cell, reverse=reverse, lengths=lengths)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("source", [16, 1, 23, 2])
@pytest.mark.parametrize("sizes", [(3, 1, 1), (3, 33, 70)])
def test_sizes_beside_whole_vectors(sizes, source, dtype):
    agrees(
        type("Scores", (Reads,), {"score": SCORES["additive"]})(*sizes), source=source, dtype=dtype
    )


def test_one_kernel_serves_memory_of_any_size():
    layer = compiled(Reads())
    for source in (6, 1, 40):
        memory = memory_of(layer.cell, source=source)
        x = draw(5, 4, 3)
        torch.testing.assert_close(layer(x, memory=memory), eager(layer)(x, memory=memory))
    assert len(layer._saiki_kernels.known) == 1


def test_one_row_one_step():
    agrees(Reads(), batch=1, time=1)


def test_many_rows_on_several_threads():
    agrees(Reads(9, 40, 24), batch=64, time=3, source=20)


class Shared(Cell):
    """What is scored is also what is read, and once more beside it."""

    memory_shapes = {"memory": ("source", 4), "bias": (5,), "scale": (1,)}  # noqa: RUF012

    def __init__(self):
        super().__init__(3, 5)
        self.W = nn.Linear(13, 5)
        self.V = nn.Linear(9, 5)

    def step(self, x, h, r, *, memory, bias, scale):
        h = torch.tanh(self.W(torch.cat((x, h, r), -1)) + bias)
        p = torch.softmax(scale * torch.einsum("bsk,bk->bs", memory, h[:, :4]), -1)
        c = torch.einsum("bs,bsv->bv", p, memory) + torch.einsum(
            "bsk,bk->bk", memory, x[:, :1].expand(-1, 4)
        )
        return h, torch.tanh(self.V(torch.cat((c, h), -1)))


class Grid(Cell):
    """A memory both sizes of which are known, read from either side."""

    memory_shapes = {"m": (5, 5), "n": (7, 1), "t": ("source", "other")}  # noqa: RUF012

    def step(self, x, h, *, m, n, t):
        a = torch.einsum("bij,bj->bi", m, h) + torch.einsum("bij,bi->bj", m, torch.sin(h))
        b = torch.tanh(t + h[:, :1, None]).sum((1, 2))
        return torch.tanh(a + n.sum(1) * x + b[:, None] + t.amax(2).sum(1, keepdim=True))


class Twice(Cell):
    """Two distributions over the same positions."""

    memory_shapes = {"keys": ("source", 5)}  # noqa: RUF012

    def step(self, x, h, *, keys):
        p = torch.softmax(torch.einsum("bsk,bk->bs", keys, h), -1)
        q = torch.softmax(torch.einsum("bsk,bk->bs", keys, torch.tanh(h + x)) - p, -1)
        c = torch.einsum("bs,bsk->bk", p * q, keys)
        return torch.tanh(x + c)


class Gated(Cell):
    """An LSTM-like cell, whose forget gate sees what it finds."""

    def __init__(self, input_size=5, hidden_size=5):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size + 2 * hidden_size, 3 * hidden_size)

    memory_shapes = {"memory": ("source", 5)}  # noqa: RUF012

    def step(self, x, h, c, *, memory):
        p = torch.softmax(torch.einsum("bsk,bk->bs", memory, c), -1)
        read = torch.einsum("bs,bsk->bk", p, memory)
        f, g, o = self.W(torch.cat((x, h, read), -1)).chunk(3, -1)
        c = torch.sigmoid(f) * c + torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


@pytest.mark.parametrize(
    "cell",
    [Shared, lambda: Grid(5, 5), lambda: Twice(5, 5), Gated],
    ids=["shared", "grid", "twice", "gated"],
)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_other_cells(cell, lengths):
    agrees(cell(), lengths=lengths)


def test_gradients_agree_with_finite_differences():
    layer = compiled(type("Scores", (Reads,), {"score": SCORES["additive"]})())
    memory = memory_of(layer.cell, batch=2, source=3, masked=False)
    tensors = [draw(2, 3, 3), draw(2, 5), draw(2, 5), *memory.values()]

    def run(x, h, r, *tensors):
        y, last = layer(x, (h, r), memory=dict(zip(memory, tensors, strict=True)))
        return y, *last

    assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in tensors])


def test_second_derivatives_are_those_of_the_eager_loop():
    layer = compiled(Reads())
    memory = memory_of(layer.cell, batch=2, source=3, masked=False)
    keys = memory["keys"].requires_grad_()
    x = draw(2, 3, 3)

    def second(layer):
        y, _ = layer(x, memory=memory)
        (first,) = torch.autograd.grad((y**2).sum(), keys, create_graph=True)
        return torch.autograd.grad((first**2).sum(), [keys, layer.cell.W.weight])

    torch.testing.assert_close(second(layer), second(eager_with_the_same_parameters(layer)))


def eager_with_the_same_parameters(layer):
    return Recurrent(layer.cell, backend="eager")


def test_only_what_is_asked_for_has_a_gradient():
    layer = compiled(Reads()).requires_grad_(False)
    memory = memory_of(layer.cell)
    memory["values"].requires_grad_()
    y, _ = layer(draw(5, 4, 3), memory=memory)
    y.sum().backward()
    assert memory["keys"].grad is None
    assert memory["values"].grad.abs().sum() > 0


def lowered_memory(cell):
    cell = cell.double()
    return lower_memory(derive(Source(cell, Watch(cell), torch.float64, CPU.inline_weights)))


def test_the_gradient_of_memory_is_one_product_after_the_loop():
    lowered = lowered_memory(Reads())
    assert lowered.d_memory["keys"] is lowered.d_memory["values"] is None
    assert len(lowered.outer["keys"]) == len(lowered.outer["values"]) == 1
    shared = lowered_memory(Shared())
    assert len(shared.outer["memory"]) == 2
    assert shared.d_memory["memory"] is not None  # what is added at all positions alike


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_opcheck(lengths):
    cell = Reads()
    cell.V.bias = None
    layer = compiled(cell)
    memory = {n: m.requires_grad_() for n, m in memory_of(layer.cell).items()}
    with Calls() as calls:
        y, _ = layer(draw(5, 4, 3), None, lengths, memory)
        y.sum().backward()
    assert len(calls.seen) == 2
    for operator, args in calls.seen.items():
        detached = tuple(tree_map_only(torch.Tensor, torch.detach, arg) for arg in args)
        tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
        torch.library.opcheck(operator, detached, test_utils=tests)


def test_explain_tells_of_memory():
    text = compiled(Reads()).explain()
    assert text.startswith("cpu: ")
    assert "as many × 5 features" in text


REFUSED = {
    "mean": lambda self, h, keys: (keys * h[:, None]).sum(-1) - keys.mean((1, 2))[:, None],
    "variance": lambda self, h, keys: (keys * h[:, None]).sum(-1) / keys.shape[1],
    "some positions": lambda self, h, keys: F.pad((keys * h[:, None]).sum(-1)[:, 1:], (0, 1)),
    "positions": lambda self, h, keys: (keys * h[:, None]).sum(-1) + torch.arange(keys.shape[1]),
    "a projection": lambda self, h, keys: (self.Q(keys) * h[:, None]).sum(-1),
    "the other way round": lambda self, h, keys: (keys * h[:, None]).sum(-1).flip(1),
    "sorted": lambda self, h, keys: (keys * h[:, None]).sum(-1).sort(-1).values,
    "three dimensions": lambda self, h, keys: (keys[..., None] * h[:, None, None]).sum((2, 3)),
    "both": lambda self, h, keys: (keys @ keys.mT).sum(-1) + h[:, :1],
}


@pytest.mark.parametrize("score", list(REFUSED))
def test_what_no_kernel_does_is_refused_and_goes_step_by_step(score):
    cell = type("Refused", (Reads,), {"score": REFUSED[score]})().double()
    memory = memory_of(cell)
    with pytest.raises(
        CompileError, match=r"cannot be compiled in step at .*test_memory\.py, line"
    ):
        Recurrent(cell, backend="cpu")(draw(5, 4, 3), memory=memory)
    layer = Recurrent(cell)
    x = draw(5, 4, 3)
    with pytest.warns(UserWarning, match="running step by step: .* cannot be compiled"):
        recurrent = layer(x, memory=memory)
    torch.testing.assert_close(recurrent, eager(layer)(x, memory=memory))


def test_memory_of_another_type_goes_step_by_step():
    layer = compiled(Reads())
    memory = {n: m.float() for n, m in memory_of(layer.cell).items()}
    with pytest.raises(CompileError, match=r"torch\.float32"):
        layer(draw(5, 4, 3), memory=memory)
