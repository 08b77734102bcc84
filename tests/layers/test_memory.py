"""What a cell reads at all steps: against the equations written out, and finite differences."""

import warnings

import pytest
import torch
from torch import nn

from saiki import Bidirectional, Cell, CellError, InputError, Recurrent, Stack
from saiki.errors import ExportError
from saiki.export.capture import Capture
from saiki.layers.run import EXPORTER

BATCH, TIME, SOURCE = 3, 4, 6


class Attends(Cell):
    """hᵗ = tanh(W [xᵗ; hᵗ⁻¹; rᵗ⁻¹]), rᵗ = tanh(V [c; hᵗ]), c = Σₛ softmaxₛ(kₛ · hᵗ + mₛ) vₛ."""

    def __init__(self, input_size=2, hidden_size=5, value_size=4):
        super().__init__(input_size, hidden_size)
        self.value_size = value_size
        self.W = nn.Linear(input_size + 2 * hidden_size, hidden_size)
        self.V = nn.Linear(value_size + hidden_size, hidden_size)

    @property
    def memory_shapes(self):
        return {
            "keys": ("source", self.hidden_size),
            "values": ("source", self.value_size),
            "mask": ("source",),
        }

    def step(self, x, h, r, *, keys, values, mask):
        h = torch.tanh(self.W(torch.cat((x, h, r), -1)))
        p = torch.softmax(torch.einsum("bsk,bk->bs", keys, h) + mask, -1)
        c = torch.einsum("bs,bsv->bv", p, values)
        return h, torch.tanh(self.V(torch.cat((c, h), -1)))


def by_hand(cell, x, state, memory):
    """y and the last states of the rows of one batch, written out position by position."""
    h, r = state
    outputs = []
    for t in range(x.shape[1]):
        h = torch.tanh(torch.cat((x[:, t], h, r), -1) @ cell.W.weight.T + cell.W.bias)
        e = [(memory["keys"][:, s] * h).sum(-1) + memory["mask"][:, s] for s in range(SOURCE)]
        weights = [score.exp() for score in e]
        total = sum(weights)
        c = sum((w / total)[:, None] * memory["values"][:, s] for s, w in enumerate(weights))
        r = torch.tanh(torch.cat((c, h), -1) @ cell.V.weight.T + cell.V.bias)
        outputs.append(h)
    return torch.stack(outputs, 1), (h, r)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def memory_of(cell, batch=BATCH, source=SOURCE):
    mask = torch.zeros(batch, source, dtype=torch.float64)
    mask[0, -2:] = -torch.inf
    return {
        "keys": draw(batch, source, cell.hidden_size),
        "values": draw(batch, source, cell.value_size),
        "mask": mask,
    }


@pytest.fixture
def layer():
    return Recurrent(Attends(), backend="eager").double()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_is_the_equations_written_out(layer):
    x, state, memory = draw(BATCH, TIME, 2), (draw(BATCH, 5), draw(BATCH, 5)), memory_of(layer.cell)
    close(layer(x, state, memory=memory), by_hand(layer.cell, x, state, memory))


def test_gradients_agree_with_finite_differences(layer):
    names = list(layer.cell.memory_shapes)
    memory = memory_of(layer.cell)
    memory["mask"] = draw(BATCH, SOURCE)
    tensors = [draw(BATCH, TIME, 2), draw(BATCH, 5), draw(BATCH, 5), *memory.values()]

    def run(x, h, r, *memory):
        y, last = layer(x, (h, r), memory=dict(zip(names, memory, strict=True)))
        return y, *last

    assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in tensors])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_row_is_what_it_is_alone(reverse):
    layer = Recurrent(Attends(), reverse=reverse, backend="eager").double()
    x, memory, lengths = draw(BATCH, TIME, 2), memory_of(layer.cell), torch.tensor([2, 4, 3])
    y, last = layer(x, lengths=lengths, memory=memory)
    for row, length in enumerate(lengths.tolist()):
        alone, end = layer(
            x[row : row + 1, :length], memory={n: m[row : row + 1] for n, m in memory.items()}
        )
        close(y[row, :length], alone[0])
        assert not y[row, length:].any()
        close([s[row] for s in last], [s[0] for s in end])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: None, "reads the memory keys, values, mask, got none"),
        (lambda m: {"keys": m["keys"]}, "got keys"),
        (lambda m: {**m, "more": m["mask"]}, "got keys, values, mask, more"),
        (lambda m: {**m, "mask": m["mask"][:, 1:]}, r"'mask' must have the shape \(3, 6\)"),
        (lambda m: {**m, "keys": m["keys"][1:]}, r"'keys' must have the shape \(3, 6, 5\)"),
        (lambda m: {**m, "keys": m["keys"][..., 1:]}, r"'keys' must have the shape \(3, 6, 5\)"),
        (lambda m: {**m, "keys": m["mask"]}, r"'keys' must have the shape \(3, source, 5\)"),
        (lambda m: {n: t[:, :0] for n, t in m.items()}, r"'keys' must have the shape"),
    ],
)
def test_memory_that_does_not_fit_is_refused(layer, change, message):
    with pytest.raises(InputError, match=message):
        layer(draw(BATCH, TIME, 2), memory=change(memory_of(layer.cell)))


def test_a_cell_without_memory_takes_none(layer):
    class Plain(Cell):
        def step(self, x, h):
            return x + h

    with pytest.raises(InputError, match="Plain reads the memory of no name, got keys"):
        Recurrent(Plain(2, 2))(torch.ones(1, 1, 2), memory={"keys": torch.ones(1, 2)})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "must tell the shape of the memory m"),
        ({"m": (2,), "n": (2,)}, "tells of n, which step does not take"),
        ({"m": (0,)}, "must be whole numbers of at least 1 or names"),
        ({"m": (1.5,)}, "must be whole numbers of at least 1 or names"),
    ],
)
def test_shapes_that_do_not_fit_the_step_are_refused(shapes, message):
    class Odd(Cell):
        memory_shapes = shapes

        def step(self, x, h, *, m):
            return x + h

    with pytest.raises(CellError, match=message):
        Recurrent(Odd(2, 2))


def test_rows_that_see_the_memory_of_others_are_refused():
    class Mixes(Cell):
        memory_shapes = {"m": (2,)}  # noqa: RUF012

        def step(self, x, h, *, m):
            return x + h + m.flip(0)

    with pytest.raises(CellError, match="mixes rows of the batch"):
        Recurrent(Mixes(2, 2))


def test_layers_that_hand_no_memory_on_refuse_the_cell():
    for make in (Bidirectional, lambda cell: Stack([cell])):
        with pytest.raises(InputError, match=r"hands no memory on, and Attends reads keys"):
            make(Attends())


def test_hooks_see_every_step(layer):
    seen = []
    layer.cell.register_forward_hook(lambda cell, arguments, result: seen.append(result[0]))
    y, _ = layer(draw(BATCH, TIME, 2), memory=memory_of(layer.cell))
    close(torch.stack(seen, 1), y)


def test_nothing_is_said_of_cells_that_are_built():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recurrent(Attends())


def test_is_not_exported(layer):
    token = EXPORTER.set(Capture())
    try:
        with pytest.raises(ExportError, match="a cell with memory cannot be exported"):
            layer(draw(BATCH, TIME, 2), memory=memory_of(layer.cell))
    finally:
        EXPORTER.reset(token)


def test_a_mask_of_flags_is_refused(layer):
    memory = memory_of(layer.cell)
    memory["mask"] = memory["mask"] == 0
    with pytest.raises(InputError, match=r"'mask' must be of the type of x, got torch\.bool"):
        layer(draw(BATCH, TIME, 2), memory=memory)
