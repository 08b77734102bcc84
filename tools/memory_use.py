"""What remains of the memory of many shapes and of many layers that are gone.

python tools/memory_use.py shapes 2000
python tools/memory_use.py layers 500
"""

import gc
import random
import sys
import tracemalloc

import torch

import saiki
from saiki.bench.harness import resident


def step(layer: saiki.Recurrent, batch: int, time: int, lengths: list[int] | None = None) -> None:
    x = torch.randn(batch, time, layer.cell.input_size, requires_grad=True)
    y, _ = layer(x) if lengths is None else layer(x, lengths=torch.tensor(lengths))
    y.sum().backward()


def shapes(count: int) -> None:
    """Training steps of one layer on ``count`` shapes, every other one ragged."""
    draw = random.Random(0)
    layer = saiki.Recurrent(saiki.cells.LSTM(16, 32))
    for i in range(count):
        batch, time = draw.randint(1, 96), draw.randint(1, 200)
        lengths = [time, *(draw.randint(1, time) for _ in range(batch - 1))]
        step(layer, batch, time, lengths if i % 2 else None)


def layers(count: int) -> None:
    """``count`` layers, each of a size of its own, built, trained for a step and dropped."""
    for i in range(count):
        step(saiki.Recurrent(saiki.cells.LSTM(3, 4 + i)), 2, 3)


def main() -> None:
    torch.set_num_threads(1)
    what, count = {"shapes": shapes, "layers": layers}[sys.argv[1]], int(sys.argv[2])
    layers(10)
    shapes(10)
    traced = "--trace" in sys.argv
    if traced:
        tracemalloc.start(12)
        before = tracemalloc.take_snapshot()
    start = resident()
    what(count)
    print(f"{what.__name__}: {(resident() - start) / 2**20:.1f} MiB more after {count} than before")
    if traced:
        gc.collect()
        for line in tracemalloc.take_snapshot().compare_to(before, "lineno")[:25]:
            print(line)


if __name__ == "__main__":
    main()
