"""The command line: one command a file, each imported here."""

import os
import sys
from collections.abc import Callable, Sequence

from saiki import stopping
from saiki.cli import (
    bench,
    chat,
    check,
    compare,
    course,
    data,
    export,
    finish,
    follow,
    ls,
    plot,
    predict,
    run,
    score,
    show,
    streams,
    try_,
)
from saiki.cli.common import Parser, cut
from saiki.errors import SaikiError, memory_in_words, near
from saiki.terminal import complain, say

COMMANDS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "ls": ("experiments, one line each", ls.main),
    "show": ("NAME: its equations, knobs, presets and claims", show.main),
    "run": ("NAME [--knob value]: train one setting", run.main),
    "finish": ("DIR: use the model of a paused run as it is", finish.main),
    "try": (
        "NAME [knob=a,b,c]: a grid of settings, compared, and the claims it decides",
        try_.main,
    ),
    "compare": ("DIR DIR …: what differs between runs, and their curves", compare.main),
    "predict": ("RUN INPUT …: the trained model on your input", predict.main),
    "score": ("RUN FILE …: its figures on files of yours", score.main),
    "follow": ("RUN [TABLE]: what it says after each row of standard input", follow.main),
    "chat": ("RUN: a conversation with it", chat.main),
    "data": (
        "ls | get NAME: the datasets of the exercises; augment FOLDER: your own images",
        data.main,
    ),
    "export": (
        "DIR --onnx FILE | --vectors FILE: the trained model for other programs",
        export.main,
    ),
    "check": ("FILE.py:Cell | NAME: gradients, padding and reversal proved", check.main),
    "bench": ("[NAME]: measure ours beside the peers that are here", bench.main),
    "course": (
        "[SECTION]: a course on sequence models, each section with what to run",
        course.main,
    ),
    "plot": ("activations | NAME: functions and their derivatives", plot.main),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if arguments is None:  # as a program of its own
        streams.prepare()
        os.environ["MPLBACKEND"] = "agg"  # pictures are files, whatever a notebook around us shows
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words[0] if words and words[0] in COMMANDS else ""
    name = f"saiki {command}".strip()
    try:
        try:
            with memory_in_words():
                return _command(words)
        finally:
            sys.stdout.flush()
    except (SaikiError, KeyboardInterrupt) as error:
        stopping.close()
        is_stop = isinstance(error, KeyboardInterrupt)
        if is_stop or stopping.is_pressed():  # which is why it failed
            message = str(error) if is_stop else ""
            complain(f"{name}: {message or 'stopped'}")
            return stopping.STOPPED
        complain(f"{name}: {cut(str(error))}")
        return 2
    except BrokenPipeError:  # the reader of our output has left, as `saiki ls | head -1` does
        return 141


def _command(words: list[str]) -> int:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {help}" for name, (help, _) in COMMANDS.items())
    overview = "commands\n" + "\n".join(lines) + "\n\nsaiki COMMAND --help tells more."
    parser = Parser("", "Recurrent and sequence models, written once as equations.", overview)
    parser.add_argument("--version", action="store_true", help="print the version and end")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below")
    parsed = parser.parse_args(words[:1])
    if parsed.version:
        from importlib.metadata import version

        say(f"saiki {version('saiki')}")
        return 0
    if parsed.command is None:
        parser.print_help()
        return 0
    if parsed.command not in COMMANDS:
        parser.error(
            f"there is no command {parsed.command!r}; there are {', '.join(COMMANDS)}"
            f"{near(parsed.command, COMMANDS)}"
        )
    _, command = COMMANDS[parsed.command]
    return command(words[1:])
