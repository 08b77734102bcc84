"""Ctrl-C ends a command in one sentence, wherever it arrives."""

import random
import signal
import subprocess
import sys

import pytest
from tools import attack_presses

pytestmark = pytest.mark.one_in(2)

LOST = """
import gc, os, signal, sys, weakref
from saiki import stopping

def press(*given):
    if not pressed:
        pressed.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(3):
            pass

class Thing:
    {method} = press

pressed = []
stopping.listen()
try:
    thing = Thing()
    {way}
    for _ in range(10**12):
        pass
except KeyboardInterrupt:
    stopping.close()
    print("heard", file=sys.stderr)
    stopping.end(stopping.STOPPED)
"""
WAYS = {
    "a destructor": ("__del__", "del thing"),
    "a callback of a weak reference": ("m", "r = weakref.ref(thing, press); del thing"),
    "a hook of the collector": ("m", "gc.callbacks.append(press); gc.collect()"),
    "a function in C": ("__getattr__", "hasattr(thing, 'a') or sorted([2, 1])"),
    "nothing of the kind": ("m", "press()"),
}


@pytest.fixture
def listening():
    """Ctrl-C is on, whatever this process was started with; the children inherit it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="a process there cannot press its own key")
@pytest.mark.parametrize("way", WAYS)
def test_a_press_that_python_forgets_is_heard(way, listening):
    method, way = WAYS[way]
    code = LOST.format(method=method, way=way)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (130, "heard\n")


IMPORTED = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
try:
    time.sleep({seconds})
except BaseException as error:
    print(f"raised inside an import: {{error!r}}")
print("imported", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process there cannot press its own key")
@pytest.mark.parametrize(("seconds", "out"), [(0.0, "imported\n"), (30.0, "")])
def test_nothing_is_raised_inside_an_import(seconds, out, tmp_path, listening):
    """A short one ends first; in a long one the program ends."""
    (tmp_path / "slow.py").write_text(IMPORTED.format(seconds=seconds))
    code = (
        "import sys, time; sys.argv = ['saiki', 'ls']; from saiki import __main__, cli\n"
        "def main(words): import slow; time.sleep(30)\n"
        "cli.COMMANDS['ls'] = ('', main); __main__.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout) == (130, out)
    assert done.stderr in ("saiki: stopped\n", "saiki ls: stopped\n")


def test_whoever_started_it_may_switch_the_key_off():
    """As a shell does for what runs in the background."""
    code = (
        "import signal; from saiki import stopping\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); stopping.listen(); stopping.close()\n"
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN and not stopping.is_over())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize("second", [None, 0.02])
@pytest.mark.parametrize("phase", [(0.06, 0.3), (0.4, 1.0), (2.0, 3.5)])
def test_a_press_at_any_moment_ends_a_run_in_one_sentence(phase, second, listening):
    """``python tools/attack.py presses`` does so as often as one likes, and minds the time."""
    first = random.Random(f"{phase} {second}").uniform(*phase)
    press = attack_presses.pressed(attack_presses.EXERCISES[0] + "00", first, second)
    assert not press.fault(limit=10.0), press
    assert press.outcome == attack_presses.ENDED
