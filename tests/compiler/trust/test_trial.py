"""A kernel that computes something else than the eager loop is found out on its first batch."""

import os
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

import saiki
from compiler.comparison import draw
from compiler.twins import assert_right, results, step_by_step
from saiki import Cell, CompileError, Recurrent
from saiki.cells import LSTM
from saiki.compiler import kernels
from saiki.compiler.cpu import jit, values
from saiki.compiler.run import compiled
from saiki.compiler.trust import trial
from saiki.weak import WeakValues


class Leaky(Cell):
    def __init__(self, input_size=3, hidden_size=4):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.W(x) - 0.5 * h)


def wrong_forward(monkeypatch):
    for module, known in ((kernels, "_STEPS"), (jit, "_COMPILED")):  # right ones, and wrong after
        monkeypatch.setattr(module, known, WeakValues())
    monkeypatch.setitem(values.ARITHMETIC, "sub", lambda b, x, y: b.fadd(x, y))


def same(a, b):
    return a.keys() == b.keys() and all(
        torch.allclose(a[name], b[name], rtol=1e-10, atol=1e-12) for name in b
    )


def test_a_wrong_kernel_is_never_returned(monkeypatch):
    wrong_forward(monkeypatch)
    layer, x = Recurrent(Leaky().double()), draw(5, 6, 3)
    with pytest.warns(UserWarning, match="does not compute what its step does .*please report"):
        actual = results(layer, x)
    assert same(actual, results(step_by_step(layer), x))
    assert "fault of saiki" in layer.why_eager(torch.float64)
    assert "sub" in layer.explain()  # the graph, which says what to look for


class Summing(Leaky):
    """Only its gradient subtracts: tanh′ = 1 − tanh²."""

    def step(self, x, h):
        return torch.tanh(self.W(x) + h)


def test_a_wrong_gradient_is_never_returned(monkeypatch):
    wrong_forward(monkeypatch)
    layer, x = Recurrent(Summing().double()), draw(5, 6, 3).requires_grad_()
    y, _ = layer(x)
    assert layer.why_eager(torch.float64) is None
    with pytest.warns(UserWarning, match="does not compute what its step does .*∂L/∂"):
        (actual,) = torch.autograd.grad(y.sum(), x)
    (expected,) = torch.autograd.grad(step_by_step(layer)(x)[0].sum(), x)
    assert torch.allclose(actual, expected, rtol=1e-12)


def test_a_backend_asked_for_by_name_raises(monkeypatch):
    wrong_forward(monkeypatch)
    with pytest.raises(CompileError, match="does not compute what its step does"):
        Recurrent(Leaky(), backend="cpu")(torch.randn(5, 6, 3))


def test_it_can_be_turned_off(monkeypatch):
    wrong_forward(monkeypatch)
    monkeypatch.setattr(saiki, "verify", False)
    layer, x = Recurrent(Leaky().double()), draw(5, 6, 3)
    assert not torch.allclose(layer(x)[0], step_by_step(layer)(x)[0])


def test_the_environment_turns_it_off():
    command = [sys.executable, "-c", "import saiki; print(saiki.verify)"]
    printed = [
        subprocess.run(
            command, env={**os.environ, "SAIKI_VERIFY": value}, capture_output=True, text=True
        ).stdout.strip()
        for value in ("0", "1")
    ]
    assert printed == ["False", "True"]


def test_a_batch_of_zeros_hides_nothing(monkeypatch):
    wrong_forward(monkeypatch)
    layer = Recurrent(Leaky().double())
    nn.init.zeros_(layer.cell.W.bias)
    with pytest.warns(UserWarning, match="does not compute"):
        layer(torch.zeros(2, 3, 3, dtype=torch.float64))


def test_a_step_of_a_batch_of_one_is_compared():
    class Small(Leaky):
        def step(self, x, h):
            return torch.tanh(self.W(x) - (0.5 if len(x) > 1 else 0.25) * h)

    layer, x = Recurrent(Small().double()), draw(5, 6, 3)
    with pytest.warns(UserWarning, match="something else for a batch of one"):
        layer(x)
    assert torch.equal(layer(x[:1])[0], step_by_step(layer)(x[:1])[0])


def test_a_step_that_looks_at_the_number_of_rows_is_found_when_there_are_others():
    class Seven(Leaky):
        def step(self, x, h):
            return torch.tanh(self.W(x) - (0.25 if len(x) == 7 else 0.5) * h)

    layer, x = Recurrent(Seven().double()), draw(7, 6, 3)
    layer(draw(30, 6, 3))
    assert layer.why_eager(torch.float64) is None
    begin = torch.ones(7, 4, dtype=torch.float64)
    with pytest.warns(UserWarning, match="no longer computes what it did"):
        y, _ = layer(x, begin)
    assert torch.allclose(y, step_by_step(layer)(x, begin)[0])


def test_what_changes_unseen_is_found_later(monkeypatch):
    """A variable of an installed package is not watched; sooner or later a step is compared."""
    hidden = types.ModuleType("torch.nn.of_somebody")
    hidden.scale = 0.5
    exec("def read():\n    return scale", vars(hidden))
    monkeypatch.setitem(sys.modules, hidden.__name__, hidden)

    class Reads(Leaky):
        def step(self, x, h):
            return torch.tanh(self.W(x) - hidden.read() * h)

    layer, x = Recurrent(Reads().double()), draw(5, 6, 3)
    layer(x)
    assert layer.why_eager(torch.float64) is None
    hidden.scale = -0.9
    with pytest.warns(UserWarning, match="no longer computes what it did"):
        y = [layer(x)[0] for _ in range(compiled.FIRST_CHECK * 6)][-1]
    assert torch.equal(y, step_by_step(layer)(x)[0])


def test_a_step_of_either_direction_is_compared_where_the_numbers_of_both_can_be(monkeypatch):
    layer = saiki.Bidirectional(LSTM(3, 4).double())
    layer(draw(5, 6, 3))
    x, numbers = draw(4, 6, 3), []
    original = trial.can_judge

    def can_judge(*tensors):
        numbers.extend([len(tensors)] if tensors[0] is x else [])
        return original(*tensors)

    monkeypatch.setattr(trial, "can_judge", can_judge)
    layer(x)  # rows of a new number
    each = sum(1 for _ in layer.forward_layer.parameters()) + 2
    assert numbers == [1 + 2 * each] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [None, torch.tensor([2, 6, 1, 4, 6])])
def test_checks_of_single_steps_find_nothing_in_what_is_right(dtype, lengths):
    for reverse in (False, True):
        layer = Recurrent(LSTM(3, 4).to(dtype), reverse=reverse)
        leaky = Recurrent(Leaky().to(dtype), reverse=reverse)
        for _ in range(compiled.FIRST_CHECK * 5):
            x = draw(5, 6, 3).to(dtype)
            layer(x, lengths=lengths)
            leaky(x, lengths=lengths)
        assert layer.why_eager(dtype) is leaky.why_eager(dtype) is None


class TestDifference:
    def test_rounding_is_none(self):
        a = torch.randn(5, 4)
        assert not trial.difference({"y": a * (1 + 1e-6)}, {"y": a})

    @pytest.mark.parametrize(
        ("actual", "expected"),
        [
            (torch.ones(3), torch.tensor([1.0, 1.0, 1.01])),
            (torch.ones(3), None),
            (None, torch.ones(3)),
            (torch.tensor([1.0, torch.nan]), torch.ones(2)),
            (torch.ones(2), torch.tensor([1.0, torch.inf])),
            (torch.ones(2, 1), torch.ones(2)),
        ],
    )
    def test_what_counts(self, actual, expected):
        assert trial.difference({"∂L/∂x": actual}, {"∂L/∂x": expected})

    def test_what_a_step_rounds_to_in_between_counts(self):
        a, eps = draw(5, 4), torch.finfo(torch.float32).eps
        assert trial.difference({"y": a * (1 + 1e-7)}, {"y": a})
        assert not trial.difference({"y": a * (1 + 1e-7)}, {"y": a}, eps)

    def test_none_is_zero_and_what_overflows_is_alike(self):
        assert not trial.difference({"∂L/∂x": None}, {"∂L/∂x": torch.zeros(3)})
        assert not trial.difference(
            {"y": torch.tensor([torch.inf])}, {"y": torch.tensor([torch.nan])}
        )


class Rounding(Leaky):
    """A value of x is rounded to single precision in a step of double precision."""

    def step(self, x, h):
        return torch.tanh(self.W(torch.tanh(x.float()).double()) - 0.5 * h)


def test_single_precision_in_a_step_of_double_precision_is_no_fault():
    """Its last bit is another for a row of many than for a row of few."""
    for rows in (1, 3, 5, 8):
        layer, x = Recurrent(Rounding().double()), draw(rows, 7, 3)
        x.requires_grad_()
        layer(x)[0].sum().backward()
        assert layer.why_eager(torch.float64) is None


class Polar(Leaky):
    def step(self, x, h):
        turned = torch.view_as_real(torch.polar(torch.ones_like(x), x)).sum(-1)
        return torch.tanh(self.W(turned) - 0.5 * h)


def test_a_gradient_that_is_spread_becomes_complex():
    layer, x = Recurrent(Polar().double()), draw(5, 6, 3)
    assert_right(layer, x)
    assert layer.why_eager(torch.float64) is None


def learn(layer, inputs_of_layer):
    """Leave gradients in the parameters of a layer of ``torch.nn``'s kind; its output."""
    y, (h, _) = layer(inputs_of_layer)
    (y.data.sum() + h.sum()).backward()
    return y.data


class TestInPlaceOfTheKernel:
    """The eager loop inside the operators takes every input that the kernel takes."""

    @pytest.mark.parametrize("lengths", [None, torch.tensor([2, 6, 1, 4, 6])])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_dense_and_ragged(self, monkeypatch, lengths, reverse):
        wrong_forward(monkeypatch)
        layer, x = Recurrent(Leaky().double(), reverse=reverse), draw(5, 6, 3)
        with pytest.warns(UserWarning, match="does not compute"):
            actual = results(layer, x, lengths=lengths)
        assert same(actual, results(step_by_step(layer), x, lengths=lengths))

    def test_both_directions(self, monkeypatch):
        wrong_forward(monkeypatch)
        layer, x = saiki.Bidirectional(Leaky().double()), draw(5, 6, 3)
        with pytest.warns(UserWarning, match="does not compute"):
            actual = results(layer, x, lengths=torch.tensor([2, 6, 1, 4, 6]))
        layer.forward_layer.backend = layer.backward_layer.backend = "eager"
        assert same(actual, results(layer, x, lengths=torch.tensor([2, 6, 1, 4, 6])))

    @pytest.mark.parametrize("packed", [False, True])
    def test_layers_in_the_place_of_torchs(self, monkeypatch, packed):
        """Whose weights are no parameters of the cell."""
        monkeypatch.setitem(values.ARITHMETIC, "mul", lambda b, x, y: b.fadd(x, y))
        layer = saiki.nn.LSTM(3, 4, bidirectional=True).double()
        theirs = nn.LSTM(3, 4, bidirectional=True).double()
        theirs.load_state_dict(layer.state_dict())
        x = draw(6, 5, 3)
        packed_or_not = nn.utils.rnn.pack_padded_sequence(x, [6, 4, 4, 2, 1]) if packed else x
        with pytest.warns(UserWarning, match="does not compute"):
            y = learn(layer, packed_or_not)
        assert torch.allclose(y, learn(theirs, packed_or_not), rtol=1e-12)
        for mine, other in zip(layer.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(mine.grad, other.grad, rtol=1e-10, atol=1e-14)


def test_a_fault_of_a_large_parameter_is_found(monkeypatch):
    """What is too large to be changed for the trial is compared all the same."""
    monkeypatch.setattr(trial, "LARGE", 4)
    wrong_forward(monkeypatch)
    layer, x = Recurrent(Summing().double()), draw(5, 6, 3).requires_grad_()
    with pytest.warns(UserWarning, match="does not compute what its step does"):
        layer(x)[0].sum().backward()
    zeros = Recurrent(Leaky().double())
    nn.init.zeros_(zeros.cell.W.weight)
    with pytest.warns(UserWarning, match="does not compute what its step does"):
        zeros(torch.zeros(2, 3, 3, dtype=torch.float64))
