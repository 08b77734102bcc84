"""Exported files: what is in them, and what onnxruntime makes of them at sizes of their own."""

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import saiki
from saiki import Bidirectional, ExportError, Recurrent, SaikiError, Stack, export
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.export import Clipped, nodes, verify

EXAMPLES = Path(__file__).parents[2] / "examples" / "cells"


class SideBySide(nn.Module):
    """Layers that read the same input; all their outputs and states."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x, lengths=None):
        return [layer(x, lengths=lengths) for layer in self.layers]


def random_weights(model):
    """So that no gate order or bias can hide behind zeros or ones."""
    with torch.no_grad():
        for p in model.parameters():
            nn.init.normal_(p, std=0.4)
    return model


def flat(outputs):
    return list(outputs) if isinstance(outputs, torch.Tensor) else verify.tensors_in(outputs)


def run(path, *arguments):
    session = onnxruntime.InferenceSession(path)
    names = [node.name for node in session.get_inputs()]
    arrays = [argument.numpy() for argument in arguments]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def layers_of(path):
    """The nodes that stand for layers, by name."""
    wanted = (*nodes.OPERATORS, "Scan")
    return {node.name: node for node in onnx_ir.load(path).graph if node.op_type in wanted}


def exported(model, example, path):
    """The file, its nodes that stand for layers, and that it does not tell whence it came."""
    assert export.onnx(model, example, path) == path
    assert b"site-packages" not in path.read_bytes()
    assert b"saiki" not in path.read_bytes()
    return layers_of(path)


def agrees(model, path, *arguments, tolerance=2e-6):
    """The file against the model in float64."""
    for part in model.modules():
        if isinstance(part, Recurrent):
            part.backend = "eager"
    double = [a.double() if a.is_floating_point() else a for a in arguments]
    with torch.no_grad():
        wanted = flat(copy.deepcopy(model).double().eval()(*double))
    outputs = run(path, *arguments)
    for theirs, ours in zip(outputs, wanted, strict=True):
        assert theirs.dtype == arguments[0].numpy().dtype
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance)


def never_reads_the_padding(path, x, lengths):
    clean, x = run(path, x, lengths), x.clone()
    for row, length in enumerate(lengths):
        x[row, length:] = torch.nan
    for a, b in zip(clean, run(path, x, lengths), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


def native_cells():
    """Cells that ONNX has, with the attributes that say so beside hidden_size and direction."""
    clipped = [Clipped(saiki.activations.get(name), 0.25) for name in ("tanh", "sigmoid")]
    leaky = saiki.activations.get("leaky_relu", alpha=0.2)
    lstm = {"activations": ["Sigmoid", "Tanh", "Tanh"]}
    gru = {"activations": ["Sigmoid", "Tanh"]}
    after = {"linear_before_reset": 1}
    hard = {"activation_alpha": [np.float32(1 / 6), 1.0], "activation_beta": [0.5, 0.0]}
    elu = {"activation_alpha": [1.0, 1.0], "activation_beta": [0.0]}
    return [
        (SimpleRNN(3, 4, "relu", bias=False), {"activations": ["Relu"]}),
        (SimpleRNN(3, 5, clipped[0]), {"activations": ["Tanh"], "clip": 0.25}),
        (LSTM(3, 4, peephole=True), lstm),
        (LSTM(3, 5, coupled=True, peephole=True), {**lstm, "input_forget": 1}),
        (
            LSTM(3, 5, bias=False, recurrent_activation="hard_sigmoid", input_activation=False),
            {"activations": ["HardSigmoid", "Affine", "Tanh"], **hard},
        ),
        (
            LSTM(3, 5, output_activation=False, activation="elu"),
            {"activations": ["Sigmoid", "Elu", "Affine"], **elu},
        ),
        (GRU(3, 4, bias=False), {**gru, **after}),
        (GRU(3, 5, "after", clipped[0], clipped[1]), {**gru, **after, "clip": 0.25}),
        (
            GRU(3, 5, "before", leaky),
            {"activations": ["Sigmoid", "LeakyRelu"], "activation_alpha": [np.float32(0.2)]},
        ),
    ]


def test_a_cell_that_onnx_has_becomes_its_operator_and_comes_back(tmp_path):
    pairs = native_cells()
    layers = [Recurrent(cell, i % 3 == 1, "eager") for i, (cell, _) in enumerate(pairs)]
    model = random_weights(SideBySide(*layers))
    path = tmp_path / "model.onnx"
    nodes = exported(model, (torch.randn(2, 3, 3), torch.tensor([3, 1])), path)
    for layer, (cell, wanted), (name, node) in zip(layers, pairs, nodes.items(), strict=True):
        operator = "RNN" if isinstance(cell, SimpleRNN) else type(cell).__name__
        assert (node.op_type, name.split("_")[0]) == (operator, operator.lower())
        attributes = {key: attribute.value for key, attribute in node.attributes.items()}
        direction = "reverse" if layer.reverse else "forward"
        described = {
            key: list(v) if isinstance(v, list | tuple) else v for key, v in attributes.items()
        }
        assert described == {"hidden_size": cell.hidden_size, "direction": direction, **wanted}
    x, lengths = torch.randn(4, 7, 3), torch.tensor([2, 7, 1, 4])
    agrees(model, path, x, lengths)
    agrees(model, path, torch.randn(1, 1, 3), torch.tensor([1]))
    never_reads_the_padding(path, x, lengths)
    back = export.load_onnx(path)
    assert list(back) == list(nodes)
    for layer, layer_back in zip(layers, back.values(), strict=True):
        assert layer_back.reverse == layer.reverse
        for name in ("activation", "recurrent_activation"):
            assert getattr(layer_back.cell, name, None) == getattr(layer.cell, name, None)
        layer_back.backend = "eager"
        with torch.no_grad():
            theirs, ours = (flat(either(x, lengths=lengths)) for either in (layer_back, layer))
        torch.testing.assert_close(theirs, ours)


def test_two_directions_are_one_node_if_one_operator_says_both(tmp_path):
    model = random_weights(
        SideBySide(
            Bidirectional(LSTM(3, 4, peephole=True), merge="sum"),
            Bidirectional(GRU(3, 4), backward=GRU(3, 4, activation="relu")),
            Bidirectional(GRU(3, 4), backward=GRU(3, 5)),
            Bidirectional(SimpleRNN(3, 4), backward=SimpleRNN(3, 4, "gelu")),
            Stack([Bidirectional(SimpleRNN(3, 4)), GRU(8, 2)]),
        )
    )
    nodes = exported(model, (torch.randn(2, 3, 3), torch.tensor([3, 1])), tmp_path / "model.onnx")
    written = [node.attributes.get("direction") for node in nodes.values()]
    directions = [direction and direction.as_string() for direction in written]
    expected = list(zip((node.op_type for node in nodes.values()), directions, strict=True))
    assert expected == [
        ("LSTM", "bidirectional"),
        ("GRU", "bidirectional"),
        ("GRU", "forward"),
        ("GRU", "reverse"),
        ("RNN", "forward"),
        ("Scan", None),
        ("RNN", "bidirectional"),
        ("GRU", "forward"),
    ]
    agrees(model, tmp_path / "model.onnx", torch.randn(4, 7, 3), torch.tensor([2, 7, 1, 4]))


class Learned(saiki.Cell):
    """A learned initial state, a buffer, a constant and a state that never changes."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.start = nn.Parameter(torch.randn(hidden_size))
        self.register_buffer("scale", torch.rand(hidden_size))
        self.shift = torch.linspace(-1, 1, hidden_size)

    def initial_state(self, batch):
        start = self.start.expand(batch, -1)
        return start, 2 * start

    def step(self, x, h, fixed):
        return torch.sin(self.W(x) + self.scale * h + self.shift.to(h) + fixed), fixed


def test_any_other_cell_becomes_a_scan_over_its_equations(tmp_path):
    # onnxruntime leaves the last activation of a clipped LSTM unclipped, against the specification
    clipped = [Clipped(saiki.activations.get(name), 0.25) for name in ("tanh", "sigmoid")]
    model = random_weights(
        SideBySide(
            Recurrent(Learned(3, 4), reverse=True),
            Recurrent(LSTM(3, 4, projection_size=2, layer_norm=True)),
            Recurrent(LSTM(3, 4, activation=clipped[0], recurrent_activation=clipped[1])),
        )
    )
    nodes = exported(model, torch.randn(2, 3, 3), tmp_path / "model.onnx")
    assert [node.op_type for node in nodes.values()] == ["Scan"] * 3
    agrees(model, tmp_path / "model.onnx", torch.randn(4, 7, 3))
    agrees(model, tmp_path / "model.onnx", torch.randn(1, 1, 3))


def example(file, name):
    """The cell of a file under examples/."""
    spec = importlib.util.spec_from_file_location(file, EXAMPLES / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def test_in_float64_every_cell_is_a_scan_ragged_rows_included(tmp_path):
    cells = [
        example("layer_norm_gru", "LayerNormGRU")(3, 4),
        example("multiplicative_lstm", "MultiplicativeLSTM")(3, 4),
        LSTM(3, 4, activation="leaky_relu"),
    ]
    layers = [Recurrent(cell, reverse=i == 1) for i, cell in enumerate(cells)]
    model = random_weights(SideBySide(*layers)).double()
    inputs = torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([3, 1])
    nodes = exported(model, inputs, tmp_path / "model.onnx")
    assert [node.op_type for node in nodes.values()] == ["Scan"] * 3
    x, lengths = torch.randn(4, 7, 3, dtype=torch.float64), torch.tensor([2, 7, 1, 4])
    # the ε of LayerNormalization is float32
    agrees(model, tmp_path / "model.onnx", x, lengths, tolerance=1e-10)
    never_reads_the_padding(tmp_path / "model.onnx", x, lengths)


class Both(nn.Module):
    """Layers in the place of torch.nn's, time first, with states of the caller."""

    def __init__(self):
        super().__init__()
        self.low = saiki.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
        self.high = saiki.nn.GRU(8, 5, zoneout=0.3)

    def forward(self, x, state):
        y, state = self.low(x, state)
        return self.high(y), state


def test_layers_in_the_place_of_those_of_torch_nn(tmp_path):
    model = random_weights(Both())

    def arguments(batch, steps):
        return torch.randn(steps, batch, 3), torch.randn(4, batch, 4), torch.randn(4, batch, 4)

    x, h, c = arguments(2, 3)
    nodes = exported(model, (x, (h, c)), tmp_path / "model.onnx")
    assert [node.op_type for node in nodes.values()] == ["LSTM", "LSTM", "Scan"]
    x, h, c = arguments(5, 4)
    with torch.no_grad():
        wanted = flat(model.eval()(x, (h, c)))
    for theirs, ours in zip(run(tmp_path / "model.onnx", x, h, c), wanted, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=2e-6)


class Plain(nn.Module):
    """Layers of torch.nn, with states of the caller and without."""

    def __init__(self):
        super().__init__()
        both = {"bidirectional": True, "dropout": 0.5, "num_layers": 2}
        self.lstm = nn.LSTM(3, 4, **both, batch_first=True)
        self.gru = nn.GRU(8, 5, **both, bias=False)
        self.rnn = nn.RNN(10, 3, nonlinearity="relu")
        self.projected = nn.LSTM(3, 5, 2, proj_size=2, bidirectional=True)
        self.cell = nn.GRUCell(4, 3)

    def forward(self, x, h, c):
        y, states = self.lstm(x, (h, c))
        y, last = self.gru(y.transpose(0, 1))
        y, _ = self.rnn(y)
        y, ends = self.projected(y)
        return y, states, last, ends, self.cell(y[-1])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_layers_of_torch_nn_themselves(tmp_path):
    model = random_weights(Plain())

    def arguments(batch, steps):
        return torch.randn(batch, steps, 3), torch.randn(4, batch, 4), torch.randn(4, batch, 4)

    classes = [type(module) for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    path = tmp_path / "model.onnx"
    nodes = exported(model, arguments(2, 3), path)
    operators = [node.op_type for node in nodes.values()]
    assert operators == ["LSTM", "LSTM", "GRU", "GRU", "RNN", *["Scan"] * 4]
    assert [type(module) for module in model.modules()] == classes
    assert model.training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    inputs = arguments(5, 4)
    with torch.no_grad():
        wanted = flat(model.eval()(*inputs))
    assert len(wanted) == 7
    for theirs, ours in zip(run(path, *inputs), wanted, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=5e-6)
    layers = export.load_onnx(path)
    assert list(layers) == ["lstm_0", "lstm_1", "gru_2", "gru_3", "rnn_4"]
    low, high = list(layers.values())[:2]
    x, h, c = inputs
    with torch.no_grad():
        y, _ = low(x, ((h[0], c[0]), (h[1], c[1])))
        y, _ = high(y, ((h[2], c[2]), (h[3], c[3])))
        expected, _ = model.lstm(x, (h, c))
    torch.testing.assert_close(y, expected)


def test_what_export_makes_of_drop_ins_can_be_read(tmp_path):
    model = random_weights(nn.Sequential(saiki.nn.GRU(3, 4, num_layers=2, bidirectional=True)))
    example = torch.randn(3, 2, 3)
    layers = export.load_onnx(export.onnx(model, example, tmp_path / "model.onnx")).values()
    y = example.transpose(0, 1)
    with torch.no_grad():
        for layer in layers:
            y, _ = layer(y)
        wanted, _ = model(example)
    torch.testing.assert_close(y, wanted.transpose(0, 1))


class Tagger(nn.Module):
    """Tokens in, dropout and normalisation on the way, one layer used twice."""

    def __init__(self):
        super().__init__()
        shared = Recurrent(GRU(4, 4), backend="eager")
        self.embedding = nn.Embedding(11, 4)
        self.layers = Stack([shared, shared], dropout=0.5)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, tokens, lengths=None):
        y, _ = self.layers(self.embedding(tokens), lengths=lengths)
        return self.norm(y.sum(1)).log_softmax(-1)


def test_a_whole_model_is_exported_as_it_computes_after_eval_and_left_as_it_was(tmp_path):
    model = random_weights(Tagger())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tokens, lengths = torch.randint(0, 11, (2, 3)), torch.tensor([3, 2])
    path = tmp_path / "new folder" / "model.onnx"
    export.onnx(model, (tokens, lengths), str(path))
    assert [node.op_type for node in layers_of(path).values()] == ["GRU", "GRU"]
    graph = onnx_ir.load(path).graph
    assert [(v.name, [str(size) for size in v.shape]) for v in graph.inputs] == [
        ("tokens", ["batch", "time"]),
        ("lengths", ["batch"]),
    ]
    assert [v.name for v in graph.outputs] == ["output_0"]
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    tokens, lengths = torch.randint(0, 11, (4, 6)), torch.tensor([1, 6, 2, 5])
    with torch.no_grad():
        wanted = model.eval()(tokens, lengths)
    np.testing.assert_allclose(run(path, tokens, lengths)[0], wanted, rtol=0, atol=2e-6)


# What is refused.


def refused(model, example, path, kind=ExportError):
    """The one line that refuses an export; what was at ``path`` stays."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(kind) as caught:
        export.onnx(model, example, path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not list(path.parent.glob(".*"))
    (line,) = str(caught.value).splitlines()
    return line


@pytest.fixture
def gru():
    return Recurrent(GRU(3, 4), backend="eager")


def test_a_file_that_computes_something_else_is_not_kept(gru, tmp_path, monkeypatch):
    def swapped(cell, w):
        W, *others = nodes.weights(cell, w)
        return (W.roll(4, 0), *others)

    monkeypatch.setattr("saiki.export.capture.weights", swapped)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there")
    line = refused(gru, torch.randn(2, 3, 3), path)
    assert line.startswith("output_0 of the exported model, given (2, 3, 3), differs from the ")


def test_sizes_other_than_the_examples_are_verified(gru):
    example = torch.randn(2, 3, 3), None, torch.tensor([3, 2])
    free = torch.export.Dim.AUTO

    class Plain(nn.Module):
        def forward(self, x, state, lengths):
            return x * lengths[:, None, None]

    program = torch.export.export(
        Plain(), example, dynamic_shapes=({0: free, 1: free}, None, {0: free})
    )
    x, state, lengths = verify.other_sizes(program, example)
    assert state is None
    assert x.shape[2] == 3
    assert x.shape[0] == len(lengths) > 2
    assert x.shape[1] > 3
    assert set(lengths.tolist()) <= {2, 3}


@pytest.mark.parametrize(("shape", "what"), [((1, 3, 3), "batch"), ((2, 1, 3), "time")])
def test_an_example_of_one_row_or_one_step_fixes_it(shape, what, gru, tmp_path):
    line = refused(gru, torch.randn(shape), tmp_path / "model.onnx")
    assert line.startswith(f"the {what} of a layer would be fixed to 1: take an example with at")


def test_packed_sequences_are_refused(tmp_path):
    packed = pack_sequence([torch.randn(3, 3), torch.randn(2, 3)])
    line = refused(saiki.nn.GRU(3, 4), packed, tmp_path / "model.onnx")
    assert line == "packed sequences cannot be exported: pass padded ones and lengths"


def test_outputs_that_are_no_tensors_are_refused(tmp_path):
    class Counting(nn.Linear):
        def forward(self, x):
            return super().forward(x), len(x)

    line = refused(Counting(3, 4), torch.randn(2, 3), tmp_path / "model.onnx")
    assert line == "only tensors can be exported, and the model returns int"


def test_a_model_that_asks_for_numbers_is_refused_without_a_word_besides(gru, tmp_path, capfd):
    class Deciding(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = gru

        def forward(self, x):
            return self.layer(x if x.sum() > 0 else -x)

    line = refused(Deciding(), torch.randn(2, 3, 3), tmp_path / "model.onnx")
    assert line.startswith("Deciding cannot be exported: ")
    assert capfd.readouterr() == ("", "")


def test_what_onnxruntime_lacks_is_named(tmp_path):
    layer = Recurrent(SimpleRNN(3, 4, "gelu"), backend="eager").double()
    line = refused(layer, torch.randn(2, 3, 3, dtype=torch.float64), tmp_path / "model.onnx")
    assert line.startswith("onnxruntime does not run the exported model: ")
    assert "Erf" in line


def test_an_argument_that_does_not_fit_is_told_in_the_layers_words(gru, tmp_path):
    line = refused(gru, torch.randn(2, 3, 5), tmp_path / "model.onnx", saiki.InputError)
    assert line == "x must be (batch, time, 3) with a step at least, got (2, 3, 5)"


def test_a_path_that_cannot_be_written(gru, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    line = refused(gru, torch.randn(2, 3, 3), folder, SaikiError)
    assert line.startswith(f"cannot write {folder}: ")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_the_way_to_get_it(package, gru, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(gru, torch.randn(2, 3, 3), tmp_path / "model.onnx")
    assert line == f"this needs {package}: pip install 'saiki[onnx]'"


def test_nothing_of_onnx_is_imported_before_it_is_needed():
    code = (
        "import sys, saiki.export\n"
        "names = ('onnx', 'onnx_ir', 'onnxruntime', 'onnxscript')\n"
        "sys.exit(sum(name in sys.modules for name in names))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
