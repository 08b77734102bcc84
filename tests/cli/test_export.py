"""``saiki export``: the model of a run as a file, and what stands in the way."""

import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from gensim.models import KeyedVectors

from commands import process, saiki
from saiki.decoding.decode import Search
from saiki.errors import ExportError
from saiki.runs.reopen import reopen
from saiki.text.vectors import read
from tiny import book

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
    (outputs,) = onnxruntime.InferenceSession(path).run(None, {"bits": x.numpy()})
    with torch.no_grad():
        wanted = reopen(folder)[1](x)
    np.testing.assert_allclose(outputs, wanted, rtol=0, atol=1e-5)


SCRIPT = re.search(
    r"^```python decode\.py\n(.*?)^```",
    (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)[1]
DATES = ["March 5, 2024", "the 3rd of May 1999", "2001-02-03", "5 Ω", "x"]


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "none", "cell": "lstm"},
        {"attention": "additive", "coverage": "true", "input-feeding": "true", "heads": 2},
        {"choice": "marginal", "tied": "false", "window": "local-p", "bidirectional": "false"},
    ],
)
@pytest.mark.long
def test_a_translator_in_two_files_is_decoded_by_the_script_of_the_docs(
    tmp_path, monkeypatch, changes
):
    settings = {"languages": "en", "pairs": 64, "epochs": 1, "updates": 8, "learning-rate": 0.05}
    settings |= {"hidden-size": 8, "embedding-size": 8, "device": "cpu", **changes}
    flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
    assert saiki("run", "date", *flags, "--out", "run")[0] == 0
    monkeypatch.setattr("saiki.data.text.dates.forms", None)  # no data are made
    files = ["date.decoder.onnx", "date.encoder.onnx"]
    code, out, err = saiki("export", "run", "--onnx", "date.onnx")
    assert (code, sorted(out), err) == (0, files, [])
    (tmp_path / "decode.py").write_text(SCRIPT, encoding="utf-8")
    done = process("decode.py", "date", *DATES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _, model = reopen(tmp_path / "run")
    wanted = [hypotheses[0].text for hypotheses in model.translate(DATES, Search("greedy"))]
    assert done.stdout.splitlines() == wanted
    assert len(set(wanted)) > 1


def test_of_two_files_both_are_written_or_none(tmp_path, monkeypatch):
    def refuse(module, example, path, metadata):
        if type(module).__name__ == "Writing":
            raise ExportError("no")
        path.write_bytes(b"new")
        return path

    flags = ["--pairs", "8", "--updates", "1", "--epochs", "0.1", "--hidden-size", "4"]
    assert saiki("run", "date", "--languages", "en", *flags, "--out", "run")[0] == 0
    (tmp_path / "date.encoder.onnx").write_bytes(b"old")
    monkeypatch.setattr("saiki.runs.export.onnx", refuse)
    assert saiki("export", "run", "--onnx", "date.onnx") == (2, [], ["saiki export: no"])
    assert (tmp_path / "date.encoder.onnx").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["date.encoder.onnx", "run"]


WORDS = ["--size", "6", "--minimum", "1", "--epochs", "1", "--out", "run"]


@pytest.mark.parametrize("ending", ["txt", "bin", "vec", "txt.gz"])
def test_gensim_reads_the_vectors_of_a_run(tmp_path, ending):
    assert saiki("run", "words", "--data", book(tmp_path), *WORDS)[0] == 0
    (tmp_path / "book.txt").unlink()  # the run is enough
    assert saiki("export", "run", "--vectors", f"v.{ending}") == (0, [f"v.{ending}"], [])
    theirs = KeyedVectors.load_word2vec_format(tmp_path / f"v.{ending}", binary=ending == "bin")
    ours = reopen(tmp_path / "run")[1].vectors
    assert tuple(theirs.index_to_key) == ours.words
    assert theirs.vectors.tobytes() == ours.matrix.tobytes()


def test_n_grams_go_into_safetensors_and_it_is_said_where_they_do_not(tmp_path):
    assert saiki("run", "words", "--data", book(tmp_path), "--buckets", 50, *WORDS)[0] == 0
    ours = reopen(tmp_path / "run")[1].vectors
    assert saiki("export", "run", "--vectors", "v.safetensors") == (0, ["v.safetensors"], [])
    assert (read(tmp_path / "v.safetensors")["foxes"] == ours["foxes"]).all()
    code, out, (message,) = saiki("export", "run", "--vectors", "v.vec")
    assert (code, out) == (0, ["v.vec"])
    assert message.startswith(
        "saiki export: v.vec holds no n-grams, of which unknown words are made"
    )
    assert (read(tmp_path / "v.vec")["fox"] == ours["fox"]).all()


def test_vectors_that_cannot_be_written_are_one_line(folder, tmp_path):
    def refused(*words):
        code, out, (line,) = saiki("export", *words)
        assert (code, out) == (2, [])
        return line

    assert "adder has no word vectors" in refused("run", "--vectors", "v.txt")
    assert saiki("run", "words", "--data", book(tmp_path), *WORDS[:-1], "words")[0] == 0
    assert "v.npy must end in .txt, .vec (text" in refused("words", "--vectors", "v.npy")
    (tmp_path / "v.txt").mkdir()
    assert "cannot write v.txt: " in refused("words", "--vectors", "v.txt")
    assert "cannot write book.txt/v.txt: " in refused("words", "--vectors", "book.txt/v.txt")
    assert saiki("export", "words", "--vectors", "v.bin", "--onnx", "v.onnx")[0] == 2
    assert saiki("export", "words")[0] == 2
    assert not list(tmp_path.glob("v.[!t]*"))


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
