"""How far long work is: one line on a terminal, a line a minute elsewhere."""

import io
import time

import pytest

from saiki import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0.01)
    monkeypatch.setattr(progress, "FILE_SECONDS", 0.01)


def wait_until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_the_line_moves_while_the_work_goes_on(fast, monkeypatch, kind):
    stream = kind()
    monkeypatch.setattr("sys.stderr", stream)
    count = 0
    with progress.line() as line:
        line.stage = lambda: f"iteration {count} of 9"
        for count in range(1, 4):
            wait_until(lambda seen=f"iteration {count} of 9": seen in stream.getvalue())
    text = stream.getvalue()
    if kind is Terminal:
        assert "\n" not in text
        assert text.endswith(f"\r{'':{len('iteration 3 of 9')}}\r")  # nothing of it is left
    else:
        assert set(text.splitlines()) == {f"iteration {n} of 9" for n in (1, 2, 3)}


def test_whole_lines_stand_beside_it(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with progress.line() as line:
        say = line.clearing(lambda text: stream.write(text + "\n"))
        line.stage = lambda: "a long line"
        line.write()
        line.stage = lambda: "b"
        line.write()
        say("whole")
    assert stream.getvalue() == "\ra long line\rb          \r \rwhole\n"


def test_batches_are_counted_where_somebody_looks(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    assert list(progress.each(range(3))) == [0, 1, 2]
    with progress.line() as line:
        line.stage = lambda: "evaluates"
        for _ in progress.each(range(0, 30, 10)):
            line.write()
        line.write()
    parts = [f"evaluates  batch {n} of 3" for n in (1, 2, 3)]
    assert stream.getvalue().splitlines() == [*parts, "evaluates"]


def test_nobody_sees_a_line_that_is_not_shown(fast, capsys):
    with progress.line(is_shown=False) as line:
        line.stage = lambda: "seen"
        line.write()
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_rate_is_that_of_the_last_looks(monkeypatch):
    now = iter([0.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    rate = progress.Rate(looks=2)
    assert [rate.of(count) for count in (0, 10, 40, 40)] == [None, 10.0, 30.0, None]
