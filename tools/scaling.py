"""How far more cores help at each shape of the grid, and whether the model of it fits.

    python tools/scaling.py benchmarks/results/grid.json

A training step is taken apart into what one thread does, the loops, whose rows are shared in
pairs, or the columns of their products in blocks, and the large products before and after them,
which PyTorch shares evenly. From the figures for one thread follow those for any number; for two
they are measured too.
"""

import json
import math
import statistics
import sys
from pathlib import Path

from saiki.bench.grid import PRODUCTS
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
CORES = (4, 8, 16, 64)


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


def main() -> None:
    found = json.loads(Path(sys.argv[1]).read_text())["rows"]
    times = {
        (tuple(r["size"]), r["family"], r["mode"], r["threads"]): r["milliseconds"]["saiki.nn"]
        for r in found
        if r["mode"] in ALONE
    }
    errors = []
    print("| size | cell | two cores, measured | model | " + " | ".join(map(str, CORES)) + " |")
    print("|---|---|---|---|" + "---|" * len(CORES))
    for (size, family, mode, threads), one in times.items():
        batch, steps, _, hidden = size
        left = is_short(MODES[family], batch, steps, hidden, 1, mode == "train")
        if threads != 1 or steps == 1 or left:
            continue
        measured = one / times[size, family, mode, 2]
        model, *more = (speedup(list(size), family, mode, one, c) for c in (2, *CORES))
        errors.append(abs(math.log(measured / model)))
        if mode == "train":
            shape = " × ".join(map(str, size))
            others = " | ".join(f"{m:.1f}" for m in more)
            print(f"| {shape} | {family} | {measured:.2f} | {model:.2f} | {others} |")
    typical = 100 * (math.exp(statistics.median(errors)) - 1)
    print(f"\nmedian error of the model for two cores: {typical:.0f} % of {len(errors)} entries")


if __name__ == "__main__":
    main()
