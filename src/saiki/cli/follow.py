"""``saiki follow``: what the trained model says after each row that arrives."""

import sys

from saiki.cli.trained import Printer, parsed, run_parser
from saiki.errors import InputError


def main(words: list[str]) -> int:
    parser = run_parser(
        "follow",
        "What a trained model says after each row of a table that comes on standard input: from a\n"
        "pipe, from a file, or from one that grows, as in tail -f rows.csv | saiki follow RUN.",
    )
    help = "a table of the rows before them"
    parser.add_argument("before", nargs="*", metavar="TABLE", help=help)
    options, knobs = parsed(parser, words)
    if sys.stdin is None:
        raise InputError("standard input is closed, so there are no rows to follow")
    from saiki.runs.follow import follow

    printer = Printer("follow", options.json)
    for prediction in follow(options.run, sys.stdin.buffer, options.before, knobs):
        printer.show(prediction)
    return printer.code
