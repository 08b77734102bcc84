"""When a training will end."""

import io
import re
from types import SimpleNamespace

import pytest

from saiki.experiments.adder import Adder
from saiki.runs import record
from saiki.runs.record import Outlook
from small_runs import run


def training(step=0, iterations=1_000_000):
    return SimpleNamespace(step=step, loss=0.5, experiment=SimpleNamespace(iterations=iterations))


def test_a_line_tells_loss_rate_and_the_time_that_is_left(monkeypatch):
    now = iter(range(10))
    monkeypatch.setattr("saiki.progress.monotonic", lambda: next(now))
    going = training(iterations=1000)
    outlook = Outlook(going, None)
    assert outlook.line() == "iteration 0 of 1,000"
    going.step = 100
    assert outlook.line() == "iteration 100 of 1,000  loss 0.5  100 a second  9 s left"


@pytest.mark.parametrize(("seconds", "step", "count"), [(20, 10, 1), (20, 100_000, 0), (5, 1, 0)])
def test_what_takes_more_than_an_hour_is_told_once(monkeypatch, seconds, step, count):
    clock = [100.0]
    monkeypatch.setattr(record, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    going, lines = training(), []
    estimate = Outlook(going, lines.append)
    clock[0] += seconds
    going.step = step
    estimate.tell()
    estimate.tell()
    assert len(lines) == count
    if lines:
        assert lines[0] == "this will take about 556 h; Ctrl-C pauses it"


def test_the_loss_is_drawn_while_it_trains(tmp_path, monkeypatch):
    pictures = []
    monkeypatch.setattr(record, "draw_training", lambda path, points: pictures.append(len(points)))
    setting = Adder(iterations=6, bits=4, hidden_size=4, log_every=2)
    run(tmp_path / "rarely", setting)
    assert pictures == []
    monkeypatch.setattr(record, "REDRAW_SECONDS", 0.0)
    monkeypatch.setattr(record, "REDRAW_TIMES", 0)  # however long the machine made us wait
    run(tmp_path / "often", setting)
    assert pictures == [1, 2, 3]


def test_a_run_on_a_terminal_tells_how_far_it_is(tmp_path, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("saiki.progress.TERMINAL_SECONDS", 0.005)
    run(tmp_path, Adder(iterations=400, bits=4, hidden_size=4), say=lambda line: None)
    text = stream.getvalue()
    assert re.search(r"\riteration [\d,]+ of 400  loss [\d.]+  [\d.e+]+ a second  \d+ s left", text)
    assert "\riteration 400 was the last; evaluates" in text
