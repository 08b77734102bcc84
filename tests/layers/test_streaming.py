"""Layers one step at a time."""

import gc
import tracemalloc
from pathlib import Path

import pytest
import torch

from saiki import Bidirectional, Cell, InputError, Recurrent, Stack
from saiki.cells import GRU, LSTM, SimpleRNN

pytestmark = pytest.mark.one_in(3)


class Learned(Cell):
    """Begins where it has learned to, and decays."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)
        self.first = torch.nn.Parameter(torch.randn(hidden_size))

    def initial_state(self, batch):
        return self.first.expand(batch, -1)

    def step(self, x, h):
        return 0.9 * h + 0.1 * torch.tanh(self.W(x))


class Reading(Cell):
    """Reads a memory."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)

    @property
    def memory_shapes(self):
        return {"keys": ("source", self.hidden_size)}

    def step(self, x, h, *, keys):
        return torch.tanh(self.W(x) + h + keys.sum(1))


LAYERS = {
    "rnn": lambda: Recurrent(SimpleRNN(3, 5)),
    "gru": lambda: Recurrent(GRU(3, 5)),
    "gru reset before": lambda: Recurrent(GRU(3, 5, reset="before")),
    "lstm": lambda: Recurrent(LSTM(3, 5)),
    "lstm wide": lambda: Recurrent(LSTM(3, 48, peephole=True, layer_norm=True)),
    "lstm projection": lambda: Recurrent(LSTM(3, 5, projection_size=2)),
    "learned": lambda: Recurrent(Learned(3, 5)),
    "eager": lambda: Recurrent(GRU(3, 5), backend="eager"),
    "stack": lambda: Stack([LSTM(3, 5), Stack([GRU(5, 4), SimpleRNN(4, 4)])], dropout=0.5).eval(),
}


def stream(layer, x, state=None):
    """The outputs of all steps and the last state."""
    outputs = []
    for step in range(x.shape[1]):
        y, state = layer.step(x[:, step], state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", LAYERS)
def test_step_by_step_as_the_whole_sequence(name, dtype, tolerance):
    layer = LAYERS[name]().to(dtype)
    x = torch.randn(2, 40, 3, dtype=dtype)
    y, state = stream(layer, x)
    assert not y.requires_grad
    wanted, end = layer(x)
    torch.testing.assert_close(y, wanted, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(state, end, rtol=tolerance, atol=tolerance)
    head, middle = layer(x[:, :25])
    tail, _ = stream(layer, x[:, 25:], middle)  # a state is as the layer returns it
    joined = torch.cat((head, tail), 1)
    torch.testing.assert_close(joined, wanted, rtol=tolerance, atol=tolerance)


def test_memory_is_read_at_each_step():
    layer = Recurrent(Reading(3, 5)).double()
    x, keys = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, 5, dtype=torch.float64)
    y, _ = layer.step(x, None, {"keys": keys})
    wanted, _ = layer(x[:, None], memory={"keys": keys})
    torch.testing.assert_close(y, wanted[:, 0], rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match="reads the memory keys"):
        layer.step(x)


def test_nothing_is_dropped_between_layers():
    layer, x = Stack([GRU(3, 5), GRU(5, 5)], dropout=0.9).double(), torch.randn(2, 3).double()
    assert torch.equal(layer.train().step(x)[0], layer.eval().step(x)[0])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Recurrent(GRU(3, 5), reverse=True), "reversed"),
        (Bidirectional(GRU(3, 5)), "both ways"),
        (Stack([GRU(3, 5), Bidirectional(GRU(5, 5))]), "both ways"),
    ],
)
def test_a_layer_that_needs_the_last_step_first(layer, words):
    with pytest.raises(InputError, match=f"{words}.*call it with the whole sequence"):
        layer.step(torch.randn(2, 3))


@pytest.mark.parametrize(
    ("x", "state", "words"),
    [
        (torch.randn(2, 1, 3), None, r"a step takes x as \(batch, 3\), got \(2, 1, 3\)"),
        ([1.0], None, "got list"),
        (torch.randn(2, 4), None, r"must be \(batch, time, 3\)"),
        (torch.ones(2, 3, dtype=torch.long), None, "floating-point"),
        (torch.randn(2, 3), torch.zeros(2, 4), r"the state must have the shapes \[\(2, 5\)\]"),
        (torch.randn(2, 3).double(), None, "x is of torch.float64 and the weights are of"),
    ],
)
def test_what_does_not_fit_is_refused(x, state, words):
    with pytest.raises(InputError, match=words):
        Recurrent(GRU(3, 5)).step(x, state)


def test_changes_of_the_cell_are_seen():
    layer, x = Recurrent(GRU(3, 5)), torch.randn(1, 3)
    before = layer.step(x)[0]
    layer.cell.W.weight.data.mul_(2)
    after = layer.step(x)[0]
    assert not torch.equal(before, after)
    layer.cell = SimpleRNN(3, 5)
    assert torch.equal(layer.step(x)[0], layer.cell(x, torch.zeros(1, 5))[0])


def test_under_autocast_the_state_keeps_its_precision():
    layer, x = Recurrent(LSTM(3, 5)), torch.randn(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, (_, c) = layer.step(x.bfloat16())
    assert y.dtype == c.dtype == torch.float32
    torch.testing.assert_close(y, layer.step(x.bfloat16().float())[0])


def test_no_memory_is_left_behind():
    """Neither by a hundred thousand steps as the system sees it, nor by some as Python does."""
    layer, x, state = Recurrent(SimpleRNN(3, 5)), torch.randn(1, 3), None
    for _ in range(1000):
        _, state = layer.step(x, state)
    gc.collect()
    tracemalloc.start()
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(2000):
        _, state = layer.step(x, state)
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 20_000
    before = resident()
    with torch.no_grad():
        for _ in range(100_000):
            _, state = layer.step(x, state)
    assert resident() - before < 6 << 20  # what others of the process take is in it, too


def resident():
    """Bytes of this process in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except FileNotFoundError:
        pytest.skip("the system does not say")
