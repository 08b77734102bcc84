"""Runs of a sweep on a Ray cluster: one of this machine, whose workers see none of its folders."""

import contextlib
import functools
import io
import shutil
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from types import ModuleType

import pytest

from saiki import cli
from saiki.errors import InputError, SaikiError
from saiki.experiments.adder import Adder
from saiki.runs import ray as cluster
from saiki.runs import sweep
from saiki.runs.folder import RunFolder
from saiki.runs.record import CHECKPOINT, Options
from saiki.runs.sweep import Job
from saiki.saving import tensors

KNOBS = {"iterations": 12, "bits": 4, "longer_bits": 5, "log_every": 4, "hidden_size": 3}
WORDS = ["try", "adder", *(f"{name}={value}" for name, value in KNOBS.items())]
SAME = ("metrics.jsonl", "model.safetensors")  # whatever the time it took


def refused(*words):
    """The one line with which a command ends that cannot be done."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main([*words]) == 2
    assert out.getvalue() == ""
    (line,) = err.getvalue().splitlines()
    return line


# Without a cluster.


@pytest.mark.parametrize(
    ("address", "environment"),
    [
        ("127.0.0.1:1", None),
        ("ray://127.0.0.1:1", None),
        ("auto", "127.0.0.1:1"),
        ("nowhere.invalid:6379", None),
        ("nonsense", None),
    ],
)
def test_no_cluster_is_one_sentence_soon_and_leaves_no_folder(
    address, environment, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if environment:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    start = time.monotonic()
    line = refused(*WORDS, "--ray", address)
    assert line.startswith(f"saiki try: no Ray cluster answers at {address}: ")
    assert time.monotonic() - start < 15
    assert not list(tmp_path.iterdir())


def test_without_ray_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    line = refused(*WORDS, "--ray", "local")
    assert line == "saiki try: --ray needs a package: pip install 'saiki[ray]'"
    assert not list(tmp_path.iterdir())


def test_the_result_is_the_last_file_written(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(cluster, "write_bytes", lambda path, data: written.append(path.name))
    cluster._write(tmp_path, dict.fromkeys(("result.json", "a", "z"), b""))
    assert written == ["a", "z", "result.json"]


# With one.


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cluster of one CPU, two runs at a time: how to run there, and where its workers work."""
    ray = pytest.importorskip("ray")
    there = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", tempfile.gettempdir())  # its sockets need a short path
        patch.setenv("TMPDIR", str(there))
        small = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20}
        patch.setattr(ray, "init", functools.partial(ray.init, **small))
        with cluster.joined("local", at_a_time=2) as run:
            yield run, there


def task(path, **changes):
    return Job(Adder(**KNOBS | changes), RunFolder(path), "report")


def files(path):
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


@pytest.mark.long
def test_a_sweep_there_is_bit_for_bit_the_sweep_here(shared, tmp_path, monkeypatch):
    import ray

    at_a_time = []
    wait = ray.wait
    monkeypatch.setattr(
        ray, "wait", lambda refs, **k: at_a_time.append(len(refs)) or wait(refs, **k)
    )
    monkeypatch.setattr(sys, "argv", ["saiki", "try", "these words"])
    rows = sweep.settings(Adder, None, [{**KNOBS, "hidden_size": size} for size in (3, 4)], 2)

    def here(tasks):
        for task in tasks:
            task.run()
            yield task

    one, two = (
        sweep.run_all(rows, RunFolder(tmp_path / name), None, Options(watch=True), run)
        for name, run in (("here", here), ("there", shared[0]))
    )
    assert at_a_time == [2, 2, 2, 1]
    for mine, other in zip(one, two, strict=True):
        assert mine.knobs == other.knobs
        for a, b in zip(mine.results, other.results, strict=True):
            assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert files(tmp_path / "here") == files(tmp_path / "there")
    for path in (tmp_path / "here").iterdir():
        for name in (*SAME, "lens.jsonl", "config.json"):
            there = tmp_path / "there" / path.name / name
            assert (path / name).read_bytes() == there.read_bytes()
    assert "saiki try 'these words'" in (tmp_path / "there" / path.name / "config.json").read_text()
    assert not list(shared[1].iterdir())  # the workers have cleaned up


def test_a_run_that_was_begun_here_goes_on_there(shared, tmp_path, monkeypatch):
    whole, halfway = task(tmp_path / "whole"), task(tmp_path / "begun")
    whole.run()
    with monkeypatch.context() as patch:  # Ctrl-C at iteration 8
        append = RunFolder.append

        def stop(folder, name, record):
            append(folder, name, record)
            if record["step"] == 8:
                signal.raise_signal(signal.SIGINT)

        patch.setattr(RunFolder, "append", stop)
        with pytest.raises(KeyboardInterrupt):
            halfway.run()
    checkpoint = halfway.folder.path / CHECKPOINT
    weights, about = tensors.load(checkpoint)
    tensors.save(checkpoint, weights, {**about, "seconds": 1000.0})
    assert list(shared[0]([halfway])) == [halfway]
    assert 1000 < halfway.figures["seconds"] < 1100
    for name in SAME:
        assert (halfway.folder.path / name).read_bytes() == (whole.folder.path / name).read_bytes()


def test_the_error_of_a_run_arrives_as_that_error(shared, tmp_path):
    wrong = task(tmp_path / "wrong", device="mps")
    with pytest.raises(InputError, match="device must be one that is here, got 'mps'") as error:
        list(shared[0]([wrong]))
    assert type(error.value) is InputError
    assert not wrong.folder.path.exists()


class Unknown(Adder):
    """An experiment in a module that workers do not have."""


def test_a_worker_without_the_code_is_one_sentence(shared, tmp_path, monkeypatch):
    module = ModuleType("elsewhere")
    monkeypatch.setattr(module, "Unknown", Unknown, raising=False)
    monkeypatch.setattr(Unknown, "__module__", "elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    lost = Job(Unknown(**KNOBS), RunFolder(tmp_path / "lost"), None)
    with pytest.raises(SaikiError, match=r"^lost failed on the cluster: .*No module named"):
        list(shared[0]([lost]))


@pytest.mark.long
def test_the_command_goes_on_with_what_is_missing(shared, tmp_path, monkeypatch, capsys):
    joined = []
    monkeypatch.setattr(
        cluster, "joined", lambda *words: joined.append(words) or nullcontext(shared[0])
    )
    out = tmp_path / "out"
    command = [*WORDS, "--seeds", "2", "--ray", "auto", "--jobs", "1", "--out", str(out)]
    assert cli.main(command) == 0
    table = capsys.readouterr().out
    done, lost = sorted(path for path in out.iterdir() if path.is_dir())
    before, weights = (done / "result.json").stat().st_mtime_ns, (lost / SAME[1]).read_bytes()
    shutil.rmtree(lost)
    assert cli.main([*command, "--resume"]) == 0
    assert (done / "result.json").stat().st_mtime_ns == before
    assert (lost / SAME[1]).read_bytes() == weights
    assert capsys.readouterr().out.splitlines()[0] == table.splitlines()[0]
    assert joined == [("auto", 1)] * 2
