"""Standard streams that cannot take what is printed, or are not there."""

import codecs
import os
import subprocess
import sys
from pathlib import Path

import pytest

import commands
from commands import SMALL, refused
from saiki.cli.streams import ERRORS, spelt
from saiki.runs.record import CHECKPOINT
from saiki.saving import tensors

LONG = [*SMALL, "--iterations", "2000"]


def saiki(*words, closed=(), environment=(), **options):
    """A command in a process of its own, some of whose standard streams are closed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    closing = " ".join(f"{number}>&-" for number in closed)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-m", "saiki", *map(str, words)],
        env={**os.environ, **dict(environment)},
        timeout=120,
        **pipes,
    )


def test_what_an_encoding_lacks_is_spelt_in_ascii():
    done = saiki("show", "adder", environment={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\nE = -Sigmat (st ln yt + (1 - st) ln(1 - yt))    s is the right one" in done.stdout


def test_spelling():
    codecs.register_error(ERRORS, spelt)
    assert "hᵗ ← σ − é ✓ 犬".encode("ascii", ERRORS) == b"ht <- sigma - e v ?"
    for encoding in ("cp932", "cp1252", "koi8-r", "shift_jis", "utf-16"):
        assert "hᵗ ← − é ✓ 犬\U0001f600".encode(encoding, ERRORS)
    assert "a\udcff".encode("utf-8", ERRORS) == b"a\xff"  # a path, as it is


@pytest.mark.parametrize("words", [["show", "adder"], ["--help"]])
def test_a_full_disk_is_one_sentence(words):
    with Path("/dev/full").open("w") as full:
        done = saiki(*words, stdout=full)
    assert done.returncode == 2
    command = "saiki" if words == ["--help"] else f"saiki {words[0]}"
    assert done.stderr.decode() == (
        f"{command}: cannot write to standard output: No space left on device\n"
    )


def test_a_disk_that_is_full_in_training_leaves_a_checkpoint():
    script = (
        "import os, sys\n"
        "from saiki import cli\n"
        "from saiki.cli import streams\n"
        "class Failing(streams._File):\n"
        "    def write(self, data):\n"
        "        if b'loss' in bytes(data) and not found:\n"
        "            found.append(os.dup2(os.open('/dev/full', os.O_WRONLY), 1))\n"
        "        return super().write(data)\n"
        "found, streams._File = [], Failing\n"
        f"sys.argv[1:] = {['run', *LONG, '--out', 'run']}\n"
        "sys.exit(cli.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    _, about = tensors.load(Path("run") / CHECKPOINT)
    assert about["training"]["step"] == 200  # where the first tenth is shown
    assert (done.returncode, done.stderr.decode()) == (
        2,
        "saiki run: cannot write to standard output: No space left on device; go on with: "
        "saiki run adder --out run --resume\n",
    )


def test_a_run_does_not_need_to_be_heard():
    assert saiki("run", *SMALL, "--out", "run", closed=[1, 2]).returncode == 0
    assert Path("run", "result.json").exists()


def test_what_standard_error_cannot_take_is_lost():
    with Path("/dev/full").open("w") as full:
        assert saiki("nobody", stderr=full).returncode == 2


def test_a_closed_standard_input_is_one_sentence(monkeypatch):
    commands.saiki("run", *SMALL, "--out", "run")
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed, so - has no lines to read" in refused("predict", "run", "-")


def test_names_that_are_no_text_are_refused():
    assert "--out: expected a name that is text, got 'q\\udcff'" in refused(
        "run", *SMALL, "--out", "q\udcff"
    )
    assert "--data: data must be text, got " in refused("run", "sin-cos", "--data", "q\udcff")


@pytest.mark.parametrize(
    ("world", "sentence"),
    [
        ("x", "WORLD_SIZE of the environment must be a whole number"),
        ("0", "WORLD_SIZE of the environment must be a whole number"),
        ("2", "its processes do not find each other"),
    ],
)
def test_an_environment_that_torchrun_did_not_make_is_refused(monkeypatch, world, sentence):
    monkeypatch.setenv("WORLD_SIZE", world)
    assert sentence in refused("run", *SMALL)


def test_the_backend_of_a_notebook_does_not_matter():
    done = saiki("plot", "tanh", environment={"MPLBACKEND": "nobody"})
    assert (done.returncode, done.stderr) == (0, b"")
