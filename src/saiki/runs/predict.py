"""What the model of a run makes of inputs: words, files, folders, the microphone."""

import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from torch import nn

from saiki.capabilities import DrawsAnswers
from saiki.data.text.plain_text import decoded_lines
from saiki.errors import InputError
from saiki.experiment import Experiment
from saiki.input_kind import InputKind, exists
from saiki.knobs import Value
from saiki.prediction import FileOutput, Prediction
from saiki.runs.folder import RunFolder
from saiki.runs.reopen import AS_TRAINED, in_use


def predict(
    run: Path,
    words: Sequence[str],
    knobs: Mapping[str, Value] = AS_TRAINED,
    *,
    seconds: float | None = None,
    out: Path | None = None,
    picture: Path | None = None,
) -> Iterator[Prediction | InputError]:
    """What the model of a run makes of each input, or why it makes nothing of it.

    Args:
        run: its folder.
        words: inputs, or paths that stand for several, as :attr:`Experiment.takes` says; ``-``
            stands for the lines of standard input.
        knobs: of :attr:`Experiment.predict_knobs`, where they are to differ from the run's.
        seconds: of the microphone that are recorded, the first input.
        out: folder for outputs that are images or sounds, each called as its input, where no file
            is replaced; ``predictions`` in the run without it.
        picture: a file in which is drawn how the model comes to its predictions.

    Raises:
        InputError: there is no such run or knob; an output would be written over what is read; a
            word looks like a path and is none; there is nothing to listen to, or standard input is
            closed; there is no such picture; or, when it comes to that, a file or the standard
            input cannot be read.
        SaikiError: an output cannot be written.
    """
    check_outputs((out, picture), words)
    experiment, model = in_use(run, knobs)
    for word in words:
        experiment.takes.check(word)
    if "-" in words and sys.stdin is None:
        raise InputError("standard input is closed, so - has no lines to read")
    if seconds is not None and experiment.takes.record is None:
        raise InputError(f"{experiment.name} does not take sound, so there is nothing to listen to")
    folder = out or RunFolder.open(run).of_answers
    return _predictions(experiment, model, words, seconds, folder, picture)


def check_outputs(outputs: Iterable[Path | None], words: Sequence[str]) -> None:
    """Whether nothing that is read would be written over.

    Raises:
        InputError: one of the outputs is a file among what is read.
    """
    files = [Path(word) for word in words if exists(word)]
    for path in outputs:
        if path is not None and path.is_file() and any(map(path.samefile, files)):
            raise InputError(f"{path} is what is read; have the answer written to another file")


def _predictions(
    experiment: Experiment,
    model: nn.Module,
    words: Sequence[str],
    seconds: float | None,
    folder: Path,
    picture: Path | None,
) -> Iterator[Prediction | InputError]:
    with ExitStack() as stack:
        if seconds is not None and experiment.takes.record is not None:
            recording = Path(stack.enter_context(tempfile.TemporaryDirectory()), "microphone.wav")
            experiment.takes.record(seconds, recording)
            words = [str(recording), *words]
        inputs = _expanded(experiment.takes, words)
        if picture:
            every = list(inputs)
            DrawsAnswers.of(experiment).draw_answers(model, every, picture)
            inputs = iter(every)
        is_typed = "-" in words and sys.stdin.isatty()
        size = 1 if is_typed else experiment.predict_batch
        while batch := list(itertools.islice(inputs, size)):
            for prediction in timed(experiment, model, batch):
                yield _saved(prediction, folder)


def _expanded(kind: InputKind, words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            for line in decoded_lines(sys.stdin.buffer, "standard input"):
                yield line.removeprefix("\ufeff")  # of a file that was piped
        else:
            yield from kind.expand(word)


def timed(
    experiment: Experiment, model: nn.Module, inputs: Sequence[str]
) -> list[Prediction | InputError]:
    """What a model makes of inputs, all at once, and the share of the time of each."""
    started = time.perf_counter()
    predictions = experiment.predict_all(model, inputs)
    seconds = (time.perf_counter() - started) / len(inputs)
    return [p if isinstance(p, InputError) else replace(p, seconds=seconds) for p in predictions]


def _saved(prediction: Prediction | InputError, folder: Path) -> Prediction | InputError:
    """The same with the path of a new file in place of an output that becomes one."""
    if isinstance(prediction, InputError) or not isinstance(prediction.output, FileOutput):
        return prediction
    output = prediction.output
    path = output.save(_unused(folder, Path(prediction.input).stem, output.ending))
    return replace(prediction, output=str(path), text=f"{prediction.text}; {path}")


def _unused(folder: Path, name: str, ending: str) -> Path:
    """The path of a file of this name, or of one with a number, where there is one already."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for each in names if not (path := folder / f"{each}{ending}").exists())
