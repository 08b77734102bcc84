"""One run: from knobs to a run folder with its figures, its model and its pictures."""

import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from saiki import lens, processes
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, placed
from saiki.experiments import load
from saiki.plots.curves import draw_curves, loss_curve
from saiki.plots.lens import draw_inside
from saiki.plots.training import draw_training
from saiki.record import Options, Record, Say, checkpoint, summary_writer
from saiki.runs import RunFolder
from saiki.saving import tensors
from saiki.saving.description import Described, describe
from saiki.saving.pretrained import WEIGHTS, of_run
from saiki.summary import summary
from saiki.training import Point, StoppedError, Training, device


@dataclass(frozen=True)
class Outcome:
    """A finished run."""

    folder: RunFolder
    figures: Figures
    trouble: str | None
    """Why the training stopped early, in one sentence."""


QUIET = Options()


def run(
    experiment: Experiment, folder: RunFolder, preset: str | None = None, options: Options = QUIET
) -> Outcome:
    """Train, evaluate and leave everything in ``folder``, or go on where the run there was left.

    Of several processes that train together, the first one alone writes and speaks.

    Args:
        preset: the name the knobs came from, for the record.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM came; all is saved, and the message says how to go on.
        InputError: the folder holds a run of other knobs, or a damaged checkpoint.
        SaikiError: a file cannot be written; the last checkpoint is whole.
    """
    if experiment.threads is not None:
        torch.set_num_threads(experiment.threads)
    if options.tensorboard:
        summary_writer()  # refused before anything is written
    if processes.is_first():
        folder.begin(experiment.name, preset, experiment.to_dict(), shlex.join(_command()))
    say = options.say if processes.is_first() else None
    left = checkpoint(experiment, folder)
    torch.manual_seed(experiment.seed)
    training = Training(experiment, experiment.model())
    record = Record(training, folder, options)
    record.restore(left)
    if say and (opening := experiment.opening()):
        say(opening + "\n")
    if say and training.step == 0:
        say(summary(training.model, placed(experiment.example(), training.model)) + "\n")
    elif say:
        say(f"goes on from iteration {training.step}")
    trouble = None
    with (
        _pausing(training),
        tqdm(total=experiment.iterations, disable=None if say else True, leave=False) as bar,
    ):

        def on_point(point: Point) -> None:
            record.add(point)
            bar.update(point.step - bar.n)
            if say and record.is_shown(point):
                bar.clear()
                shown = (f"{n} {point.figures[n]:.4f}" for n in experiment.shown)
                sample = experiment.sample(training.model)
                say(f"{point.step:>7}  {'  '.join(shown)}   {sample}".rstrip())

        try:
            training.run(on_point, record.keep, options.watch)
        except StoppedError as stopped:
            trouble = str(stopped)
    if trouble is None:
        record.save()
        if not training.has_ended:
            count = processes.count()
            program = f"torchrun --nproc-per-node {count} -m saiki" if count > 1 else "saiki"
            lens_too = " --lens" if options.watch else ""
            raise KeyboardInterrupt(
                f"stopped after iteration {training.step}, and nothing is lost; go on with: "
                f"{program} run {experiment.name} --out {shlex.quote(str(folder.path))} --resume"
                + lens_too
            )
    if not processes.is_first():
        return Outcome(folder, {}, trouble)
    return _finish(record, trouble, say)


def refuse(experiment: Experiment, options: Options, cross_validate: str | None = None) -> None:
    """Raise what a run would: of its data, the device, a missing package. Nothing is written."""
    if options.tensorboard:
        summary_writer()
    device(experiment.device)
    if cross_validate:
        experiment.folds(cross_validate)
    else:
        experiment.opening()


def _command() -> list[str]:
    return ["saiki", *sys.argv[1:]]


def _finish(record: Record, trouble: str | None, say: Say | None) -> Outcome:
    """Evaluate the trained model and write what remains of the folder; the result comes last."""
    experiment, folder, curve = record.experiment, record.folder, record.curve
    model = record.training.model.eval()  # after trouble it is as it was in training
    if not isinstance(model, Described):
        raise InputError(f"{type(model).__name__} must be Described, to be made again from its run")
    about = {"run": [experiment.name, experiment.to_dict()], "model": describe(model)}
    tensors.save(folder.path / WEIGHTS, model.state_dict(), about)
    judged = _judged(experiment, model, trouble)
    figures: Figures = {
        **({experiment.score: None} if judged is None else judged),
        **experiment.summarise(curve),
        "train_loss": curve[-1]["loss"] if curve else None,
        "gradient_norm_max": max((point["gradient_norm"] for point in curve), default=None),
        "iterations": record.training.step + (trouble is not None),
        "seconds": record.seconds,
    }
    points = folder.points()
    pictures = draw_training(folder.path, points)
    if judged is not None:
        pictures += experiment.draw(model, points, folder.path)
    if record.history:
        pictures.append(draw_inside(folder.path / "lens.png", record.history, experiment.name))
    if record.board is not None:
        record.board.close()
    folder.write_result({**figures, "stopped": trouble})
    if say:
        inside = lens.describe(record.history) if record.history else None
        remarks = "" if judged is None else experiment.remarks(model)
        for line in (trouble, inside, remarks, *map(str, pictures)):
            if line:
                say(line)
    return Outcome(folder, figures, trouble)


def _judged(experiment: Experiment, model: nn.Module, trouble: str | None) -> Figures | None:
    """The figures of the model; None where its training stopped in trouble and its weights, which
    are no numbers, give none."""
    try:
        return experiment.evaluate(model)
    except InputError:
        if trouble is None:
            raise
        return None


def cross_validate(
    experiment: Experiment, by: str, folder: RunFolder, options: Options = QUIET
) -> Outcome:
    """A run for each fold, each in its own folder below ``folder``, and the means of the figures.

    Raises:
        InputError: the experiment has no folds of that name.
    """
    found: dict[str, Figures] = {}
    troubles = []
    for changes in experiment.folds(by):
        label = ",".join(f"{name}={value}" for name, value in changes.items())
        if options.say and processes.is_first():
            options.say(f"\n{label}")
        fold = RunFolder(folder.path / label.replace("/", "_"))
        setting = experiment.from_dict({**experiment.to_dict(), **changes})
        if fold.has_begun:
            fold.check(setting.name, setting.to_dict())
        if fold.is_finished:
            outcome = Outcome(fold, fold.figures, fold.result["stopped"])
        else:
            try:
                outcome = run(setting, fold, None, options)
            except KeyboardInterrupt as stop:
                again = f"--cross-validate {by} --out {shlex.quote(str(folder.path))} --resume"
                said = str(stop).partition("; go on with")[0]
                raise KeyboardInterrupt(
                    f"{said}; go on with the same command and {again}"
                ) from None
        found[label] = outcome.figures
        if outcome.trouble:
            troubles.append(f"{label}: {outcome.trouble}")
    trouble = "; ".join(troubles) or None
    if not processes.is_first():
        return Outcome(folder, {}, trouble)
    figures: Figures = {}
    for name in next(iter(found.values())):
        values = [its[name] for its in found.values() if its.get(name) is not None]
        if len(values) == len(found):
            figures[name] = sum(values) / len(values)  # type: ignore[arg-type]
    for label, its in found.items():
        figures[f"{experiment.score} {label}"] = its[experiment.score]
    folder.write_result({**figures, "stopped": trouble})
    return Outcome(folder, figures, trouble)


@contextmanager
def _pausing(training: Training) -> Iterator[None]:
    """Ctrl-C and SIGTERM let the iteration end first; a second one does not wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pause(*_: object) -> None:
        if training.interrupted:
            raise KeyboardInterrupt("stopped at once; what was saved before is whole")
        training.interrupted = True

    before = {number: signal.signal(number, pause) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def compare(folders: Sequence[Path], picture: Path) -> Iterator[str]:
    """What differs between runs, line by line; draws their loss curves over each other."""
    runs = [RunFolder.open(path) for path in folders]
    width = max(len(str(path)) for path in folders)
    yield " " * 24 + "  ".join(f"{path!s:>{width}}" for path in folders)
    for title, tables in (
        ("settings", [settings_of(run) for run in runs]),
        ("figures", [run.result for run in runs]),
    ):
        yield title
        for name in dict.fromkeys(name for table in tables for name in table):
            values = [_shown(table.get(name)) for table in tables]
            if len(set(values)) > 1:
                yield f"  {name:<22}" + "  ".join(f"{value:>{width}}" for value in values)
    lines = {str(run.path): [loss_curve(run.points())] for run in runs}
    yield str(draw_curves(picture, lines, ylabel="training loss"))
    experiment = load(settings_of(runs[0])["experiment"])
    for each in experiment.beside({str(r.path): r.figures for r in runs}, picture.parent):
        yield str(each)


def settings_of(run: RunFolder) -> dict[str, Any]:
    """The experiment and its knobs, as the run recorded them."""
    config = run.config
    knobs = config.get("knobs")
    if "experiment" not in config or not isinstance(knobs, dict):
        raise InputError(f"{run.path / 'config.json'} is not the record of a run")
    return {"experiment": config["experiment"], **knobs}


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)


def reopen(path: Path) -> tuple[Experiment, nn.Module]:
    """The experiment and the trained model of a run folder.

    Raises:
        InputError: there is no run, or its files are damaged or do not fit each other.
    """
    run = RunFolder.open(path)
    experiment, recorded = setting_of(run), settings_of(run)
    model, about = of_run(path)
    if about.get("run") != [recorded.pop("experiment"), recorded]:
        raise InputError(f"{path / WEIGHTS} does not hold the weights of this run, but of another")
    return experiment, model


def setting_of(run: RunFolder) -> Experiment:
    """The experiment of a run, with its knobs."""
    settings = settings_of(run)
    return load(settings.pop("experiment")).from_dict(settings)
