"""Two processes that train together, beside one that does the same alone."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forked import command, together
from saiki import processes
from saiki.models.word_vectors import WordVectors
from saiki.runs import record
from saiki.runs.reopen import reopen

KNOBS = {
    "adder": ["--precision", "float64", "--iterations", "150", "--optimiser", "adam"],
    "clipped and accumulated": [
        *("--precision", "float64", "--iterations", "60", "--optimiser", "momentum"),
        *("--clip-norm", "0.3", "--learning-rate", "0.05", "--accumulate", "3", "--cell", "lstm"),
        *("--average", "0.9", "--log-every", "7"),
    ],
}


def run(path, *flags, count=1):
    return together(count, command, ["run", "adder", "--out", str(path), *flags])


@pytest.mark.parametrize("name", KNOBS)
def test_two_processes_at_batch_16_are_one_at_batch_32(tmp_path, name):
    two = run(tmp_path / "two", *KNOBS[name], "--batch-size", "16", count=2)
    run(tmp_path / "one", *KNOBS[name], "--batch-size", "32")
    ours, theirs = (load_file(tmp_path / p / "model.safetensors") for p in ("two", "one"))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], rtol=0, atol=1e-8), name
    logs = [(tmp_path / p / "metrics.jsonl").read_text().splitlines() for p in ("two", "one")]
    assert len(logs[0]) == len(logs[1]) > 1  # one process alone writes
    for a, b in zip(*(map(json.loads, log) for log in logs), strict=True):
        assert a == pytest.approx(b, rel=1e-8)
    first, second = two
    assert first.splitlines().count(str(tmp_path / "two")) == 1
    assert second == ""  # one process alone speaks


def interrupted(words):
    """The command, whose second process is interrupted after an iteration."""
    keep = record.Record.keep

    def stop(rank):
        keep(rank)
        if rank.training.step == 37 and processes.rank() == 1:
            rank.training.interrupted = True

    record.Record.keep = stop
    command(words)


@pytest.mark.long
def test_two_processes_go_on_where_they_were_stopped(tmp_path):
    flags = [*KNOBS["adder"], "--batch-size", "4", "--log-every", "10"]
    run(tmp_path / "whole", *flags, count=2)
    words = ["run", "adder", "--out", str(tmp_path / "cut"), *flags]
    together(2, interrupted, words, code=130)  # both stop after the same iteration
    assert not (tmp_path / "cut" / "result.json").exists()
    done = run(tmp_path / "cut", "--resume", count=2)
    assert "goes on from iteration 37" in done[0]
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def followed(words):
    """The command, each of whose processes leaves what it has learnt after each piece."""
    learn = WordVectors.learn

    def shown(self, *arguments):
        loss = learn(self, *arguments)
        with Path(f"{processes.rank()}").open("ab") as file:
            file.write(self.inputs.detach().numpy().tobytes() + loss.numpy().tobytes())
        return loss

    WordVectors.learn = shown
    command(words)


def test_two_processes_learn_the_same_word_vectors_from_parts_of_a_text(tmp_path):
    names, fruits, cars = "anna boris clara", "apple pear plum", "car van truck"
    lines = [
        f"{who} {what} the {thing}"
        for verbs, things in (("eats cooks peels", fruits), ("drives repairs washes", cars))
        for who, what, thing in itertools.product(*map(str.split, (names, verbs, things)))
    ]
    (tmp_path / "text.txt").write_text("\n\n".join(lines * 8))
    knobs = {"data": "text.txt", "size": 12, "minimum": 1, "subsample": 0, "window": 3}
    knobs |= {"epochs": 20, "batch_size": 1024, "out": "run"}
    words = ["run", "words", *(f"--{n}={value}" for n, value in knobs.items())]
    together(2, followed, words, folder=tmp_path)
    one, other = ((tmp_path / rank).read_bytes() for rank in "01")
    assert one == other
    model = reopen(tmp_path / "run")[1]
    assert model.inputs.detach().numpy().tobytes() == one[-4 - 4 * model.inputs.numel() : -4]
    for like, unlike in (("pear", "car"), ("plum", "van")):
        assert model.similarity("apple", like) > model.similarity("apple", unlike) + 0.2
