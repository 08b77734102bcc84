"""``saiki bench``: speed against the peers."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from saiki.cli.common import Parser, count, new_path
from saiki.terminal import say


def main(words: list[str]) -> int:
    parser = Parser("bench", "One training step against the peers that are installed, in turn.")
    parser.add_argument(
        "name",
        nargs="?",
        default="cells",
        choices=("cells", "layers", "grid", "spoken-digits", "translate", "decoding"),
        metavar="NAME",
        help="cells, against other libraries; layers: saiki.nn and ragged batches; grid: saiki.nn "
        "beside torch.nn at many shapes; spoken-digits: an epoch of it; translate: training steps "
        "of it; decoding: sentences of --run together and one by one",
    )
    parser.add_argument("--run", type=Path, metavar="DIR", help="a run of translate, for decoding")
    parser.add_argument("--repeats", type=count, default=15, help="timings of each (15)")
    parser.add_argument("--json", type=new_path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(words)
    if (options.name == "decoding") != (options.run is not None):
        parser.error("decoding, and nothing else, needs --run DIR")
    from saiki.bench import cells, digits, grid, layers, translation
    from saiki.bench.harness import machine
    from saiki.files import write_json

    about = machine()
    say(", ".join(f"{name} {value}" for name, value in about.items()))
    rows = []
    homes: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
        "cells": cells.rows,
        "layers": layers.rows,
        "grid": grid.rows,
        "spoken-digits": digits.rows,
        "translate": lambda repeats: itertools.chain(
            translation.training(repeats), translation.input_feeding(repeats)
        ),
        "decoding": partial(translation.decoding, options.run),
    }
    for row in homes[options.name](options.repeats):
        rows.append(row)
        ours = next(iter(row["milliseconds"]))
        say(f"{row['workload']} {row['size']}: {ours} {row['milliseconds'][ours]:.2f} ms")
        for peer, ratio in row["ratio"].items():
            say(f"  {peer:<28} {row['milliseconds'][peer]:10.2f} ms  {ratio:8.2f}×")
        for name, speed in row.get("sentences a second", {}).items():
            say(f"  {name:<28} {speed:10.1f} sentences a second")
    if options.name == "grid":
        say(grid.summary(rows))
    if options.json:
        say(write_json(options.json, {"machine": about, "rows": rows}))
    return 0
