"""Attack the compiler: ``python tools/attack.py corpus [NAME …]`` judges cells of the literature."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))


def corpus(names: list[str], limit: float) -> int:
    """Print what becomes of each cell of ``tests/corpus`` under the backend auto."""
    from corpus import outcomes

    cells = outcomes.cells()
    unknown = set(names) - cells.keys()
    if unknown:
        print(f"no such cell: {', '.join(sorted(unknown))}; there are {', '.join(cells)}")
        return 2
    count: Counter[str] = Counter()
    for name in names or cells:
        for dtype in (torch.float64, torch.float32):
            began = time.perf_counter()
            outcome = outcomes.judge(cells[name], dtype, limit)
            took = time.perf_counter() - began
            count[outcome.kind] += 1
            kind = f"{str(dtype).removeprefix('torch.')} {outcome.kind:9}{took:5.1f} s"
            print(f"{name:24} {kind}  {outcomes.paper(cells[name])}  {outcome.why}", flush=True)
    print(", ".join(f"{kind}: {n}" for kind, n in sorted(count.items())))
    return int(count["WRONG"] + count["CRASH"] > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("corpus", help="cells of the literature, one line each")
    command.add_argument("names", nargs="*", help="all by default")
    command.add_argument("--limit", type=float, default=60.0, help="seconds for one cell")
    return corpus(**vars(parser.parse_args()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
