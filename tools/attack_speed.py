"""How long a training step of each cell of the literature takes, compiled and step by step."""

import json
import statistics
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

BATCH, TIME = 8, 200
SIZES = ((32, 64), (64, 64))
"""Of input and state; the first that a cell takes, or else its own."""
REPEATS = 3


def measure(names: list[str], out: Path | None) -> int:
    """Print a line for each cell, and keep the figures where ``out`` says."""
    from corpus import outcomes
    from saiki.bench.harness import machine

    torch.set_num_threads(1)
    cells = outcomes.cells()
    rows = []
    for name in names or cells:
        row = {"cell": name, "paper": outcomes.paper(cells[name]), **_figures(cells[name])}
        rows.append(row)
        if row["compiled"]:
            print(
                f"{name:24} {row['sizes']!s:12} {row['compiled ms']:9.1f} ms "
                f"{row['eager ms']:9.1f} ms {row['times']:7.1f}×",
                flush=True,
            )
        else:
            print(f"{name:24} {row['sizes']!s:12} eager: {row['why'][:90]}", flush=True)
    times = [row["times"] for row in rows if row["compiled"]]
    print(f"{len(times)} of {len(rows)} compiled, ", end="")
    print(f"median {statistics.median(times):.1f}×, least {min(times):.1f}×" if times else "")
    if out is not None:
        told = {"machine": machine(), "batch": BATCH, "time": TIME, "rows": rows}
        out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _figures(kind: Any) -> dict[str, Any]:
    from saiki import Recurrent
    from saiki.bench.harness import interleaved

    own = getattr(kind, "sizes", SIZES[0])
    sizes = next(sizes for sizes in (*SIZES, own) if sizes == own or _takes(kind, sizes))
    torch.manual_seed(0)
    layer = Recurrent(kind(*sizes), backend="auto")
    x = torch.randn(BATCH, TIME, layer.input_size, requires_grad=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="running step by step: ")
        _step(layer, x)
    why = layer.why_eager(torch.float32)
    found = {
        "sizes": tuple(sizes),
        "compiled": why is None,
        "why": (why or "").replace(f"{ROOT}/", ""),
    }
    if why is None:
        slow = Recurrent(layer.cell, backend="eager")
        steps = {"compiled": partial(_step, layer, x), "eager": partial(_step, slow, x)}
        timings = interleaved(steps, REPEATS)
        ms = {f"{name} ms": 1000 * timing.median for name, timing in timings.items()}
        found |= {**ms, "times": ms["eager ms"] / ms["compiled ms"]}
    return found


def _takes(kind: Any, sizes: tuple[int, ...]) -> bool:
    """Whether a cell can have these sizes, by the eager loop alone: what a kernel raises is no
    matter of sizes."""
    from saiki import Recurrent

    try:
        Recurrent(kind(*sizes), backend="eager")(torch.randn(2, 2, sizes[0]))
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return False
    return True


def _step(layer: Any, x: torch.Tensor) -> None:
    y, _ = layer(x)
    y.sum().backward()


def add(attacks: Any) -> None:
    """The command ``speed``."""
    command = attacks.add_parser("speed", help="cells of the literature, beside the eager loop")
    command.add_argument("names", nargs="*", help="all by default")
    command.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    command.set_defaults(run=lambda arguments: measure(arguments.names, arguments.out))
