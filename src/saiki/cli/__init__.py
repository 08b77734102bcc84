"""The command line: one command a file, each imported here."""

import os
import sys
from collections.abc import Callable, Sequence

from saiki.cli import (
    bench,
    check,
    compare,
    data,
    export,
    ls,
    plot,
    predict,
    run,
    show,
    try_,
)
from saiki.cli.common import Parser
from saiki.errors import SaikiError

COMMANDS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "ls": ("experiments, one line each", ls.main),
    "show": ("NAME: its equations, knobs, presets and claims", show.main),
    "run": ("NAME [--knob value]: train one setting", run.main),
    "try": (
        "NAME [knob=a,b,c]: a grid of settings, compared, and the claims it decides",
        try_.main,
    ),
    "compare": ("DIR DIR …: what differs between runs, and their curves", compare.main),
    "predict": ("DIR INPUT …: the trained model on your input", predict.main),
    "data": ("ls | get NAME: the datasets of the exercises", data.main),
    "export": ("DIR --onnx FILE: the trained model for onnxruntime and others", export.main),
    "check": ("FILE.py:Cell | NAME: gradients, padding and reversal proved", check.main),
    "bench": (
        "[cells | layers | spoken-digits | translate | decoding]: speed against the peers here",
        bench.main,
    ),
    "plot": ("activations | NAME: functions and their derivatives", plot.main),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser("", "Recurrent and sequence models, written once as equations.", _overview())
    parser.add_argument("--version", action="store_true", help="print the version and end")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below")
    parsed = parser.parse_args(words[:1])
    if parsed.version:
        from importlib.metadata import version

        print(f"saiki {version('saiki')}")
        return 0
    if parsed.command is None:
        parser.print_help()
        return 0
    if parsed.command not in COMMANDS:
        parser.error(f"there is no command {parsed.command!r}; there are {', '.join(COMMANDS)}")
    _, command = COMMANDS[parsed.command]
    try:
        return command(words[1:])
    except SaikiError as error:
        print(f"saiki {parsed.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"saiki {parsed.command}: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `saiki ls | head -1` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {help}" for name, (help, _) in COMMANDS.items()]
    return "commands\n" + "\n".join(lines) + "\n\nsaiki COMMAND --help tells more."
