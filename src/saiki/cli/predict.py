"""``saiki predict``: the trained model on your input."""

import itertools
import shlex
from pathlib import Path

from saiki.cli.common import seconds
from saiki.cli.trained import Printer, outline_of, parsed, run_parser
from saiki.errors import InputError
from saiki.terminal import say

FORMER_FLAGS = {"--score": "score", "--follow": "follow"}
"""What has become a command of its own."""


def main(words: list[str]) -> int:
    _refuse_former_flags(words)
    parser = run_parser("predict", "What a trained model makes of your input.")
    help = (
        "such as '37 + 58', the path of a sound, of an image, of a table or of a file of "
        "sentences, a folder of any of them, or - for the lines of standard input"
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=help)
    help = "listen to the microphone for S seconds (2); pip install 'saiki[microphone]'"
    parser.add_argument("--mic", type=seconds, nargs="?", const=2.0, metavar="S", help=help)
    help = (
        "draw its forecasts, or how it comes to its answers, where a model pays attention to a "
        "text or draws"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help=help)
    help = (
        "folder for answers that are images or sounds, predictions in RUN without; or file for "
        "answers that are rows of a table, .csv or .tsv"
    )
    parser.add_argument("--out", type=Path, metavar="PATH", help=help)
    options, knobs = parsed(parser, words)
    if not options.inputs and options.mic is None:
        _refuse_former_chat(options.run)
        parser.error("give an INPUT at least, or --mic")
    from saiki.data.series.forecast_rows import ForecastRow, write_rows
    from saiki.runs.predict import predict

    printer, rows = Printer("predict", options.json), list[ForecastRow]()
    outputs = {"out": options.out, "picture": options.picture}
    for prediction in predict(options.run, options.inputs, knobs, seconds=options.mic, **outputs):
        printer.show(prediction)
        rows += [] if isinstance(prediction, InputError) else prediction.rows
    if rows and options.out:
        path = write_rows(options.out, rows)
        if not options.json:
            say(path)
    return printer.code


def _refuse_former_flags(words: list[str]) -> None:
    flags = [*itertools.takewhile(lambda word: word != "--", words)]
    for flag, command in FORMER_FLAGS.items():
        if flag in flags:
            _refuse_former([command, *(word for word in words if word != flag)])


def _refuse_former_chat(path: Path) -> None:
    from saiki.runs.folder import RunFolder

    if outline_of(RunFolder.open(path)).takes == "dialogue":
        _refuse_former(["chat", str(path)])


def _refuse_former(words: list[str]) -> None:
    raise InputError(f"{shlex.join(['saiki', *words])} does that now")
