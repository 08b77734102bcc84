import math

import pytest
import torch

from saiki import Bidirectional, Cell, InputError, Recurrent, Stack, check
from saiki.cells import GRU, LSTM, VARIANTS, SimpleRNN
from saiki.proof import Report, Row, gradients

pytestmark = pytest.mark.one_in(3)

EVERY_VARIANT = {name: cell for family in VARIANTS.values() for name, cell in family.items()}
PADDING = "padded rows as each row alone"
PADDING_GRADIENTS = "gradients of padded rows as of each row alone"


@pytest.mark.parametrize("name", EVERY_VARIANT)
def test_every_built_in_cell_is_proved_right(name):
    report = check(EVERY_VARIANT[name](2, 3))
    assert report.passed, report


@pytest.mark.parametrize(
    "build",
    [
        lambda: Recurrent(GRU(2, 3), reverse=True),
        lambda: Bidirectional(LSTM(2, 3)),
        lambda: Bidirectional(GRU(2, 3), merge="mul"),
        lambda: Bidirectional(GRU(2, 3), backward=SimpleRNN(2, 2)),
        lambda: Stack([SimpleRNN(2, 3), LSTM(3, 2)]),
        lambda: Stack([Bidirectional(GRU(2, 2)), Stack([SimpleRNN(4, 2)])], dropout=0.5),
    ],
    ids=["reverse", "two directions", "product", "two kinds", "stack", "nested stack"],
)
def test_layers_of_cells_are_proved_right(build):
    report = check(build(), batch=2, time=3)
    assert report.passed, report


def test_every_parameter_the_input_and_each_state_are_on_trial():
    claims = [row.claim for row in check(LSTM(2, 3, peephole=True)).rows]
    names = ["b", "p", "W.weight", "U.weight", "the input", "initial state h", "initial state c"]
    assert claims == [
        *(f"gradient of {name}" for name in names),
        PADDING,
        PADDING_GRADIENTS,
        "reversal as flipped input",
        "compiled as eager",
        "gradients compiled as eager",
    ]


class SlopeOfSigmoid(torch.autograd.Function):
    """tanh with the derivative of the sigmoid: the swap that made a course blame tanh."""

    @staticmethod
    def forward(ctx, u):
        y = torch.tanh(u)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * y * (1 - y)


class Doubled(torch.autograd.Function):
    """The identity with twice its gradient."""

    @staticmethod
    def forward(ctx, u):
        return u.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


ALL_GRADIENTS = (
    "gradient of W.weight",
    "gradient of W.bias",
    "gradient of U.weight",
    "gradient of the input",
    "gradient of initial state h",
)


class Elman(Cell):
    """A right one, for the wrong ones below to differ from."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)
        self.U = torch.nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x, h):
        return torch.tanh(self.W(x) + self.U(h))


class WrongDerivative(Elman):
    def step(self, x, h):
        return SlopeOfSigmoid.apply(self.W(x) + self.U(h))


class DetachedState(Elman):
    def step(self, x, h):
        return torch.tanh(self.W(x) + self.U(h.detach()))


class WrongBias(Elman):
    def step(self, x, h):
        u = torch.nn.functional.linear(x, self.W.weight) + Doubled.apply(self.W.bias)
        return torch.tanh(u + self.U(h))


class WrongRecurrentWeight(Elman):
    def step(self, x, h):
        return torch.tanh(self.W(x) + torch.nn.functional.linear(h, Doubled.apply(self.U.weight)))


class WrongInput(Elman):
    def step(self, x, h):
        return torch.tanh(self.W(Doubled.apply(x)) + self.U(h))


class WrongStart(Elman):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.start = torch.nn.Parameter(torch.zeros(hidden_size))

    def initial_state(self, batch):
        return Doubled.apply(self.start).expand(batch, -1)


@pytest.mark.parametrize(
    ("cell", "failed"),
    [
        (Elman, ()),
        (WrongDerivative, ALL_GRADIENTS),
        (DetachedState, ALL_GRADIENTS),
        (WrongBias, ("gradient of W.bias",)),
        (WrongRecurrentWeight, ("gradient of U.weight",)),
        (WrongInput, ("gradient of the input",)),
        (WrongStart, ("gradient of start",)),
    ],
)
def test_wrong_gradients_are_found_and_no_others_accused(cell, failed):
    assert check(cell(2, 3)).failed == failed


class DetachesStart(Recurrent):
    def forward(self, x, state=None, lengths=None):
        return super().forward(x, None if state is None else state.detach(), lengths)


class ReadsPadding(Recurrent):
    def forward(self, x, state=None, lengths=None):
        return super().forward(x, state)


class MasksAfterwards(Recurrent):
    """Right outputs, but 0 · NaN in the backward pass."""

    def forward(self, x, state=None, lengths=None):
        y, last = super().forward(x, state)
        if lengths is None:
            return y, last
        beyond = torch.arange(y.shape[1]) >= lengths[:, None]
        return y.masked_fill(beyond[..., None], 0), y[torch.arange(len(y)), lengths - 1]


class NeverReverses(Recurrent):
    def __init__(self, cell, reverse=True, backend="auto"):
        super().__init__(cell, reverse, backend)
        self.forwards = Recurrent(cell)

    def forward(self, x, state=None, lengths=None):
        return self.forwards(x, state, lengths)


@pytest.mark.parametrize(
    ("layer", "failed"),
    [
        (DetachesStart, ("gradient of initial state h",)),
        (ReadsPadding, (PADDING, PADDING_GRADIENTS, "reversal as flipped input")),
        (MasksAfterwards, (PADDING_GRADIENTS,)),
        (NeverReverses, ("reversal as flipped input",)),
    ],
)
def test_what_a_layer_does_wrong_is_found_and_named(layer, failed):
    assert check(layer(Elman(2, 3))).failed == failed


def test_a_wrong_cell_is_found_inside_other_layers():
    assert check(Stack([GRU(2, 2), Bidirectional(GRU(2, 2), backward=WrongBias(2, 2))])).failed == (
        "gradient of layers.1.backward_layer.cell.W.bias",
    )


def test_the_error_is_the_relative_difference_of_the_two_derivatives():
    x = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    # Doubled claims 2a where a is right: |2a − a| / 2a = 1/2, and with a on trial 0.
    wrong, right = gradients(lambda: (Doubled.apply(x) * a).sum(), {"x": x, "a": a})
    assert wrong.error == pytest.approx(0.5, abs=1e-6)
    assert right.error < 1e-8
    assert x.tolist() == [1.0, -2.0, 3.0]


def test_an_error_that_is_not_a_number_does_not_pass():
    report = Report("A layer", (Row("first", 0.0, 1e-5), Row("second", math.nan, 1e-5)))
    assert not report.passed
    assert report.failed == ("second",)
    assert str(report).endswith("FAILED: second")


def test_the_layer_is_left_as_it_was():
    layer = Stack([GRU(2, 3), SimpleRNN(3, 2)], dropout=0.5)
    layer.layers[1].requires_grad_(False)
    before = {name: p.clone() for name, p in layer.named_parameters()}
    check(layer)
    assert layer.training
    assert not layer.layers[1].cell.U.weight.requires_grad
    for name, p in layer.named_parameters():
        assert p.dtype == torch.float32
        assert p.grad is None
        assert torch.equal(p, before[name])


def test_the_global_random_state_is_left_as_it_was():
    layer = Bidirectional(GRU(2, 3))
    before = torch.random.get_rng_state()
    check(layer)
    assert torch.equal(torch.random.get_rng_state(), before)


class Noisy(GRU):
    def step(self, x, h):
        return super().step(x, h) + torch.randn_like(h)


@pytest.mark.parametrize("layer", [Noisy(2, 3), Bidirectional(Noisy(2, 3)), Stack([Noisy(2, 3)])])
def test_what_a_step_draws_is_the_same_in_all_that_is_compared(layer):
    report = check(layer)
    assert report.passed, report
    claims = [row.claim for row in report.rows]
    assert "gradients compiled as eager" in claims
    assert any(claim.startswith("reversal as flipped input") for claim in claims)
    assert PADDING not in claims
    assert report.notes == ("padding not tried: rows by themselves draw other random numbers",)


def test_frozen_parameters_are_on_trial_too():
    cell = WrongBias(2, 3).requires_grad_(False)
    assert check(cell).failed == ("gradient of W.bias",)


def test_any_size_of_batch_and_time_will_do():
    for batch, time in ((1, 2), (1, 5), (4, 2)):
        report = check(WrongBias(2, 3), batch=batch, time=time)
        assert report.failed == ("gradient of W.bias",), report


def test_what_is_no_recurrent_layer_is_refused():
    with pytest.raises(InputError, match="expected a Cell or a recurrent layer, got Linear"):
        check(torch.nn.Linear(2, 3))
