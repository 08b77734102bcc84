"""``saiki predict``: the trained model on your input."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saiki.cli.common import Parser, add_flags, cut, seconds
from saiki.cli.result import in_words
from saiki.errors import InputError
from saiki.files import to_json
from saiki.terminal import complain, say

if TYPE_CHECKING:
    from torch import nn

    from saiki.experiment import Experiment
    from saiki.outline import Outline
    from saiki.runs.folder import RunFolder


def main(words: list[str]) -> int:
    parser = Parser("predict", "What a trained model makes of your input.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the run folder")
    help = (
        "such as '37 + 58', the path of a sound, of an image, of a table or of a file of "
        "sentences, a folder of any of them, or - for the lines of standard input"
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=help)
    help = "listen to the microphone for S seconds (2); pip install 'saiki[microphone]'"
    parser.add_argument("--mic", type=seconds, nargs="?", const=2.0, metavar="S", help=help)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    help = (
        "draw its forecasts, or how it comes to its answers, where a model pays attention to a "
        "text or draws"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help=help)
    help = "figures on the dialogues of INPUT, a file, in place of replies"
    parser.add_argument("--score", action="store_true", help=help)
    help = (
        "folder for answers that are images or sounds, predictions in DIR without; or file for "
        "answers that are rows of a table, .csv or .tsv"
    )
    parser.add_argument("--out", type=Path, metavar="PATH", help=help)
    help = "go on with rows of the table that come on standard input, the forecast after each"
    parser.add_argument("--follow", action="store_true", help=help)
    asked = [word for word in words if word not in ("-h", "--help")]
    if asked:  # which knobs there are depends on the run
        trained = _outline(_run(parser.parse_known_args(asked)[0].folder, asked))
        add_flags(parser, map(trained.knob, trained.predict_knobs))
    options = parser.parse_intermixed_args(words)
    talks = trained.takes == "dialogue" and not options.score
    needs = not (talks or options.follow)
    if not options.inputs and (options.score or options.mic is None) and needs:
        parser.error("give an INPUT at least, or --mic")
    unused = [flag for flag in ("mic", "picture", "out") if vars(options)[flag] is not None]
    if unused and (options.score or options.follow or (talks and not options.inputs)):
        what = (options.score and "--score") or (options.follow and "--follow") or "a conversation"
        parser.error(f"--{unused[0]} has no use beside {what}")
    if options.score and options.follow:
        parser.error("--score has no use beside --follow")
    from saiki.capabilities import DrawsAnswers
    from saiki.runs.folder import RunFolder
    from saiki.runs.predict import answers, check_outputs, inputs, write_rows
    from saiki.runs.reopen import reopen

    check_outputs((options.out, options.picture), options.inputs)
    experiment, model = reopen(options.folder)
    used = {
        name: value for name, value in vars(options).items() if name in experiment.predict_knobs
    }
    experiment = experiment.changed(used)
    if options.score:
        return _score(experiment, model, options.inputs, options.json)
    if options.follow:
        return _follow(experiment, model, options.inputs, options.json)
    if talks and not options.inputs:
        return _converse(experiment, model, options.json)
    said, table = _Said(options.json), list[dict[str, Any]]()
    with inputs(experiment, options.inputs, options.mic) as given:
        folder = options.out or RunFolder.open(options.folder).of_answers
        typed = "-" in options.inputs and sys.stdin.isatty()
        if options.picture:
            drawn = list(given)
            DrawsAnswers.of(experiment).draw_answers(model, drawn, options.picture)
            given = iter(drawn)
        for answer in answers(experiment, model, given, typed, folder):
            table += [] if isinstance(answer, InputError) else answer.get("rows", [])
            said.say(answer)
    if table and options.out:
        path = write_rows(options.out, table)
        if not options.json:
            say(path)
    return 2 if said.trouble else 0


class _Said:
    """Answers as they are printed, and whether one was none."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.trouble, self.remarks = as_json, False, set[str]()

    def say(self, answer: "dict[str, Any] | InputError") -> None:
        if isinstance(answer, InputError):  # the others are answered all the same
            complain(f"saiki predict: {cut(str(answer))}")
            self.trouble = True
            return
        text, remark = answer.pop("text"), answer.pop("remark", "")
        if remark and remark not in self.remarks:
            self.remarks.add(remark)
            complain(f"saiki predict: {remark}")
        if unknown := answer.get("unknown"):
            unread = f"{' '.join(unknown)} (in {answer['input'][:60]!r})"
            complain(f"saiki predict: unknown to the model: {unread}")
        each = answer.pop("rows", [answer])  # of an answer that is a table
        say("\n".join(map(to_json, each)) if self.as_json else text)


def _follow(experiment: "Experiment", model: "nn.Module", given: list[str], as_json: bool) -> int:
    """What comes after each row of standard input."""
    from saiki.capabilities import Follows
    from saiki.runs.predict import arriving

    if sys.stdin is None:
        raise InputError("standard input is closed, so there are no rows to follow")
    said = _Said(as_json)
    for answer in Follows.of(experiment).follow(model, given, arriving(sys.stdin.buffer)):
        said.say(answer)
    return 2 if said.trouble else 0


def _outline(run: "RunFolder") -> "Outline":
    """The exercise of a run, in outline."""
    from saiki.experiments import outlines

    return outlines.exercise(run.settings["experiment"])


def _run(first: Path, words: list[str]) -> "RunFolder":
    """The run: ``first``, or, where that is the value of a flag that only the run knows, the first
    of the words that is one."""
    from saiki.runs.folder import RunFolder

    for path in (first, *map(Path, words)):
        with suppress(OSError):  # a text may be too long for a path
            if RunFolder(path).has_begun:
                return RunFolder(path)
    return RunFolder.open(first)


def _score(experiment: "Experiment", model: "nn.Module", paths: list[str], as_json: bool) -> int:
    """Figures of files."""
    from saiki.capabilities import Scores

    for path in paths:
        figures = Scores.of(experiment).score_file(model, Path(path))
        say(to_json({"input": path, **figures}) if as_json else in_words(figures))
    return 0


def _converse(experiment: "Experiment", model: "nn.Module", as_json: bool) -> int:
    """A conversation: a line is a turn, or a command."""
    from saiki.data.text.plain_text import decoded_lines
    from saiki.runs.conversation import COMMANDS, Conversation

    if sys.stdin is None:
        raise InputError("standard input is closed, so there is nobody to talk to")
    typed, trouble = sys.stdin.isatty(), False
    if typed:
        say("\n".join(f"{command:10}  {help}" for command, help in COMMANDS.items()))
    talk = Conversation(experiment, model)
    for line in _asked(decoded_lines(sys.stdin.buffer, "standard input"), typed):
        try:
            answer = talk.hear(line.removeprefix("\ufeff"))
        except InputError as error:
            complain(f"saiki predict: {error}")
            trouble = not typed
            continue
        if answer is None:
            break
        if isinstance(answer, str):
            say(answer, sys.stderr if as_json else sys.stdout)
            continue
        text = answer.pop("text")
        say(to_json(answer) if as_json else text)
    return 2 if trouble else 0


def _asked(lines: Iterator[str], typed: bool) -> Iterator[str]:
    while True:
        if typed:
            say("> ", end="")
        line = next(lines, None)
        if line is None:
            return
        yield line
