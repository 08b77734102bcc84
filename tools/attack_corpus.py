"""Cells of the literature, judged one by one."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import torch

TYPES = (torch.float64, torch.float32)

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))


def corpus(names: list[str], limit: float) -> int:
    """Print what becomes of each cell of ``tests/corpus`` under the backend auto."""
    torch.set_num_threads(1)
    from corpus import outcomes

    cells = outcomes.cells()
    unknown = set(names) - cells.keys()
    if unknown:
        print(f"no such cell: {', '.join(sorted(unknown))}; there are {', '.join(cells)}")
        return 2
    count: Counter[str] = Counter()
    for name in names or cells:
        began = time.perf_counter()
        verdicts = [outcomes.judge(cells[name], dtype, limit) for dtype in TYPES]
        took = time.perf_counter() - began
        count.update(outcome.kind for outcome in verdicts)
        if len(set(verdicts)) == 1:
            kind, why = verdicts[0].kind, verdicts[0].why
        else:
            kind = "/".join(dict.fromkeys(outcome.kind for outcome in verdicts))
            why = "; ".join(
                f"{dtype}: {outcome.why}" for dtype, outcome in zip(TYPES, verdicts, strict=True)
            )
        print(f"{name:24} {kind:9} {took:5.1f} s  {outcomes.paper(cells[name])}  {why}", flush=True)
    print(f"{len(names or cells)} cells in {len(TYPES)} types: ", end="")
    print(", ".join(f"{kind} {n}" for kind, n in sorted(count.items())))
    return int(count["REFUTED"] + count["WRONG"] + count["CRASH"] > 0)


def add(attacks: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command ``corpus``."""
    command = attacks.add_parser("corpus", help="cells of the literature, one line each")
    command.add_argument("names", nargs="*", help="all by default")
    command.add_argument("--limit", type=float, default=20.0, help="seconds for one cell")
    command.set_defaults(run=lambda arguments: corpus(arguments.names, arguments.limit))
