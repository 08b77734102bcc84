"""``saiki chat``: a conversation with the trained model."""

import sys
from collections.abc import Iterator

from saiki.cli.trained import Printer, parsed, run_parser
from saiki.errors import InputError
from saiki.terminal import say


def main(words: list[str]) -> int:
    parser = run_parser(
        "chat", "A conversation with a trained model: each line of standard input is a turn."
    )
    options, knobs = parsed(parser, words)
    if sys.stdin is None:
        raise InputError("standard input is closed, so there is nobody to talk to")
    from saiki.data.text.plain_text import decoded_lines
    from saiki.runs.chat import COMMANDS, chat

    is_typed, printer = sys.stdin.isatty(), Printer("chat", options.json)
    lines = decoded_lines(sys.stdin.buffer, "standard input")
    outcomes = chat(options.run, _prompted(lines) if is_typed else lines, knobs)
    if is_typed:
        say("\n".join(f"{command:10}  {help}" for command, help in COMMANDS.items()))
    for outcome in outcomes:
        if isinstance(outcome, str):
            say(outcome, sys.stderr if options.json else sys.stdout)
        else:
            printer.show(outcome)
    return 0 if is_typed else printer.code


def _prompted(lines: Iterator[str]) -> Iterator[str]:
    """The lines, each asked for by a sign."""
    while True:
        say("> ", end="")
        line = next(lines, None)
        if line is None:
            return
        yield line
