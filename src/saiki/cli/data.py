"""``saiki data``: the datasets of the exercises."""

from saiki.cli.common import Parser


def main(words: list[str]) -> int:
    parser = Parser("data", "The datasets of the exercises: what there is, and getting one.")
    parser.add_argument("action", choices=("ls", "get"), metavar="ls | get NAME")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a dataset; saiki data ls lists them"
    )
    options = parser.parse_args(words)
    from saiki.data import store

    if options.action == "ls":
        print(store.listing())
        return 0
    if options.name is None:
        parser.error(f"name the dataset to get; there are {', '.join(store.DATASETS)}")
    store.locate(options.name)
    print(store.describe(options.name))
    return 0
