"""One run: from knobs to a run folder with its figures, its model and its pictures."""

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from saiki import lens, processes, progress
from saiki.capabilities import Describes, Draws, Folds, Samples, Settles, Summarises
from saiki.errors import InputError, OutputError, SaikiError
from saiki.experiment import Experiment, Figures, placed
from saiki.lens.drawing import draw_inside
from saiki.plots.training import draw_training
from saiki.runs.folder import RunFolder
from saiki.runs.record import CHECKPOINT, Options, Outlook, Record, Say, checkpoint, summary_writer
from saiki.runs.summary import summary, too_few
from saiki.saving import tensors
from saiki.saving.description import Described, describe
from saiki.saving.pretrained import WEIGHTS
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
        OutputError: the same of standard output, after a checkpoint.
    """
    if options.tensorboard:
        summary_writer()  # refused before anything is written
    with _nothing_left(folder), folder.locked() if processes.is_first() else nullcontext():
        if processes.is_first():
            folder.begin(
                experiment.name, preset, experiment.to_dict(), shlex.join(["saiki", *sys.argv[1:]])
            )
        contents = checkpoint(experiment, folder)
        if contents is not None and contents[1]["processes"] != processes.count():
            raise InputError(
                f"{folder.path} was begun by {contents[1]['processes']} processes and must go on "
                f"with as many, got {processes.count()}"
            )
        with _record(experiment, folder, options, contents) as (record, line, say):
            if say:
                _introduce(record.training, say)
            trouble = _train(record, line, say)
            if trouble is None:
                record.save()
                if not record.training.has_ended:
                    if not options.finish_on_interrupt:
                        raise KeyboardInterrupt(_how_to_go_on(record))
                    record.training.finish()
            return _finish(record, trouble, line, say)


@contextmanager
def _nothing_left(folder: RunFolder) -> Iterator[None]:
    """Remove what a run has written that fails before its first checkpoint."""
    is_begun = folder.has_begun
    try:
        yield
    except (SaikiError, MemoryError, RuntimeError, OSError, KeyboardInterrupt):
        if not (is_begun or (folder.path / CHECKPOINT).exists()) and processes.is_first():
            folder.discard()
        raise


def finish(experiment: Experiment, folder: RunFolder, options: Options = QUIET) -> Outcome:
    """Use the model of a run that was paused as it is: evaluate it, as if the training had ended.

    Raises:
        InputError: there is no checkpoint, or it is damaged.
    """
    with folder.locked():
        contents = checkpoint(experiment, folder)
        if contents is None:
            raise InputError(f"{folder.path} has no checkpoint yet, so there is no model to use")
        with _record(experiment, folder, options, contents) as (record, line, say):
            record.training.finish()
            return _finish(record, None, line, say)


@contextmanager
def _record(
    experiment: Experiment, folder: RunFolder, options: Options, contents: tensors.Contents | None
) -> Iterator[tuple[Record, progress.Line, Say | None]]:
    """The training as it was left, the line that tells how far it is, and who is told of it."""
    if experiment.threads is not None:
        torch.set_num_threads(experiment.threads)
    say = options.say if processes.is_first() else None
    torch.manual_seed(experiment.seed)
    training = Training(experiment, experiment.model())
    if options.watch and not lens.watchable(training.model):
        raise InputError(
            f"the lens looks at recurrent layers, and the model of {experiment.name} has none; "
            "leave out --lens"
        )
    record = Record(training, folder, options)
    record.restore(contents)
    with progress.line(say is not None) as line:
        yield record, line, say and line.clearing(say)


def refuse(experiment: Experiment, options: Options, cross_validate: str | None = None) -> None:
    """Raise what a run would: of its data, the device, a missing package. Nothing is written."""
    if options.tensorboard:
        summary_writer()
    device(experiment.device)
    if cross_validate:
        Folds.of(experiment).folds(cross_validate)
    else:
        experiment.describe_data()
    experiment.iterations  # noqa: B018  # epochs without a length are refused


def _how_to_go_on(record: Record) -> str:
    out = shlex.quote(str(record.folder.path))
    return (
        f"stopped after iteration {record.training.step}, and nothing is lost; go on with: "
        f"{_command_to_go_on(record)}; or use it as it is with: saiki finish {out}"
    )


def _command_to_go_on(record: Record) -> str:
    count = processes.count()
    program = f"torchrun --nproc-per-node {count} -m saiki" if count > 1 else "saiki"
    out = shlex.quote(str(record.folder.path))
    watch = " --lens" if record.options.watch else ""
    return f"{program} run {record.experiment.name} --out {out} --resume{watch}"


def _introduce(training: Training, say: Say) -> None:
    """Say what the data are, and the layers of the model or from where the training goes on."""
    experiment, model = training.experiment, training.model
    if opening := experiment.describe_data():
        say(opening + "\n")
    for remark in too_few(experiment.data):
        say(remark + "\n")
    if training.step == 0:
        say(summary(model, placed(experiment.data.example(), model)) + "\n")
    else:
        say(f"goes on from iteration {training.step}")


def _train(record: Record, line: progress.Line, say: Say | None) -> str | None:
    """Train until the end or a pause; the sentence that says why it stopped in trouble."""
    training, experiment = record.training, record.experiment
    outlook = Outlook(training, say)
    line.stage = outlook.line
    with _pausing(training):

        def on_point(point: Point) -> None:
            record.add(point)
            if say and record.is_shown(point):
                figures = point.figures
                shown = (
                    f"{name} {figures[name]:.4f}" for name in experiment.shown if name in figures
                )
                sample = ""
                if isinstance(experiment, Samples):
                    sample = experiment.sample(training.model)
                say(f"{point.step:>7}  {'  '.join(shown)}   {sample}".rstrip())

        def after_step() -> None:
            record.keep()
            outlook.tell()

        try:
            training.run(on_point, after_step, record.options.watch)
        except StoppedError as stopped:
            return str(stopped)
        except (OutputError, BrokenPipeError) as error:
            record.save()
            if isinstance(error, BrokenPipeError):
                raise
            raise OutputError(f"{error}; go on with: {_command_to_go_on(record)}") from None
    return None


def _finish(record: Record, trouble: str | None, line: progress.Line, say: Say | None) -> Outcome:
    """Evaluate the trained model and write what remains of the folder; the result comes last."""
    if not record.writes:
        return Outcome(record.folder, {}, trouble)
    step = record.training.step
    line.stage = lambda: f"iteration {step:,} was the last; evaluates"
    experiment, folder, curve = record.experiment, record.folder, record.curve
    model = record.training.model.eval()  # after trouble it is as it was in training
    if not isinstance(model, Described):
        raise InputError(f"{type(model).__name__} must be Described, to be made again from its run")
    if trouble is None and isinstance(experiment, Settles):
        experiment.settle(model)
    about = {"run": [experiment.name, experiment.to_dict()], "model": describe(model)}
    tensors.save(folder.path / WEIGHTS, model.state_dict(), about)
    evaluated = _evaluated(experiment, model, trouble)
    figures: Figures = {
        **({experiment.score: None} if evaluated is None else evaluated),
        **(experiment.summarise(curve) if isinstance(experiment, Summarises) else {}),
        "train_loss": curve[-1]["loss"] if curve else None,
        "gradient_norm_max": max(
            (point["gradient_norm"] for point in curve if "gradient_norm" in point), default=None
        ),
        "iterations": record.training.step + (trouble is not None),
        "seconds": record.seconds,
    }
    points = folder.points()
    pictures = draw_training(folder.path, points, experiment.title)
    if evaluated is not None and isinstance(experiment, Draws):
        pictures += experiment.draw(model, points, folder.path)
    if record.history:
        pictures.append(draw_inside(folder.path / "lens.png", record.history, experiment.title))
    if record.board is not None:
        record.board.close()
    folder.write_result({**figures, "stopped": trouble})
    if say:
        lens_words = lens.describe(record.history) if record.history else None
        remarks = ""
        if evaluated is not None and isinstance(experiment, Describes):
            remarks = experiment.describe_model(model)
        for text in (trouble, lens_words, remarks, *map(str, pictures)):
            if text:
                say(text)
    return Outcome(folder, figures, trouble)


def _evaluated(experiment: Experiment, model: nn.Module, trouble: str | None) -> Figures | None:
    """The figures of the model; None where its training stopped in trouble and its weights, which
    are no numbers, give none."""
    try:
        return experiment.evaluate(model)
    except InputError:
        if trouble is None:
            raise
        return None


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
