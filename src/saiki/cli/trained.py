"""What the commands share that use the model of a run: its knobs as flags, and how they print."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from saiki.cli.common import Parser, add_flags, cut, name_first
from saiki.errors import InputError
from saiki.files import to_json
from saiki.terminal import complain, say

if TYPE_CHECKING:
    from saiki.knobs import Value
    from saiki.outline import Outline
    from saiki.prediction import Prediction
    from saiki.runs.folder import RunFolder


def run_parser(command: str, description: str) -> Parser:
    """The parser of a command whose first word is a run folder."""
    parser = Parser(command, description)
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def parsed(parser: Parser, words: list[str]) -> "tuple[argparse.Namespace, dict[str, Value]]":
    """The options that the words give, and those knobs among them that may be changed when the
    model of the run is used."""
    run = _run([word for word in words if word not in ("-h", "--help")])
    knobs = []
    if run is not None:  # which knobs there are depends on it
        exercise = outline_of(run)
        knobs = [exercise.knob(name) for name in exercise.predict_knobs]
    add_flags(parser, knobs)
    options = parser.parse_intermixed_args(words)
    values = vars(options)
    return options, {knob.name: values[knob.name] for knob in knobs if knob.name in values}


def outline_of(run: "RunFolder") -> "Outline":
    """The exercise of a run, in outline."""
    from saiki.experiments import outlines

    return outlines.exercise(run.settings["experiment"])


def _run(words: list[str]) -> "RunFolder | None":
    """The first of the words that is a run; None where none of them is a word.

    Raises:
        InputError: none is a run.
    """
    from saiki.runs.folder import RunFolder

    for path in map(Path, words):
        with suppress(OSError):  # a text may be too long for a path
            if RunFolder(path).has_begun:
                return RunFolder(path)
    first, *_ = name_first(words) or [""]
    return RunFolder.open(Path(first)) if first and not first.startswith("-") else None


class Printer:
    """Prints predictions, and why there is none of an input.

    Args:
        command: that prints them.
    """

    def __init__(self, command: str, as_json: bool) -> None:
        self.command, self.as_json = command, as_json
        self.code = 0
        """With which the command ends."""
        self._remarks = set[str]()

    def show(self, prediction: "Prediction | InputError") -> None:
        """Print a prediction, or that there is none: the others are made all the same."""
        if isinstance(prediction, InputError):
            self.code = 2
            self._complain(cut(str(prediction)))
            return
        if prediction.remark and prediction.remark not in self._remarks:
            self._remarks.add(prediction.remark)
            self._complain(prediction.remark)
        if prediction.unknown:
            where = f"(in {prediction.input[:60]!r})"
            self._complain(f"unknown to the model: {' '.join(prediction.unknown)} {where}")
        lines = map(to_json, prediction.objects()) if self.as_json else [prediction.text]
        say("\n".join(lines))

    def _complain(self, sentence: str) -> None:
        complain(f"saiki {self.command}: {sentence}")
