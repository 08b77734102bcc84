"""``saiki export``: the model of a run as a file, and what stands in the way."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from commands import saiki
from saiki.runs.reopen import reopen

SMALL = ["--iterations", "20", "--bits", "4", "--longer-bits", "4", "--hidden-size", "4"]


@pytest.fixture
def folder(tmp_path):
    """A finished run whose cell has a step with a derivative of its own."""
    assert saiki("run", "adder", "--preset", "wrong-derivative", *SMALL, "--out", "run")[0] == 0
    return tmp_path / "run"


def test_the_model_of_a_run_is_written_and_computes_the_same(folder, tmp_path):
    path = tmp_path / "adder.onnx"
    assert saiki("export", folder, "--onnx", path) == (0, [str(path)], [])
    x = torch.randint(0, 2, (5, 9, 2)).float()
    (found,) = onnxruntime.InferenceSession(path).run(None, {"bits": x.numpy()})
    with torch.no_grad():
        wanted = reopen(folder)[1](x)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_what_stands_in_the_way_is_one_line(folder, tmp_path, monkeypatch):
    def refused(*words):
        code, out, (line,) = saiki("export", *words)
        assert (code, out) == (2, [])
        return line

    assert "is not a run folder" in refused(tmp_path, "--onnx", "adder.onnx")
    assert "cannot write run: " in refused(folder, "--onnx", "run")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'saiki[onnx]'" in refused(folder, "--onnx", "adder.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
