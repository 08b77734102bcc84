"""One training step of recurrent layers, beside those of the peers that are installed.

Ratios say how many times as long as ours each of the others takes.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from saiki import cells
from saiki.bench import peers
from saiki.bench.harness import Row, Step, interleaved, row, training_step
from saiki.cell import Cell
from saiki.cells import GRU, LSTM
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent

SHORT, LONG = (8, 1000, 1, 64), (1, 2000, 8, 16)
"""batch, steps, input size, hidden size."""
WIDE = (64, 100, 256, 256), (64, 50, 512, 512)

VARIANTS: dict[str, Callable[[int, int], Cell]] = {
    "peephole": partial(LSTM, peephole=True),
    "relu": partial(LSTM, activation="relu"),
    "coupled": partial(LSTM, coupled=True),
    "without output gate": partial(LSTM, output_gate=False),
    "gru": GRU,
    "gru reset before": partial(GRU, reset="before"),
    "layer norm": partial(LSTM, layer_norm=True),
}


def rows(repeats: int = 15) -> Iterator[Row]:
    for family in ("rnn", "lstm", "gru"):
        yield _against_peers(f"bidirectional {family}", family, SHORT, True, repeats)
    yield _against_peers("gru", "gru", LONG, False, repeats)
    yield _variants(repeats)
    for size in WIDE:
        yield _peephole(size, max(3, repeats // 2))


def _against_peers(
    name: str, family: str, size: tuple[int, int, int, int], bidirectional: bool, repeats: int
) -> Row:
    batch, steps, inputs, hidden = size
    x = torch.randn(batch, steps, inputs)
    cell = cells.make(family, inputs, hidden)
    layer = Bidirectional(cell) if bidirectional else Recurrent(cell)
    contenders: dict[str, Step] = {"saiki": training_step(layer, x)}
    contenders |= peers.all_of(family, x, hidden, bidirectional)
    one_way = Recurrent(cell, backend="eager")
    eager = Bidirectional(one_way) if bidirectional else one_way
    contenders["eager"] = training_step(eager, x)
    return row(name, size, interleaved(contenders, repeats))


def _variants(repeats: int) -> Row:
    batch, steps, inputs, hidden = SHORT
    x = torch.randn(batch, steps, inputs)
    contenders = {
        name: training_step(Bidirectional(Recurrent(make(inputs, hidden), backend="cpu")), x)
        for name, make in {"saiki": LSTM, **VARIANTS}.items()
    }
    return row("variants beside the plain lstm", SHORT, interleaved(contenders, repeats))


def _peephole(size: tuple[int, int, int, int], repeats: int) -> Row:
    batch, steps, inputs, hidden = size
    x = torch.randn(batch, steps, inputs)
    contenders = {
        "saiki": training_step(Recurrent(LSTM(inputs, hidden, peephole=True)), x),
        "torch.nn without peepholes": peers.of_torch("lstm", x, hidden, False),
    }
    return row("peephole lstm", size, interleaved(contenders, repeats))
