"""Trying: a grid of settings, each with several seeds, compared; and the claims they decide."""

import csv
import io
import itertools
import math
import multiprocessing
import os
import signal
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tqdm import tqdm

from saiki import session
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Trial
from saiki.files import to_json, write_json, write_text
from saiki.knobs import Value
from saiki.plots.curves import draw_curves, loss_curve
from saiki.record import Options
from saiki.runs import RunFolder

Changes = dict[str, Value]
Row = dict[str, Value | float | None]


@dataclass(frozen=True)
class Task:
    """One run of a sweep: all that a process needs to know of it."""

    experiment: Experiment
    folder: RunFolder
    preset: str | None
    watch: bool

    def run(self) -> None:
        session.run(self.experiment, self.folder, self.preset, Options(watch=self.watch))

    @property
    def figures(self) -> Figures:
        """What came of it, once its folder is finished."""
        return self.folder.figures | {"stopped": float(self.folder.result["stopped"] is not None)}


Runner = Callable[[Sequence[Task]], Iterator[Task]]
"""Runs tasks, several at a time, and yields each of them when its folder is finished."""


@dataclass(frozen=True)
class Setting:
    """One row of the table: what it changes, and the experiment of each seed."""

    changes: Changes
    experiments: tuple[Experiment, ...]

    @property
    def label(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.changes.items()) or "as preset"


def grid(experiment: type[Experiment], words: Sequence[str]) -> list[Changes]:
    """The settings that ``knob=a,b,c`` words span, in their order.

    Raises:
        InputError: a word is not of that form, or names a knob or value that is not allowed.
    """
    axes: dict[str, list[Value]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not (name and equals and values):
            raise InputError(f"expected knob=value,value, got {word!r}")
        knob = experiment.knob(name)
        if knob.name in axes:
            raise InputError(f"{knob.name} is given twice; write {knob.name}=a,b")
        if knob.name == "seed":
            raise InputError("seeds are counted with --seeds N, not listed")
        axes[knob.name] = [knob.parse(value) for value in values.split(",")]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def settings(
    experiment: type[Experiment], preset: str | None, changes: Sequence[Changes], seeds: int
) -> list[Setting]:
    """Each of ``changes`` to the preset, with the seeds 0 to ``seeds − 1``; repetitions once."""
    start = experiment.preset(preset)
    found: dict[str, Setting] = {}
    for change in changes:
        members = tuple(
            experiment.from_dict({**start, **change, "seed": seed}) for seed in range(seeds)
        )
        found.setdefault(_identity(members[0]), Setting(change, members))
    return list(found.values())


def run_all(
    rows: Sequence[Setting], out: RunFolder, preset: str | None, watch: bool, run: Runner
) -> list[Trial]:
    """Have ``run`` do every seed of every setting below ``out``, but for those finished there."""
    tasks = [
        [
            Task(member, RunFolder(out.path / folder_name(row, seed)), preset, watch)
            for seed, member in enumerate(row.experiments)
        ]
        for row in rows
    ]
    every = [task for its in tasks for task in its]
    left = [task for task in every if not task.folder.is_finished]
    for task in every:
        if task.folder.has_begun:
            task.folder.check(task.experiment.name, task.experiment.to_dict())
    with tqdm(
        total=len(every), initial=len(every) - len(left), unit="run", disable=None, leave=False
    ) as bar:
        for _ in run(left):
            bar.update()
    return [
        Trial(row.experiments[0].to_dict(), tuple(task.figures for task in its))
        for row, its in zip(rows, tasks, strict=True)
    ]


@contextmanager
def processes(jobs: int) -> Iterator[Runner]:
    """Runs in processes of their own on this machine, ``jobs`` at a time."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _begin, (threads,))

    def run(tasks: Sequence[Task]) -> Iterator[Task]:
        left, running = deque(tasks), dict[Future[None], Task]()
        while left or running:
            while left and len(running) < jobs:  # what waits in a queue could not be called off
                task = left.popleft()
                running[pool.submit(task.run)] = task
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                future.result()
                yield running.pop(future)

    try:
        yield run
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """A process of the pool: it is stopped by Ctrl-C while it runs, and not while it waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def folder_name(row: Setting, seed: int) -> str:
    return ",".join([*(f"{k}={v}" for k, v in row.changes.items()), f"seed={seed}"])


def table(rows: Sequence[Setting], trials: Sequence[Trial]) -> list[Row]:
    """What each setting changed, then mean and standard deviation over seeds of each figure.

    The deviation is that of a sample (n − 1), and 0 for one seed. A figure that some run lacks, or
    that is not finite, is null.
    """
    found = []
    for row, trial in zip(rows, trials, strict=True):
        line: Row = dict(row.changes)
        for figure in trial.results[0]:
            values = trial.values(figure)
            finite = all(math.isfinite(v) for v in values)
            deviation = statistics.stdev(values) if finite and len(values) > 1 else 0.0
            line[f"{figure}_mean"] = trial.mean(figure) if finite else None
            line[f"{figure}_std"] = deviation if finite else None
        found.append(line)
    return found


def save(out: RunFolder, rows: Sequence[Setting], lines: Sequence[Row]) -> list[Path]:
    """Write ``table.json``, ``table.csv``, the loss curves of all settings over each other, and the
    pictures of the experiment itself."""
    buffer = io.StringIO()
    columns = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_json(out.path / "table.json", list(lines))
    write_text(out.path / "table.csv", buffer.getvalue())
    members = {
        row.label: [
            loss_curve(RunFolder(out.path / folder_name(row, seed)).points())
            for seed in range(len(row.experiments))
        ]
        for row in rows
    }
    picture = draw_curves(out.path / "loss.png", members, ylabel="training loss")
    means = {
        row.label: {
            n.removesuffix("_mean"): cast(float | None, v)
            for n, v in line.items()
            if n.endswith("_mean")
        }
        for row, line in zip(rows, lines, strict=True)
    }
    more = rows[0].experiments[0].beside(means, out.path)
    return [out.path / "table.json", out.path / "table.csv", picture, *more]


def verdicts(
    experiment: type[Experiment], rows: Sequence[Setting], trials: Sequence[Trial]
) -> Iterator[tuple[Claim, bool, str]]:
    """Each claim whose settings are all among ``rows``: whether it holds, and the figures."""
    known = {_identity(row.experiments[0]): trial for row, trial in zip(rows, trials, strict=True)}
    for claim in experiment.claims:
        needed = settings(experiment, claim.preset, _changes(claim), 1)
        found = [known.get(_identity(setting.experiments[0])) for setting in needed]
        if all(trial is not None for trial in found):
            yield claim, *claim.judge([trial for trial in found if trial is not None])


def claim_settings(experiment: type[Experiment], seeds: int) -> list[Setting]:
    """What the claims of the experiment need, each setting once."""
    found: dict[str, Setting] = {}
    for claim in experiment.claims:
        for setting in settings(experiment, claim.preset, _changes(claim), seeds):
            named = {"preset": claim.preset, **setting.changes}
            found.setdefault(_identity(setting.experiments[0]), Setting(named, setting.experiments))
    return list(found.values())


def _changes(claim: Claim) -> list[Changes]:
    return [dict(change) for change in claim.changes]


def _identity(experiment: Experiment) -> str:
    knobs: Mapping[str, Any] = experiment.to_dict()
    return to_json({name: value for name, value in knobs.items() if name != "seed"})


def show(lines: Sequence[Row], figures: Sequence[str], say: Callable[[str], None]) -> None:
    """Print the table as columns: the varied knobs, then mean ± deviation of ``figures``."""
    knobs = list(
        dict.fromkeys(n for line in lines for n in line if not n.endswith(("_mean", "_std")))
    )
    cells = [[*knobs, *figures]]
    for line in lines:
        shown = [str(line.get(knob, "")) for knob in knobs]
        cells.append([*shown, *(_mean_and_deviation(line, figure) for figure in figures)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _mean_and_deviation(line: Row, figure: str) -> str:
    mean, deviation = line.get(f"{figure}_mean"), line.get(f"{figure}_std")
    if not isinstance(mean, float | int) or not isinstance(deviation, float | int):
        return "not finite"
    return f"{mean:.4g} ± {deviation:.2g}"
