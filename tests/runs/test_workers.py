"""Processes that do the runs of a sweep, and what becomes of them."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from saiki.errors import InputError, SaikiError
from saiki.experiments.adder import Adder
from saiki.runs import workers
from saiki.runs.folder import RunFolder
from saiki.runs.record import CHECKPOINT
from saiki.runs.sweep import Job
from saiki.runs.workers import processes

SMALL = {"bits": 4, "longer_bits": 4, "hidden_size": 4}


def job(path, **changes):
    return Job(Adder(**SMALL | changes), RunFolder(path), None)


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


def test_they_yield_each_run_as_it_ends_and_pass_its_error_on(tmp_path):
    good, bad = (
        Job(
            Adder(iterations=3, bits=4, longer_bits=4, device=device),
            RunFolder(tmp_path / device),
            None,
        )
        for device in ("cpu", "mps")
    )
    with processes(1) as run:
        runs = run([good, bad])
        assert next(runs) is good
        assert good.folder.is_finished
        with pytest.raises(InputError, match="device must be one that is here, got 'mps'"):
            next(runs)


def kill_the_first(folder):
    wait_until((folder / "long" / "metrics.jsonl").exists)
    for process in children(os.getpid()):
        if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes():
            os.kill(process, signal.SIGKILL)


@pytest.mark.long
def test_one_that_is_killed_loses_its_run_and_no_other(tmp_path):
    jobs = [job(tmp_path / "long", iterations=10**6, log_every=10)]
    jobs += [job(tmp_path / str(seed), iterations=3, seed=seed) for seed in range(2)]
    with processes(1) as run:
        ended = []
        killer = threading.Thread(target=kill_the_first, args=(tmp_path,))
        killer.start()
        runs = run(jobs)
        with pytest.raises(SaikiError) as error:
            ended.extend(iter(lambda: next(runs), None))
        killer.join()
    assert ended == jobs[1:]
    assert str(error.value) == (
        "1 of 3 runs are lost, the others are done: long was ended by signal 9, perhaps for want "
        "of memory; do them again with the same command and --resume, perhaps with fewer --jobs"
    )


def children(parent):
    pids = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if status.read_text().rpartition(")")[2].split()[1] == str(parent):
                pids.append(int(status.parent.name))
    return pids


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Interrupted:
    """A run to which Ctrl-C comes before its training has begun, as while it reads its data."""

    def run(self):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")


def test_ctrl_c_stops_a_run_that_has_not_begun_to_train(monkeypatch):
    class Connection:
        """Brings one run, and Ctrl-C while the worker waits, which does not heed it."""

        jobs, sent = [Interrupted()], []

        def recv(self):
            signal.raise_signal(signal.SIGINT)
            if not self.jobs:
                raise EOFError
            return self.jobs.pop()

        def send(self, error):
            self.sent.append(error)

    monkeypatch.setattr(workers, "_end_with_parent", lambda: None)
    monkeypatch.setattr(sys, "argv", sys.argv)
    before = signal.getsignal(signal.SIGINT)
    try:
        workers._work(Connection(), torch.get_num_threads(), sys.argv)
    finally:
        signal.signal(signal.SIGINT, before)
    (error,) = Connection.sent
    assert isinstance(error, KeyboardInterrupt)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.long
def test_they_end_with_their_parent(tmp_path, number):
    words = "try adder iterations=1000000 log_every=10 hidden_size=4 --seeds 1 --jobs 1 --out"
    command = [sys.executable, "-m", "saiki", *words.split(), str(tmp_path / "out")]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(tmp_path.glob("out/*/metrics.jsonl")))
    own = children(parent.pid)
    assert own
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=60)
    wait_until(lambda: not any(map(lives, own)))
    if number == signal.SIGTERM:  # as Ctrl-C does
        assert parent.returncode == 130
        assert errors.startswith("saiki try: stopped; go on with the same command and --out ")
        assert len(errors.splitlines()) == 1
        assert list(tmp_path.glob(f"out/*/{CHECKPOINT}"))
