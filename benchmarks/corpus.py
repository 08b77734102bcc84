"""How long a training step of each cell of the literature takes, compiled and step by step."""

import statistics
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from saiki import Recurrent
from saiki.bench.harness import Row, interleaved, row

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from corpus import outcomes  # noqa: E402

BATCH, TIME = 8, 200
SIZES = ((32, 64), (64, 64))
"""Of input and state; the first that a cell takes, or else its own."""


def rows(cells: str = "", repeats: int = 3) -> Iterator[Row]:
    torch.set_num_threads(1)
    known = outcomes.cells()
    for name in cells.split(",") if cells else known:
        yield {**_row(known[name], repeats), "workload": name, "paper": outcomes.paper(known[name])}


def summary(rows: Sequence[Row]) -> str:
    times = [row["ratio"]["eager"] for row in rows if "ratio" in row]
    spread = f", median {statistics.median(times):.1f}×, least {min(times):.1f}×" if times else ""
    return f"{len(times)} of {len(rows)} compiled{spread}"


def _row(kind: Any, repeats: int) -> Row:
    own = getattr(kind, "sizes", SIZES[0])
    sizes = next(sizes for sizes in (*SIZES, own) if sizes == own or _takes(kind, sizes))
    torch.manual_seed(0)
    layer = Recurrent(kind(*sizes), backend="auto")
    x = torch.randn(BATCH, TIME, layer.input_size, requires_grad=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="running step by step: ")
        _step(layer, x)
    size = (BATCH, TIME, *sizes)
    why = layer.why_eager(torch.float32)
    if why is not None:
        return {"size": size, "why": why.replace(f"{ROOT}/", "")}
    eager = partial(_step, Recurrent(layer.cell, backend="eager"), x)
    timings = interleaved({"compiled": partial(_step, layer, x), "eager": eager}, repeats)
    return row("", size, timings, "compiled")


def _takes(kind: Any, sizes: tuple[int, ...]) -> bool:
    """Whether a cell can have these sizes, by the eager loop alone: what a kernel raises is no
    matter of sizes."""
    try:
        Recurrent(kind(*sizes), backend="eager")(torch.randn(2, 2, sizes[0]))
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return False
    return True


def _step(layer: Any, x: torch.Tensor) -> None:
    y, _ = layer(x)
    y.sum().backward()
