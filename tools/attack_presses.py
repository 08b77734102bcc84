"""Ctrl-C at random moments of a run, from the command to its end, and once more while it ends.

A press is a fault where the run goes on, takes more than a second to end, says anything but one
sentence, or ends with a traceback. Both moments of each follow from its number.
"""

import argparse
import collections
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXERCISES = (
    "adder --iterations 4000",
    "sin-cos --epochs 20",
    "date --pairs 100 --languages en --epochs 1 --updates 300 --hidden-size 16 --embedding-size 8",
)
"""All of whose data are generated."""
FIRST = 0.05
"""Seconds after the command that Python itself takes to begin, in which nothing of saiki runs."""
SECOND_PRESS = 0.3
"""Seconds within which the second press comes, for every other run."""
LIMIT = 1.0
"""Seconds from the first press to the end."""
HANGS = 20.0
"""Seconds after which a run is ended by force."""


def add(attacks: Any) -> None:
    parser = attacks.add_parser("presses", help="Ctrl-C at random moments of three exercises")
    parser.add_argument("--count", type=int, default=300, help="how many presses")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds in which a run ends")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Press so many times, the exercises in turn; 1 if there is a fault."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell behind & switches off
    whole = {words: undisturbed(words) for words in EXERCISES}
    for words, seconds in whole.items():
        print(f"{seconds:6.1f} s  saiki run {words}", flush=True)
    counts: collections.Counter[str] = collections.Counter()
    waits = []
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        words = EXERCISES[seed % len(EXERCISES)]
        dice = random.Random(seed)
        first = dice.uniform(FIRST, whole[words])
        second = dice.uniform(0, SECOND_PRESS) if dice.random() < 0.5 else None
        press = pressed(words, first, second)
        fault = press.fault(arguments.limit)
        counts[fault or press.outcome] += 1
        waits.append(press.waited)
        if fault:
            later = "" if second is None else f", again {second:.3f} s later"
            print(f"# {seed} {fault}: {words}, at {first:.3f} s{later}", flush=True)
            print(f"  {press.waited:.2f} s, code {press.code}, said: {press.errors}", flush=True)
    for outcome, count in counts.most_common():
        print(f"{count:6} {outcome}")
    waits.sort()
    print(f"seconds to the end: median {waits[len(waits) // 2]:.2f}, worst {waits[-1]:.2f}")
    return any(outcome in FAULTS for outcome in counts)


ENDED, WAS_OVER = "ended in one sentence", "was over already"
FAULTS = ("went on", "took too long", "a traceback", "not one sentence")


@dataclass(frozen=True)
class Press:
    """What became of a run after the first press."""

    code: int
    errors: str
    """Standard error, whole."""
    waited: float
    """Seconds until it had ended."""
    result: bool
    """Whether it had its result."""

    @property
    def outcome(self) -> str:
        return ENDED if self.errors else WAS_OVER

    def fault(self, limit: float) -> str:
        """What is wrong with it; empty if nothing is."""
        if "Traceback" in self.errors or "Exception ignored" in self.errors:
            return "a traceback"
        if self.waited > limit:
            return "went on" if self.result else "took too long"
        if self.code in (0, -signal.SIGINT) and self.result and not self.errors:
            return ""  # it had just ended
        lines = self.errors.splitlines()
        return "" if self.code in (130, -signal.SIGINT) and len(lines) == 1 else "not one sentence"


def undisturbed(words: str) -> float:
    """Seconds that a run takes which nobody stops, with all compiled before."""
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            subprocess.run(command(words, folder), check=True, capture_output=True)
            seconds = time.monotonic() - began
    return seconds


def pressed(words: str, first: float, second: float | None) -> Press:
    """Press so long after the command, and so long after that."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        errors = Path(folder, "errors")
        with errors.open("wb") as file:
            process = subprocess.Popen(
                command(words, folder), stdout=subprocess.DEVNULL, stderr=file
            )
        time.sleep(max(0.0, began + first - time.monotonic()))
        pressed_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        if second is not None:
            try:
                process.wait(second)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
        try:
            process.wait(HANGS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        waited = time.monotonic() - pressed_at
        result = Path(folder, "run", "result.json").exists()
        return Press(process.returncode, errors.read_text(encoding="utf-8"), waited, result)


def command(words: str, folder: str) -> list[str]:
    return [sys.executable, "-m", "saiki", "run", *words.split(), "--out", f"{folder}/run"]
