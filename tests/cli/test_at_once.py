"""A wrong word is answered before PyTorch is loaded."""

import json
import os

import pytest

from commands import process, saiki
from saiki import cells, sources
from saiki.experiments import HOMES, outlines

WRONG = (
    "run spoken-digits --preset quikc", "run addr", "run adder --hiden-size 3",
    "run adder hidden_size=3 hidden-size=4", "run adder --cell lsmt", "run adder bits=many",
    "run adder --out there", "run adder --resume", "run translate --data nowhere",
    "show addr", "show adder --preset x", "try adder cel=lstm", "try translate data=nowhere",
    "try spoken-digits", "try adder cell=lstm --out there", "predict nowhere x",
    "predict there/run --temprature 2 x", "predict there/run x --score",
    "predict there/run", "score there/run", "follow nowhere", "chat there/run x",
    "compare there/run nowhere", "export nowhere --onnx x.onnx", "finish nowhere", "check nosuch",
    "check no.py:X", "check adder --preset x", "plot sigmoidd", "plot activations --alpha 1",
    "bench nosuch", "data get nosuch", "data augment nowhere --copies 2 --out new",
)  # fmt: skip
EACH = """
import sys, time
from pathlib import Path
from saiki.cli import main
from saiki.experiments import outlines

outlines._file = lambda: Path("names.json")
for words in sys.argv[1:]:
    before = time.process_time()
    try:
        code = main(words.split())
    except SystemExit as end:
        code = end.code
    loaded = [name for name in ("torch", "matplotlib", "llvmlite") if name in sys.modules]
    print(words, code, loaded, time.process_time() - before < 0.5, sep="|")
"""


@pytest.fixture(scope="module")
def known():
    return outlines.names()


@pytest.fixture
def cached(known, tmp_path, monkeypatch):
    """The file in which they are kept."""
    monkeypatch.setattr(outlines, "_file", lambda: tmp_path / "names.json")
    monkeypatch.setattr(outlines, "_loaded", lambda: False)
    outlines._cache(known)
    return tmp_path / "names.json"


def test_what_is_wrong_is_said_before_pytorch_is_loaded(cached):
    run = cached.parent / "there" / "run"
    run.mkdir(parents=True)
    (run / "config.json").write_text('{"experiment": "dialogue", "knobs": {}}')
    done = process("-c", EACH, *WRONG)
    assert done.stdout.splitlines() == [f"{words}|2|[]|True" for words in WRONG]
    assert len(done.stderr.splitlines()) == len(WRONG)


def test_what_is_kept_is_what_the_classes_say(cached, known):
    assert outlines._cached() == known
    assert set(known.exercises) == set(HOMES)
    assert known.exercises["adder"].knob("hidden-size").default == 16


def test_it_is_asked_for_anew_where_the_source_has_changed(cached, known, monkeypatch):
    monkeypatch.setattr(sources, "state", lambda: ("saiki/knobs.py 8123 17",))
    questions = []
    monkeypatch.setattr(outlines, "_of_classes", lambda: questions.append(1) or known)
    assert [outlines.names() for _ in range(2)] == [known, known]
    assert questions == [1]  # and kept


def test_a_file_that_is_damaged_or_not_the_users_own_is_as_good_as_none(cached):
    text = cached.read_text()
    content = json.loads(text)
    for damaged in (text[:-9], "[]", "null", json.dumps({**content, "names": {"cells": []}})):
        cached.write_text(damaged)
        assert outlines._cached() is None
    cached.write_text(text)
    assert outlines._cached() is not None
    cached.chmod(0o666)
    assert outlines._cached() is None
    cached.unlink()
    os.mkfifo(cached)
    assert outlines._cached() is None


def test_a_cell_registered_in_a_program_is_known_to_its_command_line(monkeypatch):
    monkeypatch.setitem(cells.FAMILIES, "mine", cells.GRU)
    assert saiki("run", "adder", "--cell", "mine", "--iterations", 2)[0] == 0
