"""``saiki score``: how well the trained model does on files of yours."""

from pathlib import Path

from saiki.cli.common import figures_in_words
from saiki.cli.trained import parsed, run_parser
from saiki.files import to_json
from saiki.terminal import say


def main(words: list[str]) -> int:
    parser = run_parser("score", "The figures of a trained model on files of your own.")
    help = "data such as those that it learned from, as a file or a folder"
    parser.add_argument("files", nargs="+", metavar="FILE", help=help)
    options, knobs = parsed(parser, words)
    from saiki.runs.score import score

    scores = score(options.run, map(Path, options.files), knobs)
    for file, figures in zip(options.files, scores, strict=True):
        say(to_json({"input": file, **figures}) if options.json else figures_in_words(figures))
    return 0
