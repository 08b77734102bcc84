"""``saiki data``: the datasets of the exercises, and augmented ones of your own."""

from saiki.cli import augment
from saiki.cli.common import Parser
from saiki.terminal import say


def main(words: list[str]) -> int:
    if words[:1] == ["augment"]:
        return augment.main(words[1:])
    parser = Parser(
        "data",
        "The datasets of the exercises: what there is, and getting one.\n"
        "saiki data augment --help tells how to augment a folder of images.",
    )
    parser.add_argument("action", choices=("ls", "get"), metavar="ls | get NAME | augment FOLDER")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a dataset; saiki data ls lists them"
    )
    help = "take what is downloaded although its checksum is another than the known one, or none is"
    parser.add_argument("--trust-download", action="store_true", help=help)
    options = parser.parse_args(words)
    from saiki.data import store
    from saiki.data.datasets import DATASETS

    if options.action == "ls":
        say(store.listing())
        return 0
    if options.name is None:
        parser.error(f"name the dataset to get; there are {', '.join(DATASETS)}")
    store.locate(options.name, trust=options.trust_download)
    say(store.describe(options.name))
    return 0
