"""Files of a run with a few bytes or values changed: a sentence, and never more than that."""

import contextlib
import io
import json
import random
import resource
import shutil
import time

import pytest

from saiki import cli
from saiki.runs.record import CHECKPOINT

SMALL = [
    *("--iterations", "30", "--bits", "4", "--longer-bits", "4", "--hidden-size", "4"),
    *("--log-every", "10", "--cell", "lstm"),
]
ROUNDS = 60
VALUES = [None, True, -1, 0, 1e300, 10**30, "", "adder", "é" * 999, [], [[]], {}, {"a": {}}, "1e9"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that has ended, and one that has not."""
    folder = tmp_path_factory.mktemp("runs")
    with contextlib.redirect_stdout(io.StringIO()):
        for name in ("ended", "left"):
            assert cli.main(["run", "adder", *SMALL, "--out", str(folder / name), "--lens"]) == 0
    (folder / "left" / "result.json").unlink()
    return folder


def flipped(data, dice):
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(data)


def cut(data, dice):
    return data[: dice.randrange(len(data))]


def torn(data, dice):
    a, b = sorted(dice.sample(range(len(data)), 2))
    return data[:a] + data[b:]


def repeated(data, dice):
    a, b = sorted(dice.sample(range(len(data)), 2))
    return data[:b] + data[a:b] * dice.choice((1, 50)) + data[b:]


def revalued(data, dice):
    """One value of a JSON file replaced by another."""
    value = json.loads(data.splitlines()[0] if b"}\n{" in data else data)
    place, keys = value, list(value)
    while True:
        key = dice.choice(keys)
        inner = place[key]
        if isinstance(inner, dict) and inner and dice.random() < 0.8:
            place, keys = inner, list(inner)
            continue
        place[key] = dice.choice(VALUES)
        return json.dumps(value).encode()


def nested(data, dice):
    return b"[" * dice.choice((10, 100_000))


def damaged(path, dice):
    data = path.read_bytes()
    ways = [flipped, cut, torn, repeated]
    if path.suffix in (".json", ".jsonl"):
        ways += [revalued, revalued, revalued, nested]
    path.write_bytes(dice.choice(ways)(data, dice))


def answer(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(word) for word in words])
    return code, err.getvalue().splitlines()


@pytest.mark.parametrize(
    ("run", "file", "command"),
    [
        ("ended", "config.json", ("predict", "RUN", "3 + 4")),
        ("ended", "model.safetensors", ("predict", "RUN", "3 + 4")),
        ("ended", "config.json", ("compare", "RUN", "--out", "RUN/compare.png")),
        ("ended", "metrics.jsonl", ("compare", "RUN", "--out", "RUN/compare.png")),
        ("left", "config.json", ("run", "adder", "--resume", "--out", "RUN")),
        ("left", str(CHECKPOINT), ("run", "adder", "--resume", "--out", "RUN")),
        ("left", "metrics.jsonl", ("run", "adder", "--resume", "--out", "RUN")),
        ("left", "lens.jsonl", ("run", "adder", "--resume", "--out", "RUN")),
        ("ended", "result.json", ("run", "adder", "--resume", "--out", "RUN")),
    ],
)
@pytest.mark.long
def test_a_damaged_file_is_a_sentence_at_most(runs, tmp_path, run, file, command):
    dice = random.Random(f"{file} {command}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    codes = []
    rounds = ROUNDS if command[0] == "predict" else ROUNDS // 2
    if (run, file) == ("left", "metrics.jsonl"):  # where each run goes on to its end
        rounds = ROUNDS // 8
    for i in range(rounds):
        path = tmp_path / str(i)
        shutil.copytree(runs / run, path)
        damaged(path / file, dice)
        started = time.perf_counter()
        code, lines = answer(*(word.replace("RUN", str(path)) for word in command))
        assert time.perf_counter() - started < 20
        codes.append(code)
        assert code in (0, 2), lines
        assert len(lines) == (1 if code else 0), lines
        assert not any("Traceback" in line for line in lines)
    if (run, file) == ("left", "metrics.jsonl"):
        assert not any(codes)  # the checkpoint holds the curve, and the log is written anew
    else:
        assert codes.count(2) > rounds // 4
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000  # kilobytes
