"""How far more cores help at each shape of the grid, and whether the model of it fits.

A training step is taken apart into what one thread does, the loops, whose rows are shared in
pairs, or the columns of their products in blocks, and the large products before and after them,
which PyTorch shares evenly. From the figures for one thread follow those for any number; for two
they are measured too.
"""

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from saiki.bench.grid import PRODUCTS
from saiki.bench.harness import Row
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.cpu.loop import NEAR_BYTES
from saiki.compiler.cpu.product import PAIR
from saiki.compiler.cpu.threads import FEW_ROWS, WORTH_MEETING, WORTH_THREAD
from saiki.nn.drop_in.short import is_short

ALONE = {"train": 0.4, "infer": 0.15}
"""Milliseconds of a call that one thread spends, whatever there is to do."""
MEETING = 0.0005
"""Milliseconds that threads take to meet."""
COLUMNS = 64
"""Of a block of columns: four vectors."""
MODES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN_TANH"}
CORES = (2, 4, 8, 16, 64)
GRID = Path(__file__).parent / "results" / "grid.json"


def parts(size: list[int], family: str, mode: str) -> tuple[float, float]:
    """Multiplications in loops, and in products before and after them."""
    batch, steps, inputs, hidden = size
    rows = batch * steps
    own, of_x = PRODUCTS[family] * hidden * hidden, PRODUCTS[family] * hidden * inputs
    inline = of_x <= CPU.inline_weights
    in_loops = rows * (own + of_x * inline)
    around = rows * of_x * (not inline)
    if mode == "train":  # gradients: of h in the loop, of x and of both weights after it
        in_loops += rows * own
        around += rows * (own + 2 * of_x)
    return in_loops, around


def speedup(size: list[int], family: str, mode: str, milliseconds: float, cores: int) -> float:
    """By so many cores, of what takes one so many milliseconds."""
    batch, steps, inputs, hidden = size
    loops, around = parts(size, family, mode)
    threads = min(cores, 1 + loops // WORTH_THREAD)
    alone = min(ALONE[mode], milliseconds)
    rest = (milliseconds - alone) / (loops + around)
    pairs = math.ceil(batch / PAIR)
    largest, meetings = math.ceil(pairs / min(threads, pairs)) / pairs, 0
    of_x = PRODUCTS[family] * hidden * inputs
    weights = PRODUCTS[family] * hidden * hidden + of_x * (of_x <= CPU.inline_weights)
    blocks = math.ceil(PRODUCTS[family] * hidden / COLUMNS)
    few = 2 * pairs <= min(threads, blocks)
    few = few or (4 * weights > NEAR_BYTES and batch <= FEW_ROWS * threads)
    if threads > 1 and few and loops / steps >= WORTH_MEETING * threads:
        largest = math.ceil(blocks / threads) / blocks
        meetings = 2 * steps * (1 + (mode == "train"))
    around *= math.ceil(batch * steps / cores) / (batch * steps)
    return milliseconds / (alone + rest * (loops * largest + around) + MEETING * meetings)


def rows(figures: Path = GRID) -> Iterator[Row]:
    measured_rows = json.loads(figures.read_text(encoding="utf-8"))["rows"]
    times = {
        (tuple(r["size"]), r["family"], r["mode"], r["threads"]): r["milliseconds"]["saiki.nn"]
        for r in measured_rows
        if r["mode"] in ALONE
    }
    for (size, family, mode, threads), one in times.items():
        batch, steps, _, hidden = size
        is_left = is_short(MODES[family], batch, steps, hidden, 1, mode == "train")
        if threads != 1 or steps == 1 or is_left:
            continue
        by_model = {cores: round(speedup([*size], family, mode, one, cores), 2) for cores in CORES}
        measured = round(one / times[size, family, mode, 2], 2)
        yield {
            "workload": f"{family}, {mode}", "size": size, "two cores, measured": measured,
            "cores": by_model,
        }  # fmt: skip


def summary(rows: Sequence[Row]) -> str:
    errors = [abs(math.log(row["two cores, measured"] / row["cores"][2])) for row in rows]
    typical = 100 * (math.exp(statistics.median(errors)) - 1)
    return f"median error of the model for two cores: {typical:.0f} % of {len(errors)} entries"
