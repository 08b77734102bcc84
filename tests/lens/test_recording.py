"""The lens: what it shows is true, and looking changes nothing."""

import copy
import math
import sys
from functools import partial

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from saiki import Bidirectional, Cell, Recurrent, activations, lens
from saiki.cells import GRU, LSTM, SimpleRNN


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    torch.manual_seed(0)
    yield
    profile = sys.getprofile()
    sys.setprofile(None)
    assert profile is None
    assert _get_current_function_mode_stack() == []


class Leaky(Cell):
    """A cell of a user's own: two states, a gate, and quantities that are no tensor of rows."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size + hidden_size, 2 * hidden_size)

    def step(self, x, h, memory):
        rate = 0.5
        weights = self.W.weight.abs().sum(0)
        leak, candidate = self.W(torch.cat((x, h), -1)).chunk(2, dim=-1)
        leak = torch.sigmoid(leak)
        memory = leak * memory + rate * (1 - leak) * torch.nn.functional.relu(candidate)
        return torch.tanh(memory) + 0 * weights.mean(), memory


class Recording(Cell):
    """``cell`` with every state it returns kept, for autograd to be asked about."""

    def __init__(self, cell):
        super().__init__(cell.input_size, cell.hidden_size)
        self.inner = cell
        self.states = []

    @property
    def state_names(self):
        return self.inner.state_names

    @property
    def state_sizes(self):
        return self.inner.state_sizes

    def step(self, x, *state):
        new = self.inner.forward(x, *state)
        self.states.append(new)
        return new if len(new) > 1 else new[0]


def by_hand(layer, loss):
    """Norm of the gradient of ``loss(layer)`` for each state of each step, from autograd."""
    twin = Recurrent(Recording(copy.deepcopy(layer.cell)), layer.reverse, backend="eager")
    twin.cell.states.clear()  # those of the check that every new layer makes
    total = loss(twin)
    steps = twin.cell.states[::-1] if layer.reverse else twin.cell.states
    norms = {}
    for i, name in enumerate(layer.cell.state_names):
        states = [step[i] for step in steps]
        gradients = torch.autograd.grad(total, states, retain_graph=True, allow_unused=True)
        norms[name] = [0.0 if g is None else math.sqrt((g * g).sum()) for g in gradients]
    return norms


def watched(layer, loss):
    with lens.watch(layer) as view:
        loss(layer).backward()
    return view[""]


def same(shown, wanted):
    assert list(shown) == list(wanted)
    for name, norms in wanted.items():
        assert shown[name] == pytest.approx(norms, rel=1e-12), name


every_cell = pytest.mark.parametrize(
    "make",
    [SimpleRNN, LSTM, partial(LSTM, projection_size=2), GRU, Leaky],
    ids=["rnn", "lstm", "projection", "gru", "leaky"],
)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@every_cell
def test_the_norms_are_those_of_the_gradient_of_each_state_at_each_step(make, reverse):
    layer = Recurrent(make(3, 4), reverse).double()
    x = torch.randn(5, 6, 3, dtype=torch.float64)
    weights = torch.randn(6, 1).double() ** 2

    def loss(layer):
        y, _ = layer(x)
        return (weights * y**2).sum()

    same(watched(layer, loss).gradient, by_hand(layer, loss))


def test_a_step_that_the_loss_does_not_reach_has_a_gradient_of_0():
    layer = Recurrent(SimpleRNN(3, 4))
    x = torch.randn(2, 5, 3)
    norms = watched(layer, lambda layer: layer(x)[0][:, 2].sum()).gradient["h"]
    assert [norm > 0 for norm in norms] == [True, True, True, False, False]


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_ragged_rows_count_only_while_they_last(reverse):
    layer = Recurrent(SimpleRNN(3, 4), reverse).double()
    x, lengths = torch.randn(3, 4, 3).double(), [4, 1, 2]

    def each_row_alone(layer):
        return sum(layer(x[i : i + 1, :n])[0].square().sum() for i, n in enumerate(lengths))

    squares = [0.0] * 4
    for i, n in enumerate(lengths):
        alone = by_hand(layer, lambda layer, i=i, n=n: layer(x[i : i + 1, :n])[0].square().sum())
        for t, norm in enumerate(alone["h"]):
            squares[t] += norm**2

    def together(layer):
        return layer(x, lengths=torch.tensor(lengths))[0].square().sum()

    norms = watched(layer, together).gradient["h"]
    assert norms == pytest.approx([math.sqrt(s) for s in squares], rel=1e-12)


def test_both_layers_of_a_bidirectional_are_shown_in_the_order_of_the_input():
    layer = Bidirectional(SimpleRNN(3, 4)).double()
    x = torch.randn(2, 5, 3).double()
    with lens.watch(layer) as view:
        layer(x)[0][:, 1].square().sum().backward()
    ahead, back = view["forward_layer"], view["backward_layer"]
    for part, shown, half in ((layer.forward_layer, ahead, 0), (layer.backward_layer, back, 1)):
        hand = by_hand(part, lambda part: part(x)[0][:, 1].square().sum())
        same(shown.gradient, hand)
        assert shown.reverse == bool(half)
    # the second output knows steps 1 and 2 of the layer that reads ahead, and 2 to 5 of the other
    assert [n > 0 for n in ahead.gradient["h"]] == [True, True, False, False, False]
    assert [n > 0 for n in back.gradient["h"]] == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (SimpleRNN(3, 4), {"u", "h"}),
        (LSTM(3, 4), {"i", "f", "g", "o", "c", "h"}),
        (GRU(3, 4), {"z", "r", "n", "h"}),
        (Leaky(3, 4), {"leak", "candidate", "h", "memory"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_quantity_of_the_rows_is_seen_under_the_name_that_step_gives_it(cell, names):
    view = watched(Recurrent(cell), lambda layer: layer(torch.randn(2, 5, 3))[0].sum())
    assert set(view.values) == names


def test_the_input_of_a_step_may_have_any_name():
    class Renamed(Cell):
        def step(self, word, h):
            h = torch.tanh(word + h)
            return h

    view = watched(
        Recurrent(Renamed(3, 3)),
        lambda layer: layer(torch.ones(2, 1, 3, requires_grad=True))[0].mean(),
    )
    assert view.values["h"].mean == pytest.approx(math.tanh(1))


def test_statistics_are_over_all_rows_units_and_steps():
    layer = Recurrent(LSTM(3, 4)).double()
    x = torch.randn(5, 6, 3).double()
    view = watched(layer, lambda layer: layer(x)[0].sum())
    W, U, b = layer.cell.W.weight, layer.cell.U.weight, layer.cell.b
    h = c = torch.zeros(5, 4).double()
    seen = {name: [] for name in "ifgoch"}
    for x_t in x.unbind(1):
        i, f, g, o = (x_t @ W.T + h @ U.T + b).chunk(4, -1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        for name, value in zip("ifgoch", (i, f, g, o, c, h), strict=True):
            seen[name].append(value.detach())
    for name, values in seen.items():
        values, shown = torch.stack(values).numpy(), view.values[name]
        want = (values.mean(), values.std(), values.min(), values.max())
        got = (shown.mean, shown.std, shown.minimum, shown.maximum)
        assert got == pytest.approx(want, rel=1e-12), name


def test_the_saturated_share_is_counted_where_an_activation_made_the_quantity():
    layer = Recurrent(LSTM(3, 8))
    nn.init.normal_(layer.cell.W.weight, std=3.0)
    view = watched(layer, lambda layer: layer(torch.randn(20, 6, 3))[0].sum())
    outputs = {}

    def keep(cell, inputs, _):
        x, h, _ = inputs
        i, f, g, o = (cell.W(x) + cell.U(h) + cell.b).chunk(4, -1)
        for name, value in zip("ifo", (i, f, o), strict=True):
            outputs.setdefault(name, []).append(torch.sigmoid(value))
        outputs.setdefault("g", []).append(torch.tanh(g))

    torch.manual_seed(0)
    layer = Recurrent(LSTM(3, 8))
    nn.init.normal_(layer.cell.W.weight, std=3.0)
    layer.cell.register_forward_hook(keep)
    layer(torch.randn(20, 6, 3))
    for name in "ifo":  # within 5 % of the range from 0 to 1
        gate = torch.stack(outputs[name])
        share = ((gate <= 0.05) | (gate >= 0.95)).double().mean().item()
        assert 0.05 < share < 0.95
        assert view.values[name].saturated == pytest.approx(share, abs=1e-6)
    share = (torch.stack(outputs["g"]).abs() >= 0.9).double().mean().item()
    assert view.values["g"].saturated == pytest.approx(share, abs=1e-6)
    assert view.values["c"].saturated is None  # a sum: no activation made it
    assert view.values["h"].saturated is None


@pytest.mark.parametrize(
    ("activation", "values", "share"),
    [
        ("sigmoid", [0.0, 0.05, 0.06, 0.94, 0.95], 3 / 5),
        ("tanh", [-1.0, -0.9, -0.89, 0.0, 0.91], 3 / 5),
        ("relu", [0.0, 0.0, 1e-6, 40.0], 2 / 4),  # off, however little it is on otherwise
        ("softplus", [0.01, 0.05, 0.06, 100.0], 2 / 4),
        ("elu", [-1.0, -0.95, -0.9, 5.0], 2 / 4),
        ("hard_tanh", [-1.0, 0.0, 1.0, 0.5], 2 / 4),
        ("hard_sigmoid", [0.0, 0.5, 1.0, 1.0], 3 / 4),
    ],
)
def test_a_unit_is_saturated_at_a_finite_edge_of_the_range(activation, values, share):
    values = torch.tensor(values, dtype=torch.float64)
    assert lens.saturated(values, activation) == pytest.approx(share)


@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
def test_a_function_without_bounds_saturates_nowhere(activation):
    assert lens.saturated(torch.tensor([-1e9, 0.0, 1e9]), activation) is None


@pytest.mark.parametrize("activation", ["relu", "tanh", "hard_tanh", "hard_sigmoid"])
def test_the_activation_of_a_simple_network_is_recognised(activation):
    layer = Recurrent(SimpleRNN(3, 8, activation))
    nn.init.normal_(layer.cell.W.weight, std=5.0)
    x = torch.randn(9, 4, 3)
    shown = watched(layer, lambda layer: layer(x)[0].sum()).values["h"].saturated
    assert 0 < shown < 1
    assert shown == pytest.approx(lens.saturated(layer(x)[0].detach(), activation), abs=1e-6)


def test_the_activation_is_that_with_its_parameter():
    cell = SimpleRNN(3, 8, activations.get("elu", alpha=2.0))
    nn.init.normal_(cell.W.weight, std=5.0)
    layer, x = Recurrent(cell), torch.randn(9, 4, 3)
    shown = watched(layer, lambda layer: layer(x)[0].sum()).values["h"].saturated
    at_edge = layer(x)[0] <= -2 + lens.EDGE
    assert shown == pytest.approx(at_edge.float().mean().item())
    assert shown > 0


@pytest.mark.parametrize(("reverse", "step"), [(False, 4), (True, 2)])
def test_the_first_step_that_overflows_is_found(reverse, step):
    # h^t = 1e13 h^(t-1) with h = 1 at first: 1e39 after three steps is beyond float32. Step 1 of
    # either direction carries the input; in five steps backwards, step 4 of the way is step 2.
    cell = SimpleRNN(1, 1, "identity", bias=False)
    nn.init.constant_(cell.W.weight, 1.0)
    nn.init.constant_(cell.U.weight, 1e13)
    x = torch.zeros(1, 5, 1)
    x[0, -1 if reverse else 0] = 1
    view = watched(Recurrent(cell, reverse), lambda layer: layer(x)[0].sum())
    assert view.first_infinite == step
    assert view.first_infinite_state == "h"
    shorter = torch.tensor([5, 4])
    rows = torch.cat((torch.zeros(1, 5, 1), x.roll(-1 if reverse else 0, 1)))
    view = watched(Recurrent(cell, reverse), lambda layer: layer(rows, lengths=shorter)[0].sum())
    assert view.first_infinite == (step - 1 if reverse else step)


def test_the_state_that_overflows_is_named():
    cell = LSTM(1, 2, input_activation=False)
    nn.init.constant_(cell.W.weight, 1e38)
    view = watched(Recurrent(cell), lambda layer: layer(torch.full((1, 3, 1), 9.0))[0].sum())
    assert view.first_infinite_state == "c"


def test_a_state_that_stays_finite_has_no_first_infinite_step():
    view = watched(Recurrent(GRU(3, 4)), lambda layer: layer(torch.randn(2, 5, 3))[0].sum())
    assert view.first_infinite is None


def test_a_layer_that_runs_twice_shows_its_last_run():
    layer = Recurrent(SimpleRNN(3, 4))
    short, long = torch.randn(2, 2, 3), torch.randn(2, 6, 3)
    wanted = watched(layer, lambda layer: layer(short)[0].sum())
    assert watched(layer, lambda layer: layer(long)[0].sum() + layer(short)[0].sum()) == wanted


@every_cell
def test_what_is_watched_computes_the_same_bits(make):
    layer = Recurrent(make(3, 4), backend="eager")
    x = torch.randn(3, 5, 3)

    def run():
        layer.zero_grad()
        y, _ = layer(x)
        y.square().sum().backward()
        return [y.detach(), *(p.grad.clone() for p in layer.parameters())]

    plain = run()
    with lens.watch(layer):
        seen = run()
    for a, b, c in zip(plain, seen, run(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_watching_ends_with_the_block():
    layer = Recurrent(LSTM(3, 4))
    with lens.watch(layer) as view:
        layer(torch.randn(2, 5, 3))[0].sum().backward()
    before = copy.deepcopy(view)
    layer(torch.randn(2, 9, 3))[0].sum().backward()
    assert view == before
    hooks = (layer._forward_pre_hooks, layer.cell._forward_pre_hooks, layer.cell._forward_hooks)
    assert [len(h) for h in hooks] == [0, 0, 0]


class Breaks(Cell):
    def step(self, x, h):
        if x.sum() > 100:
            raise KeyError("the cell broke")
        return x + h


def test_an_error_inside_step_comes_out_as_it_is_and_leaves_nothing_behind():
    layer = Recurrent(Breaks(3, 3))
    with pytest.raises(KeyError, match="the cell broke"), lens.watch(layer):
        layer(torch.full((1, 2, 3), 99.0))
    assert sys.getprofile() is None
    assert _get_current_function_mode_stack() == []
    assert len(layer.cell._forward_hooks) == len(layer.cell._forward_pre_hooks) == 0


def test_the_profiler_of_somebody_else_is_given_back():
    layer, events = Recurrent(SimpleRNN(3, 4)), []
    theirs = lambda *event: events.append(event)  # noqa: E731
    sys.setprofile(theirs)
    try:
        with lens.watch(layer):
            layer(torch.randn(1, 2, 3))
        assert sys.getprofile() is theirs
    finally:
        sys.setprofile(None)


def test_two_layers_may_share_one_cell():
    cell = SimpleRNN(3, 4)
    both = Bidirectional(Recurrent(cell), backward=Recurrent(cell, reverse=True))
    with lens.watch(both) as view:
        both(torch.randn(2, 5, 3))[0].sum().backward()
    profile = sys.getprofile()
    sys.setprofile(None)
    assert profile is None
    assert len(view["forward_layer"].gradient["h"]) == 5
