"""What cannot be compiled is refused by the name of the operation and the line of step."""

import inspect
import re
import warnings

import pytest
import torch
from torch import nn

from compiler.comparison import draw, eager, randomised
from saiki import Cell, Recurrent
from saiki.cells import GRU
from saiki.errors import CompileError


class Base(Cell):
    def __init__(self, input_size=3, hidden_size=5):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)


class Branches(Base):
    def step(self, x, h):
        if bool(h.abs().max() > 100):  # here
            return h
        return torch.tanh(self.W(x) + h)


class ReadsANumber(Base):
    def step(self, x, h):
        return torch.tanh(self.W(x) + h) * max(1.0, h.sum().item() * 0)  # here


class Chooses(Base):
    def step(self, x, h):
        place = torch.multinomial(torch.softmax(h, 1), 1)  # here
        return torch.tanh(self.W(x) + h.gather(1, place))


class DropsForAllRowsAtOnce(Base):
    def step(self, x, h):
        h = h * nn.functional.dropout(torch.ones(5), 0.5)  # here
        return torch.tanh(self.W(x) + h)


class Sorts(Base):
    def step(self, x, h):
        h = h.sort(-1).values  # here
        return torch.tanh(self.W(x) + h)


class Solves(Base):
    def step(self, x, h):
        A = torch.eye(5, dtype=h.dtype) + h.unsqueeze(2) * h.unsqueeze(1)
        return torch.tanh(torch.linalg.solve(A, self.W(x)))  # here


class ChangesX(Base):
    def step(self, x, h):
        x = x.mul_(0.5)  # here
        return torch.tanh(self.W(x) + h)


class ChangesTheState(Base):
    def step(self, x, h):
        h[:, 0] = 1  # here
        return torch.tanh(self.W(x) + h)


class IndexesByWhatMayChange(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.tensor([4, 3, 2, 1, 0]))

    def step(self, x, h):
        h = h[:, self.order]  # here
        return torch.tanh(self.W(x) + h)


REFUSED = {
    Branches: "cannot be traced",
    ReadsANumber: "cannot be traced",
    Chooses: "multinomial draws random numbers .* before the first step",
    DropsForAllRowsAtOnce: r"bernoulli_ draws random numbers .* the shape \(5,\), which does not",
    Sorts: "sort",
    Solves: "solve",
    ChangesX: "mul_|in.?place",
    ChangesTheState: "copy_|fill_|in.?place",
    IndexesByWhatMayChange: "index.* an index that may be another in the next call",
}


def line_of(cell):
    """The number and the text of the line marked in ``step``."""
    lines, first = inspect.getsourcelines(cell.step)
    at = next(i for i, line in enumerate(lines) if line.rstrip().endswith("# here"))
    return first + at, lines[at].strip()


@pytest.mark.parametrize("cell", list(REFUSED))
def test_names_the_operation_and_the_line(cell):
    with pytest.raises(CompileError) as refusal:
        Recurrent(cell(), backend="cpu")(torch.randn(2, 4, 3))
    message = str(refusal.value)
    number, text = line_of(cell)
    assert re.search(REFUSED[cell], message)
    assert "test_refusals.py" in message
    assert f"line {number}" in message
    assert text in message


@pytest.mark.parametrize("cell", [Branches, Sorts, Solves, IndexesByWhatMayChange])
def test_auto_says_so_once_and_is_right(cell):
    layer = randomised(Recurrent(cell()))
    x = draw(2, 4, 3)
    with pytest.warns(UserWarning, match=r"step by step.*step") as warned:
        y, last = layer(x)
    assert len(warned) == 1
    expected, end = eager(layer)(x)
    assert torch.equal(y, expected)
    assert torch.equal(last, end)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
        layer(draw(2, 4, 3).float().double())


def test_explain_says_why():
    layer = Recurrent(Sorts())
    assert layer.explain().startswith("eager: sort cannot be compiled")
    assert Recurrent(GRU(3, 5), backend="eager").explain().startswith("eager")


@pytest.mark.parametrize("device", ["meta"])
def test_another_device(device):
    layer = Recurrent(GRU(3, 5), backend="cpu").to(device)
    with pytest.raises(CompileError, match="no kernel for meta tensors"):
        layer(torch.randn(2, 4, 3, device=device))


def test_another_type():
    layer = Recurrent(GRU(3, 5), backend="cpu").bfloat16()
    with pytest.raises(CompileError, match=r"no kernel for torch\.bfloat16"):
        layer(torch.randn(2, 4, 3).bfloat16())


class Recurs(Cell):
    """Nothing is hoisted that could notice a wrong type."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.U(h) + x)


def test_a_state_of_another_type_is_refused_as_by_the_eager_loop():
    layer = randomised(Recurrent(Recurs(5, 5), backend="cpu"))
    for part in (eager(layer), layer):
        with pytest.raises((RuntimeError, ValueError, CompileError)):
            part(draw(3, 4, 5), draw(3, 5).float())


def test_parameters_of_another_type_are_refused_as_by_the_eager_loop():
    layer = randomised(Recurrent(Recurs(5, 5), backend="cpu"))
    layer.float()
    for part in (eager(layer), layer):
        with pytest.raises((RuntimeError, ValueError, CompileError)):
            part(draw(3, 4, 5), draw(3, 5))


@pytest.mark.parametrize(
    "function",
    [
        lambda u: u - u.median(-1, keepdim=True).values,
        lambda u: torch.tanh(u) + (3 * u).long(),
        lambda u: torch.tanh(u) + ((u > 0) + (u > -1)),
        lambda u: torch.tanh(u) + torch.div(u, 0.3, rounding_mode="floor"),
    ],
    ids=["two results", "whole numbers", "a sum of comparisons", "a division rounded down"],
)
def test_what_a_kernel_would_get_wrong(function):
    class Refused(Recurs):
        def step(self, x, h):
            return function(self.U(h) + x)

    with pytest.raises(
        CompileError, match=r"cannot be compiled in step at .*test_refusals\.py, line"
    ):
        Recurrent(Refused(5, 5), backend="cpu")(torch.randn(3, 4, 5))


def test_a_cell_that_a_function_sees_without_being_given_it_is_told_how_to_write_it():
    class Sees(Base):
        def __init__(self):
            super().__init__()
            self.read = lambda x: self.W(x)

        def step(self, x, h):
            return torch.tanh(self.read(x) + h)

    why = Recurrent(Sees()).why_eager(torch.float32)
    assert "self is the cell itself" in why
    assert "write what reads it as a method" in why


def test_a_scripted_part_is_named():
    class Scripted(Base):
        def __init__(self):
            super().__init__()
            self.gate = torch.jit.script(nn.Linear(3, 5))

        def step(self, x, h):
            return torch.tanh(self.gate(x) + h)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        why = Recurrent(Scripted()).why_eager(torch.float32)
    assert "gate is a scripted module" in why
