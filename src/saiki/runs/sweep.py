"""Trying: a grid of settings, each with several seeds, compared; and the claims they decide."""

import csv
import io
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from saiki import progress
from saiki.capabilities import DrawsComparisons
from saiki.experiment import Claim, Experiment, Figures, Trial
from saiki.files import to_json, write_json, write_text
from saiki.knobs import Value
from saiki.plots.curves import draw_curves, loss_curve
from saiki.runs.folder import RunFolder, folder_name
from saiki.runs.record import Options
from saiki.runs.run import QUIET, run
from saiki.runs.summary import aligned

Changes = dict[str, Value]
Line = dict[str, Value | float | None]


@dataclass(frozen=True)
class Job:
    """One run of a sweep: all that a process needs to know of it."""

    experiment: Experiment
    folder: RunFolder
    preset: str | None
    options: Options = QUIET

    def run(self) -> None:
        run(self.experiment, self.folder, self.preset, self.options)

    @property
    def figures(self) -> Figures:
        """What came of it, once its folder is finished."""
        return self.folder.figures | {"stopped": float(self.folder.trouble is not None)}


Runner = Callable[[Sequence[Job]], Iterator[Job]]
"""Runs jobs, several at a time, and yields each of them when its folder is finished."""


@dataclass(frozen=True)
class Setting:
    """One row of the table: what it changes, and the experiment of each seed."""

    changes: Changes
    experiments: tuple[Experiment, ...]

    @property
    def label(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.changes.items()) or "as preset"

    def folder_name(self, seed: int) -> str:
        """What the folder of the run with this seed is called."""
        return folder_name({**self.changes, "seed": seed})


def settings(
    experiment: type[Experiment], preset: str | None, changes: Sequence[Changes], seeds: int
) -> list[Setting]:
    """Each of ``changes`` to the preset, with the seeds 0 to ``seeds − 1``; repetitions once."""
    start = experiment.preset(preset)
    by_identity: dict[str, Setting] = {}
    for change in changes:
        members = tuple(
            experiment.from_dict({**start, **change, "seed": seed}) for seed in range(seeds)
        )
        by_identity.setdefault(_identity(members[0]), Setting(change, members))
    return list(by_identity.values())


def run_all(
    rows: Sequence[Setting], out: RunFolder, preset: str | None, options: Options, runner: Runner
) -> list[Trial]:
    """Have every seed of every setting done below ``out``, but for those finished there."""
    jobs = [
        [
            Job(member, RunFolder(out.path / row.folder_name(seed)), preset, options)
            for seed, member in enumerate(row.experiments)
        ]
        for row in rows
    ]
    every = [job for row_jobs in jobs for job in row_jobs]
    waiting = [job for job in every if not job.folder.is_finished]
    for job in every:
        if job.folder.has_begun:
            job.folder.check(job.experiment.name, job.experiment.to_dict())
    done, started = 0, monotonic()

    def stage() -> str:
        """Runs differ in length, so the time that is left follows from those that have ended."""
        seconds = monotonic() - started
        words = f"run {len(every) - len(waiting) + done + 1} of {len(every)}"
        words += f"  {progress.duration(seconds)}"
        if not done:
            return words
        return f"{words}  about {progress.duration(seconds / done * (len(waiting) - done))} left"

    with progress.line() as line:
        line.stage = stage
        for _ in runner(waiting):
            done += 1
    return [
        Trial(
            row.experiments[0].to_dict(),
            tuple(job.figures for job in row_jobs),
            tuple(job.folder.path for job in row_jobs),
        )
        for row, row_jobs in zip(rows, jobs, strict=True)
    ]


def table(rows: Sequence[Setting], trials: Sequence[Trial]) -> list[Line]:
    """What each setting changed, then mean and standard deviation over seeds of each figure.

    The deviation is that of a sample (n − 1), and 0 for one seed. A figure that some run lacks, or
    that is not finite, is null.
    """
    lines = []
    for row, trial in zip(rows, trials, strict=True):
        line: Line = dict(row.changes)
        for figure in trial.figures:
            values = trial.values(figure)
            finite = all(math.isfinite(v) for v in values)
            deviation = statistics.stdev(values) if finite and len(values) > 1 else 0.0
            line[f"{figure}_mean"] = trial.mean(figure) if finite else None
            line[f"{figure}_std"] = deviation if finite else None
        lines.append(line)
    return lines


def save(
    out: RunFolder, rows: Sequence[Setting], trials: Sequence[Trial], lines: Sequence[Line]
) -> list[Path]:
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
            loss_curve(RunFolder(out.path / row.folder_name(seed)).points())
            for seed in range(len(row.experiments))
        ]
        for row in rows
    }
    experiment = rows[0].experiments[0]
    title = experiment.title_of(*(each.to_dict() for row in rows for each in row.experiments))
    path = out.path / "loss.png"
    picture = draw_curves(path, members, ylabel="training loss", kind="magnitude", title=title)
    named = {row.label: trial for row, trial in zip(rows, trials, strict=True)}
    pictures = [picture]
    if isinstance(experiment, DrawsComparisons):
        pictures += experiment.compare_plots(named, out.path)
    return [out.path / "table.json", out.path / "table.csv", *pictures]


def verdicts(
    experiment: type[Experiment], rows: Sequence[Setting], trials: Sequence[Trial]
) -> Iterator[tuple[Claim, bool, str]]:
    """Each claim whose settings are all among ``rows``: whether it holds, and the figures."""
    known = {_identity(row.experiments[0]): trial for row, trial in zip(rows, trials, strict=True)}
    for claim in experiment.claims:
        needed = settings(experiment, claim.preset, _changes(claim), 1)
        needed_trials = [known.get(_identity(setting.experiments[0])) for setting in needed]
        if all(trial is not None for trial in needed_trials):
            yield claim, *claim.judge([trial for trial in needed_trials if trial is not None])


def claim_settings(experiment: type[Experiment], seeds: int) -> list[Setting]:
    """What the claims of the experiment need, each setting once."""
    by_identity: dict[str, Setting] = {}
    for claim in experiment.claims:
        for setting in settings(experiment, claim.preset, _changes(claim), seeds):
            named = {"preset": claim.preset, **setting.changes}
            by_identity.setdefault(
                _identity(setting.experiments[0]), Setting(named, setting.experiments)
            )
    return list(by_identity.values())


def _changes(claim: Claim) -> list[Changes]:
    return [dict(change) for change in claim.changes]


def _identity(experiment: Experiment) -> str:
    knobs: Mapping[str, Any] = experiment.to_dict()
    return to_json({name: value for name, value in knobs.items() if name != "seed"})


def show(lines: Sequence[Line], figures: Sequence[str], say: Callable[[str], None]) -> None:
    """Print the table as columns: the varied knobs, then mean ± deviation of ``figures``, but for
    those that no run has."""
    figures = [name for name in figures if any(f"{name}_mean" in line for line in lines)]
    knobs = list(
        dict.fromkeys(n for line in lines for n in line if not n.endswith(("_mean", "_std")))
    )
    cells = [[*knobs, *figures]]
    for line in lines:
        shown = [str(line.get(knob, "")) for knob in knobs]
        cells.append([*shown, *(_mean_and_deviation(line, figure) for figure in figures)])
    for row in aligned(cells):
        say(row)


def _mean_and_deviation(line: Line, figure: str) -> str:
    mean, deviation = line.get(f"{figure}_mean"), line.get(f"{figure}_std")
    if not isinstance(mean, float | int) or not isinstance(deviation, float | int):
        return "not finite"
    return f"{mean:.4g} ± {deviation:.2g}"
