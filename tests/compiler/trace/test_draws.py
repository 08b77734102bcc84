"""Random numbers inside steps: compiled, a layer draws what the eager loop draws, and leaves the
generator as that does."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

import saiki
from compiler.comparison import assert_same, compiled, draw, eager, outcome, randomised
from compiler.interpreter import Interpreter
from compiler.test_shelf import folder, forget
from saiki import Bidirectional, Cell, Recurrent, Stack
from saiki.compiler import kernels, shelf
from saiki.compiler.cpu import jit, values
from saiki.compiler.run.compiled import compiled_cell
from saiki.errors import CompileError
from saiki.layers.run import run_layers
from saiki.weak import WeakValues

pytestmark = pytest.mark.one_in(4)

__all__ = ["folder"]  # a fixture
INPUT, HIDDEN = 3, 6
LENGTHS = torch.tensor([3, 5, 1, 5])


class Written(Cell):
    """h ← f(self, W x, h)."""

    def __init__(self, f, input_size=INPUT):
        super().__init__(input_size, HIDDEN)
        self.W = nn.Linear(input_size, HIDDEN)
        self.U = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(0.4)
        self.f = f

    def step(self, x, h):
        return self.f(self, self.W(x), h)


class Noisy(Cell):
    """Two states, three kinds of draws, one of them of x."""

    def __init__(self, input_size=INPUT, hidden_size=HIDDEN):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size)
        self.dropout = nn.Dropout(0.3)

    def step(self, x, h, c):
        f, g = (self.W(self.dropout(x)) + self.U(self.dropout(h))).chunk(2, 1)
        new = torch.sigmoid(f) * c + torch.tanh(g) + 0.1 * torch.randn_like(c)
        c = torch.where(torch.bernoulli(torch.full_like(c, 0.2)) > 0, c, new)
        return torch.tanh(c), c


def dropout_of_the_state(c, x, h):
    return torch.tanh(x + c.U(F.dropout(h, 0.4, c.training)))


def dropout_as_a_module(c, x, h):
    return torch.tanh(c.dropout(x) + c.U(h))


def dropout_in_place(c, x, h):
    return torch.tanh(x + F.dropout(c.U(h), 0.4, True, inplace=True))


def alpha_dropout(c, x, h):
    return torch.tanh(x + F.alpha_dropout(c.U(h), 0.4, True))


def dropout_of_channels(c, x, h):
    return torch.tanh(x + F.dropout1d(c.U(h).view(-1, 3, 2), 0.4).flatten(1))


def dropout_of_some_features(c, x, h):
    return torch.tanh(x + torch.cat([h[:, :2], F.dropout(c.U(h)[:, 2:], 0.5)], 1))


def zoneout(c, x, h):
    keep = torch.bernoulli(torch.full_like(h, 0.3))
    return keep * h + (1 - keep) * torch.tanh(x + c.U(h))


def zoneout_by_number(c, x, h):
    return torch.tanh(x + c.U(h)).where(torch.bernoulli(h.detach(), 0.3) > 0, h)


def zoneout_by_where(c, x, h):
    return torch.where(torch.rand(h.shape) < 0.3, h, torch.tanh(x + c.U(h)))


def zoneout_by_flags(c, x, h):
    keep = torch.empty(h.shape, dtype=torch.bool).bernoulli_(0.3)
    return torch.tanh(x + c.U(h)).where(keep, h)


def zoneout_in_place(c, x, h):
    keep = h.new_empty(len(h), HIDDEN).bernoulli_(0.3)
    return h + keep * (torch.tanh(x + c.U(h)) - h)


def gaussian_noise(c, x, h):
    return torch.tanh(x + c.U(h)) + 0.1 * torch.randn_like(h)


def gaussian_noise_of_sizes(c, x, h):
    return torch.tanh(x + c.U(h + 0.1 * torch.randn((len(h), HIDDEN), dtype=h.dtype)))


def gaussian_noise_in_single_precision(c, x, h):
    return torch.tanh(x + c.U(h)) + 0.1 * torch.randn(h.shape)


def gaussian_noise_in_place(c, x, h):
    return torch.tanh(x + c.U(h)) + h.new_empty(h.shape).normal_(0.5, 0.1)


def normal_numbers(c, x, h):
    return torch.tanh(x + c.U(h)) + torch.normal(0.0, 0.1, h.shape, dtype=h.dtype)


def normal_around_the_state(c, x, h):
    return torch.tanh(x + c.U(h) + torch.normal(h, 0.1))


def normal_of_a_scale(c, x, h):
    return torch.tanh(x + c.U(h) + torch.normal(0.3, torch.sigmoid(x)))


def normal_of_mean_and_scale(c, x, h):
    return torch.tanh(x + c.U(h) + torch.normal(x, torch.sigmoid(x)))


def normal_distribution(c, x, h):
    return torch.distributions.Normal(torch.tanh(x + c.U(h)), 0.1, validate_args=False).rsample()


def uniform_noise(c, x, h):
    return torch.tanh(x + c.U(h + torch.rand_like(h))) + h.new_empty(h.shape).uniform_(-0.1, 0.1)


def gumbel_noise(c, x, h):
    return F.softmax(x + c.U(h) - torch.log(-torch.log(torch.rand_like(h))), -1)


def gumbel_softmax(c, x, h):
    return F.gumbel_softmax(x + c.U(h), tau=0.7, hard=True)


def exponential(c, x, h):
    return torch.tanh(x + c.U(h)) + 0.1 * torch.empty_like(h).exponential_(2.0)


def other_laws(c, x, h):
    noise = torch.empty_like(h).cauchy_().clamp(-1, 1) + torch.empty_like(h).log_normal_(0, 0.1)
    return torch.tanh(x + c.U(h)) + noise * torch.empty_like(h).geometric_(0.5)


def whole_numbers(c, x, h):
    return torch.tanh(x + c.U(h * torch.randint(0, 2, h.shape)) + torch.randint_like(h, 3))


def binary_neurons(c, x, h):
    v = torch.sigmoid(x + c.U(h))
    return v + (torch.bernoulli(v) - v).detach()


def of_single_probabilities(c, x, h):
    p = torch.linspace(0.1, 0.9, HIDDEN, dtype=h.dtype)
    return torch.tanh(x + c.U(h * torch.bernoulli(p.expand(len(h), -1))))


def one_for_each_row(c, x, h):
    return torch.tanh(x + c.U(h)) * (1 + torch.rand(len(h), 1).to(h)) + torch.rand(len(h))[:, None]


def heads(c, x, h):
    noise = torch.rand(len(h), 2, 3, dtype=h.dtype)
    return torch.tanh(x + c.U((h.view(-1, 2, 3) * noise).flatten(1)))


def through_weights(c, x, h):
    return torch.tanh(x + c.U(h) + c.U(torch.randn_like(h)))


def scaled_by_weights(c, x, h):
    return torch.tanh(x + h + c.U.bias * torch.randn_like(h))


def turned(c, x, h):
    noise = torch.rand(len(h), HIDDEN, dtype=h.dtype).T.exp()
    return torch.tanh(x + (noise * c.U(h).T).T)


def whole_numbers_beside_a_product_of_x(c, x, h):
    return torch.tanh(x * torch.randint(0, 3, x.shape) + c.U(h))


def whole_numbers_in_the_gradient(c, x, h):
    return torch.tanh(x + c.U(h)) * (h > 0) * torch.randint(1, 4, h.shape)


def used_twice(c, x, h):
    mask = torch.rand_like(h)
    return torch.tanh(x * mask + c.U(h * mask))


def not_used(c, x, h):
    torch.rand_like(h)
    return torch.tanh(x + c.U(h) + torch.rand_like(h))


def nothing_dropped(c, x, h):
    return torch.tanh(x + c.U(F.dropout(h, 0.0)))


def all_dropped(c, x, h):
    return torch.tanh(x + c.U(F.dropout(h, 1.0)))


KINDS = [
    dropout_of_the_state, dropout_as_a_module, dropout_in_place, alpha_dropout,
    dropout_of_channels, dropout_of_some_features, zoneout, zoneout_by_number, zoneout_by_where,
    zoneout_by_flags, zoneout_in_place, gaussian_noise, gaussian_noise_of_sizes,
    gaussian_noise_in_single_precision, gaussian_noise_in_place, normal_numbers,
    normal_around_the_state, normal_of_a_scale, normal_of_mean_and_scale, normal_distribution,
    uniform_noise, gumbel_noise, gumbel_softmax, exponential, other_laws, whole_numbers,
    binary_neurons, of_single_probabilities, one_for_each_row, heads, through_weights,
    scaled_by_weights, turned, whole_numbers_beside_a_product_of_x,
    whole_numbers_in_the_gradient, used_twice, not_used,
    nothing_dropped, all_dropped,
]  # fmt: skip


def seeded(layer, *args, seed=0, of=outcome, **options):
    """What a layer gives after a seed, and how it leaves the generator."""
    torch.manual_seed(seed)
    return of(layer, *args, **options), torch.get_rng_state()


def assert_draws_alike(layer, x, start=None, lengths=None, **options):
    """``layer`` against the eager loop in the same type, after the same seeds."""
    tolerance = 1e-10 if x.dtype == torch.float64 else 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(2):
            actual, after = seeded(layer, x, start, lengths, seed=seed, **options)
            expected, wanted = seeded(eager(layer), x, start, lengths, seed=seed, **options)
            assert_same(actual, expected, tolerance)
            assert torch.equal(after, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_draws_what_the_eager_loop_draws(kind, dtype):
    layer = compiled(Written(kind), dtype)
    x = draw(4, 5, INPUT, dtype=dtype).requires_grad_()
    assert_draws_alike(layer, x, draw(4, HIDDEN, dtype=dtype))


WAYS = {
    "dense": (4, None),
    "one row": (1, None),
    "one step": (4, 1),
    "many rows": (33, None),
    "ragged": (4, LENGTHS),
    "shorter than x": (4, LENGTHS.clamp(max=3)),
    "one ragged row": (1, torch.tensor([2])),
    "many rows of few lengths": (33, torch.arange(33) % 3 + 3),
}
BUILDS = {
    "forward": lambda: compiled(Noisy()),
    "reversed": lambda: compiled(Noisy(), reverse=True),
    "one state": lambda: compiled(Written(zoneout), reverse=True),
    "both": lambda: randomised(Bidirectional(Recurrent(Noisy(), backend="cpu"))),
    "both of a cell": lambda: randomised(
        Bidirectional(
            Recurrent(Written(zoneout), backend="cpu"),
            backward=Recurrent(Noisy(), reverse=True, backend="cpu"),
        )
    ),
    "stack": lambda: randomised(
        Stack(
            [
                Recurrent(Noisy(), backend="cpu"),
                Bidirectional(Recurrent(Written(zoneout, HIDDEN), backend="cpu")),
                Recurrent(Noisy(2 * HIDDEN), reverse=True, backend="cpu"),
            ],
            dropout=0.3,
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("build", list(BUILDS))
def test_however_the_rows_are_gone_through(build, way):
    rows, lengths = WAYS[way]
    steps, lengths = (1, None) if isinstance(lengths, int) else (5, lengths)
    x = draw(rows, steps, INPUT).requires_grad_()
    assert_draws_alike(BUILDS[build](), x, None, lengths)


def test_a_direction_that_runs_step_by_step_beside_a_compiled_one():
    ours, theirs = Recurrent(Noisy()), Recurrent(Noisy(), reverse=True, backend="eager")
    layer = randomised(Bidirectional(ours, backward=theirs))
    assert_draws_alike(layer, draw(4, 5, INPUT).requires_grad_(), None, LENGTHS)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layout", ["packed", "time first", "time first, ragged"])
def test_packed_input_and_time_first(reverse, layout):
    layer, x = compiled(Noisy(), reverse=reverse), draw(4, 5, INPUT)
    start = tuple(draw(4, HIDDEN) for _ in range(2))
    lengths = LENGTHS if layout == "time first, ragged" else None
    if layout == "packed":
        x, lengths = pack_padded_sequence(x, torch.tensor([5, 5, 3, 1]), batch_first=True)[:2]
    else:
        x = x.transpose(0, 1).contiguous()

    def run(layer):
        return run_layers([layer], x, [start], lengths, time_first=layout != "packed")

    (y, (end,)), after = seeded(layer, of=run)
    (wanted, (wanted_end,)), wanted_after = seeded(eager(layer), of=run)
    for a, b in zip((y, *end), (wanted, *wanted_end), strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(after, wanted_after)


def test_rows_of_equal_length_keep_their_order_in_the_eager_loop():
    """Or which row is dropped what would depend on how PyTorch sorts."""
    cell = Written(lambda c, x, h: torch.arange(len(h), dtype=h.dtype)[:, None].expand_as(h))
    with torch.no_grad():
        y, _ = Recurrent(cell, backend="eager").double()(
            draw(33, 2, INPUT), lengths=torch.full((33,), 2)
        )
    assert y[:, 0, 0].tolist() == list(range(33))


def test_without_gradients():
    layer, x = compiled(Noisy()), draw(4, 5, INPUT)
    with torch.no_grad():
        assert_draws_alike(layer, x, None, LENGTHS)
    with torch.inference_mode():
        actual, _ = seeded(layer, x, of=lambda layer, x: layer(x)[0])
        torch.testing.assert_close(actual, seeded(layer, x)[0]["y"])


def test_the_backward_pass_uses_what_the_forward_pass_drew():
    layer, x = compiled(Noisy()), draw(2, 3, INPUT).requires_grad_()

    def run(x, *parameters):
        torch.manual_seed(0)
        y, end = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        return y, *end

    names, parameters = zip(*layer.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(run, (x, *parameters))


class Noise(Cell):
    """h ← what is drawn."""

    def __init__(self):
        super().__init__(1, 200)

    def step(self, x, h):
        return F.dropout(torch.ones_like(h), 0.3) + 0 * (x + h)


def test_steps_directions_and_calls_draw_each_for_themselves():
    """Entries that stay are 70 %, and any two steps, rows, directions or calls agree as often as
    independent ones do: by 0.7² + 0.3² = 58 %."""
    layer, x = Bidirectional(Recurrent(Noise(), backend="cpu")), torch.zeros(3, 5, 1)
    torch.manual_seed(0)
    masks = torch.stack([layer(x)[0] > 0 for _ in range(2)]).unflatten(-1, (2, 200))
    assert masks.double().mean().item() == pytest.approx(0.7, abs=0.01)
    masks = masks.movedim(-2, 0).flatten(0, -2).double()
    agreement = masks @ masks.T + (1 - masks) @ (1 - masks).T
    pairs = agreement[~torch.eye(len(masks), dtype=torch.bool)] / 200
    assert pairs.mean().item() == pytest.approx(0.58, abs=0.01)
    assert pairs.max() < 0.58 + 6 * (0.58 * 0.42 / 200) ** 0.5


def test_two_operations_that_say_the_same_draw_each_for_itself():
    difference = Written(lambda c, x, h: torch.rand_like(h) - torch.rand_like(h) + 0 * (x + h))
    with torch.no_grad():
        y, _ = compiled(difference)(draw(4, 5, INPUT))
    assert (y.abs() > 1e-6).all()


def test_nothing_is_drawn_in_evaluation():
    layer, x = compiled(Written(dropout_of_the_state)), draw(4, 5, INPUT).requires_grad_()
    layer(x)
    layer.eval()
    _, after = seeded(layer, x)
    torch.manual_seed(0)
    assert torch.equal(after, torch.get_rng_state())
    assert "drawn" not in layer.explain()
    assert_draws_alike(layer, x)
    assert_draws_alike(layer.train(), x)


def test_explain_says_what_is_drawn():
    text = compiled(Noisy()).explain()
    kinds = "bernoulli(0.7) of 3, draw 1 = bernoulli(0.7) of 6, draw 2 = normal() of 6"
    assert f"drawn: draw 0 = {kinds}, draw 3 = uniform() of 6" in text


def test_on_another_backend(monkeypatch):
    monkeypatch.setitem(kernels.BACKENDS, "cpu", Interpreter())
    layer = randomised(Recurrent(Noisy(), reverse=True))
    assert_draws_alike(layer, draw(4, 5, INPUT).requires_grad_(), None, LENGTHS)
    assert layer.explain().startswith("numpy: ")


# Who runs the eager loop beside a kernel


@pytest.mark.parametrize("build", ["one state", "both of a cell"])
def test_trial_and_spot_checks_draw_nothing_of_the_users(build, monkeypatch):
    layer, x = BUILDS[build](), draw(4, 5, INPUT)
    checked = 0

    def is_right(*args):
        nonlocal checked
        checked += 1
        return original(*args)

    original = saiki.compiler.trust.guard._is_step_right
    monkeypatch.setattr(saiki.compiler.trust.guard, "_is_step_right", is_right)

    def several(layer):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return [layer(x, lengths=n)[0] for n in (None, LENGTHS) * 40]

    actual, after = seeded(layer, of=several)
    assert checked > 2
    monkeypatch.setattr(saiki, "verify", False)
    expected, wanted = seeded(layer, of=several)
    assert all(map(torch.equal, actual, expected))
    assert torch.equal(after, wanted)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_step_that_was_given_other_numbers_is_found(reverse, lengths, monkeypatch):
    """Each row has what the row after it should have."""
    layer, x = Recurrent(Written(zoneout).double(), reverse=reverse), draw(4, 5, INPUT)
    layer(x, lengths=lengths)
    original = saiki.compiler.run.loops.draw
    monkeypatch.setattr(
        saiki.compiler.run.loops, "draw", lambda *args: [d.roll(1, 0) for d in original(*args)]
    )
    with pytest.warns(UserWarning, match="no longer computes what it did"):
        [layer(x, lengths=lengths) for _ in range(8)]


def wrong_kernels(monkeypatch):
    for module, known in ((kernels, "_STEPS"), (jit, "_COMPILED")):
        monkeypatch.setattr(module, known, WeakValues())
    monkeypatch.setitem(values.ARITHMETIC, "sub", lambda b, x, y: b.fadd(x, y))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_where_a_kernel_proves_wrong_the_eager_loop_draws_the_same(lengths, monkeypatch):
    monkeypatch.setenv(shelf.VARIABLE, "")
    wrong_kernels(monkeypatch)
    layer, x = Recurrent(randomised(Written(zoneout))), draw(4, 5, INPUT).requires_grad_()
    with pytest.warns(UserWarning, match="does not compute what its step does"):
        actual, after = seeded(layer, x, None, lengths)
    expected, wanted = seeded(eager(layer), x, None, lengths)
    assert_same(actual, expected, 1e-12)
    assert torch.equal(after, wanted)


def test_where_only_the_gradient_proves_wrong_it_is_that_of_the_same_numbers(monkeypatch):
    monkeypatch.setenv(shelf.VARIABLE, "")
    wrong_kernels(monkeypatch)  # only the gradient subtracts: tanh′ = 1 − tanh²
    layer = Recurrent(randomised(Written(dropout_of_the_state)))
    x = draw(4, 5, INPUT).requires_grad_()
    with pytest.warns(UserWarning, match=r"∂L/∂"):
        actual, after = seeded(layer, x)
    expected, wanted = seeded(eager(layer), x)
    assert_same(actual, expected, 1e-12)
    assert torch.equal(after, wanted)


def test_a_kernel_that_fails_a_spot_check_has_drawn_nothing(monkeypatch):
    layer, x = Recurrent(randomised(Written(zoneout))), draw(4, 5, INPUT).requires_grad_()
    layer(x)
    monkeypatch.setattr(saiki.compiler.trust.guard, "_is_right", lambda *args: False)
    actual, after = seeded(layer, x)
    expected, wanted = seeded(eager(layer), x)
    assert_same(actual, expected, 1e-12)
    assert torch.equal(after, wanted)


def test_a_kernel_that_is_refused_between_forward_and_backward_pass():
    layer, x = Recurrent(randomised(Noisy())), draw(4, 5, INPUT).requires_grad_()

    def gradient(layer, refused):
        y, _ = layer(x)
        if refused:
            key = layer.kernels.known[torch.float64, "cpu"][0].key
            with pytest.warns(UserWarning, match="for this test"):
                compiled_cell(key).refuse("for this test")
        torch.rand(3)
        return torch.autograd.grad(y.sum(), [x, *layer.parameters()])

    actual, after = seeded(layer, True, of=gradient)
    expected, wanted = seeded(eager(layer), False, of=gradient)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(after, wanted)


@pytest.mark.parametrize("build", ["forward", "both of a cell"])
def test_second_derivatives(build):
    layer, x = BUILDS[build](), draw(4, 5, INPUT).requires_grad_()

    def second(layer):
        y, _ = layer(x, lengths=LENGTHS)
        (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        torch.rand(3)
        actual = torch.autograd.grad((first**2).sum(), list(layer.parameters()), allow_unused=True)
        return [y, first, *(g for g in actual if g is not None)]

    actual, after = seeded(layer, of=second)
    expected, wanted = seeded(eager(layer), of=second)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(after, wanted)


def test_gradients_of_several_directions_at_once():
    layer, x = compiled(Noisy()), draw(4, 5, INPUT).requires_grad_()
    d_y = draw(7, 4, 5, HIDDEN)

    def batched(layer):
        y, _ = layer(x)
        return torch.autograd.grad(y, x, d_y, is_grads_batched=True)

    actual, after = seeded(layer, of=batched)
    expected, wanted = seeded(eager(layer), of=batched)
    torch.testing.assert_close(actual, expected)
    assert torch.equal(after, wanted)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant):
    layer, x = compiled(Noisy()), draw(4, 5, INPUT).requires_grad_()

    def gradient(layer, around):
        y = around(lambda x: layer(x)[0], x)
        torch.rand(3)
        return torch.autograd.grad((y**2).sum(), x)[0] if not reentrant else backward(y)

    def backward(y):
        x.grad = None
        (y**2).sum().backward()
        return x.grad

    def checkpointed(f, x):
        return checkpoint(f, x, use_reentrant=reentrant)

    actual, after = seeded(layer, checkpointed, of=gradient)
    expected, wanted = seeded(eager(layer), lambda f, x: f(x), of=gradient)
    torch.testing.assert_close(actual, expected)
    assert torch.equal(after, wanted)


# Graphs of others


def test_a_recorded_graph_draws_anew_whenever_it_runs():
    layer, x = compiled(Noisy()), draw(4, 5, INPUT).requires_grad_()

    def step(x):
        y, _ = layer(x)
        return y, torch.autograd.grad((y**2).sum(), x)[0]

    graph = torch.fx.experimental.proxy_tensor.make_fx(step)(x)
    assert "saiki.scan" in graph.code
    for seed in range(2):
        actual, after = seeded(graph, x, seed=seed, of=lambda graph, x: graph(x))
        expected, wanted = seeded(eager(layer), seed=seed, of=lambda twin: gradient(twin, x))
        torch.testing.assert_close(actual, expected)
        assert torch.equal(after, wanted)


def gradient(layer, x):
    y, _ = layer(x)
    return y, torch.autograd.grad((y**2).sum(), x)[0]


def test_a_graph_whose_step_draws_since_raises_rather_than_forget_what_it_drew():
    layer = Recurrent(randomised(Written(dropout_of_the_state))).eval()
    x = draw(4, 5, INPUT).requires_grad_()
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x: gradient(layer, x))(x)
    layer.train()
    with (
        pytest.warns(UserWarning, match="has changed since a graph was made"),
        pytest.raises(CompileError, match="drew none when a graph was made"),
    ):
        graph(x)


def test_torch_compile_and_export_run_it_step_by_step():
    layer, x = Recurrent(randomised(Written(zoneout))), draw(4, 5, INPUT)
    layer(x)
    seen = []

    def look(module, _):
        seen.extend(str(node.target) for node in module.graph.nodes)
        return module.forward

    with torch.no_grad():
        a, b = (torch.compile(layer, backend=look)(x)[0] for _ in range(2))
    assert not torch.equal(a, b)
    assert not any("saiki" in name for name in seen)
    exported = torch.export.export(layer, (x,))
    assert "saiki" not in str(exported.graph)
    assert "bernoulli" in str(exported.graph)
    strict = Recurrent(layer.cell, backend="cpu")
    with pytest.raises(Exception, match="draw random numbers step by step"):
        torch.compile(strict, backend="eager", fullgraph=True)(x)


# What is kept on disk


def test_a_trace_from_disk_draws_the_same(folder, monkeypatch):
    layer, x = compiled(Noisy()), draw(4, 5, INPUT).requires_grad_()
    expected, _ = seeded(layer, x, None, LENGTHS)
    forget()

    def never(*args):
        raise AssertionError("traced once more")

    monkeypatch.setattr("saiki.compiler.pipeline.record", never)
    actual, _ = seeded(Recurrent(layer.cell, backend="cpu"), x, None, LENGTHS)
    assert_same(actual, expected, 1e-12)
    assert "drawn: draw 0 = bernoulli(0.7) of 3" in Recurrent(layer.cell, backend="cpu").explain()


# What is refused

OWN = torch.Generator()


class Refused(Cell):
    def __init__(self, f):
        super().__init__(HIDDEN, HIDDEN)
        self.f = f

    def step(self, x, h):
        return torch.tanh(x + h * self.f(h))


REFUSED = {
    "of the shape (6,), which does not begin with the rows": lambda h: torch.rand(h.shape[1]),
    "of the shape (1, 6), which does not": lambda h: torch.rand(1, h.shape[1]),
    "of the shape (), which does not": lambda h: torch.rand(()),
    "of the shape (6, 1000003), which does not": lambda h: F.dropout(torch.ones_like(h).T, 0.5).T,
    "into a tensor that is not contiguous": lambda h: h.new_empty(HIDDEN, len(h)).T.uniform_(),
    "while it computes gradients": lambda h: checkpoint(
        lambda h: torch.tanh(F.dropout(h, 0.5)), h, use_reentrant=False
    ),
    "multinomial draws random numbers": lambda h: torch.multinomial(torch.ones_like(h), 1),
    "randint_like draws random numbers": lambda h: torch.randint_like(h, torch.tensor(2)),
    "randperm draws random numbers": lambda h: torch.randperm(h.shape[1]),
}


@pytest.mark.parametrize("why", list(REFUSED))
def test_what_cannot_be_drawn_before_is_refused(why):
    layer, x = Recurrent(Refused(REFUSED[why])), torch.randn(4, 5, HIDDEN)
    with pytest.warns(UserWarning, match="running step by step") as warned:
        y, _ = layer(x)
    assert why in str(warned[0].message)
    assert "draw them for all steps before the layer runs" in str(warned[0].message)
    assert y.isfinite().all()


MEETING = {
    "centred": lambda h: torch.rand_like(h) - torch.rand_like(h).mean(0),
    "moved on": lambda h: torch.rand_like(h).roll(1, 0),
    "rare": lambda h: torch.bernoulli(torch.full(h.shape, 0.001)).flip(0),
    "flags": lambda h: torch.empty(h.shape, dtype=torch.bool).bernoulli_(0.999).flip(0),
    "half": lambda h: torch.rand(2 * len(h), h.shape[1])[: len(h)],
}


def test_a_step_that_seeds_the_generator_is_refused():
    def constant(h):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return torch.rand_like(h)

    layer = Recurrent(Refused(constant))
    before = torch.get_rng_state()
    assert "step of Refused may read fork_rng, which a kernel cannot answer" in layer.explain()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", list(MEETING))
def test_random_numbers_of_rows_that_meet_are_refused(kind, monkeypatch):
    monkeypatch.setattr(saiki, "verify", False)
    layer = Recurrent(Refused(MEETING[kind]))
    assert "mixes random numbers of different rows" in layer.explain()


def test_the_mean_of_what_all_rows_draw_is_refused(monkeypatch):
    monkeypatch.setattr(saiki, "verify", False)
    layer = Recurrent(Refused(lambda h: torch.rand_like(h).mean()))
    assert "rows change their shape" in layer.explain()


def test_a_generator_of_its_own_is_refused():
    # times 0, or rows would seem to see each other
    layer = Recurrent(Refused(lambda h: 0 * torch.rand(h.shape, generator=OWN)))
    assert "rand draws" in layer.explain()
    assert "from a generator of its own" in layer.explain()


class Reads(Cell):
    def __init__(self, how):
        super().__init__(INPUT, HIDDEN)
        self.W = nn.Linear(INPUT, HIDDEN)
        self.how = how

    @property
    def memory_shapes(self):
        return {"source": ("time", HIDDEN)}

    def step(self, x, h, *, source):
        weights = torch.softmax((source * h[:, None]).sum(2), 1)
        return torch.tanh(self.W(x) + self.how(weights, h))


def test_steps_that_read_memory_draw_too():
    def noise(weights, h):
        return F.dropout(h, 0.3) * weights.amax(1, keepdim=True) + torch.randn_like(h)

    layer, x = compiled(Reads(noise)), draw(4, 5, INPUT)
    source = draw(4, 7, HIDDEN).requires_grad_()

    def run(layer):
        y, _ = layer(x, lengths=LENGTHS, memory={"source": source})
        return y, *torch.autograd.grad((y**2).sum(), [source, *layer.parameters()])

    actual, after = seeded(layer, of=run)
    expected, wanted = seeded(eager(layer), of=run)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(after, wanted)


def test_as_many_numbers_as_a_memory_is_large_are_refused():
    layer = Recurrent(Reads(lambda weights, h: h * F.dropout(weights, 0.3).amax(1, keepdim=True)))
    assert "as many as a memory is large" in layer.explain()
