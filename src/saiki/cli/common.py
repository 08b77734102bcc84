"""What the commands share: the parser, flags for knobs, and the figures of a run.

What a command needs is imported when it runs, so that help is instant.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from saiki.errors import InputError, near, printable
from saiki.terminal import say

if TYPE_CHECKING:
    from saiki.experiment import Experiment, Figures
    from saiki.knobs import Knob


LONGEST = 2000
"""Characters of an error that are printed."""


def _dashed(word: str) -> str:
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and ends with exit code 2."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"saiki {prog}".strip(),
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, and ``--hidden_size`` is ``--hidden-size``."""
        return super().parse_known_args([_dashed(word) for word in args], namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse does, whatever words of others are in it."""
        if message:
            say(message, file or sys.stderr, end="")

    def error(self, message: str) -> NoReturn:
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        words = message.partition("unrecognized arguments: ")[2].split()
        hints = (near(word.partition("=")[0], known) for word in words if word.startswith("--"))
        hint = next(filter(None, hints), "")
        self.exit(2, printable(f"{self.prog}: {cut(message)}{hint}; see {self.prog} --help") + "\n")


SWITCHES = ("--resume", "--lens", "--tensorboard", "--data-changed", "--json", "-h", "--help")
"""Flags that take no value, of commands about an experiment or a run."""


def name_first(words: list[str]) -> list[str]:
    """The words with the name of the experiment or run first, wherever it stands among flags."""
    for i, (before, word) in enumerate(zip(["", *words], words, strict=False)):
        takes_value = before.startswith("--") and "=" not in before and before not in SWITCHES
        if not (takes_value or word.startswith("-") or "=" in word):
            return [word, *words[:i], *words[i + 1 :]]
    return words


def experiment_parser(command: str, description: str, words: list[str]) -> Parser:
    """The parser of a command whose first word names an experiment."""
    from saiki.experiments import HOMES

    named = bool(words) and not words[0].startswith("-")
    parser = Parser(f"{command} {words[0]}" if named else command, description)
    help = f"one of {', '.join(HOMES)}; saiki {command} NAME --help tells more"
    parser.add_argument("name", metavar="NAME", help=help)
    return parser


def add_knobs(parser: Parser, words: list[str]) -> None:
    """A flag for every knob of the experiment that ``words`` name, if they name one."""
    parser.add_argument("--preset", help="settings to start from; saiki show NAME lists them")
    if not words or words[0].startswith("-"):
        return
    from saiki.experiments import outlines

    add_flags(parser, outlines.exercise(words[0]).knobs.values())


def add_flags(parser: Parser, knobs: "Iterable[Knob]") -> None:
    """A flag for each of these knobs."""
    from saiki.knobs import Value

    def parse(knob: "Knob") -> Callable[[str], Value]:
        def parse_one(text: str) -> Value:
            try:
                return knob.parse(text)
            except InputError as error:
                raise argparse.ArgumentTypeError(str(error)) from None

        return parse_one

    group = parser.add_argument_group("knobs")
    for knob in knobs:
        alone: dict[str, Any] = {"nargs": "?", "const": True} if knob.type is bool else {}
        group.add_argument(
            knob.flag,
            **alone,
            dest=knob.name,
            type=parse(knob),
            default=argparse.SUPPRESS,
            metavar=knob.type.__name__.upper(),
            help=f"{knob.help}; {knob.allowed} ({knob.default})".replace("%", "%%"),
        )


def add_data_changed(parser: Parser) -> None:
    help = "go on although the data are not those that the run began with"
    parser.add_argument("--data-changed", action="store_true", help=help)


def cut(message: str) -> str:
    """A sentence that quotes a whole book, without most of it."""
    return message if len(message) <= LONGEST else f"{message[:LONGEST]}…"


def count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    if number > 10**6:
        raise argparse.ArgumentTypeError(f"expected a whole number up to 1000000, got {text!r}")
    return number


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds of at least 0, got {text!r}")
    return number


def new_path(text: str) -> Path:
    """A file or folder that is written, whose name must be text."""
    from saiki.knobs import is_text

    if not is_text(text):
        raise argparse.ArgumentTypeError(f"expected a name that is text, got {text!r}")
    return Path(text)


def tell_result(
    figures: "Figures", folder: Path, tell: Callable[[str], None], used: "Experiment | None" = None
) -> None:
    """Say the figures, aligned, and last the folder.

    Args:
        used: the experiment, if the commands that use its model are named too.
    """
    if figures:
        tell(figures_in_words(figures))
    if used is not None:
        from saiki.capabilities import ExportsVectors

        run = shlex.quote(str(folder))
        tell("\nnext:")
        tell(f"  saiki predict {run} {shlex.quote(used.data.input_example())}")
        tell(f"  saiki compare {run} ANOTHER-RUN")
        file = "--vectors {}.txt" if isinstance(used, ExportsVectors) else "--onnx {}.onnx"
        tell(f"  saiki export {run} {file.format(used.name)}")
    tell(str(folder))


def figures_in_words(figures: "Figures") -> str:
    """Figures below each other."""
    width = max(map(len, figures), default=0)
    lines = (
        f"{name:<{width}}  {'–' if value is None else f'{value:.6g}'}"
        for name, value in figures.items()
    )
    return "\n".join(lines)
