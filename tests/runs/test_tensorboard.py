"""The curves on TensorBoard's board, read back with its own reader."""

import contextlib
import io
import json
import math
import signal
import sys

import numpy as np
import pytest

from saiki import cli
from saiki.errors import InputError
from saiki.experiments.adder import Adder
from saiki.runs.folder import RunFolder
from saiki.runs.record import Options
from saiki.runs.run import run as train

SETTING = Adder(iterations=30, bits=4, longer_bits=5, hidden_size=3, log_every=4, seed=1)


def run(path, setting=SETTING, **options):
    return train(setting, RunFolder(path), None, Options(**options))


def board(path):
    """Steps and values of each scalar that TensorBoard shows of a run."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(path / "tensorboard"), {"scalars": 0}).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def logged(path):
    """The same from ``metrics.jsonl``, rounded to single precision as events are."""
    curves = {}
    for line in (path / "metrics.jsonl").read_text().splitlines():
        point = json.loads(line)
        step = point.pop("step")
        for name, value in point.items():
            number = math.nan if value is None else float(np.float32(value))
            curves.setdefault(name, []).append((step, number))
    return curves


def interrupted(path, monkeypatch, step, kind=KeyboardInterrupt, **options):
    """A run that ends with the point at ``step``: by Ctrl-C, or as if it had been killed."""
    with monkeypatch.context() as patch:
        append = RunFolder.append

        def stop(folder, name, record):
            append(folder, name, record)
            if record["step"] == step and kind is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            elif record["step"] == step:
                raise kind

        patch.setattr(RunFolder, "append", stop)
        with pytest.raises(kind) as stopped:
            run(path, **options)
    return stopped


def test_the_board_shows_the_curves(tmp_path):
    run(tmp_path, tensorboard=True)
    assert board(tmp_path) == logged(tmp_path)
    assert [step for step, _ in board(tmp_path)["loss"]] == [4, 8, 12, 16, 20, 24, 28, 30]


def test_what_an_interrupted_run_measured_is_on_the_board_already(tmp_path, monkeypatch):
    held = interrupted(tmp_path, monkeypatch, 12, tensorboard=True)  # so no file is closed yet
    assert board(tmp_path) == logged(tmp_path)
    assert len(board(tmp_path)["loss"]) == 3
    del held


def test_after_a_resume_nothing_is_there_twice(tmp_path, monkeypatch):
    run(tmp_path / "whole", tensorboard=True)
    path = tmp_path / "resumed"
    interrupted(path, monkeypatch, 12, tensorboard=True)
    interrupted(path, monkeypatch, 20, tensorboard=True)
    run(path, tensorboard=True)
    assert board(path) == logged(path) == board(tmp_path / "whole")


class KilledError(Exception):
    pass


def test_points_beyond_the_last_checkpoint_are_not_there_twice(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, 12, tensorboard=True)
    interrupted(tmp_path, monkeypatch, 24, KilledError, tensorboard=True)
    run(tmp_path, tensorboard=True)
    assert board(tmp_path) == logged(tmp_path)
    assert len(board(tmp_path)["loss"]) == 8


def test_a_run_that_gets_its_board_late_shows_all_of_its_curves(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, 12)
    run(tmp_path, tensorboard=True)
    assert board(tmp_path) == logged(tmp_path)


def test_without_tensorboard_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'saiki\[tensorboard\]'"):
        run(tmp_path, tensorboard=True)
    assert not list(tmp_path.iterdir())
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        assert cli.main(["run", "adder", "--tensorboard", "--out", "out"]) == 2
    (line,) = err.getvalue().splitlines()
    assert line == "saiki run: --tensorboard needs a package: pip install 'saiki[tensorboard]'"
    assert not list(tmp_path.glob("out/*"))  # and the folder may be used again
