"""``saiki bench``: speed against the peers."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

from saiki.cli.common import Parser, count, new_path
from saiki.terminal import say


def main(words: list[str]) -> int:
    from saiki.bench import BENCHMARKS, load

    if not words or words[0].startswith("-"):
        width = max(map(len, BENCHMARKS))
        listing = "\n".join(f"  {n:<{width}}  {what}" for n, what in BENCHMARKS.items())
        about = "Measure ours and the peers that are installed, doing the same work in turn."
        end = f"benchmarks\n{listing}\n\nsaiki bench NAME --help tells more."
        parser = Parser("bench", about, end)
        parser.parse_args(words)
        say(listing)
        return 0
    benchmark = load(words[0])
    parser = Parser(f"bench {words[0]}", (benchmark.__doc__ or "").strip())
    _add_options(parser, benchmark.rows)
    parser.add_argument("--json", type=new_path, metavar="FILE", help="write the figures there")
    options = vars(parser.parse_args(words[1:]))
    path = options.pop("json")
    from saiki.bench.harness import in_words, machine
    from saiki.files import write_json

    about_machine, rows = machine(), []
    say(in_words({"workload": words[0], **about_machine}))
    for row in benchmark.rows(**options):
        rows.append(row)
        say(in_words(row))
    if hasattr(benchmark, "summary"):
        say(benchmark.summary(rows))
    if path:
        say(write_json(path, {"machine": about_machine, "rows": rows}))
    return int(any("missed" in row for row in rows))


def _add_options(parser: Parser, rows: Callable[..., Any]) -> None:
    """A flag for each argument of a benchmark; one without a default must be given."""
    kinds: dict[str, Callable[[str], Any]] = get_type_hints(rows)
    for name, parameter in inspect.signature(rows).parameters.items():
        is_required = parameter.default is parameter.empty
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=count if kinds[name] is int else kinds[name],
            required=is_required,
            default=None if is_required else parameter.default,
            metavar="PATH" if kinds[name] is Path else name.upper(),
            help="needed" if is_required else f"({parameter.default})",
        )
