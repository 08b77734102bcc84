"""What remains of the memory of many shapes and of many layers that are gone."""

import random
from collections.abc import Iterator

import torch

import saiki
from saiki.bench.harness import Row, resident


def step(layer: saiki.Recurrent, batch: int, time: int, lengths: list[int] | None = None) -> None:
    x = torch.randn(batch, time, layer.cell.input_size, requires_grad=True)
    y, _ = layer(x) if lengths is None else layer(x, lengths=torch.tensor(lengths))
    y.sum().backward()


def of_shapes(count: int) -> None:
    """Training steps of one layer on ``count`` shapes, every other one ragged."""
    draw = random.Random(0)
    layer = saiki.Recurrent(saiki.cells.LSTM(16, 32))
    for i in range(count):
        batch, time = draw.randint(1, 96), draw.randint(1, 200)
        lengths = [time, *(draw.randint(1, time) for _ in range(batch - 1))]
        step(layer, batch, time, lengths if i % 2 else None)


def of_layers(count: int) -> None:
    """``count`` layers, each of a size of its own, built, trained for a step and dropped."""
    for i in range(count):
        step(saiki.Recurrent(saiki.cells.LSTM(3, 4 + i)), 2, 3)


def rows(shapes: int = 2000, layers: int = 500) -> Iterator[Row]:
    torch.set_num_threads(1)
    for work, count in ((of_shapes, shapes), (of_layers, layers)):
        of_layers(10)
        of_shapes(10)
        before = resident()
        work(count)
        grown = round((resident() - before) / 2**20, 1)
        yield {"workload": work.__name__.removeprefix("of_"), "count": count, "MiB more": grown}
