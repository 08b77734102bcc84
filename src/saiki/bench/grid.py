"""``saiki.nn`` beside ``torch.nn`` over a grid of shapes, with nothing left out that loses.

Each shape, cell and mode, with one thread and with all there are; then a few shapes with all
threads and other types of numbers. Ratios above 1 say how many times as long ``torch.nn`` takes.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from saiki import nn as ours
from saiki.bench import peers
from saiki.bench.harness import Row, Step, interleaved, peak_memory, row, training_step

OURS: dict[str, Callable[..., nn.Module]] = {"lstm": ours.LSTM, "gru": ours.GRU, "rnn": ours.RNN}
PRODUCTS = {"lstm": 4, "gru": 3, "rnn": 1}
"""Rows of the weights for each hidden unit."""
SHAPES = (
    (1, 1, 64, 64), (1, 1, 256, 256), (1, 1, 1024, 1024), (64, 1, 512, 512), (1, 16, 64, 64),
    (1, 100, 128, 128), (1, 1000, 64, 64), (1, 1000, 256, 256), (1, 5000, 8, 16),
    (4, 200, 32, 64), (8, 1000, 1, 64), (8, 200, 32, 64), (16, 100, 128, 256),
    (16, 512, 512, 512), (20, 35, 200, 200), (20, 35, 650, 650), (20, 35, 1500, 1500),
    (32, 20, 64, 64), (32, 50, 300, 512), (32, 400, 40, 128), (64, 50, 128, 128),
    (64, 100, 64, 64), (64, 100, 256, 256), (128, 28, 28, 128), (256, 100, 128, 128),
    (512, 10, 32, 32), (1024, 20, 64, 128),
)  # fmt: skip
"""batch, steps, input size, hidden size."""
MODES = ("train", "infer")
OTHER = ((8, 200, 32, 64), (64, 50, 128, 128), (64, 100, 256, 256))
"""Shapes that are trained in other types of numbers, too."""
TYPES = {"float64": torch.float64, "bfloat16": torch.bfloat16, "autocast": torch.float32}
"""Of x and the weights."""
TIMED = 0.02
"""Seconds that one timing takes at least; what is faster is done again and again."""
SMALL = 4 << 20
"""Bytes below which the allocator's own habits decide what a peak is."""
LIMIT_SIZE = 1024
"""Rows, columns and depth of the product that says how fast products can be."""


def rows(repeats: int = 15) -> Iterator[Row]:
    every = torch.get_num_threads()
    try:
        for threads in sorted({1, every}):
            torch.set_num_threads(threads)
            speed = product_speed()
            for shape, family, mode in itertools.product(SHAPES, OURS, MODES):
                report = _entry(shape, family, mode, repeats)
                least = 1000 * operations(shape, family, mode) / speed
                report["limit"] = float(f"{least / report['milliseconds']['saiki.nn']:.3g}")
                yield report
        for shape, family, name in itertools.product(OTHER, OURS, TYPES):
            yield _entry(shape, family, f"train, {name}", repeats)
    finally:
        torch.set_num_threads(every)


def _entry(shape: tuple[int, int, int, int], family: str, mode: str, repeats: int) -> Row:
    batch, steps, inputs, hidden = shape
    kind = mode.partition(", ")[2]
    dtype = TYPES.get(kind, torch.float32)
    x = torch.randn(batch, steps, inputs, dtype=dtype)
    layers = {
        "saiki.nn": OURS[family](inputs, hidden, batch_first=True, dtype=dtype),
        "torch.nn": peers.TORCH[family](inputs, hidden, batch_first=True, dtype=dtype),
    }
    layers["saiki.nn"].load_state_dict(layers["torch.nn"].state_dict())
    once = {
        name: _inference(layer, x) if mode == "infer" else training_step(layer, x)
        for name, layer in layers.items()
    }
    if kind == "autocast":
        once = {name: _under_autocast(step) for name, step in once.items()}
    calls = _calls(once["torch.nn"])
    timings = interleaved({name: _several(step, calls) for name, step in once.items()}, repeats)
    each = {name: timing.divided(calls) for name, timing in timings.items()}
    threads = torch.get_num_threads()
    name = f"{family}, {mode}, {threads} thread{'s' * (threads > 1)}"
    report = row(name, shape, each, "saiki.nn")
    report["threads"], report["family"], report["mode"] = threads, family, mode
    if mode == "train":
        report["memory"] = {name: peak_memory(step) for name, step in once.items()}
    return report


def _inference(layer: nn.Module, x: Tensor) -> Step:
    def step() -> None:
        with torch.inference_mode():
            layer(x)

    return step


def _under_autocast(step: Step) -> Step:
    def inside() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            step()

    return inside


def _calls(step: Step) -> int:
    """So many that they take ``TIMED`` together."""
    step()
    started = time.perf_counter()
    step()
    return max(1, math.ceil(TIMED / (time.perf_counter() - started)))


def _several(step: Step, calls: int) -> Step:
    def all_of_them() -> None:
        for _ in range(calls):
            step()

    return all_of_them


def operations(shape: tuple[int, int, int, int], family: str, mode: str) -> float:
    """Of the products of a layer, a multiplication and an addition each: of x and of h with their
    weights, and in training those of both gradients."""
    batch, steps, inputs, hidden = shape
    forward = 2.0 * batch * steps * (inputs + hidden) * PRODUCTS[family] * hidden
    return 3 * forward if mode == "train" else forward


def product_speed() -> float:
    """Operations a second of a large product of matrices, the best of several."""
    a = torch.randn(LIMIT_SIZE, LIMIT_SIZE)
    out = torch.empty_like(a)
    taken = []
    for _ in range(8):
        started = time.perf_counter()
        torch.mm(a, a, out=out)
        taken.append(time.perf_counter() - started)
    return 2.0 * LIMIT_SIZE**3 / min(taken)


def summary(reports: Sequence[Row]) -> str:
    """Geometric means of the ratios, and what loses."""
    lines = []
    ratios = {(r["threads"], r["family"], r["mode"]): list[float]() for r in reports}
    for each in reports:
        key = each["threads"], each["family"], each["mode"]
        ratios[key].append(each["ratio"]["torch.nn"])
    for (threads, family, mode), values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        lines.append(
            f"{family}, {mode}, threads {threads}: {mean:.2f}× on the geometric mean of "
            f"{len(values)} shapes, {min(values):.2f}× at the least"
        )
    lost = sorted((r["ratio"]["torch.nn"], r["workload"], r["size"]) for r in reports)
    slower = [each for each in lost if each[0] < 0.97]
    lines.append(f"{len(slower)} of {len(reports)} take longer than torch.nn by more than 3 %")
    lines += [f"  {ratio:.2f}×  {name}  {size}" for ratio, name, size in slower]
    measured = [
        (r["memory"]["saiki.nn"] / r["memory"]["torch.nn"], r["workload"], r["size"])
        for r in reports
        if (r.get("memory", {}).get("torch.nn") or 0) >= SMALL
    ]
    larger = sorted((each for each in measured if each[0] > 1.03), reverse=True)
    lines.append(
        f"{len(larger)} of {len(measured)} training steps that take torch.nn {SMALL >> 20} MiB or "
        "more take more memory by more than 3 %"
    )
    lines += [f"  {ratio:.2f}×  {name}  {size}" for ratio, name, size in larger]
    return "\n".join(lines)
