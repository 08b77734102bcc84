"""Weights that a file computes from what it holds, in the shapes in which exporters leave them."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from saiki import InputError, export

SIZE, INPUT, STEPS = 5, 3, 4
FLOAT = TensorProto.FLOAT


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def constant(name, array):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


def declared(*names):
    return [helper.make_tensor_value_info(name, FLOAT, None) for name in names]


def lstm(*inputs, outputs=("Y",)):
    return helper.make_node("LSTM", inputs, outputs, name="layer", hidden_size=SIZE)


def saved(path, nodes, fixed, inputs=(), opset=22, as_inputs=()):
    """A file that turns X into Y; the initialisers ``as_inputs`` are defaults of inputs."""
    x = helper.make_tensor_value_info("X", FLOAT, [STEPS, 2, INPUT])
    defaults = [helper.make_tensor_value_info(n, FLOAT, fixed[n].shape) for n in as_inputs]
    graph = helper.make_graph(
        nodes,
        "graph",
        [x, *inputs, *defaults],
        declared("Y"),
        [numpy_helper.from_array(array, name) for name, array in fixed.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def gates(name, source, order):
    """``source``, gates side by side in another order: Slice, Concat and Unsqueeze of each."""
    nodes = [constant(f"{name}/axes", np.array([0]))]
    parts = []
    for k in order:
        start, end = np.array([k * SIZE]), np.array([(k + 1) * SIZE])
        nodes += [constant(f"{name}/{k}", start), constant(f"{name}/{k}/end", end)]
        nodes.append(
            helper.make_node(
                "Slice",
                [source, f"{name}/{k}", f"{name}/{k}/end", f"{name}/axes"],
                [f"{name}/part{k}"],
            )
        )
        parts.append(f"{name}/part{k}")
    nodes.append(helper.make_node("Concat", parts, [f"{name}/all"], axis=0))
    nodes.append(helper.make_node("Unsqueeze", [f"{name}/all", f"{name}/axes"], [name]))
    return nodes


STORED = {
    "weight_ih": normal(4 * SIZE, INPUT, seed=1),
    "weight_hh": normal(4 * SIZE, SIZE, seed=2),
    "bias_ih": normal(4 * SIZE, seed=3),
    "bias_hh": normal(4 * SIZE, seed=4),
}
"""In the order of PyTorch, i, f, c, o; that of ONNX is i, o, f, c."""
ORDER = (0, 3, 1, 2)


def arranged():
    """W, R and B from what PyTorch stores, as its older exporter writes it."""
    both = helper.make_node("Concat", ["B/ih", "B/hh"], ["B"], axis=1)
    return [
        *gates("W", "weight_ih", ORDER),
        *gates("R", "weight_hh", ORDER),
        *gates("B/ih", "bias_ih", ORDER),
        *gates("B/hh", "bias_hh", ORDER),
        both,
    ]


def behind_other_nodes(path):
    return saved(path, [*arranged(), lstm("X", "W", "R", "B")], STORED)


def in_branches(path):
    """The layer in the branch of an If, its weights around it, initialisers and Constants."""
    inner = helper.make_graph([*arranged(), lstm("X", "W", "R", "B", outputs=["y"])], "then", [],
                              declared("y"))  # fmt: skip
    other = helper.make_graph(
        [constant("zeros", np.zeros((STEPS, 1, 2, SIZE), np.float32))],
        "else",
        [],
        declared("zeros"),
    )
    branch = helper.make_node("If", ["choice"], ["Y"], then_branch=inner, else_branch=other)
    fixed = {name: STORED[name] for name in ("weight_ih", "bias_hh")}
    around = [constant(name, STORED[name]) for name in ("weight_hh", "bias_ih")]
    choice = helper.make_tensor_value_info("choice", TensorProto.BOOL, [])
    return saved(path, [*around, branch], fixed, inputs=[choice])


def chosen_by_a_branch(path):
    """The weights come out of an If whose condition the file fixes, captured values and all."""
    nodes = [helper.make_node("Identity", ["weight_ih"], ["same"])]
    branches = {
        "then_branch": [helper.make_node("Mul", ["same", "two"], ["w"])],
        "else_branch": [helper.make_node("Mul", ["same", "zero"], ["w_"])],
    }
    graphs = {
        key: helper.make_graph(list_, key, [], declared(list_[0].output[0]))
        for key, list_ in branches.items()
    }
    nodes += [
        constant("rank", np.array(2)),
        helper.make_node("Shape", ["same"], ["shape"]),
        helper.make_node("Size", ["shape"], ["size"]),
        helper.make_node("Equal", ["rank", "size"], ["is_matrix"]),
        helper.make_node("If", ["is_matrix"], ["doubled"], **graphs),
        constant("half", np.float32(0.5)),
        helper.make_node("Mul", ["doubled", "half"], ["halved"]),
    ]
    fixed = {**STORED, "two": np.float32(2), "zero": np.float32(0)}
    rest = [*gates("W", "halved", ORDER), *arranged()[len(gates("W", "weight_ih", ORDER)) :]]
    return saved(path, [*nodes, *rest, lstm("X", "W", "R", "B")], fixed)


def transposed(path):
    stored = {**STORED, "weight_ih": np.ascontiguousarray(STORED["weight_ih"].T)}
    turned = helper.make_node("Transpose", ["weight_ih"], ["turned"], perm=[1, 0])
    rest = [*gates("W", "turned", ORDER), *arranged()[len(gates("W", "weight_ih", ORDER)) :]]
    return saved(path, [turned, *rest, lstm("X", "W", "R", "B")], stored)


def defaults_of_inputs(path):
    """As files before IR version 4 have all their initialisers."""
    return saved(path, [*arranged(), lstm("X", "W", "R", "B")], STORED, as_inputs=STORED)


def quantised(path):
    """Weights as whole numbers with a scale."""
    scale = np.float32(0.02)
    small = np.round(STORED["weight_ih"] / scale).astype(np.int8)
    nodes = [helper.make_node("DequantizeLinear", ["small", "scale"], ["weight_ih"])]
    fixed = {**STORED, "small": small, "scale": scale}
    del fixed["weight_ih"]
    return saved(path, [*nodes, *arranged(), lstm("X", "W", "R", "B")], fixed)


def half(path):
    """Weights stored in half the bits."""
    nodes = [helper.make_node("Cast", ["half"], ["weight_ih"], to=FLOAT)]
    fixed = {**STORED, "half": STORED["weight_ih"].astype(np.float16)}
    del fixed["weight_ih"]
    return saved(path, [*nodes, *arranged(), lstm("X", "W", "R", "B")], fixed)


WAYS = [
    behind_other_nodes, in_branches, chosen_by_a_branch, transposed, defaults_of_inputs, quantised,
    half,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_weights_that_a_file_computes_are_read(way, tmp_path):
    path = way(tmp_path / "model.onnx")
    layers = export.load_onnx(path)
    assert list(layers) == ["layer"]
    layers["layer"].backend = "eager"
    x = normal(STEPS, 2, INPUT)
    session = onnxruntime.InferenceSession(path)
    inputs = {"X": x, "choice": np.array(True)}
    names = [value.name for value in session.get_inputs()]
    (wanted,) = session.run(None, {name: inputs[name] for name in names})
    with torch.no_grad():
        y, _ = layers["layer"](torch.from_numpy(x).transpose(0, 1))
    np.testing.assert_allclose(y.transpose(0, 1), wanted[:, 0], rtol=0, atol=2e-6)


def test_a_default_of_an_input_gives_way_to_what_is_given(tmp_path):
    path = defaults_of_inputs(tmp_path / "model.onnx")
    ours = export.load_onnx(path, {"bias_hh": torch.zeros(4 * SIZE)})["layer"]
    torch.testing.assert_close(ours.cell.b.detach(), torch.from_numpy(STORED["bias_ih"]))


def test_an_initial_state_that_the_file_computes_from_what_it_holds(tmp_path):
    zeros = helper.make_node("ConstantOfShape", ["shape"], ["h"])
    layer = helper.make_node(
        "LSTM", ["X", "W", "R", "B", "", "h", "h"], ["Y"], name="layer", hidden_size=SIZE
    )
    fixed = {**STORED, "shape": np.array([1, 2, SIZE])}
    path = saved(tmp_path / "model.onnx", [zeros, *arranged(), layer], fixed)
    assert list(export.load_onnx(path)) == ["layer"]
    ones = [constant("one", np.float32([1])), helper.make_node("Expand", ["one", "shape"], ["h"])]
    saved(path, [*ones, *arranged(), layer], fixed)
    with pytest.raises(InputError, match="initial_h of LSTM 'layer' is fixed"):
        export.load_onnx(path)


def test_a_long_chain_of_nodes_is_followed(tmp_path):
    names = ["weight_ih", *(f"w{i}" for i in range(3000))]
    chain = [helper.make_node("Identity", [a], [b]) for a, b in itertools.pairwise(names)]
    rest = [*gates("W", names[-1], ORDER), *arranged()[len(gates("W", "weight_ih", ORDER)) :]]
    path = saved(tmp_path / "model.onnx", [*chain, *rest, lstm("X", "W", "R", "B")], STORED)
    assert list(export.load_onnx(path)) == ["layer"]
