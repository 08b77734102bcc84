"""Cross-validation: a run for each fold, and the means of their figures."""

import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence

from saiki import processes
from saiki.capabilities import Folds
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures
from saiki.runs.folder import RunFolder, folder_name
from saiki.runs.record import Options
from saiki.runs.run import QUIET, Outcome, run
from saiki.runs.summary import aligned


def cross_validate(
    experiment: Experiment, by: str, folder: RunFolder, options: Options = QUIET
) -> Outcome:
    """A run for each fold, each in its own folder below ``folder``, and the means of the figures.

    Raises:
        InputError: the experiment has no folds of that name, or the folder holds others.
    """
    by_fold: dict[str, Figures] = {}
    troubles = []
    folds = Folds.of(experiment).folds(by)
    begun_folders = {path.parent.name for path in folder.path.glob("*/config.json")}
    if unknown := begun_folders - {folder_name(changes) for changes in folds}:
        raise InputError(f"{folder.path / min(unknown)} is none of the folds by {by}")
    for changes in folds:
        label = ",".join(f"{name}={value}" for name, value in changes.items())
        if options.say and processes.is_first():
            options.say(f"\n{label}")
        fold = RunFolder(folder.path / folder_name(changes))
        setting = experiment.changed(changes)
        if fold.has_begun:
            fold.check(setting.name, setting.to_dict())
        if fold.is_finished:
            outcome = Outcome(fold, fold.figures, fold.trouble)
        else:
            try:
                outcome = run(setting, fold, None, options)
            except KeyboardInterrupt as stop:
                flags = f"--cross-validate {by} --out {shlex.quote(str(folder.path))} --resume"
                message = str(stop).partition("; go on with")[0]
                raise KeyboardInterrupt(
                    f"{message}; go on with the same command and {flags}"
                ) from None
        by_fold[label] = outcome.figures
        if outcome.trouble:
            troubles.append(f"{label}: {outcome.trouble}")
    trouble = "; ".join(troubles) or None
    if not processes.is_first():
        return Outcome(folder, {}, trouble)
    figures: Figures = {}
    for name in next(iter(by_fold.values())):
        values = [each[name] for each in by_fold.values() if each.get(name) is not None]
        if len(values) == len(by_fold):
            figures[name] = sum(values) / len(values)  # type: ignore[arg-type]
    for label, each in by_fold.items():
        figures[f"{experiment.score} {label}"] = each.get(experiment.score)
    deviation = _deviation([each.get(experiment.score) for each in by_fold.values()])
    if deviation is not None:
        figures[f"{experiment.score} deviation"] = deviation
    if options.say:
        options.say("")
        for line in _table(experiment, by_fold):
            options.say(line)
        options.say("")
    folder.write_result({**figures, "stopped": trouble})
    return Outcome(folder, figures, trouble)


def _table(experiment: Experiment, by_fold: Mapping[str, Figures]) -> Iterator[str]:
    """A row for each fold, and below them mean and deviation of what all of them have."""
    names = [
        name
        for name in dict.fromkeys((experiment.score, "loss", "train_loss", "seconds"))
        if all(each.get(name) is not None for each in by_fold.values())
    ]
    columns = [[each[name] for each in by_fold.values()] for name in names]
    rows = [["fold", *names]]
    rows += [[label, *(f"{each[name]:.4g}" for name in names)] for label, each in by_fold.items()]
    rows += [["mean", *(f"{sum(c) / len(c):.4g}" for c in columns)]]  # type: ignore[arg-type]
    rows += [["deviation", *(f"{_deviation(column) or 0:.2g}" for column in columns)]]
    return aligned(rows)


def _deviation(values: Sequence[float | None]) -> float | None:
    """That of a sample (n − 1); None where a value is missing, or one stands alone."""
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) == len(values) > 1 else None
