"""``saiki compare``: what differs between runs."""

from pathlib import Path

from saiki.cli.common import Parser, new_path
from saiki.terminal import say


def main(words: list[str]) -> int:
    parser = Parser("compare", "What differs between runs, and their curves over each other.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders")
    parser.add_argument("--out", type=new_path, default=Path("compare.png"), help="the picture")
    options = parser.parse_args(words)
    from saiki.runs.folder import RunFolder

    for folder in options.folders:
        RunFolder.open(folder)  # before PyTorch is loaded
    from saiki.runs.compare import compare

    for line in compare(options.folders, options.out):
        say(line)
    return 0
