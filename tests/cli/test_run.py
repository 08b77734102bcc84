"""``saiki run``, and what is done with the folder of a run: ``predict`` and ``compare``."""

import json
import shlex
from pathlib import Path

import pytest

from commands import SMALL, process, refused, saiki
from saiki.experiments.adder import Adder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run folder of the command line, and what it printed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, saiki("run", *SMALL, "--seed", 5, "--out", folder)


def test_the_last_line_is_the_folder_and_the_others_are_the_figures(finished):
    folder, (code, out, err) = finished
    assert (code, out[-1]) == (0, str(folder))
    assert err == []  # no progress bar where there is no terminal
    result = json.loads((folder / "result.json").read_text())
    printed = dict(line.split() for line in out if len(line.split()) == 2)
    for name in ("loss", "exact_sum_rate", "train_loss", "iterations"):
        assert printed[name] == f"{result[name]:.6g}"
    assert printed["state_exploded_at"] == "–"


def test_flags_reach_the_config_above_the_preset(finished):
    config = json.loads((finished[0] / "config.json").read_text())
    assert (
        config["knobs"]
        == Adder(
            iterations=30, bits=4, longer_bits=4, hidden_size=4, log_every=10, seed=5
        ).to_dict()
    )
    words = ["--preset", "report", "--learning-rate", "0.5", "--bias", "true"]
    assert saiki("run", *SMALL, *words)[1][-1] == "runs/adder/1"
    assert saiki("run", *SMALL)[1][-1] == "runs/adder/2"
    config = json.loads(Path("runs/adder/1/config.json").read_text())
    changed = {"iterations": 30, "bits": 4, "longer_bits": 4, "hidden_size": 4, "log_every": 10}
    wanted = {**Adder.presets["report"], **changed, "learning_rate": 0.5, "bias": True}
    assert config["knobs"] == Adder(**wanted).to_dict()
    assert config["preset"] == "report"


def test_the_command_of_the_config_runs_the_same_again():
    words = ["run", *SMALL, "--seed", "7", "--out", "a run"]
    done = process("-m", "saiki", *words)
    assert (done.returncode, done.stderr) == (0, "")
    config = json.loads(Path("a run/config.json").read_text())
    assert shlex.split(config["command"]) == ["saiki", *words]
    saiki("run", *SMALL, "--seed", 7, "--out", "again")
    for name in ("model.safetensors", "metrics.jsonl"):  # and bit by bit
        assert Path("a run", name).read_bytes() == Path("again", name).read_bytes()


def test_an_exploding_run_ends_with_1_and_says_in_a_sentence_where():
    words = [
        "adder",
        "--activation",
        "relu",
        "--recurrent-scale",
        "1e8",
        "--log-every",
        "1",
        "--lens",
        "--out",
        "boom",
    ]
    code, out, err = saiki("run", *words)
    assert (code, err, out[-1]) == (1, [], "boom")
    (sentence,) = (line for line in out if line.startswith("the loss is nan"))
    start = "the loss is nan at iteration 1: in layer, h overflowed at iteration 1, step "
    assert sentence.startswith(start)
    result = json.loads(Path("boom/result.json").read_text(), parse_constant=pytest.fail)
    assert (result["stopped"], result["iterations"]) == (sentence, 1)
    for name in ("config.json", "model.safetensors", "loss.png"):
        assert Path("boom", name).stat().st_size > 0


def test_runs_that_exploded_at_once_can_be_compared():
    words = ["adder", "--activation", "relu", "--recurrent-scale", "1e8"]
    for out in "ab":
        saiki("run", *words, "--out", out)
    assert saiki("compare", "a", "b")[0] == 0


def test_predict_answers_one_line_for_each_input(finished):
    inputs = ["3 + 4", "2+2", "100000 + 1"]
    code, out, _ = saiki("predict", finished[0], *inputs)
    assert (code, len(out)) == (0, 3)
    code, lines, _ = saiki("predict", finished[0], *inputs, "--json")
    answers = [json.loads(line) for line in lines]
    assert (code, [answer["input"] for answer in answers]) == (0, inputs)
    for text, answer in zip(out, answers, strict=True):
        assert f" = {answer['output']} " in text
        a, b = answer["input"].split("+")
        assert answer["correct"] == (int(answer["output"]) == int(a) + int(b))
        assert answer["seconds"] > 0


def test_predict_refuses_what_it_cannot_read(finished):
    assert "adder has nothing that goes on" in refused("follow", finished[0])
    assert "takes a sum such as '37 + 58', got 'x'" in refused("predict", finished[0], "x")


def test_compare_prints_what_differs_and_writes_the_picture(finished):
    saiki("run", *SMALL, "--seed", 6, "--out", "other")
    code, out, err = saiki("compare", finished[0], "other", "--out", "both.png")
    assert (code, err, out[-1]) == (0, [], "both.png")
    assert Path("both.png").read_bytes()[:4] == b"\x89PNG"
    settings = out[out.index("settings") + 1 : out.index("figures")]
    assert [line.split() for line in settings] == [["seed", "5", "6"]]


def test_the_commands_that_are_named_next_can_be_given(finished):
    folder, (_, out, _) = finished
    start = out.index("next:")
    commands = [shlex.split(line)[1:] for line in out[start + 1 : -1]]
    assert [words[0] for words in commands] == ["predict", "compare", "export"]
    assert saiki(*commands[0])[0] == 0
    assert saiki(*(str(folder) if w == "ANOTHER-RUN" else w for w in commands[1]))[0] == 0
    assert commands[2] == ["export", str(folder), "--onnx", "adder.onnx"]


def test_figures_stand_below_each_other(finished):
    out = finished[1][1]
    result = json.loads((finished[0] / "result.json").read_text())
    lines = [line for line in out if line.split() and line.split()[0] in result]
    assert len({len(line) - len(line.split(maxsplit=1)[1]) for line in lines}) == 1


def test_how_long_the_defaults_take_is_told_where_it_is_long(monkeypatch):
    assert not [line for line in saiki("run", *SMALL)[1] if "takes about" in line]
    monkeypatch.setattr(Adder, "minutes", 25)
    out = saiki("run", *SMALL)[1]
    assert out[0] == "with its defaults adder takes about 25 min on two cores"
    line = next(line for line in saiki("ls")[1] if line.startswith("adder "))
    assert line.split()[1:3] == ["25", "min"]


def test_iterations_that_no_life_suffices_for_are_refused():
    line = refused("run", "adder", "--iterations", "99999999999999999999")
    assert "iterations must be a whole number from 1 to 1000000000" in line


def test_a_knob_that_is_true_or_false_may_stand_alone(tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("A cat sat on a mat.\n" * 9)
    (texts / "b.txt").write_bytes(b"\xe9\n")
    words = ["run", "words", "--data", texts, "--out", tmp_path / "run"]
    assert "b.txt is not UTF-8" in refused(*words, "--strict")
    assert "b.txt is not UTF-8" in refused(*words, "--strict", "true")
    assert "true" in refused(*words, "--strict", "maybe")
