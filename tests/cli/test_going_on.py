"""A run that is paused, finished as it is, or gone on with for longer."""

import json
from pathlib import Path

import pytest

from commands import SMALL, refused, saiki
from saiki.files import locked, write_json
from saiki.runs.record import CHECKPOINT, Record
from saiki.saving import tensors
from tiny import TINY


@pytest.fixture
def stopped_at_15(monkeypatch):
    keep = Record.keep

    def keep_and_stop(record):
        keep(record)
        record.training.interrupted |= record.training.step == 15

    with monkeypatch.context() as patch:
        patch.setattr(Record, "keep", keep_and_stop)
        yield patch


def result(path):
    return json.loads(Path(path, "result.json").read_text())


def bits(path):
    return [Path(path, name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")]


AVERAGED = [*SMALL, "--average", "0.9", "--keep", "best"]


def test_a_run_can_be_finished_by_its_interruption(stopped_at_15):
    code, out, _ = saiki("run", *SMALL, "--out", "run", "--on-interrupt", "finish")
    assert (code, out[-1]) == (0, "run")
    assert (result("run")["iterations"], result("run")["stopped"]) == (15, None)
    assert saiki("predict", "run", "1 + 2")[0] == 0


def test_a_paused_run_can_be_finished_later_and_still_be_gone_on_with(stopped_at_15):
    code, _, err = saiki("run", *AVERAGED, "--out", "run")
    assert code == 130
    assert err[0].endswith("--resume; or use it as it is with: saiki finish run")
    stopped_at_15.undo()
    code, out, _ = saiki("finish", "run")
    assert (code, out[-1], result("run")["iterations"]) == (0, "run", 15)
    assert saiki("finish", "run")[1][0] == "run has ended already; here is its result"
    assert saiki("finish", "run")[0] == 0
    assert saiki("run", "adder", "--out", "run", "--resume", "--iterations", 30)[0] == 0
    saiki("run", *AVERAGED, "--out", "whole")
    assert bits("run") == bits("whole")


def test_a_finished_run_goes_on_for_longer_as_if_it_had_been_meant_to():
    saiki("run", *AVERAGED, "--out", "run")
    words = ["run", "adder", "--out", "run", "--resume"]
    assert saiki(*words)[1][0] == "run has ended already; here is its result"
    assert "was begun with iterations 30, got 20" in refused(*words, "--iterations", 20)
    assert "was begun with hidden_size 4, got 5" in refused(*words, "--hidden-size", 5)
    code, out, _ = saiki(*words, "--iterations", 60)
    assert code == 0
    assert "goes on from iteration 30" in out
    longer = [w if w != "30" else "60" for w in AVERAGED]
    saiki("run", *longer, "--out", "whole")
    assert bits("run") == bits("whole")
    assert json.loads(Path("run/config.json").read_text())["knobs"]["iterations"] == 60


def test_iterations_in_place_of_epochs_are_not_fewer_than_what_it_was_begun_for(tmp_path):
    saiki("run", "sin-cos", *TINY["sin-cos"].flags(tmp_path), "--out", "run")
    words = ["run", "sin-cos", "--out", "run", "--resume", "--iterations"]
    assert "ask for more of them, or choose another --out" in refused(*words, 1)
    assert saiki(*words, 100)[0] == 0


def test_a_run_that_ended_in_trouble_is_not_finished_as_a_good_one():
    saiki("run", *SMALL, "--out", "run")
    write_json(Path("run/result.json"), {**result("run"), "stopped": "the loss grew"})
    assert saiki("finish", "run")[0] == saiki("run", "adder", "--out", "run", "--resume")[0] == 1


def test_what_several_processes_began_goes_on_with_as_many_and_is_finished_by_one(stopped_at_15):
    saiki("run", *SMALL, "--out", "run")
    stopped_at_15.undo()
    path = Path("run") / CHECKPOINT
    weights, about = tensors.load(path)
    tensors.save(path, weights, {**about, "processes": 2})
    code, _, err = saiki("run", "adder", "--out", "run", "--resume")
    message = "run was begun by 2 processes and must go on with as many, got 1"
    assert (code, err) == (2, [f"saiki run: {message}"])
    assert saiki("finish", "run")[0] == 0
    assert result("run")["iterations"] == 15


def test_without_a_checkpoint_there_is_nothing_to_finish():
    saiki("run", *SMALL, "--out", "run")
    Path("run/result.json").unlink()
    Path("run/checkpoint/training.safetensors").unlink()
    assert "has no checkpoint yet" in refused("finish", "run")


def test_two_processes_do_not_train_in_one_folder(stopped_at_15):
    saiki("run", *SMALL, "--out", "run")
    stopped_at_15.undo()
    before = Path("run/metrics.jsonl").read_bytes()
    with locked(Path("run/.lock")):
        code, _, err = saiki("run", "adder", "--out", "run", "--resume")
        assert (code, err) == (2, ["saiki run: run is in use by another process; wait for it"])
        assert Path("run/metrics.jsonl").read_bytes() == before
    assert saiki("run", "adder", "--out", "run", "--resume")[0] == 0
    assert not Path("run/.lock").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 42949672960 bytes. Error code 12 (Cannot allocate memory)"
        ),
    ],
)
def test_too_little_memory_is_one_sentence_and_leaves_nothing(monkeypatch, error):
    def measure(self, model, batch):
        raise error

    monkeypatch.setattr("saiki.experiments.adder.Adder.measure", measure)
    monkeypatch.setattr("saiki.experiments.adder.Adder.recordable", False)
    for words in ([], ["--out", "run"]):
        code, _, err = saiki("run", *SMALL, *words)
        reason = "more was asked for" if not str(error) else "40 GiB at once was asked for"
        assert (code, err) == (
            2,
            [
                f"saiki run: there is not enough memory: {reason}; try a smaller model or batch, "
                "or fewer data"
            ],
        )
    assert not Path("run").exists()
    assert not list(Path("runs/adder").iterdir())
