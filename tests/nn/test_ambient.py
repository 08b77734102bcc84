"""Layers under tracers, modes, subclasses of tensors and quantisation: as those of torch.nn, or one
sentence that says what to do."""

import io

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import saiki
import saiki.nn
from compiler.comparison import assert_same
from nn.pairs import failure, names_of, outcome, pair
from saiki import InputError

pytestmark = [
    pytest.mark.one_in(3),
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning"),
]
FAMILIES = ["RNN", "LSTM", "GRU"]
CELLS = ["RNNCell", "LSTMCell", "GRUCell"]
OPTIONED = {
    "RNN": ("RNN", {"activation": "softplus"}),
    "LSTM": ("LSTM", {"peephole": True}),
    "GRU": ("GRU", {"reset": "before"}),
}
WARM_OR_COLD = pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])


class Model(nn.Module):
    """A layer behind another one."""

    def __init__(self, layer):
        super().__init__()
        self.linear = nn.Linear(3, 3, dtype=torch.float64)
        self.layer = layer

    def forward(self, x):
        return self.layer(self.linear(x))[0]


def models(family, warm=False, **arguments):
    """Of torch.nn and ours, with the same weights; and an input."""
    theirs, ours = map(Model, pair(family, 3, 5, dtype=torch.float64, **arguments))
    theirs.linear = ours.linear
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    if warm:
        ours(x)
    return theirs, ours, x


def optioned(name, warm=False):
    family, options = OPTIONED[name]
    model = Model(getattr(saiki.nn, family)(3, 5, dtype=torch.float64, **options))
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return model, x, model(x) if warm else None


def targets(graph):
    return {str(node.target) for node in graph.nodes if node.op == "call_function"}


@WARM_OR_COLD
@pytest.mark.parametrize("family", FAMILIES)
class TestPlain:
    def test_export_writes_what_torch_writes(self, family, warm):
        theirs, ours, x = models(family, warm)
        for strict in (False, True):
            graph, expected = (
                torch.export.export(m, (x,), strict=strict).graph for m in (ours, theirs)
            )
            assert targets(graph) == targets(expected)

    def test_make_fx(self, family, warm):
        theirs, ours, x = models(family, warm)
        graph, expected = (make_fx(m)(x) for m in (ours, theirs))
        assert targets(graph.graph) == targets(expected.graph)
        torch.testing.assert_close(graph(x), expected(x), rtol=0, atol=0)

    def test_symbolic_trace_takes_it_as_a_leaf(self, family, warm):
        theirs, ours, x = models(family, warm)
        graph, expected = (torch.fx.symbolic_trace(m) for m in (ours, theirs))
        nodes = [
            [(n.op, n.name, str(n.target), str(n.args)) for n in m.graph.nodes]
            for m in (graph, expected)
        ]
        assert nodes[0] == nodes[1]
        assert graph.layer is ours.layer
        torch.testing.assert_close(graph(x), expected(x))

    def test_symbolic_trace_with_states(self, family, warm):
        class FromState(nn.Module):
            def __init__(self, layer):
                super().__init__()
                self.layer = layer

            def forward(self, x, h, c):
                return self.layer(x, (h, c) if family == "LSTM" else h)[0]

        theirs, ours, x = models(family, warm)
        h, c = torch.randn(2, 1, 4, 5, dtype=torch.float64)
        graph, expected = (torch.fx.symbolic_trace(FromState(m.layer)) for m in (ours, theirs))
        torch.testing.assert_close(graph(x, h, c), expected(x, h, c))
        assert ours.layer._flat_weights[0] is ours.layer.weight_ih_l0

    def test_torchscript_trace(self, family, warm):
        theirs, ours, x = models(family, warm)
        other = torch.randn(9, 2, 3, dtype=torch.float64)
        for _ in range(2):
            traced = torch.jit.trace(ours, (x,))
            file = io.BytesIO()
            torch.jit.save(traced, file)
            file.seek(0)
            torch.testing.assert_close(torch.jit.load(file)(other), theirs(other), rtol=0, atol=0)
            assert "saiki::" not in str(traced.inlined_graph)

    def test_fake_tensors(self, family, warm):
        theirs, ours, x = models(family, warm)
        with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert ours(mode.from_tensor(x)).shape == (6, 4, 5)
        torch.testing.assert_close(ours(x), theirs(x))

    def test_a_dispatch_mode_sees_what_it_sees_of_torch(self, family, warm):
        class Log(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                names.append(str(function))
                return function(*args, **(kwargs or {}))

        seen = []
        theirs, ours, x = models(family, warm)
        for model in (theirs, ours):
            names = []
            model.zero_grad()
            with Log():
                model(x).sum().backward()
            seen.append(names)
        assert seen[0] == seen[1]
        with FlopCounterMode(display=False) as a:
            theirs(x)
        with FlopCounterMode(display=False) as b:
            ours(x)
        assert a.get_total_flops() == b.get_total_flops() > 0
        assert "Scan" in names_of(ours(x))

    @pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
    def test_anomaly_detection_leaves_it_on_its_kernel(self, family, warm):
        _, ours, x = models(family, warm)
        with torch.autograd.set_detect_anomaly(True):
            assert "Scan" in names_of(ours(x))
        assert "Scan" in names_of(ours(x))

    def test_compile(self, family, warm):
        theirs, ours, x = models(family, warm, bidirectional=True)
        torch._dynamo.reset()
        compiled = outcome(torch.compile(ours, backend="aot_eager"), x)
        compiled = {k.replace("_orig_mod.", ""): v for k, v in compiled.items()}
        expected = outcome(ours, x)
        assert_same(compiled, expected, 1e-12)
        assert_same(
            {k: v for k, v in compiled.items() if "linear" not in k},
            {k: v for k, v in outcome(theirs, x).items() if "linear" not in k},
            1e-10,
        )


@WARM_OR_COLD
@pytest.mark.parametrize("name", OPTIONED)
class TestOptions:
    """torch.nn has no such layers: what others write down holds their equations, step by step."""

    def test_export_holds_no_operation_of_ours(self, name, warm):
        model, x, _ = optioned(name, warm)
        program = torch.export.export(model, (x,), strict=False)
        assert all(t.startswith(("aten.", "<built-in")) for t in targets(program.graph))
        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-10, atol=1e-12)

    def test_torchscript_trace_twice(self, name, warm):
        model, x, _ = optioned(name, warm)
        for _ in range(2):
            traced = torch.jit.trace(model, (x,))
            assert "saiki::" not in str(traced.inlined_graph)
            torch.testing.assert_close(traced(2 * x), model(2 * x), rtol=1e-10, atol=1e-12)
        model.layer.backend = "cpu"
        model(x)  # has a kernel all the same

    def test_symbolic_trace_takes_it_as_a_leaf(self, name, warm):
        model, x, _ = optioned(name, warm)
        traced = torch.fx.symbolic_trace(model)
        assert [n.op for n in traced.graph.nodes][2] == "call_module"
        torch.testing.assert_close(traced(x), model(x))


class TestCells:
    @pytest.mark.parametrize("family", CELLS)
    def test_symbolic_trace_takes_it_as_a_leaf(self, family):
        theirs, ours = pair(family, 3, 5)
        x = torch.randn(4, 3)
        traced = torch.fx.symbolic_trace(nn.Sequential(nn.Tanh(), ours))
        assert [n.op for n in traced.graph.nodes][2] == "call_module"
        torch.testing.assert_close(traced(x), theirs(torch.tanh(x)))

    def test_symbolic_trace_with_options(self):
        cell = saiki.nn.LSTMCell(3, 5, peephole=True)
        traced = torch.fx.symbolic_trace(nn.Sequential(nn.Tanh(), cell))
        x = torch.randn(4, 3)
        torch.testing.assert_close(traced(x), cell(torch.tanh(x)))


class TestSentences:
    @pytest.mark.parametrize("family", [*FAMILIES, *CELLS])
    def test_torchscript_says_what_to_do(self, family):
        layer = getattr(saiki.nn, family)(3, 5)
        for model in (layer, nn.Sequential(layer)):
            for _ in range(2):
                with pytest.raises(InputError, match=r"^TorchScript cannot read .*; saiki\.swap\("):
                    torch.jit.script(model)
        saiki.swap(model, back=True)
        torch.jit.script(model)

    def test_torchscript_changes_nothing_in_the_model(self):
        layer = saiki.nn.GRU(3, 5)
        model = nn.Sequential(nn.Linear(3, 3), layer)
        with pytest.raises(InputError):
            torch.jit.script(model)
        assert model[1] is layer
        assert type(layer) is saiki.nn.GRU

    @pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
    @pytest.mark.parametrize("family", ["LSTM", "GRU", "LSTMCell"])
    def test_dynamic_quantisation_says_that_it_does_nothing(self, family):
        kind = getattr(nn, family)
        model = nn.Sequential(getattr(saiki.nn, family)(3, 5))
        with pytest.warns(UserWarning, match=r"stays in floating point: .* saiki\.swap\("):
            same = torch.ao.quantization.quantize_dynamic(model, {kind})
        assert type(same[0]) is getattr(saiki.nn, family)
        x = torch.randn(4, 3)
        torch.testing.assert_close(same(x), model(x))
        saiki.swap(model, back=True)
        quantised = torch.ao.quantization.quantize_dynamic(model, {kind})
        assert type(quantised[0]).__module__.startswith("torch.ao.nn.quantized")

    def test_a_qconfig_is_kept_and_removed(self):
        layer = saiki.nn.LSTM(3, 5)
        assert not hasattr(layer, "qconfig")
        with pytest.warns(UserWarning, match="stays in floating point"):
            layer.qconfig = 3
        assert layer.qconfig == 3
        del layer.qconfig
        assert not hasattr(layer, "qconfig")

    @pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:.*stays in floating point:UserWarning")
    def test_graph_quantisation_leaves_it_in_floating_point(self):
        from torch.ao.quantization import QConfigMapping, default_dynamic_qconfig
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

        model = Model(saiki.nn.LSTM(3, 5)).float().eval()
        x = torch.randn(6, 4, 3)
        mapping = QConfigMapping().set_object_type(nn.LSTM, default_dynamic_qconfig)
        converted = convert_fx(prepare_fx(model, mapping, (x,)))
        assert type(converted.layer) is saiki.nn.LSTM
        torch.testing.assert_close(converted(x), model(x))


class Logged(torch.Tensor):
    """A subclass that changes nothing."""


class TestTensors:
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(
        "change",
        [
            lambda x: x.as_subclass(Logged),
            lambda x: x.to_sparse(),
            lambda x: x.to_mkldnn(),
            lambda x: torch.nested.nested_tensor([x[0], x[1]]),
            lambda x: torch.nested.nested_tensor([x[0], x[1]], layout=torch.jagged),
            lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
        ],
        ids=["subclass", "sparse", "oneDNN", "nested", "jagged", "quantised"],
    )
    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
    @pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
    def test_that_are_not_plain_meet_torchs_own_layer(self, family, change):
        theirs, ours = pair(family, 3, 5)
        x = change(torch.randn(6, 4, 3))
        expected = failure(lambda: theirs(x))
        assert failure(lambda: ours(x)) == expected
        if expected is None:
            y, expected = ours(x)[0], theirs(x)[0]
            assert type(y) is type(expected)
            assert torch.equal(y, expected)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_subclass_as_weight_is_torchs_own(self, family):
        theirs, ours = pair(family, 3, 5)
        for layer in (theirs, ours):
            weight = nn.Parameter(layer.weight_hh_l0.detach().as_subclass(Logged))
            layer.weight_hh_l0 = weight
        x = torch.randn(6, 4, 3)
        assert type(theirs(x)[0]) is type(ours(x)[0]) is Logged
        assert torch.equal(theirs(x)[0], ours(x)[0])

    @pytest.mark.parametrize("family", FAMILIES)
    def test_gradients_per_sample_are_those_of_torch(self, family):
        from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

        theirs, ours = pair(family, 3, 5, batch_first=True, dtype=torch.float64)
        x = torch.randn(4, 6, 3, dtype=torch.float64)
        for layer in (theirs, ours):
            call_for_per_sample_grads(layer, batch_size=4)(x)[0].sum().backward()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert a.grad_sample.shape == (4, *a.shape)
            torch.testing.assert_close(a.grad_sample, b.grad_sample, rtol=0, atol=0)
