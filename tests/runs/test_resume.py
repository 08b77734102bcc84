"""Nothing is lost: a run that is killed or stopped goes on as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from forked import Child, command
from saiki.errors import InputError, SaikiError
from saiki.experiments.adder import Adder
from saiki.files import TEMPORARY
from saiki.runs.folder import RunFolder
from saiki.runs.record import CHECKPOINT, Options, Record
from saiki.runs.reopen import go_on
from saiki.runs.run import run
from saiki.saving import tensors

pytestmark = pytest.mark.one_in(3)

KNOBS = {
    "iterations": 1200,
    "log_every": 20,
    "cell": "gru",
    "hidden_size": 12,
    "optimiser": "adam",
    "warmup": 0.2,
    "schedule": "cosine",
    "average": 0.99,
    "keep": "best",
    "accumulate": 2,
}
FLAGS = [w for name, value in KNOBS.items() for w in (f"--{name.replace('_', '-')}", str(value))]


def started(path, *more):
    words = ["run", "adder", "--out", str(path), "--checkpoint-seconds", "0.05", *more]
    return Child(command, words)


def points(path):
    try:
        return len((path / "metrics.jsonl").read_bytes().splitlines())
    except FileNotFoundError:
        return 0


def wait_for(path, count, process):
    """Until the run has so many points, or ends."""
    while points(path) < count and process.poll() is None:
        time.sleep(0.001)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed")
    run(Adder.from_dict(KNOBS), RunFolder(path))
    return path


def assert_same(path, undisturbed):
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (path / name).read_bytes() == (undisturbed / name).read_bytes(), name
    result, wanted = (json.loads((p / "result.json").read_text()) for p in (path, undisturbed))
    assert result.pop("seconds") > 0
    wanted.pop("seconds")
    assert result == wanted
    last = [tensors.load(p / CHECKPOINT) for p in (path, undisturbed)]
    assert last[0][1]["training"] == last[1][1]["training"]
    assert last[0][0].keys() == last[1][0].keys()
    assert all(torch.equal(value, last[1][0][name]) for name, value in last[0][0].items())


@pytest.mark.long
def test_a_run_that_is_killed_twice_ends_as_the_one_that_never_was(tmp_path, undisturbed):
    """The second time when it has gone on from a checkpoint before."""
    path, dice = tmp_path / "run", random.Random(7)
    aims = sorted(dice.sample(range(1, 55), 2))
    process = started(path, *FLAGS)
    for aim in aims:
        wait_for(path, aim, process)
        time.sleep(dice.random() * 0.02)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = started(path, "--resume")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert_same(path, undisturbed)
    assert not list(path.rglob(f"{TEMPORARY}*"))


def test_a_run_that_is_stopped_saves_and_says_how_to_go_on(tmp_path, undisturbed):
    """By either signal: at first, and when it has gone on."""
    path, seldom = tmp_path / "my run", ("--checkpoint-seconds", "1000")
    process, done = started(path, *FLAGS, *seldom), 0
    for number, seen in ((signal.SIGINT, 3), (signal.SIGTERM, 20)):
        wait_for(path, seen, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        lines = errors.splitlines()
        assert len(lines) == 1
        assert f"go on with: saiki run adder --out '{path}' --resume" in lines[0]
        before, done = done, int(lines[0].split("after iteration ")[1].split(",")[0])
        assert max(before, 20 * seen) <= done < 1200
        _, about = tensors.load(path / CHECKPOINT)
        assert about["training"]["step"] == done
        process = started(path, "--resume", *seldom)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"goes on from iteration {done}" in out
    assert_same(path, undisturbed)


# In one process: the training is stopped by an error where a file is written.

SMALL = {**KNOBS, "iterations": 300, "log_every": 20}


class CutError(Exception):
    """Stands for the power cut."""


def cut_after(monkeypatch, step):
    keep = Record.keep

    def keep_and_cut(record):
        keep(record)
        if record.training.step == step:
            raise CutError

    monkeypatch.setattr(Record, "keep", keep_and_cut)


def outcome(path, knobs, **options):
    return run(Adder.from_dict(knobs), RunFolder(path), None, Options(**options))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of SMALL that nobody stops."""
    path = tmp_path_factory.mktemp("whole")
    outcome(path, SMALL)
    return path


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The same under the lens."""
    path = tmp_path_factory.mktemp("watched")
    outcome(path, SMALL, watch=True)
    return path


@pytest.mark.parametrize("step", [20, 1, 19, 300, 21, 299])
def test_every_place_in_the_curve_can_be_gone_on_from(tmp_path, monkeypatch, step, watched):
    with monkeypatch.context() as patched:
        cut_after(patched, step)
        with pytest.raises(CutError):
            outcome(tmp_path / "cut", SMALL, watch=True, checkpoint_seconds=0.0)
    outcome(tmp_path / "cut", SMALL, watch=True)
    assert_same(tmp_path / "cut", watched)
    logs = [(p / "lens.jsonl").read_bytes() for p in (tmp_path / "cut", watched)]
    assert logs[0] == logs[1]


def test_without_a_checkpoint_yet_the_run_begins_anew(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patched:
        cut_after(patched, 70)
        with pytest.raises(CutError):
            outcome(tmp_path / "cut", SMALL)
    assert points(tmp_path / "cut") == 3
    outcome(tmp_path / "cut", SMALL)
    assert_same(tmp_path / "cut", whole)


def test_patience_is_remembered(tmp_path, monkeypatch):
    knobs = {**SMALL, "patience": 2, "learning_rate": 2.0, "schedule": "constant", "average": 0.0}
    outcome(tmp_path / "whole", knobs)
    ended = json.loads((tmp_path / "whole" / "result.json").read_text())["iterations"]
    assert 60 <= ended < 300
    with monkeypatch.context() as patched:
        cut_after(patched, ended - 10)
        with pytest.raises(CutError):
            outcome(tmp_path / "cut", knobs, checkpoint_seconds=0.0)
    outcome(tmp_path / "cut", knobs)
    assert_same(tmp_path / "cut", tmp_path / "whole")


def test_a_run_that_lost_patience_goes_on_where_it_is_to_be_longer(tmp_path):
    knobs = {**SMALL, "patience": 2, "learning_rate": 2.0, "schedule": "constant", "average": 0.0}
    outcome(tmp_path, knobs)
    ended = RunFolder(tmp_path).figures["iterations"]
    go_on(RunFolder(tmp_path), longer := Adder.from_dict({**knobs, "iterations": 400}))
    run(longer, RunFolder(tmp_path))
    assert ended + 2 * 20 <= RunFolder(tmp_path).figures["iterations"] <= 400


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_is_whole(tmp_path, monkeypatch, whole):
    sync, written = os.fsync, []

    def full(handle):
        written.append(handle)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(SaikiError, match=r"^cannot write .*safetensors: No space") as e:
            outcome(tmp_path / "full", SMALL, checkpoint_seconds=0.0)
    assert "\n" not in str(e.value)
    _, about = tensors.load(tmp_path / "full" / CHECKPOINT)
    assert about["training"]["step"] == 4  # config.json and four checkpoints were written
    assert not list((tmp_path / "full").rglob(f"{TEMPORARY}*"))
    outcome(tmp_path / "full", SMALL)
    assert_same(tmp_path / "full", whole)


def test_a_log_on_a_full_disk_is_one_sentence_and_the_checkpoint_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "run"
    log = open  # of the module io, under Path.open too

    def full(file, mode="r", *arguments, **options):
        if mode == "a":
            file = "/dev/full"
        return log(file, mode, *arguments, **options)

    monkeypatch.setattr("io.open", full)
    with pytest.raises(SaikiError, match=r"^cannot write .*metrics.jsonl: No space left"):
        outcome(path, {**SMALL, "iterations": 30}, checkpoint_seconds=0.0)
    _, about = tensors.load(path / CHECKPOINT)
    assert about["training"]["step"] == 19


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    path = tmp_path_factory.mktemp("half done")
    with pytest.MonkeyPatch.context() as patched:
        cut_after(patched, 30)
        with pytest.raises(CutError):
            outcome(path, SMALL, checkpoint_seconds=0.0)
    return path


@pytest.fixture
def halfway(half_done, tmp_path):
    """A folder of a run that was cut, with a checkpoint."""
    return Path(shutil.copytree(half_done, tmp_path / "begun"))


def test_a_folder_of_other_knobs_is_refused_and_keeps_its_checkpoint(halfway):
    before = (halfway / CHECKPOINT).read_bytes()
    with pytest.raises(InputError, match="holds a run of other knobs"):
        outcome(halfway, {**SMALL, "hidden_size": 13})
    assert (halfway / CHECKPOINT).read_bytes() == before


def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(halfway):
    path = halfway / CHECKPOINT
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:-9] + b"\0" + whole[-8:], b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged") as error:
            outcome(halfway, SMALL)
        assert "\n" not in str(error.value)
        assert path.read_bytes() == damaged


def test_a_checkpoint_of_another_run_is_refused(halfway, tmp_path):
    other = {**SMALL, "seed": 5}
    outcome(tmp_path / "two", {**other, "iterations": 20})
    there = tmp_path / "two" / CHECKPOINT
    (halfway / CHECKPOINT).write_bytes(there.read_bytes())
    with pytest.raises(InputError, match="is of a run with other knobs"):
        outcome(halfway, SMALL)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("training"),
        lambda about: about.pop("data"),
        lambda about: about.pop("processes"),
        lambda about: about.update(curve=[{"step": 1}]),
        lambda about: about.update(curve=[{"step": "1", "loss": 1.0}]),
        lambda about: about.update(seconds="long"),
        lambda about: about.update(looks=None),
        lambda about: about["training"].update(step="3"),
        lambda about: about["training"].update(best="x"),
        lambda about: about["training"].pop("since"),
        lambda about: about["training"].update(optimiser=[1]),
        lambda about: about.update(data={"points": 3}),
        lambda about: about.update(data={"points": [{}, "", ""]}),
        lambda about: about.update(looks=10**30),
        lambda about: about.update(seconds=float("inf")),
    ],
)
def test_a_whole_checkpoint_that_says_other_things_is_refused(halfway, change):
    weights, about = tensors.load(halfway / CHECKPOINT)
    change(about)
    tensors.save(halfway / CHECKPOINT, weights, about)
    with pytest.raises(InputError, match="does not hold what a checkpoint of this saiki holds"):
        outcome(halfway, SMALL)


@pytest.mark.parametrize("part", ["model", "best", "average", "optimiser"])
def test_a_whole_checkpoint_with_other_tensors_is_refused(halfway, part):
    weights, about = tensors.load(halfway / CHECKPOINT)
    name = next(n for n, t in weights.items() if n.startswith(f"{part}/") and t.ndim == 2)
    weights[name] = torch.zeros(2, 3, 5)
    tensors.save(halfway / CHECKPOINT, weights, about)
    with pytest.raises(InputError, match="the checkpoint is not of this model") as error:
        outcome(halfway, SMALL)
    assert "\n" not in str(error.value)


def test_a_result_without_its_fields_is_one_sentence(tmp_path):
    outcome(tmp_path, {**SMALL, "iterations": 3})
    (tmp_path / "result.json").write_text('{"loss": 1.0}')
    with pytest.raises(InputError, match="it must say under 'stopped' why it stopped, or null"):
        RunFolder(tmp_path).result  # noqa: B018
