"""Random cells, each compiled in a process of its own kind and held to the eager loop.

A cell that gives other numbers, has a kernel that its own trial disproved, ends in an exception,
ends the process, or takes too long is a fault; its source is printed with all statements left out
that the fault does not need.
"""

import argparse
import collections
import multiprocessing
import re
import sys
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

FAULTS = ("wrong", "disproved", "crash", "hang")


def add(attacks: Any) -> None:
    parser = attacks.add_parser("random", help="random cells, each from a number")
    parser.add_argument("--count", type=int, default=1000, help="how many cells")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one cell")
    parser.add_argument("--show", type=int, default=20, help="faults of a kind to make small")
    parser.add_argument("--print-source", action="store_true", help="print the cells, run none")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Try the cells one after the other; 1 if there is a fault."""
    from compiler.random_cells import generate

    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    worker, began = Worker(arguments.limit), time.monotonic()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        cell = generate(seed)
        if arguments.print_source:
            print(f"# {seed}\n{cell.source}")
            continue
        kind, why = worker.judge(cell.source, seed)
        counts[kind, _alike(why)] += 1
        if kind in (*FAULTS, "invalid") and counts[kind, _alike(why)] <= arguments.show:
            small = shrunk(cell, seed, kind, why, worker)
            why = worker.judge(small.source, seed)[1]
            print(f"# {seed} {kind}: {why}\n{small.source}", flush=True)
    worker.end()
    for kind in ("compiled", "eager", *FAULTS, "invalid"):
        whys = {why: n for (k, why), n in counts.items() if k == kind}
        print(f"{sum(whys.values()):6} {kind}")
        for why, n in sorted(whys.items(), key=lambda item: -item[1]):
            if why:
                print(f"{n:13} {why}")
    print(f"{time.monotonic() - began:.0f} s")
    return any(kind in FAULTS for kind, _ in counts)


def shrunk(cell: Any, seed: int, kind: str, why: str, worker: "Worker") -> Any:
    """The cell without the statements that are not needed for a fault of that kind."""
    going = True
    while going:
        going = False
        for smaller in cell.smaller():
            outcome, reason = worker.judge(smaller.source, seed)
            if outcome == kind and _alike(reason) == _alike(why):
                cell, going = smaller, True
                break
    return cell


def _alike(why: str) -> str:
    """The beginning of a message, the same for all cells."""
    short = re.sub(r" at <random.*| in step at .*", "", why.splitlines()[0] if why else "")
    short = re.sub(r"^.* is (off|\S+ instead)", r"a value is \1", short)
    return re.sub(r"-?\d+(\.\d+)?(e[-+]\d+)?", "N", short)[:100]


class Worker:
    """A process that judges cells, and is ended and begun again when one takes too long."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.known: dict[tuple[str, int], tuple[str, str]] = {}
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def judge(self, source: str, seed: int) -> tuple[str, str]:
        """What became of the cell, and why."""
        key = source, seed
        if key not in self.known:
            self.known[key] = self._judge(source, seed)
        return self.known[key]

    def _judge(self, source: str, seed: int) -> tuple[str, str]:
        self.pipe.send((source, seed))
        if not self.pipe.poll(self.limit):
            self.process.kill()
            self._begin()
            return "hang", f"more than {self.limit} seconds"
        try:
            outcome: tuple[str, str] = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            self._begin()
            return "crash", f"the process ended with {code}"
        return outcome

    def end(self) -> None:
        self.pipe.close()
        self.process.join()


def _work(pipe: Connection) -> None:
    """Judge what comes through the pipe until it is closed."""
    import torch

    from compiler.random_cells import DISPROVED, UnfitError, judge

    torch.set_num_threads(1)
    pipe.send("ready")
    while True:
        try:
            source, seed = pipe.recv()
        except EOFError:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                why = judge(source, seed)
            outcome = ("disproved" if DISPROVED in why else "eager" if why else "compiled"), why
        except UnfitError as error:
            outcome = "invalid", str(error)
        except AssertionError as error:
            outcome = "wrong", str(error)
        except Exception as error:
            outcome = "crash", f"{type(error).__name__}: {error}"
        pipe.send(outcome)
