"""``saiki ls``: the experiments there are."""

from saiki.cli.common import Parser


def main(words: list[str]) -> int:
    Parser("ls", "The experiments, one line each.").parse_args(words)
    from saiki.experiments import HOMES, load

    for name in HOMES:
        print(f"{name:<16} {load(name).summary}")
    return 0
