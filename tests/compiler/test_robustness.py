"""Long, deep, changing, failing and many cells: no crash, no hang, no memory that stays.

``SAIKI_MEMORY=full pytest tests/compiler/test_robustness.py -k memory`` takes 2,000 shapes and 500
layers instead of some.
"""

import contextlib
import gc
import os
import time
import warnings

import llvmlite.binding
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from compiler.changing import scaled
from compiler.twins import (
    OF_PYTORCH,
    TOLERANCE,
    assert_right,
    assert_same,
    cell,
    draw,
    ignored,
    in_a_child,
    inputs,
    layer,
    linear,
    results,
    step_by_step,
)
from saiki import CompileError, InputError, Recurrent
from saiki.cells import GRU, LSTM
from saiki.compiler.cpu import buffers

EAGER = "running step by step:UserWarning"
pytestmark = [*map(ignored, OF_PYTORCH)]
FULL = os.environ.get("SAIKI_MEMORY") == "full"


def assert_compiled(recurrent):
    assert recurrent.why_eager(torch.float64) is None


# energies


def _energy(self, x, h):
    return 0.5 * h.square().sum(-1) - torch.log(torch.cosh(self.U(h) + self.W(x))).sum(-1)


def _descends(self, x, h):
    with torch.enable_grad():
        u = h if h.requires_grad else h.detach().requires_grad_()
        (slope,) = torch.autograd.grad(_energy(self, x, u).sum(), u, create_graph=True)
    return h - 0.1 * slope


def _descends_in_steps(self, x, h):
    for _ in range(3):
        h = _descends(self, x, h)
    return h


def _descends_by_func(self, x, h):
    return h - 0.1 * torch.func.grad(lambda h: _energy(self, x, h).sum())(h)


def _symplectic(self, x, q, p):
    with torch.enable_grad():
        u = q if q.requires_grad else q.detach().requires_grad_()
        (force,) = torch.autograd.grad(_energy(self, x, u).sum(), u, create_graph=True)
    p = p - 0.1 * force
    return q + 0.1 * p, p


def _descends_without_a_graph(self, x, h):
    with torch.enable_grad():
        u = h.detach().requires_grad_()
        (slope,) = torch.autograd.grad(_energy(self, x, u).sum(), u)
    return torch.tanh(h - 0.1 * slope + self.W(x))


def _descends_where_it_is(self, x, h):
    with torch.enable_grad():
        h = h if h.requires_grad else h.requires_grad_()
        (slope,) = torch.autograd.grad(_energy(self, x, h).sum(), h, create_graph=self.training)
    return h - 0.1 * slope


def _descends_by_backward(self, x, h):
    with torch.enable_grad():
        u = h.detach().requires_grad_()
        _energy(self, x.detach(), u).sum().backward(inputs=[u])
    return torch.tanh(h - 0.1 * u.grad + self.W(x))


def _curved(self, x, h):
    with torch.enable_grad():
        u = h if h.requires_grad else h.detach().requires_grad_()
        (slope,) = torch.autograd.grad(_energy(self, x, u).sum(), u, create_graph=True)
        (curve,) = torch.autograd.grad(slope.sum(), u, create_graph=True)
    return torch.tanh(h - 0.1 * slope / (1 + curve.abs()))


@ignored(EAGER)
@pytest.mark.parametrize(
    "step",
    [
        _descends_without_a_graph,
        _descends_where_it_is,
        _descends_by_backward,
        _curved,
        _descends,
        _descends_in_steps,
        _descends_by_func,
        _symplectic,
    ],
)
def test_a_gradient_inside_the_step(step):
    compiled = layer(cell(step, W=linear(3, 4), U=linear(4, 4)))
    for seed in (3, 4):
        assert_right(compiled, inputs(seed=seed))


def test_a_gradient_inside_the_step_against_its_formula():
    """The slope of the energy is h − Uᵀ tanh(U h + W x)."""

    def by_hand(self, x, h):
        return h - 0.1 * (h - torch.tanh(self.U(h) + self.W(x)) @ self.U.weight)

    subject = cell(_descends, W=linear(3, 4), U=linear(4, 4))
    other = cell(by_hand, W=subject.W, U=subject.U)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        actual = results(layer(subject), inputs())
    assert_same(actual, results(Recurrent(other, backend="eager"), inputs()), TOLERANCE)


# long and deep steps


def chain(length):
    def step(self, x, h):
        u = self.W(x)
        for i in range(length // 3):
            h = torch.tanh(h * (1 + 0.01 * i / length) + u)
        return h

    return cell(step, W=linear(3, 4))


def many_layers(count):
    def step(self, x, h):
        u = self.W(x)
        for part in self.parts:
            h = h + 0.1 * torch.tanh(part(h) + u)
        return h

    return cell(step, W=linear(3, 4), parts=nn.ModuleList([linear(4, 4) for _ in range(count)]))


def passes(count):
    def step(self, x, h):
        u = self.W(x)
        for _ in range(count):
            u = u + 0.1 * (h - u * u)
        return torch.tanh(u)

    return cell(step, W=linear(3, 4))


def hopf(sub_steps):
    """Oscillators near a Hopf bifurcation, integrated by Runge and Kutta's fourth order."""

    def step(self, x, a, b):
        drive, dt = self.W(x), 0.1 / sub_steps

        def slope(a, b):
            r = a * a + b * b
            return (self.mu - r) * a - self.omega * b + drive, (self.mu - r) * b + self.omega * a

        for _ in range(sub_steps):
            k1 = slope(a, b)
            k2 = slope(a + 0.5 * dt * k1[0], b + 0.5 * dt * k1[1])
            k3 = slope(a + 0.5 * dt * k2[0], b + 0.5 * dt * k2[1])
            k4 = slope(a + dt * k3[0], b + dt * k3[1])
            a = a + dt / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
            b = b + dt / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
        return a, b

    return cell(step, W=linear(3, 4), mu=nn.Parameter(draw(4)), omega=nn.Parameter(draw(4)))


def doubling(count):
    """Each value is used twice by the next, so that there are 2ᵏ paths through k operations."""

    def step(self, x, h):
        u = self.W(x) + h
        for _ in range(count):
            u = 0.5 * (torch.sin(u) + u * 0.9)
        return u

    return cell(step, W=linear(3, 4))


LONG = {
    "300 operations": (lambda: chain(300), 5),
    "1,000 operations": (lambda: chain(1000), 10),
    "80 layers": (lambda: many_layers(80), 10),
    "20 passes": (lambda: passes(20), 3),
    "60 passes": (lambda: passes(60), 5),
    "Hopf": (lambda: hopf(1), 3),
    "Hopf in three sub-steps": (lambda: hopf(3), 5),
    "2⁶⁰ paths": (lambda: doubling(60), 5),
}


def _warm_up():
    """What a process does once: it imports, and starts the compiler."""
    Recurrent(GRU(3, 4))(torch.randn(5, 6, 3))[0].sum().backward()
    torch.manual_seed(0)


def _runs_in_time(case):
    _warm_up()
    make, seconds = LONG[case]
    compiled, x = layer(make()), 0.1 * inputs(time=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start_time = time.process_time()
        numbers = results(compiled, x)
        took = time.process_time() - start_time
        assert_same(numbers, results(step_by_step(compiled), x), 1e-8)
    assert took < seconds, f"took {took:.1f} s"


@pytest.mark.parametrize("case", LONG)
@pytest.mark.long
def test_long_steps(case):
    """Right, and in time: seconds of the processor for the first call and its gradients."""
    in_a_child(_runs_in_time, case)


def _plans_in_time():
    _warm_up()
    subject = chain(1000)
    start_time = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer(subject).explain()
    took = time.process_time() - start_time
    assert took < 8, f"took {took:.1f} s"  # 3 to 4 on a machine of its own


@pytest.mark.long
def test_time_to_plan_grows_with_the_length_only():
    """1,000 operations are planned, or refused, in under 5 seconds."""
    in_a_child(_plans_in_time)


def _compiles_in_time():
    _warm_up()
    compiled = Recurrent(LSTM(8, 2048))
    x = torch.randn(2, 2, 8)
    start_time = time.process_time()
    compiled(x)[0].sum().backward()
    took = time.process_time() - start_time
    assert took < 4, f"took {took:.1f} s"


@pytest.mark.long
def test_a_wide_layer_is_compiled_as_fast_as_a_narrow_one():
    in_a_child(_compiles_in_time, seconds=60)


# what changes at each call


def _annealed(self, x, h):
    return torch.tanh(self.W(x) + self.rate * self.U(h))


def _anneals(kind):
    steps = {
        "a number": _annealed,
        "a buffer read as a number": lambda self, x, h: torch.tanh(
            self.W(x) + float(self.t) * self.U(h)
        ),
        "an entry of a dict": lambda self, x, h: torch.tanh(
            self.W(x) + self.own["rate"] * self.U(h)
        ),
    }
    subject = cell(steps[kind], W=linear(3, 4), U=linear(4, 4), rate=1.0, own={"rate": 1.0})
    subject.register_buffer("t", torch.tensor(1.0, dtype=torch.float64))
    compiled, x = layer(subject), inputs()
    start_time = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(30 if kind == "a number" else 12):
            subject.rate *= 0.9
            subject.t.mul_(0.9)
            subject.own["rate"] *= 0.9
            assert_right(compiled, x)
    took = time.process_time() - start_time
    ours = [w for w in caught if "step by step" in str(w.message) or "again" in str(w.message)]
    assert len(ours) <= 1, [str(w.message) for w in ours]
    assert took < 10, f"took {took:.1f} s"


@pytest.mark.parametrize("kind", ["a number", "a buffer read as a number", "an entry of a dict"])
@pytest.mark.long
def test_annealing(kind):
    """Right at each call, in time, and with one warning at most."""
    in_a_child(_anneals, kind)


def test_training_and_evaluation_in_turn_compile_twice_only():
    subject = scaled(lambda self: 0.5 if self.training else 0.7)
    compiled, x = layer(subject), inputs()
    for _ in range(2):
        compiled.train()
        results(compiled, x)
        compiled.eval()
        results(compiled, x)
    start_time = time.process_time()
    for _ in range(20):
        compiled.train()
        assert_right(compiled, x)
        compiled.eval()
        assert_right(compiled, x)
    assert time.process_time() - start_time < 2


# what fails


class Fails:
    """Something that raises, once, at a call to come."""

    def __init__(self, kind):
        self.kind, self.calls_left = kind, None

    def __call__(self, u):
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                self.calls_left = None
                raise self.kind("out of luck")
        return u


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, OSError, KeyboardInterrupt])
def test_an_exception_that_passes_is_forgotten(kind):
    fails = Fails(kind)
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + self.f(h)), W=linear(3, 4), f=fails)
    compiled, x = layer(subject), inputs()
    fails.calls_left = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y, _ = compiled(x)
        except kind:
            pass
        else:
            torch.testing.assert_close(y, step_by_step(compiled)(x)[0])
    fails.calls_left = None
    assert_right(compiled, x)
    assert_compiled(compiled)


def test_an_exception_of_the_compiler_means_the_eager_loop(monkeypatch):
    """Whatever goes wrong, the user's run goes on, with one warning."""
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + 0.317 * h), W=linear(3, 4))
    compiled, x = layer(subject), inputs()

    def fails(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(llvmlite.binding, "parse_assembly", fails)
    with pytest.warns(UserWarning, match="running step by step: .*no such instruction") as caught:
        numbers = results(compiled, x)
    assert len(caught) == 1
    assert_same(numbers, results(step_by_step(compiled), x), TOLERANCE)
    with pytest.raises(CompileError, match="no such instruction"):
        Recurrent(subject, backend="cpu")(x)


STATES = {
    "a packed sequence": lambda: pack_sequence([torch.zeros(2, 4), torch.zeros(1, 4)]),
    "a dict": lambda: {"h": torch.zeros(5, 4)},
    "a string": lambda: "zeros",
    "a number": lambda: 0.0,
    "numbers": lambda: [0.0, 0.0],
    "none in a tuple": lambda: (None,),
    "an array": lambda: torch.zeros(5, 4).numpy(),
    "too many": lambda: (torch.zeros(5, 4), torch.zeros(5, 4)),
    "another size": lambda: torch.zeros(5, 3),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_what_is_no_state(state, backend):
    compiled = Recurrent(GRU(3, 4), backend=backend)
    with pytest.raises(InputError, match=r"the state must") as refusal:
        compiled(torch.zeros(5, 6, 3), STATES[state]())
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("x", ["a packed sequence", "a list", "a dict", "numbers", "an array"])
def test_what_is_no_input(x):
    wrong_inputs = {
        "a packed sequence": pack_sequence([torch.zeros(2, 3), torch.zeros(1, 3)]),
        "a list": [torch.zeros(6, 3)],
        "a dict": {"x": torch.zeros(5, 6, 3)},
        "numbers": 1.0,
        "an array": torch.zeros(5, 6, 3).numpy(),
    }
    with pytest.raises(InputError, match="x must"):
        Recurrent(GRU(3, 4))(wrong_inputs[x])


@ignored(EAGER)
@ignored(":DeprecationWarning")
@ignored(".*quantiz.*:UserWarning")
@pytest.mark.parametrize("warm", [False, True])
def test_dynamic_quantisation_of_the_modules_of_a_cell(warm):
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.U(h) * self.w),
        W=linear(3, 4), U=linear(4, 4), w=nn.Parameter(torch.ones(4)),
    ).float()  # fmt: skip
    compiled, x = layer(subject), inputs().float()
    if warm:
        compiled(x)
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(compiled), {nn.Linear})
    quantised = model[0]
    assert type(quantised.cell.U) is not nn.Linear
    with torch.no_grad():
        y, _ = model(x)
        expected, _ = step_by_step(quantised)(x)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)


@ignored(EAGER)
@ignored(":DeprecationWarning")
@ignored(".*quantiz.*:UserWarning")
def test_dynamic_quantisation_of_a_cell_of_modules_alone():
    """No parameter is left to tell the type."""
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.U(h)), W=linear(3, 4), U=linear(4, 4)
    ).float()
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer(subject)), {nn.Linear})
    x = inputs().float()
    with torch.no_grad():
        y, _ = model(x)
        expected, _ = step_by_step(model[0])(x)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    assert model[0].explain().startswith("eager")


# memory


def resident():
    """MiB of this process that lie in memory."""
    gc.collect()
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


measurable = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux says it")  # noqa: PTH110


def _runs_many_shapes(count, first):
    compiled = Recurrent(LSTM(8, 64))

    def train(time, rows=32):
        compiled(torch.randn(rows, time, 8))[0].sum().backward()

    for length in (first, first + count):
        train(length)
    before = resident()
    for i in range(count):
        train(first + i % 600, 32 + i // 600)
    grown = resident() - before
    assert grown < 100, f"grown by {grown:.0f} MiB"


@measurable
@pytest.mark.long
def test_memory_of_many_shapes():
    """Buffers of sizes that do not come again are given back."""
    in_a_child(_runs_many_shapes, *((2000, 40) if FULL else (200, 60)), seconds=600)


def _drops_layers(count, bound):
    def use(size):  # all of other sizes, or they would share what is compiled
        x = torch.randn(5, 6, 3)
        Recurrent(GRU(3, size))(x)[0].sum().backward()

    for i in range(15):  # what malloc keeps for itself grows at first
        use(4 + i)
    before = resident()
    for i in range(count):
        use(20 + i)
    grown = resident() - before
    assert grown < bound, f"grown by {grown:.0f} MiB"


@measurable
@pytest.mark.long
def test_memory_of_dropped_layers():
    """What a layer had compiled goes with it."""
    in_a_child(_drops_layers, *((500, 100) if FULL else (25, 20)), seconds=600)


def _collects_while_it_runs():
    compiled = Recurrent(GRU(3, 64))
    x = torch.randn(64, 70, 3)
    compiled(x)
    gc.set_threshold(1, 1, 1)
    for i in range(15):
        y, _ = compiled(x[:, : 60 + i % 5])
        cycle = [y]
        cycle.append(cycle)  # only the collector frees it
        del y, cycle


def test_garbage_is_collected_while_buffers_are_taken_and_given_back():
    """A finaliser that gives a buffer back runs wherever the collector does, on the same thread."""
    in_a_child(_collects_while_it_runs, seconds=60)


def _collects_at_each_object():
    gc.collect()
    gc.freeze()
    for i in range(200):
        gc.collect(0)
        gc.disable()
        room, other = (
            buffers.empty(buffers.SMALLEST + 64 * n + 1, dtype=torch.uint8)
            for n in (2 * i, 2 * i + 1)
        )
        cycle = [other]
        cycle.append(cycle)
        del other, cycle
        gc.set_threshold(gc.get_count()[0] + i % 40)
        gc.enable()
        del room


def test_a_buffer_is_given_back_while_another_is():
    """As above, without luck: the collector begins at each of the next objects in turn."""
    in_a_child(_collects_at_each_object, seconds=60)


def _gives_back_under_the_lock():
    room = buffers.empty(buffers.SMALLEST, dtype=torch.uint8)
    with getattr(buffers, "_lock", contextlib.nullcontext()):
        del room


def test_a_buffer_is_given_back_by_the_thread_that_holds_the_pool():
    """Where the collector begins is not ours to say; it may be while the pool is being changed."""
    in_a_child(_gives_back_under_the_lock, seconds=20)
