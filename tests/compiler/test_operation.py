"""The compiled pair as PyTorch sees it: an ordinary differentiable operation."""

import copy
import gc
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint

from compiler.comparison import (
    assert_agrees,
    assert_same,
    compiled,
    draw,
    eager,
    outcome,
    randomised,
)
from saiki import Bidirectional, Cell, Recurrent
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.compiler import kernels
from saiki.compiler.cpu import loop, threads
from saiki.errors import CompileError
from saiki.weak import WeakValues

pytestmark = pytest.mark.one_in(3)

LENGTHS = torch.tensor([3, 1, 4])


@pytest.fixture(scope="module")
def lstm():
    torch.manual_seed(2)
    return compiled(LSTM(3, 5))


@pytest.fixture(scope="module")
def gru():
    torch.manual_seed(3)
    return compiled(GRU(3, 5, reset="before"), reverse=True)


@pytest.fixture(scope="module")
def wide():
    torch.manual_seed(5)
    return {
        "lstm": compiled(LSTM(3, 19), torch.float32),
        "layer norm": compiled(LSTM(3, 19, layer_norm=True), torch.float32),
    }


class Scaled(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.scale = 0.5
        self.scales = [0.5]
        self.shift = torch.zeros(hidden_size, dtype=torch.float64)

    def step(self, x, h):
        return torch.tanh(self.scale * self.W(x) + self.scales[0] * h + self.shift)


class Evaluated(Scaled):
    def step(self, x, h):
        return super().step(x, h) * (1 if self.training else 2)


def run_on(layer, lengths):
    """The layer as a function of x, states and parameters, for gradcheck."""
    names = [name for name, _ in layer.named_parameters()]
    states = len(layer.cell.state_sizes)

    def function(x, *rest):
        parameters = dict(zip(names, rest[states:], strict=True))
        start = rest[:states] if states > 1 else rest[0]
        y, last = torch.func.functional_call(layer, parameters, (x, start, lengths))
        return y, *(last if states > 1 else (last,))

    tensors = [draw(3, 4, 3), *(draw(3, 5) for _ in range(states)), *layer.parameters()]
    return function, [t.detach().clone().requires_grad_() for t in tensors]


class TestDerivatives:
    @pytest.mark.parametrize("lengths", [None, LENGTHS])
    @pytest.mark.parametrize("name", ["lstm", "gru"])
    def test_are_those_of_finite_differences(self, request, name, lengths):
        function, tensors = run_on(request.getfixturevalue(name), lengths)
        assert gradcheck(function, tensors, fast_mode=False)

    @pytest.mark.parametrize("lengths", [None, LENGTHS])
    def test_twice(self, gru, lengths):
        function, tensors = run_on(gru, lengths)
        assert gradgradcheck(function, tensors, fast_mode=True)

    def test_twice_as_the_eager_loop(self, lstm):
        x = draw(3, 4, 3)
        gradients = []
        for part in (lstm, eager(lstm)):
            leaf = x.clone().requires_grad_()
            y, (_, c) = part(leaf)
            first = torch.autograd.grad(y.square().sum() + c.sum(), leaf, create_graph=True)[0]
            wanted = [leaf, *part.parameters()]
            gradients.append([first, *torch.autograd.grad(first.square().sum(), wanted)])
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)

    def test_accumulate_over_calls(self, lstm):
        x = draw(3, 4, 3)
        gradients = []
        for part in (lstm, eager(lstm)):
            loss = part(x)[0].sum() + part(x[:, :2])[0].square().sum()
            gradients.append(torch.autograd.grad(loss, list(part.parameters())))
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)

    def test_of_one_graph_twice(self, lstm):
        y, _ = lstm(draw(3, 4, 3))
        wanted = list(lstm.parameters())
        first = torch.autograd.grad(y.sum(), wanted, retain_graph=True)
        second = torch.autograd.grad(y.sum(), wanted)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    def test_a_parameter_changed_before_the_backward_pass_is_noticed(self):
        layer = compiled(LSTM(3, 5))
        y, _ = layer(draw(3, 4, 3))
        with torch.no_grad():
            layer.cell.U.weight.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_outlive_the_layer(self):
        layer = compiled(LSTM(3, 5))
        parameters = list(layer.parameters())
        expected = torch.autograd.grad(layer(torch.ones(1, 4, 3).double())[0].sum(), parameters)
        loss = layer(torch.ones(1, 4, 3).double())[0].sum()
        del layer
        gc.collect()
        for a, b in zip(torch.autograd.grad(loss, parameters), expected, strict=True):
            assert torch.equal(a, b)

    def test_outlive_a_change_of_the_cell(self):
        layer = compiled(Scaled(3, 5))
        x = draw(3, 4, 3)
        gradients = []
        for part in (layer, eager(layer)):
            part.cell.scale = 0.5
            loss = part(x)[0].sum()
            part.cell.scale = 2.0
            loss = loss + part(x)[0].sum()
            gradients.append(torch.autograd.grad(loss, list(part.parameters())))
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize(
        "known",
        [
            True,
            False,
        ],
        ids=["compiled before", "compiled inside"],
    )
    def test_under_a_checkpoint(self, known):
        layer = compiled(LSTM(3, 5))
        x = draw(3, 4, 3).requires_grad_()
        if known:
            layer(x)
        y = checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
        (actual,) = torch.autograd.grad(y.sum(), x)
        (expected,) = torch.autograd.grad(eager(layer)(x)[0].sum(), x)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


class Model(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.before = nn.Linear(3, 3).double()
        self.layer = layer
        self.after = nn.Linear(5, 2).double()

    def forward(self, x, lengths=None):
        y, last = self.layer(torch.relu(self.before(x)), None, lengths)
        state = last if isinstance(last, torch.Tensor) else last[-1]
        return self.after(y).sum(-1) + state.sum(-1, keepdim=True)


def assert_models_agree(actual, expected, x, *rest):
    outputs, gradients = [], []
    for model in (actual, expected):
        leaf = x.clone().requires_grad_()
        y = model(leaf, *rest)
        outputs.append(y)
        gradients.append(torch.autograd.grad(y.square().sum(), [leaf, *model.parameters()]))
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by dynamo
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # by dynamo
class TestCompile:
    @pytest.fixture(autouse=True)
    def afresh(self):
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    @pytest.mark.parametrize(
        ("name", "backend"),
        [(name, backend) for name in ("lstm", "gru") for backend in ("eager", "aot_eager")],
    )
    def test_in_a_model(self, request, name, backend):
        layer = request.getfixturevalue(name)
        model = Model(layer)
        whole = torch.compile(model, fullgraph=True, backend=backend)
        for batch, time in ((3, 4), (3, 6), (2, 5)):
            assert_models_agree(whole, model, draw(batch, time, 3))
        twin = eager(model)
        assert_models_agree(whole, twin, draw(3, 4, 3))

    def test_without_gradients(self, lstm):
        model = Model(lstm)
        whole = torch.compile(model, fullgraph=True, backend="aot_eager")
        x = draw(3, 4, 3)
        with torch.no_grad():
            torch.testing.assert_close(whole(x), model(x), rtol=1e-12, atol=1e-12)

    def test_ragged(self, lstm):
        model = Model(lstm)
        whole = torch.compile(model, backend="aot_eager")
        assert_models_agree(whole, eager(model), draw(3, 4, 3), LENGTHS)

    @pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own
    def test_by_inductor(self, lstm):
        model = Model(lstm)
        whole = torch.compile(model, fullgraph=True)
        assert_models_agree(whole, eager(model), draw(3, 4, 3))


class Calls(TorchDispatchMode):
    """The arguments with which saiki's operators are called."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.namespace == "saiki":
            self.seen[operator] = args
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_opcheck(lstm, lengths):
    """Schemas tell the truth about aliases, and the shapes for tracers are those of the results."""
    with Calls() as calls:
        y, _ = lstm(draw(3, 4, 3).requires_grad_(), None, lengths)
        y.sum().backward()
        with torch.no_grad():
            lstm(draw(3, 4, 3), None, lengths)
    lstm.zero_grad()
    assert set(calls.seen) == {torch.ops.saiki.scan.default, torch.ops.saiki.scan_backward.default}
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    for operator, args in calls.seen.items():
        detached = tuple(tree_map_only(torch.Tensor, torch.detach, arg) for arg in args)
        torch.library.opcheck(operator, detached, test_utils=tests)
        if operator is torch.ops.saiki.scan.default:
            training = (*detached[:-1], True)
            torch.library.opcheck(operator, training, test_utils=tests)


def test_distributed_data_parallel():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = Model(compiled(LSTM(3, 5)))
        twin = eager(model)
        wrapped = DistributedDataParallel(model)
        x = draw(3, 4, 3)
        for part in (wrapped, twin):
            part(x).square().sum().backward()
        for a, b in zip(wrapped.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
    finally:
        dist.destroy_process_group()


class TestHooks:
    def test_on_the_layer_see_one_call(self, lstm):
        seen = []
        layer = copy.deepcopy(lstm)
        layer.register_forward_hook(lambda layer, inputs, outputs: seen.append(outputs[0]))
        layer.register_full_backward_hook(lambda layer, inputs, outputs: seen.append(outputs[0]))
        x = draw(3, 4, 3).requires_grad_()
        y, _ = layer(x)
        y.sum().backward()
        assert torch.equal(seen[0], y)
        assert torch.equal(seen[1], torch.ones_like(y))
        assert_agrees(lstm, x)

    @pytest.mark.parametrize(
        ("where", "register"),
        [
            ("cell", "register_forward_hook"),
            ("cell.U", "register_forward_hook"),
            ("cell.U", "register_forward_pre_hook"),
            ("cell.U", "register_full_backward_hook"),
            ("cell.U", "register_full_backward_pre_hook"),
        ],
    )
    @pytest.mark.filterwarnings(
        "ignore:Full backward hook"
    )  # at the first step h needs no gradient
    def test_on_the_cell_see_every_step(self, where, register):
        layer = randomised(Recurrent(LSTM(3, 5)))
        x = draw(3, 4, 3).requires_grad_()
        before = layer(x)[0]
        seen = []
        getattr(layer.get_submodule(where), register)(lambda *_: seen.append(1))
        y, _ = layer(x)
        y.sum().backward()
        assert len(seen) == 4
        torch.testing.assert_close(y, before, rtol=1e-10, atol=1e-12)

    def test_a_named_backend_refuses_them(self):
        layer = compiled(LSTM(3, 5))
        layer.cell.register_forward_hook(lambda *_: None)
        with pytest.raises(CompileError, match="hooks on the cell"):
            layer(draw(3, 4, 3))

    def test_on_a_parameter_see_its_gradient(self, lstm):
        layer = copy.deepcopy(lstm)
        seen = []
        layer.cell.U.weight.register_hook(seen.append)
        layer(draw(3, 4, 3))[0].sum().backward()
        assert len(seen) == 1
        assert torch.equal(seen[0], layer.cell.U.weight.grad)


class TestCopies:
    @pytest.mark.parametrize(
        "twin", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
    )
    def test_after_a_call_compute_the_same_with_parameters_of_their_own(self, twin):
        layer = compiled(LSTM(3, 5))
        x = draw(3, 4, 3)
        y, _ = layer(x)
        other = twin(layer)
        with torch.no_grad():
            for p in layer.parameters():
                p.zero_()
        assert torch.equal(other(x)[0], y)
        assert not torch.equal(layer(x)[0], y)
        assert_agrees(other, x.requires_grad_())


class TestChanges:
    def test_of_parameters_in_place_are_seen(self):
        layer = compiled(LSTM(3, 5))
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
        for _ in range(2):
            assert_agrees(layer, draw(3, 4, 3))
            layer(draw(3, 4, 3))[0].square().sum().backward()
            optimizer.step()

    def test_of_a_parameter_for_another_are_seen(self):
        layer = compiled(LSTM(3, 5))
        layer(draw(3, 4, 3))
        layer.cell.U.weight = nn.Parameter(draw(20, 5))
        assert_agrees(layer, draw(3, 4, 3))

    def test_of_a_number_are_seen(self):
        layer = compiled(Scaled(3, 5))
        for layer.cell.scale in (0.5, 2.0, 0.5):
            assert_agrees(layer, draw(3, 4, 3))

    @pytest.mark.parametrize(
        "change",
        [
            lambda cell: cell.scales.__setitem__(0, 2.0),
            lambda cell: cell.shift.fill_(1.0),
            lambda cell: setattr(cell, "shift", torch.ones(5).double()),
            lambda cell: setattr(cell, "W", nn.Linear(3, 5, bias=False).double()),
            lambda cell: setattr(cell, "W", nn.Sequential(cell.W, nn.Tanh())),
        ],
        ids=["list", "tensor in place", "tensor", "module", "module around"],
    )
    def test_of_anything_else_are_seen(self, change):
        layer = compiled(Scaled(3, 5))
        layer(draw(3, 4, 3))
        change(layer.cell)
        assert_agrees(layer, draw(3, 4, 3))

    def test_of_the_activation_are_seen(self):
        layer = compiled(SimpleRNN(3, 5))
        layer(draw(3, 4, 3))
        layer.cell.activation = torch.relu
        assert_agrees(layer, draw(3, 4, 3))

    def test_of_the_mode_are_seen(self):
        layer = compiled(Evaluated(3, 5))
        for mode in (True, False, True):
            assert_agrees(layer.train(mode), draw(3, 4, 3))


def assert_same_loops(actual, wanted):
    """The same bits; but for the gradients of weights, products that PyTorch makes after the loop,
    whose bits depend on the number of threads on some processors."""
    for key, value in wanted.items():
        if key.endswith(".weight"):
            scale = value.abs().max().item()
            assert torch.allclose(value, actual[key], rtol=0, atol=1e-6 * scale), key
        else:
            assert torch.equal(value, actual[key]), key


class TestBits:
    @pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
    @pytest.mark.parametrize("batch", [1, 3, 8, 13])
    @pytest.mark.parametrize("name", ["lstm", "layer norm"])
    def test_are_the_same_for_any_number_of_threads_and_every_run(
        self, wide, name, batch, ragged, monkeypatch
    ):
        monkeypatch.setattr(threads, "WORTH_THREAD", 1)
        shared = []
        deal = threads._shares
        monkeypatch.setattr(
            threads, "_shares", lambda *arguments: shared.append(1) or deal(*arguments)
        )
        layer = Bidirectional(wide[name])
        x = draw(batch, 6, 3, dtype=torch.float32).requires_grad_()
        lengths = 1 + torch.arange(batch) * 5 % 6 if ragged else None
        results = {}
        for count in (1, 2, 3, 1, 2):
            torch.set_num_threads(count)
            actual = outcome(layer, x, None, lengths)
            assert_same_loops(actual, results.setdefault(1, actual))
            for key, value in results.setdefault(count, actual).items():
                assert torch.equal(value, actual[key]), key
        assert len(shared) == 2 * 3  # forward and backward, whenever there was more than one

    @pytest.mark.skipif(threads._parallel() is None, reason="PyTorch has another OpenMP")
    @pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
    @pytest.mark.parametrize("batch", [1, 2, 3, 9])
    @pytest.mark.parametrize("name", ["lstm", "layer norm", "gru"])
    def test_are_the_same_where_all_threads_do_all_rows(self, name, batch, ragged, monkeypatch):
        for constant in ("WORTH_THREAD", "WORTH_MEETING"):
            monkeypatch.setattr(threads, constant, 1)
        monkeypatch.setattr(threads, "_cores", lambda: 8)
        monkeypatch.setattr(loop, "NEAR_BYTES", 0)
        monkeypatch.setattr(kernels, "_STEPS", WeakValues())
        met = []
        run = threads._run_together
        monkeypatch.setattr(
            threads, "_run_together", lambda *arguments: met.append(1) or run(*arguments)
        )
        cells = {"lstm": LSTM(3, 19), "layer norm": LSTM(3, 19, layer_norm=True), "gru": GRU(3, 19)}
        layer = compiled(cells[name], torch.float32)
        x = draw(batch, 6, 3, dtype=torch.float32).requires_grad_()
        lengths = 1 + torch.arange(batch) * 5 % 6 if ragged else None
        wanted = None
        for count in (1, 2, 3, 5):
            torch.set_num_threads(count)
            actual = outcome(layer, x, None, lengths)
            wanted = wanted or actual
            assert_same_loops(actual, wanted)
        has_steps = batch > 1 or not ragged  # one step reads weights once, wherever they lie
        assert len(met) == 2 * 3 * has_steps

    @pytest.mark.parametrize("count", [2, 5])
    def test_are_the_same_without_the_threads_of_torch(self, wide, count, monkeypatch):
        x = draw(13, 6, 3, dtype=torch.float32).requires_grad_()
        lengths = 1 + torch.arange(13) * 5 % 6
        wanted = outcome(wide["lstm"], x, None, lengths)
        monkeypatch.setattr(threads, "WORTH_THREAD", 1)
        monkeypatch.setattr(threads, "_parallel", lambda: None)
        torch.set_num_threads(count)
        assert_same_loops(outcome(wide["lstm"], x, None, lengths), wanted)

    def test_each_tile_is_in_one_share_and_shares_cost_about_the_same(self):
        def job(costs):
            return threads.Job(None, (0,) * 5, 4 * len(costs), 1, costs, 4, 1, 8, True, 4, None)

        jobs = [job((100, 90, 40, 10, 5, 5)), job((100, 90, 40, 10, 5, 5))]
        shares = threads._shares(jobs, 2)
        assert shares == [[(jobs[0], 0, 6)], [(jobs[1], 0, 6)]]
        for count in range(1, 9):
            shares = threads._shares(jobs, count)
            tiles = [(id(j), i) for share in shares for j, a, b in share for i in range(a, b)]
            assert tiles == [(id(j), i) for j in jobs for i in range(6)]
            costs = [sum(sum(j.tiles[a:b]) for j, a, b in share) for share in shares]
            assert max(costs) <= sum(costs) / count + 100

    def test_a_row_has_the_same_bits_in_any_company_of_its_kind(self, wide):
        """Rows go four at a time; what is beside a row does not change it."""
        x = draw(8, 6, 3, dtype=torch.float32)
        other = x.clone()
        other[4:] = draw(4, 6, 3, dtype=torch.float32)
        assert torch.equal(wide["lstm"](x)[0][:4], wide["lstm"](other)[0][:4])


class TestPythonThreads:
    def results(self, layers, x, workers):
        """What each layer gives, called from several threads at once."""
        barrier = threading.Barrier(workers)

        def work(i):
            barrier.wait()
            return [outcome(layers[(i + j) % len(layers)], x) for j in range(6)]

        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work, range(workers)))

    def test_may_call_one_layer_and_several(self, lstm, gru):
        x = draw(9, 5, 3).requires_grad_()
        layers = [lstm, gru]
        expected = [outcome(layer, x) for layer in layers]
        for i, actual in enumerate(self.results(layers, x, 4)):
            for j, one in enumerate(actual):
                for key, value in expected[(i + j) % 2].items():
                    assert torch.equal(one[key], value)

    def test_may_call_a_layer_for_the_first_time_at_once(self):
        layer = compiled(GRU(2, 6))
        x = draw(9, 5, 2).requires_grad_()
        expected = outcome(eager(layer), x)
        for actual in self.results([layer], x, 4):
            for one in actual:
                assert_same(one, expected, 1e-10)


class TestLongSequences:
    def test_twenty_thousand_steps(self):
        layer = compiled(GRU(2, 4))
        x = draw(1, 20_000, 2).requires_grad_()
        y, last = layer(x)
        (gradient,) = torch.autograd.grad(last.sum(), x)
        state, pieces = None, []
        with torch.no_grad():
            for part in x.split(1000, 1):
                piece, state = layer(part, state)
                pieces.append(piece)
        assert torch.equal(torch.cat(pieces, 1), y)
        near = x[:, -100:].detach().requires_grad_()
        end = eager(layer)(near, y[:, -101].detach())[1]
        (expected,) = torch.autograd.grad(end.sum(), near)
        torch.testing.assert_close(gradient[:, -100:], expected, rtol=1e-9, atol=1e-12)

    def test_memory_grows_with_the_steps(self, lstm):
        def saved(steps):
            sizes = []

            def pack(tensor):
                sizes.append(tensor.numel() * tensor.element_size())
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                lstm(draw(2, steps, 3).requires_grad_())
            return sum(sizes)

        lstm(draw(2, 1, 3).requires_grad_())
        one, two, four = saved(1000), saved(2000), saved(4000)
        assert four - two == 2 * (two - one)
        # x, h, c and what four gates and two tanh leave, in float64, for two rows
        assert (two - one) / 1000 <= 2 * 8 * (3 + 8 * 5 + 20)

    def test_operations_do_not_grow_with_the_steps(self, lstm):
        def operations(steps):
            x = draw(2, steps, 3).requires_grad_()
            with profile(activities=[ProfilerActivity.CPU]) as run:
                lstm(x)[0].sum().backward()
            return sum(event.name.startswith("aten::") for event in run.events())

        operations(2)
        few, many = operations(10), operations(2000)
        assert 0 < many <= few + 10
