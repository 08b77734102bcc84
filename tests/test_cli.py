"""The command line: what each command prints, writes and ends with."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from saiki import cli
from saiki.activations import CATALOGUE
from saiki.experiment import Claim
from saiki.experiments import HOMES
from saiki.experiments.adder import Adder

SMALL = [
    "adder",
    "--iterations",
    "30",
    "--bits",
    "4",
    "--longer-bits",
    "4",
    "--hidden-size",
    "4",
    "--log-every",
    "10",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saiki(*words):
    """Exit code, lines on stdout and lines on stderr of one command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


def process(*words, **options):
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120, **options
    )


def refused(*words):
    """The one line on stderr of a command that must end with exit code 2 and do nothing."""
    before = sorted(Path().iterdir())
    code, out, err = saiki(*words)
    assert (code, out, len(err)) == (2, [], 1), (code, out, err)
    assert sorted(Path().iterdir()) == before
    return err[0]


# Help.


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_names_every_command_with_what_it_is_for(words):
    code, out, err = saiki(*words)
    assert (code, err) == (0, [])
    told = dict(
        line.split(maxsplit=1) for line in out if line.startswith("  ") and line.split()[1:]
    )
    for name, (purpose, _) in cli.COMMANDS.items():
        assert told[name] == purpose


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command):
    code, out, err = saiki(command, "--help")
    assert (code, err) == (0, [])
    assert out[0].startswith(f"usage: saiki {command}")


def test_the_help_of_an_experiment_names_every_knob_with_its_bounds_and_default():
    code, out, _ = saiki("run", "adder", "--help")
    text = " ".join(" ".join(out).split())
    assert code == 0
    for knob in Adder.knobs().values():
        words = " ".join(f"{knob.help}; {knob.allowed} ({knob.default})".split())
        # argparse breaks lines at hyphens too
        assert words.replace("- ", "-") in text.replace("- ", "-")
        assert f"{knob.flag} " in text


def test_help_answers_at_once():
    took = []
    for _ in range(5):
        started = time.perf_counter()
        done = process("-m", "saiki", "--help")
        took.append(time.perf_counter() - started)
        assert done.returncode == 0
    assert min(took) < 0.5


@pytest.mark.parametrize("words", [["--help"], ["try", "--help"], ["--version"], ["nonsense"]])
def test_what_needs_no_tensor_does_not_import_torch(words):
    code = (
        "import sys, saiki.cli\n"
        f"try: saiki.cli.main({words})\n"
        "except SystemExit: pass\n"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'numpy', 'matplotlib')))"
    )
    assert process("-c", code).returncode == 0


def test_python_m_saiki_is_the_same_program():
    script = Path(sys.executable).parent / "saiki"
    module = process("-m", "saiki", "ls")
    assert module.stdout.splitlines() == saiki("ls")[1]
    if script.exists():
        done = subprocess.run([script, "ls"], capture_output=True, text=True, timeout=120)
        assert done.stdout == module.stdout
    assert process("-m", "saiki", "lss").returncode == 2


def test_the_version_is_that_of_the_package():
    project = Path(__file__).parents[1] / "pyproject.toml"
    version = re.search(r'^version = "(.*)"$', project.read_text(), re.MULTILINE)[1]
    assert saiki("--version") == (0, [f"saiki {version}"], [])


# What is refused.


def test_an_unknown_command_is_named_with_those_there_are():
    line = refused("rum", "adder")
    assert (
        "no command 'rum'; there are ls, show, run, try, compare, predict, data, export, check, "
        "bench, plot" in line
    )


def test_an_unknown_option_is_refused():
    assert "--verison" in refused("--verison")


WRONG = [
    (knob, text)
    for knob in Adder.knobs().values()
    for text in (
        ("sideways", "")
        if knob.choices or knob.type is bool
        else (str(knob.minimum - 1), "many", "nan")
        + (("1.5",) if knob.type is int else ("inf",))
        + ((str(knob.maximum + 1),) if knob.maximum < float("inf") else ())
    )
]


@pytest.mark.parametrize(("knob", "text"), WRONG, ids=lambda value: getattr(value, "name", value))
def test_every_wrong_value_of_every_knob_ends_in_one_line(knob, text):
    line = refused("run", "adder", knob.flag, text)
    assert f"{knob.name} must be {knob.allowed}, got " in line
    if knob.name != "seed":  # which is no part of a grid
        line = refused("try", "adder", f"{knob.name}={text or ' '}")
        assert f"{knob.name} must be {knob.allowed}, got " in line


def test_no_knob_was_left_out():
    assert {knob.name for knob, _ in WRONG} == set(Adder.knobs())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("run", "required: NAME"),
        ("run subtracter", "no experiment 'subtracter'; there are adder"),
        ("run adder --colour red", "unrecognized arguments: --colour red"),
        ("run adder --hidden-size", "--hidden-size"),
        ("run adder --hidden 3", "unrecognized arguments: --hidden 3"),  # no guessing
        ("run adder --preset mine", "no preset 'mine'; there are report, original, wrong"),
        ("run adder --wrong-derivative true", "wrong_derivative is about"),
        ("run adder --cell lstm --preset wrong-derivative", "wrong_derivative is about"),
        ("show subtracter", "no experiment 'subtracter'"),
        ("try adder bits", "expected knob=value,value, got 'bits'"),
        ("try adder bit=3", "there is no knob 'bit'"),
        ("try adder bits=4 --seeds 0", "whole number of at least 1, got '0'"),
        ("try adder bits=4 --jobs x", "whole number of at least 1, got 'x'"),
        ("try adder seed=1,2", "--seeds N"),
        ("try adder wrong_derivative=true", "wrong_derivative is about"),
        ("compare nowhere", "nowhere is not a run folder"),
        ("predict nowhere 1+1", "nowhere is not a run folder"),
        ("check lstmm", "nothing called 'lstmm' to check; there are rnn, lstm, gru, adder"),
        ("check nowhere.py:Cell", "there is no file nowhere.py"),
        ("check gru.py:Cell --preset report", "--preset goes with the name of an experiment"),
        ("check rnn --hidden-size 0", "whole number of at least 1, got '0'"),
        ("plot sinus", "no activation 'sinus'; there are activations, step, sigmoid"),
        ("plot tanh --alpha 2", "tanh has no parameter 'alpha'"),
        ("plot elu --alpha nan", "alpha of elu must be positive and finite, got nan"),
        ("plot elu --alpha big", "--alpha"),
        ("plot activations --alpha 1", "name the activation whose alpha is meant"),
        ("ls adder", "unrecognized arguments: adder"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(words, sentence):
    assert sentence in refused(*words.split())


def test_a_refusal_in_a_process_has_no_traceback():
    done = process("-m", "saiki", "run", "adder", "--bits", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "saiki run adder: argument --bits: bits must be a whole number from 2 to 32, got '1'; "
        "see saiki run adder --help\n"
    )


@pytest.mark.parametrize("command", [["run", *SMALL], ["try", "adder", "bits=4"]])
def test_an_out_folder_with_something_in_it_is_left_alone(command):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    assert "mine is not empty" in refused(*command, "--out", "mine")
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]


def test_a_stop_from_the_keyboard_is_no_traceback(monkeypatch):
    def stopped(words):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "run", ("", stopped))
    assert saiki("run", "adder") == (130, [], ["saiki run: stopped"])


# What is shown.


def test_ls_has_one_line_for_each_experiment():
    assert [line.split()[0] for line in saiki("ls")[1]] == list(HOMES)


def test_show_tells_equations_knobs_presets_and_claims():
    code, out, _ = saiki("show", "adder", "--preset", "report")
    text = "\n".join(out)
    assert code == 0
    assert "h ← σ(W x + U h)\n" in text
    assert "E = Σₜ ½ (yᵗ − sᵗ)²" in text
    values = {line.split()[0]: line.split()[1] for line in out if "; " in line}
    assert (values["learning_rate"], values["bits"], values["bias"]) == ("0.2", "8", "False")
    for words in (*Adder.presets, *(claim.statement for claim in Adder.claims)):
        assert words in text


# Running.


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
    assert "takes a sum such as '37 + 58', got 'x'" in refused("predict", finished[0], "x")


def test_compare_prints_what_differs_and_writes_the_picture(finished):
    saiki("run", *SMALL, "--seed", 6, "--out", "other")
    code, out, err = saiki("compare", finished[0], "other", "--out", "both.png")
    assert (code, err, out[-1]) == (0, [], "both.png")
    assert Path("both.png").read_bytes()[:4] == b"\x89PNG"
    settings = out[out.index("settings") + 1 : out.index("figures")]
    assert [line.split() for line in settings] == [["seed", "5", "6"]]


# Trying.

GRID = [
    "adder",
    "hidden_size=3,4",
    "iterations=12",
    "bits=4",
    "longer_bits=5",
    "log_every=4",
    "--seeds",
    "2",
]


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """The folder of a grid that was run one job at a time, and what was printed."""
    folder = tmp_path_factory.mktemp("tried") / "one"
    return folder, saiki("try", *GRID, "--jobs", 1, "--out", folder)


def rows(folder):
    return json.loads((folder / "table.json").read_text())


def test_try_prints_its_table_and_last_its_folder(tried):
    folder, (code, out, err) = tried
    assert (code, err, out[-1]) == (0, [], str(folder))
    varied = [word.split("=")[0] for word in GRID if "=" in word]
    assert out[0].split() == [*varied, "exact_sum_rate", "loss", "seconds"]
    assert [line.split()[0] for line in out[1:3]] == ["3", "4"]
    assert not [line for line in out if "held" in line]  # these runs decide no claim


def test_the_table_is_the_mean_and_deviation_of_the_runs_it_names(tried):
    folder, _ = tried
    varied = ["hidden_size", "iterations", "bits", "longer_bits", "log_every"]
    table = rows(folder)
    assert [[row[name] for name in varied] for row in table] == [[3, 12, 4, 5, 4], [4, 12, 4, 5, 4]]
    runs = sorted(path.name for path in folder.iterdir() if path.is_dir())
    name = "hidden_size={},iterations=12,bits=4,longer_bits=5,log_every=4,seed={}"
    assert runs == [name.format(size, seed) for size in (3, 4) for seed in (0, 1)]
    for row in table:
        paths = [folder / name.format(row["hidden_size"], seed) for seed in (0, 1)]
        results = [json.loads((path / "result.json").read_text()) for path in paths]
        for figure in ("loss", "exact_sum_rate", "exact_sum_rate_longer", "train_loss", "seconds"):
            values = [result[figure] for result in results]
            assert row[f"{figure}_mean"] == pytest.approx(np.mean(values), rel=1e-12)
            assert row[f"{figure}_std"] == pytest.approx(np.std(values, ddof=1), rel=1e-9)
        assert row["state_exploded_at_mean"] is None
        assert row["stopped_mean"] == 0
    assert table[0]["loss_std"] > 0  # the seeds differ


def test_the_sheet_holds_the_same_table(tried):
    with (tried[0] / "table.csv").open() as text:
        sheet = list(csv.DictReader(text))
    for row, line in zip(rows(tried[0]), sheet, strict=True):
        assert row == {name: json.loads(value) if value else None for name, value in line.items()}


def test_the_number_of_jobs_does_not_change_a_number(tried):
    assert saiki("try", *GRID, "--jobs", 2, "--out", "two")[0] == 0
    one, two = (
        [{k: v for k, v in row.items() if "seconds" not in k} for row in rows(folder)]
        for folder in (tried[0], Path("two"))
    )
    assert one == two
    for path in tried[0].glob("*/model.safetensors"):
        assert path.read_bytes() == Path("two", path.relative_to(tried[0])).read_bytes()


def test_a_run_of_the_grid_is_the_run_of_its_knobs(tried):
    words = "adder --hidden-size 4 --iterations 12 --bits 4 --longer-bits 5 --log-every 4 --seed 1"
    saiki("run", *words.split(), "--out", "alone")
    name = "hidden_size=4,iterations=12,bits=4,longer_bits=5,log_every=4,seed=1"
    there = tried[0] / name
    for file in ("model.safetensors", "metrics.jsonl"):
        assert Path("alone", file).read_bytes() == (there / file).read_bytes()


def test_without_a_grid_the_claims_are_run_and_judged(monkeypatch):
    def figures(trials):
        return f"{trials[0].mean('iterations'):.0f} iterations"

    def claim(statement, bound):
        changes = ({"iterations": 3, "bits": 4, "longer_bits": 4},)
        judge = lambda trials: (trials[0].mean("iterations") < bound, figures(trials))  # noqa: E731
        return Claim(statement, "report", changes, judge)

    monkeypatch.setattr(Adder, "claims", (claim("It ends soon", 5), claim("It ends at once", 2)))
    code, out, err = saiki("try", "adder", "--seeds", 1, "--jobs", 1)
    assert (code, err, out[-1]) == (0, [], "runs/adder/1")
    assert "held      It ends soon: 3 iterations" in out
    assert "not held  It ends at once: 3 iterations" in out


# Checking.

CELLS = """
import torch
from saiki import Cell


class Good(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return 0.9 * h + 0.1 * torch.tanh(self.W(x))


class HalfSlope(Good):
    def step(self, x, h):
        u = self.W(x)
        y = torch.tanh(u).detach() + 0.5 * (u - u.detach())  # tanh(u) with a derivative of 1/2
        return 0.9 * h + 0.1 * y


class Detached(Good):
    def step(self, x, h):
        return 0.9 * h + 0.1 * torch.tanh(self.W(x).detach())


class TwoStates(Good):
    def step(self, x, h):
        return h, h


class Mixes(Good):
    def step(self, x, h):
        return h + self.W(x).mean(0)


class Shrinks(Good):
    def step(self, x, h):
        return h[:, 1:]


class Counts(Good):
    def step(self, x, h):
        return (h > 0).long()


class NoState(Good):
    def step(self, x):
        return x


class Narrow(Cell):
    def __init__(self, size):
        super().__init__(size, size)

    def step(self, x, h):
        return h


class Misfit(Good):
    def step(self, x, h):
        return h + x
"""


@pytest.fixture
def cells():
    Path("cells.py").write_text(CELLS)


@pytest.mark.usefixtures("cells")
def test_check_passes_a_good_cell_of_a_file():
    code, out, err = saiki("check", "cells.py:Good", "--input-size", 2, "--hidden-size", 3)
    assert (code, err) == (0, [])
    assert (out[0], out[-1]) == ("Good", "  passed")
    for claim in ("gradient of W.weight", "gradient of the input", "padded rows", "reversal"):
        assert any(claim in line and line.endswith("ok") for line in out)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(
    "name",
    [
        "HalfSlope",
        "Detached",
    ],
)
def test_check_names_the_gradients_that_are_wrong(name):
    code, out, err = saiki("check", f"cells.py:{name}")
    assert (code, err) == (1, [])
    failed = [line.split("  ")[1] for line in out if line.endswith("FAILED")]
    assert failed == ["gradient of W.weight", "gradient of W.bias", "gradient of the input"]
    assert out[-1] == "  FAILED: " + ", ".join(failed)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("TwoStates", "must return 1 state(s) (h), and it returned 2"),
        ("Mixes", "step of Mixes mixes rows of the batch"),
        ("Shrinks", "shape (3, 4) instead of (3, 5) for state 'h'"),
        ("Counts", "torch.int64 instead of torch.float32 for state 'h'"),
        ("NoState", "takes no state"),
        ("Missing", "defines no cell 'Missing'; it defines Good, HalfSlope,"),
    ],
)
def test_a_cell_that_breaks_the_contract_is_told_in_one_line(name, sentence):
    assert sentence in refused("check", f"cells.py:{name}")


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("name", ["Narrow", "Misfit"])
def test_a_cell_that_raises_is_told_in_one_line(name):
    assert name in refused("check", f"cells.py:{name}")


def test_a_file_with_a_mistake_in_its_syntax_is_told_with_its_line():
    Path("broken.py").write_text("import torch\n\ndef step(:\n")
    line = refused("check", "broken.py:Cell")
    assert "broken.py does not run: " in line
    assert "line 3" in line


def test_check_of_an_experiment_proves_its_layer_and_its_loss():
    code, out, _ = saiki("check", "adder", "--preset", "report")
    assert code == 0
    assert out.count("  passed") == 2
    assert "loss of AdderNetwork" in out


def test_check_finds_the_wrong_derivative_and_names_the_weights_it_spoils():
    code, out, err = saiki("check", "adder", "--preset", "wrong-derivative")
    assert (code, err) == (1, [])
    loss = out[out.index("loss of AdderNetwork") :]
    named = loss[-1].removeprefix("  FAILED: ").split(", ")
    weights = ("layer.cell.W.weight", "layer.cell.U.weight", "readout.weight")
    assert named == [f"gradient of {weight}" for weight in weights]


def test_check_of_a_family_covers_its_variants():
    code, out, _ = saiki("check", "gru", "--input-size", 2, "--hidden-size", 2)
    titles = [line for line in out if not line.startswith(" ")]
    assert code == 0
    assert len(titles) == out.count("  passed") >= 4
    assert {"gru", "gru reset before"} <= set(titles)


# Drawing.


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("activations", "activations.png"),
        ("mish", "mish.png"),
        ("elu --alpha 0.5 --out deep/er.png", "deep/er.png"),
    ],
)
def test_plot_writes_the_picture_it_names(words, file):
    assert saiki("plot", *words.split()) == (0, [file], [])
    assert Path(file).read_bytes()[:4] == b"\x89PNG"


def test_every_activation_can_be_drawn_by_its_name():
    for name in CATALOGUE:
        assert saiki("plot", name, "--out", "x.png")[0] == 0


def test_a_picture_that_cannot_be_written_is_one_line():
    Path("file").write_text("")
    assert "cannot write file/x.png" in refused("plot", "tanh", "--out", "file/x.png")


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "saiki", "show", "adder"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert done.stderr == b""


def test_an_experiment_without_claims_needs_knobs_to_vary():
    line = refused("try", "spoken-digits")
    assert line.endswith("spoken-digits makes no claims; give knobs to vary, such as cell=lstm,gru")
    out = saiki("show", "spoken-digits")[1]
    assert not any("claims" in line for line in out)
    assert any(line.split() == ["good", "as", "the", "knobs", "are"] for line in out)
