"""What load_onnx refuses, each in one sentence; what it reads is tested in test_operators.py."""

import os
import re

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from saiki import InputError, export

WEIGHTS = {
    "W": np.ones((1, 20, 3), np.float32),
    "R": np.ones((1, 20, 5), np.float32),
    "B": np.ones((1, 40), np.float32),
}


def saved(path, fixed, kind="LSTM", open_inputs=("X",), before=(), **attributes):
    """A file with one node named layer; ``fixed`` are its initialisers."""
    names = ("X", "W", "R", "B", "", "initial_h", "initial_c")
    known = {*fixed, *open_inputs, *(name for node in before for name in node.output)}
    inputs = [name if name in known else "" for name in names]
    node = helper.make_node(kind, inputs, ["Y"], name="layer", **attributes)
    graph = helper.make_graph(
        [*before, node],
        "graph",
        [helper.make_tensor_value_info(name, 1, None) for name in open_inputs],
        [helper.make_tensor_value_info("Y", 1, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in fixed.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), path)
    return path


def refused(path, inputs=None):
    with pytest.raises(InputError) as caught:
        export.load_onnx(path, inputs)
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


def test_weights_that_the_file_is_given_are_named_by_the_inputs_that_they_need(tmp_path):
    path = tmp_path / "model.onnx"
    half = helper.make_node("Mul", ["R0", "scale"], ["R"])
    saved(path, {"B": WEIGHTS["B"]}, open_inputs=("X", "W", "R0", "scale"), before=[half])
    assert refused(path) == (
        "the file is given W, R of LSTM 'layer' at each run: name the values that the layer is to "
        "have, load_onnx(path, inputs={'W': array, 'R0': array, 'scale': array})"
    )
    inputs = {"W": WEIGHTS["W"], "R0": torch.ones(1, 20, 5), "scale": np.float32(0.5)}
    (layer,) = export.load_onnx(path, inputs).values()
    assert (layer.cell.W.weight == 1).all()
    assert (layer.cell.U.weight == 0.5).all()


def test_weights_that_differ_from_run_to_run(tmp_path):
    path = tmp_path / "model.onnx"
    random = helper.make_node("RandomNormal", [], ["W"], shape=[1, 20, 3], seed=1.0)
    saved(path, {name: WEIGHTS[name] for name in "RB"}, before=[random])
    assert refused(path) == (
        "the file computes W of LSTM 'layer' anew at each run, from 'W', and the weights of a "
        "layer here are fixed"
    )


def test_inputs_that_do_not_fit(tmp_path):
    path = tmp_path / "model.onnx"
    saved(path, {name: WEIGHTS[name] for name in "RB"}, open_inputs=("X", "W"))
    assert refused(path, {"V": WEIGHTS["W"]}) == f"{path} has no input 'V'; it has X, W"
    wide = WEIGHTS["W"].astype(np.float64)
    line = f"the input 'W' of {path} takes FLOAT, got DOUBLE: convert it first"
    assert refused(path, {"W": wide}) == refused(path, {"W": torch.from_numpy(wide)}) == line
    line = "W of LSTM 'layer' has the shape (1, 3), and needs (1, 20, 3)"
    assert refused(path, {"W": WEIGHTS["W"][0, :1]}) == line


def test_weights_that_onnx_itself_cannot_compute(tmp_path):
    path = tmp_path / "model.onnx"
    for op, attributes in (("Transpose", {"perm": [0]}), ("Twist", {})):
        node = helper.make_node(op, ["V"], ["W"], **attributes)
        saved(path, {"R": WEIGHTS["R"], "V": WEIGHTS["W"]}, before=[node])
        line = refused(path)
        assert line.startswith("W of LSTM 'layer' cannot be computed: ")
        assert "Inconsistent permutation" in line or "'Twist'" in line


def test_weights_of_whole_numbers(tmp_path):
    saved(tmp_path / "model.onnx", {**WEIGHTS, "W": WEIGHTS["W"].astype(np.int64)})
    line = "W of LSTM 'layer' holds int64, and weights are floating-point"
    assert refused(tmp_path / "model.onnx") == line


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_weights_keep_their_type(name, tmp_path):
    kind = {"float16": "FLOAT16", "bfloat16": "BFLOAT16", "float64": "DOUBLE"}[name]
    dtype = helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, kind))
    weights = {key: np.full(array.shape, 1.5, dtype) for key, array in WEIGHTS.items()}
    (layer,) = export.load_onnx(saved(tmp_path / "model.onnx", weights)).values()
    assert {p.dtype for p in layer.parameters()} == {getattr(torch, name)}
    assert (layer.cell.W.weight == 1.5).all()


def test_weights_that_lie_in_another_file_which_is_missing(tmp_path):
    path = saved(tmp_path / "model.onnx", WEIGHTS)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w", size_threshold=0)
    assert list(export.load_onnx(path)) == ["layer"]
    (tmp_path / "w").unlink()
    wanted = "'W', of which W of LSTM 'layer' is made, lies in "
    assert refused(path) == f"{wanted}{tmp_path / 'w'}, which is missing"


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


def external(tmp_path, location="weights.bin"):
    """A model whose weights lie in a file of their own."""
    path = saved(tmp_path / "model.onnx", WEIGHTS)
    model = onnx.load(path)
    onnx.external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0
    )
    onnx.save(model, path)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_a_file_of_their_own_are_read(tmp_path):
    layer = export.load_onnx(external(tmp_path))["layer"]
    assert layer.cell.W.weight.unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), r"weights\.bin, which is missing$"),
        (
            lambda file: file.write_bytes(file.read_bytes()[:100]),
            r"is cut short: 100 of [\d,]+ bytes$",
        ),
        (lambda file: (file.unlink(), os.mkfifo(file)), "which is no file$"),
    ],
    ids=["missing", "cut", "pipe"],
)
def test_weights_that_are_not_there_whole_are_told(tmp_path, damage, reason):
    path = external(tmp_path)
    damage(tmp_path / "weights.bin")
    assert re.search(reason, refused(path))


def test_weights_outside_the_folder_of_the_model_are_not_read(tmp_path):
    (tmp_path / "model").mkdir()
    path = external(tmp_path / "model", location="../weights.bin")
    (tmp_path / "model" / "weights.bin").rename(tmp_path / "weights.bin")
    assert "which is outside the folder of the model" in refused(path)
