"""The command line: its help, what it refuses, how it ends."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import SMALL, process, refused, saiki
from saiki import cli
from saiki.experiments.adder import Adder

pytestmark = pytest.mark.one_in(2)

# Help.


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_names_every_command_with_what_it_is_for(words):
    code, out, err = saiki(*words)
    assert (code, err) == (0, [])
    described = dict(
        line.split(maxsplit=1) for line in out if line.startswith("  ") and line.split()[1:]
    )
    for name, (purpose, _) in cli.COMMANDS.items():
        assert described[name] == purpose


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
    module = process("-m", "saiki", "--help")
    assert module.stdout.splitlines() == saiki("--help")[1]
    if script.exists():
        done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=120)
        assert done.stdout == module.stdout
    assert process("-m", "saiki", "lss").returncode == 2


def test_the_version_is_that_of_the_package():
    project = Path(__file__).parents[2] / "pyproject.toml"
    version = re.search(r'^version = "(.*)"$', project.read_text(), re.MULTILINE)[1]
    assert saiki("--version") == (0, [f"saiki {version}"], [])


# What is refused.


def test_an_unknown_command_is_named_with_those_there_are():
    line = refused("rum", "adder")
    assert (
        "no command 'rum'; there are ls, show, run, finish, try, compare, predict, score, "
        "follow, chat, data, export, check, bench, course, plot; did you mean run?" in line
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
        + ((str(2 * knob.maximum + 1),) if knob.maximum < float("inf") else ())
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
        ("run adder --hiden-size 3", "--hiden-size 3; did you mean --hidden-size?"),
        ("run addr", "no experiment 'addr'; there are adder, "),
        ("run addr", "; did you mean adder?"),
        ("run adder --cell lstn", "got 'lstn'; did you mean lstm?"),
        ("run adder hiden_size=3", "; did you mean hidden_size?"),
        ("run adder hidden_size=3 --hidden-size 3", "hidden_size is given twice"),
        ("run adder bits=x", "bits must be a whole number from 2 to 32, got 'x'"),
        ("run adder 8", "expected knob=value, got '8'"),
        ("run adder --preset reprot", "; did you mean report?"),
        ("run adder --learning-rate 1e39", "learning_rate must be a number from 0 to 1000000.0"),
        ("run adder --clip-norm 1e39", "clip_norm must be a number from 0 to 1e+30"),
        (f"run adder --batch-size {10**20}", "batch_size must be a whole number from 1 to 1000000"),
        (f"run adder --accumulate {10**20}", "accumulate must be a whole number from 1 to 10000"),
        (f"try adder bits=4 --jobs {10**20}", "whole number up to 1000000"),
        ("run adder --preset mine", "no preset 'mine'; there are quick, report, original, wrong"),
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


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "saiki", "show", "adder"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert done.stderr == b""


def test_what_is_quoted_is_cut():
    for words in (["--bits", "9" * 400_000], ["--cell", "x" * 400_000], ["--" + "x" * 400_000]):
        assert len(refused("run", "adder", *words)) < 2300
    assert len(refused("run", "x" * 400_000)) < 2300


def test_knobs_are_given_in_any_place_and_spelling():
    for number, words in enumerate(
        [
            ["adder", "--iterations", "3", "--hidden-size", "4"],
            ["adder", "--iterations", "3", "--hidden_size", "4"],
            ["adder", "--iterations=3", "--hidden_size=4"],
            ["--iterations", "3", "--hidden-size", "4", "adder"],
            ["--lens", "--iterations", "3", "adder", "hidden-size=4"],
            ["iterations=3", "adder", "hidden_size=4", "--lens"],
        ]
    ):
        assert saiki("run", *words, "--out", number)[0] == 0
        knobs = json.loads(Path(str(number), "config.json").read_text())["knobs"]
        assert knobs == Adder(iterations=3, hidden_size=4).to_dict()
