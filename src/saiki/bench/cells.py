"""One training step of recurrent layers against the peers, and the adder against NumPy."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from saiki import cells
from saiki.bench import adder_numpy, peers
from saiki.bench.harness import Step, Timing, interleaved
from saiki.cell import Cell
from saiki.cells import GRU, LSTM
from saiki.experiments.adder import Adder
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.training import Training

Row = dict[str, Any]
SHORT, LONG = (8, 1000, 1, 64), (1, 2000, 8, 16)
"""batch, steps, input size, hidden size."""
WIDE = (64, 100, 256, 256), (64, 50, 512, 512)
ITERATIONS = 10_000
"""Of the adder."""

VARIANTS: dict[str, Callable[[int, int], Cell]] = {
    "peephole": partial(LSTM, peephole=True),
    "relu": partial(LSTM, activation="relu"),
    "coupled": partial(LSTM, coupled=True),
    "without output gate": partial(LSTM, output_gate=False),
    "gru": GRU,
    "gru reset before": partial(GRU, reset="before"),
    "layer norm": partial(LSTM, layer_norm=True),
}


def rows(repeats: int) -> Iterator[Row]:
    """Each workload measured; ratios above 1 say how many times faster ours is than that peer."""
    for family in ("rnn", "lstm", "gru"):
        yield _against_peers(f"bidirectional {family}", family, SHORT, True, repeats)
    yield _against_peers("gru", "gru", LONG, False, repeats)
    yield _variants(repeats)
    for size in WIDE:
        yield _peephole(size, max(3, repeats // 2))
    yield _adder(max(3, repeats // 5))


def beside_eager(cell: Cell, batch: int = 8, steps: int = 100) -> str:
    """One training step of a cell, compiled and step by step, in a sentence."""
    layer = Recurrent(cell)
    like = next(cell.parameters(), torch.empty(0))
    why = layer.why_eager(like.dtype)
    if why is not None:
        return f"runs step by step: {why}"
    x = torch.randn(batch, steps, cell.input_size, dtype=like.dtype)
    contenders = {
        name: peers.training_step(Recurrent(cell, backend=name), x) for name in ("cpu", "eager")
    }
    timings = interleaved(contenders, 5)
    compiled, eager = (timings[name].median for name in ("cpu", "eager"))
    return (
        f"a training step of {batch} rows and {steps} steps: {1e3 * compiled:.2f} ms compiled, "
        f"{1e3 * eager:.1f} ms step by step, {eager / compiled:.0f} times as long"
    )


def row(name: str, size: object, timings: dict[str, Timing], ours: str = "saiki") -> Row:
    """One workload: medians, extremes, and how many times the time of ``ours`` the others take."""
    return {
        "workload": name,
        "size": size,
        "milliseconds": {n: round(1e3 * t.median, 3) for n, t in timings.items()},
        "spread": {
            n: [round(1e3 * t.fastest, 3), round(1e3 * t.slowest, 3)] for n, t in timings.items()
        },
        "ratio": {
            n: round(t.median / timings[ours].median, 3) for n, t in timings.items() if n != ours
        },
    }


def _against_peers(
    name: str, family: str, size: tuple[int, int, int, int], bidirectional: bool, repeats: int
) -> Row:
    batch, steps, inputs, hidden = size
    x = torch.randn(batch, steps, inputs)
    cell = cells.make(family, inputs, hidden)
    layer = Bidirectional(cell) if bidirectional else Recurrent(cell)
    contenders: dict[str, Step] = {"saiki": peers.training_step(layer, x)}
    contenders |= peers.all_of(family, x, hidden, bidirectional)
    one_way = Recurrent(cell, backend="eager")
    eager = Bidirectional(one_way) if bidirectional else one_way
    contenders["eager"] = peers.training_step(eager, x)
    return row(name, size, interleaved(contenders, repeats))


def _variants(repeats: int) -> Row:
    batch, steps, inputs, hidden = SHORT
    x = torch.randn(batch, steps, inputs)
    contenders = {
        name: peers.training_step(Bidirectional(Recurrent(make(inputs, hidden), backend="cpu")), x)
        for name, make in {"saiki": LSTM, **VARIANTS}.items()
    }
    return row("variants beside the plain lstm", SHORT, interleaved(contenders, repeats))


def _peephole(size: tuple[int, int, int, int], repeats: int) -> Row:
    batch, steps, inputs, hidden = size
    x = torch.randn(batch, steps, inputs)
    contenders = {
        "saiki": peers.training_step(Recurrent(LSTM(inputs, hidden, peephole=True)), x),
        "torch.nn without peepholes": peers.of_torch("lstm", x, hidden, False),
    }
    return row("peephole lstm", size, interleaved(contenders, repeats))


def _adder(repeats: int) -> Row:
    adder = Adder.from_dict({**Adder.preset("report"), "iterations": ITERATIONS})
    threads = torch.get_num_threads()

    def ours() -> None:
        torch.manual_seed(0)
        Training(adder, adder.model()).run(lambda point: None)

    torch.set_num_threads(Adder.threads)
    timings = interleaved({"saiki": ours, "numpy": lambda: adder_numpy.train(ITERATIONS)}, repeats)
    torch.set_num_threads(threads)
    return row(f"adder, preset report, {ITERATIONS} iterations", (1, 8, 2, 16), timings)
