"""What load_onnx refuses, each in one sentence; what it reads is tested in test_operators.py."""

import numpy as np
import onnx
import pytest
from onnx import helper

from saiki import InputError, export

WEIGHTS = {
    "W": np.ones((1, 20, 3), np.float32),
    "R": np.ones((1, 20, 5), np.float32),
    "B": np.ones((1, 40), np.float32),
}


def saved(path, fixed, kind="LSTM", given=("X",), before=(), **attributes):
    """A file with one node named layer; ``fixed`` are its initialisers."""
    names = ("X", "W", "R", "B", "", "initial_h", "initial_c")
    known = {*fixed, *given, *(name for node in before for name in node.output)}
    inputs = [name if name in known else "" for name in names]
    node = helper.make_node(kind, inputs, ["Y"], name="layer", **attributes)
    graph = helper.make_graph(
        [*before, node],
        "graph",
        [helper.make_tensor_value_info(name, 1, None) for name in given],
        [helper.make_tensor_value_info("Y", 1, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in fixed.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), path)
    return path


def refused(path):
    with pytest.raises(InputError) as caught:
        export.load_onnx(path)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_file_that_is_missing_broken_or_something_else(tmp_path):
    path = tmp_path / "model.onnx"
    assert refused(path) == f"there is no file {path}"
    assert refused(tmp_path) == f"there is no file {tmp_path}"
    whole = saved(path, WEIGHTS).read_bytes()
    for content in (b"not a model", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert refused(path) == f"{path} is not an ONNX file"


def test_a_file_without_layers(tmp_path):
    node = helper.make_node("Relu", ["X"], ["Y"])
    values = [helper.make_tensor_value_info(name, 1, None) for name in "XY"]
    graph = helper.make_graph([node], "graph", values[:1], values[1:])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    for content in ((tmp_path / "model.onnx").read_bytes(), b""):
        (tmp_path / "model.onnx").write_bytes(content)
        assert refused(tmp_path / "model.onnx").endswith("holds no RNN, LSTM or GRU node")


def test_weights_that_the_file_computes_or_is_given(tmp_path):
    path = tmp_path / "model.onnx"
    rest = {name: WEIGHTS[name] for name in "RB"}
    saved(path, rest, given=("X", "W"))
    assert refused(path).startswith("W of LSTM 'layer' is computed in the file or given to it; ")
    saved(
        path, {**rest, "half": WEIGHTS["W"]}, before=[helper.make_node("Add", ["half"] * 2, ["W"])]
    )
    assert refused(path).startswith("W of LSTM 'layer' is computed in the file or given to it; ")


def test_shapes_that_do_not_fit(tmp_path):
    path = tmp_path / "model.onnx"
    saved(path, {**WEIGHTS, "B": np.ones((1, 20), np.float32)})
    assert refused(path) == "B of LSTM 'layer' has the shape (1, 20), and needs (1, 40)"
    saved(path, WEIGHTS, direction="bidirectional")
    assert refused(path) == "W of LSTM 'layer' has the shape (1, 20, 3), and needs (2, 20, 3)"
    saved(path, WEIGHTS, hidden_size=4)
    assert refused(path) == "R of LSTM 'layer' has the shape (1, 20, 5), and needs (1, 20, 4)"
    saved(path, {"W": WEIGHTS["W"]})
    assert refused(path) == "LSTM 'layer' has no weights"


def test_an_initial_state_that_is_fixed_unless_it_is_0(tmp_path):
    path = tmp_path / "model.onnx"
    zeros = {name: np.zeros((1, 2, 5), np.float32) for name in ("initial_h", "initial_c")}
    saved(path, {**WEIGHTS, **zeros})
    assert list(export.load_onnx(path)) == ["layer"]
    saved(path, {**WEIGHTS, **zeros, "initial_c": zeros["initial_c"] + 1})
    assert refused(path).startswith("initial_c of LSTM 'layer' is fixed in the file: give the ")


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"activations": ["Sigmoid", "Tanh"]}, "LSTM 'layer' needs 3 activations, got 2"),
        ({"activations": ["Sigmoid", "Tanh", "Gelu"]}, "there is no activation 'Gelu' in ONNX"),
        ({"clip": 0.0}, "clip of LSTM 'layer' must be positive, got 0.0"),
        ({"direction": "sideways"}, "LSTM 'layer' has the unknown direction 'sideways'"),
        ({"twist": 1}, "LSTM 'layer' has the unknown attribute 'twist'"),
        (
            {"activations": ["Sigmoid", "Tanh", "Relu"]},
            "LSTM 'layer' has different activations for the block input and the output, and an "
            "LSTM here has one for both",
        ),
        (
            {
                "activations": ["Sigmoid", "Tanh", "Affine"],
                "activation_alpha": [1.0],
                "clip": 3.0,
            },
            "LSTM 'layer' has different activations for the block input and the output, and an "
            "LSTM here has one for both",
        ),
    ],
)
def test_what_one_cell_here_cannot_have(attributes, line, tmp_path):
    assert refused(saved(tmp_path / "model.onnx", WEIGHTS, **attributes)) == line


def test_activations_are_known_in_any_spelling_of_their_letters(tmp_path):
    path = saved(tmp_path / "model.onnx", WEIGHTS, activations=["sigmoid", "TANH", "Tanh"])
    assert list(export.load_onnx(path)) == ["layer"]
