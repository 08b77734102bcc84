"""``saiki ls``: the experiments there are."""

from saiki.cli.common import Parser
from saiki.terminal import say


def main(words: list[str]) -> int:
    Parser("ls", "The experiments, one line each.").parse_args(words)
    from saiki.experiments import HOMES, outlines
    from saiki.progress import duration

    say(f"{'':<16} {'takes':<8} (by default, on two cores, as measured)")
    for name in HOMES:
        outline = outlines.exercise(name)
        say(f"{name:<16} {duration(60 * outline.minutes):<8} {outline.summary}")
    return 0
