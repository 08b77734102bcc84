"""RNN, LSTM and GRU three ways: the specification in NumPy, onnxruntime, and what load_onnx makes.

Where onnxruntime deviates from the specification, or has no kernel, the specification decides.
"""

import itertools
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from onnx.backend.test.case.node import collect_testcases

import onnx_oracle
from saiki import export
from saiki.layers.bidirectional import Bidirectional

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 7, 4
LENGTHS = np.array([2, 7, 1, 4], np.int32)
ORDER = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
DIRECTIONS = ("forward", "reverse", "bidirectional")


def random_case(kind, directions, batch=BATCH, bias=True, peephole=False, seed=0, scale=0.5):
    """Random inputs of a node, each drawn anew."""
    random = np.random.default_rng(seed)
    _, gates, states, _ = onnx_oracle.KINDS[kind]

    def normal(*shape):
        return (scale * random.normal(size=shape)).astype(np.float32)

    inputs = {
        "X": normal(STEPS, batch, INPUT),
        "W": normal(directions, gates * HIDDEN, INPUT),
        "R": normal(directions, gates * HIDDEN, HIDDEN),
    }
    if bias:
        inputs["B"] = normal(directions, 2 * gates * HIDDEN)
    inputs["initial_h"] = normal(directions, batch, HIDDEN)
    if states == 2:
        inputs["initial_c"] = normal(directions, batch, HIDDEN)
    if peephole:
        inputs["P"] = normal(directions, 3 * HIDDEN)
    return inputs


def model_of(kind, inputs, attributes, constants=False):
    """A model of one node, its weights initialisers or Constant nodes, the rest inputs."""
    names = [name if name in inputs else "" for name in ORDER]
    while not names[-1]:
        names.pop()
    outputs = ["Y", "Y_h", "Y_c"][: 1 + onnx_oracle.KINDS[kind][2]]
    nodes = [helper.make_node(kind, names, outputs, name="layer", **attributes)]
    open_inputs, fixed = [], []
    for name, array in inputs.items():
        tensor = onnx.numpy_helper.from_array(array, name)
        if name not in ("W", "R", "B", "P"):
            open_inputs.append(helper.make_tensor_value_info(name, tensor.data_type, array.shape))
        elif constants:
            nodes.insert(0, helper.make_node("Constant", [], [name], value=tensor))
        else:
            fixed.append(tensor)
    kind_of = helper.np_dtype_to_tensor_dtype(inputs["X"].dtype)
    shapes = [[None] * 4, [None] * 3, [None] * 3]
    declared = [
        helper.make_tensor_value_info(name, kind_of, shape)
        for name, shape in zip(outputs, shapes, strict=False)
    ]
    graph = helper.make_graph(nodes, "graph", open_inputs, declared, fixed)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def by_onnxruntime(model, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {node.name: inputs[node.name] for node in session.get_inputs()})


def by_saiki(model, inputs, path, layout=0, fixed=None):
    """The layer that load_onnx makes, and its outputs in the shapes of the node's."""
    onnx.save(model, path)
    (layer,) = export.load_onnx(path, fixed).values()
    x = torch.from_numpy(inputs["X"])
    lengths = inputs.get("sequence_lens")
    states = [torch.from_numpy(inputs[n]) for n in ("initial_h", "initial_c") if n in inputs]
    if layout == 0:
        x = x.transpose(0, 1)
    else:
        states = [s.transpose(0, 1) for s in states]
    two = isinstance(layer, Bidirectional)
    start = [tuple(s[d] for s in states) or None for d in range(1 + two)]
    for part in layer.modules():
        if hasattr(part, "backend"):
            part.backend = "eager"
    with torch.no_grad():
        y, end = layer(
            x,
            tuple(start) if two else start[0],
            None if lengths is None else torch.from_numpy(lengths),
        )
    ends = [part if isinstance(part, tuple) else (part,) for part in (end if two else (end,))]
    Y = y.unflatten(2, (1 + two, -1))
    stacked = [torch.stack(parts) for parts in zip(*ends, strict=True)]
    if layout == 0:
        Y = Y.permute(1, 2, 0, 3)
    else:
        stacked = [s.transpose(0, 1) for s in stacked]
    return layer, [Y.numpy(), *(s.numpy() for s in stacked)]


def doubled(inputs):
    return {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in inputs.items()}


def agree(kind, inputs, attributes, path, deviates=False, **options):
    """The three in float32, and in float64 the two that have it; returns the layer in float64.

    Without onnxruntime where it ``deviates``.
    """
    attributes = {"hidden_size": HIDDEN, **attributes}
    wanted = onnx_oracle.run(kind, **doubled(inputs), **attributes)
    for arrays, tolerance in ((inputs, 2e-5), (doubled(inputs), 1e-9)):
        model = model_of(kind, arrays, attributes, **options)
        layer, outputs = by_saiki(model, arrays, path, attributes.get("layout", 0))
        for ours, theirs in zip(outputs, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    if not deviates:
        model = model_of(kind, inputs, attributes, **options)
        for ours, theirs in zip(by_onnxruntime(model, inputs), wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)
    return layer


CASES = {
    "RNN": [{}],
    "LSTM": [{}, {"input_forget": 1}],
    "GRU": [{}, {"linear_before_reset": 1}],
}
KINDS = [(kind, options) for kind, cases in CASES.items() for options in cases]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize(
    ("batch", "ragged", "bias", "peephole"),
    [
        (4, False, True, True),
        (4, True, True, False),
        (1, False, False, True),
        (4, True, False, True),
    ],
)
def test_the_three_agree(kind, options, direction, batch, ragged, bias, peephole, tmp_path):
    peephole = peephole and kind == "LSTM"
    inputs = random_case(kind, 1 + (direction == "bidirectional"), batch, bias, peephole)
    if ragged:
        inputs["sequence_lens"] = LENGTHS
    agree(kind, inputs, {"direction": direction, **options}, tmp_path / "node.onnx")


FUNCTIONS = {
    "Affine": (0.7, 0.2),
    "Elu": (0.6, None),
    "HardSigmoid": (0.3, 0.4),
    "LeakyRelu": (0.2, None),
    "Relu": (None, None),
    "ScaledTanh": (0.8, 0.6),
    "Sigmoid": (None, None),
    "Softplus": (None, None),
    "Softsign": (None, None),
    "Tanh": (None, None),
    "ThresholdedRelu": (0.1, None),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", CASES)
def test_every_activation_of_onnx_with_its_parameters(kind, name, tmp_path):
    """Forward the function is in one place of the node, backward in the other, so that alpha and
    beta are handed out in the right order."""
    alpha, beta = FUNCTIONS[name]
    forward = {"RNN": [name], "LSTM": ["Sigmoid", name, name], "GRU": ["Sigmoid", name]}[kind]
    backward = {"RNN": ["Relu"], "LSTM": [name, "Tanh", "Tanh"], "GRU": [name, "Tanh"]}[kind]
    attributes = {"activations": forward + backward, "direction": "bidirectional"}
    for key, value in (("activation_alpha", alpha), ("activation_beta", beta)):
        if value is not None:
            of_forward = [value] * forward.count(name)
            attributes[key] = [*of_forward, *[value + 0.05] * backward.count(name)]
    agree(kind, random_case(kind, 2, scale=0.1), attributes, tmp_path / "node.onnx")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("LeakyRelu", {}),
        ("Elu", {}),
        ("HardSigmoid", {}),
        ("Affine", {}),
        ("ScaledTanh", {}),
        ("ThresholdedRelu", {}),
    ],
)
def test_parameters_that_are_left_out_are_those_of_the_operator(name, attributes, tmp_path):
    # onnxruntime takes 0 for some of them, against the specification
    deviates = name in ("Affine", "ScaledTanh", "ThresholdedRelu")
    attributes = {"activations": [name]}
    agree("RNN", random_case("RNN", 1), attributes, tmp_path / "node.onnx", deviates)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_clip_limits_the_input_of_every_activation(kind, options, direction, tmp_path):
    inputs = random_case(kind, 1 + (direction == "bidirectional"))
    attributes = {"clip": 0.3, "direction": direction, **options}
    # onnxruntime leaves the input of h in Ht = ot (.) h(Ct) as it is
    agree(kind, inputs, attributes, tmp_path / "node.onnx", deviates=kind == "LSTM")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", CASES)
def test_layout_1_has_the_batch_first(kind, direction, tmp_path):
    inputs = random_case(kind, 1 + (direction == "bidirectional"))
    inputs["sequence_lens"] = LENGTHS
    for name in ("X", "initial_h", "initial_c"):
        if name in inputs:
            inputs[name] = np.ascontiguousarray(inputs[name].swapaxes(0, 1))
    # onnxruntime refuses layout 1
    attributes = {"layout": 1, "direction": direction}
    agree(kind, inputs, attributes, tmp_path / "node.onnx", deviates=True)


@pytest.mark.parametrize("kind", CASES)
def test_onnxruntime_has_no_kernel_in_float64(kind):
    """If this fails, float64 models need no Scan any more."""
    inputs = doubled(random_case(kind, 1))
    model = model_of(kind, inputs, {"hidden_size": HIDDEN})
    with pytest.raises(
        Exception, match=r"does not support double|Could not find an implementation"
    ):
        by_onnxruntime(model, inputs)


@pytest.mark.parametrize(("g", "h"), [("Affine", "Tanh"), ("Tanh", "Affine")])
def test_an_lstm_without_one_of_its_two_squashings(g, h, tmp_path):
    attributes = {
        "activations": ["Sigmoid", g, h],
        "activation_alpha": [1.0],
        "activation_beta": [0.0],
    }
    layer = agree("LSTM", random_case("LSTM", 1), attributes, tmp_path / "node.onnx")
    assert (layer.cell.input_activation, layer.cell.output_activation) == (g == "Tanh", h == "Tanh")


@pytest.mark.parametrize("kind", CASES)
def test_weights_may_be_constant_nodes(kind, tmp_path):
    agree(kind, random_case(kind, 1), {}, tmp_path / "node.onnx", constants=True)


def published():
    """The node tests of ONNX for the three operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other operators compute as they are collected
        cases = collect_testcases("")
    return [case for case in cases if case.model.graph.node[0].op_type in CASES]


@pytest.mark.long
def test_the_tests_that_onnx_publishes_for_its_operators(tmp_path):
    cases = published()
    assert len(cases) == 18
    for case in cases:
        (node,), ((arrays, wanted),) = case.model.graph.node, case.data_sets
        names = [value.name for value in case.model.graph.input]
        inputs = dict(zip(names, arrays, strict=True))
        fixed = {name: inputs[name] for name in ("W", "R", "B", "P") if name in inputs}
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        layout = attributes.get("layout", 0)
        _, outputs = by_saiki(case.model, inputs, tmp_path / "node.onnx", layout, fixed)
        by_name = dict(zip(node.output, outputs, strict=False))
        assert len(wanted) == len(case.model.graph.output) > 0
        for value, expected in zip(case.model.graph.output, wanted, strict=True):
            np.testing.assert_allclose(
                by_name[value.name], expected, rtol=1e-5, atol=1e-6, err_msg=case.name
            )


def test_two_nodes_on_top_of_each_other_and_one_without_a_name(tmp_path):
    inputs, other = random_case("GRU", 1), random_case("GRU", 1, seed=1)
    nodes = [
        helper.make_node("GRU", ["X", "W", "R", "B"], ["Y"], name="low", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Y", "axis"], ["y"]),
        helper.make_node("GRU", ["y", "W2", "R", "B"], ["Z"], hidden_size=HIDDEN),
    ]
    W2 = np.ascontiguousarray(other["R"])
    fixed = {**{n: inputs[n] for n in "WRB"}, "W2": W2, "axis": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("X", 1, inputs["X"].shape)],
        [helper.make_tensor_value_info("Z", 1, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in fixed.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(model, tmp_path / "two.onnx")
    layers = export.load_onnx(tmp_path / "two.onnx")
    assert list(layers) == ["low", "Z"]
    with torch.no_grad():
        y, _ = layers["low"](torch.from_numpy(inputs["X"]).transpose(0, 1))
        z, _ = layers["Z"](y)
    wanted = by_onnxruntime(model, inputs)[0][:, 0].swapaxes(0, 1)
    np.testing.assert_allclose(z.numpy(), wanted, rtol=0, atol=1e-5)


def test_the_functions_of_onnx_agree_with_the_oracle_far_out():
    x = np.array([-30.0, -1.5, -0.5, -0.0, 0.5, 1.5, 30.0])
    for name, (alpha, beta) in FUNCTIONS.items():
        ours = export.OnnxFunction(name, alpha or 0.0, beta or 0.0)(torch.from_numpy(x))
        np.testing.assert_allclose(ours, onnx_oracle.evaluate(name, alpha, beta, x), atol=1e-12)


def test_the_cases_cover_what_the_operators_have():
    assert set(FUNCTIONS) == {
        *onnx_oracle.DEFAULTS,
        "Relu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Tanh",
    }
    for kind in CASES:
        attributes = set(onnx.defs.get_schema(kind, 22).attributes)
        tested = {"activation_alpha", "activation_beta", "activations", "clip", "direction"}
        tested |= {"hidden_size", "layout", *itertools.chain(*CASES[kind])}
        assert attributes == tested
