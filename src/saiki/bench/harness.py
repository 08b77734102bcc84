"""Honest timing: interleaved repeats, medians, the spread, and ratios; memory; and reports."""

import ctypes
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saiki.cell import Cell
from saiki.compiler.kernels import BACKENDS
from saiki.layers.recurrent import Recurrent

Step = Callable[[], object]
Row = dict[str, Any]
"""Of a report: its ``workload``, and figures by their names, one or one of each contender; what it
should have reached and has not under ``missed``."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender over the repeats."""

    median: float
    fastest: float
    slowest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        return cls(statistics.median(seconds), min(seconds), max(seconds))

    def divided(self, calls: int) -> "Timing":
        """Of one of so many calls that were timed together."""
        return Timing(self.median / calls, self.fastest / calls, self.slowest / calls)


def training_step(layer: nn.Module, x: Tensor) -> Step:
    """Forward, the sum of the outputs as the loss, and backward."""

    def step() -> None:
        layer.zero_grad(set_to_none=True)
        layer(x)[0].sum().backward()

    return step


def interleaved(steps: Mapping[str, Step], repeats: int) -> dict[str, Timing]:
    """Run each step once to warm up, then all of them in turn, ``repeats`` times."""
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing.of(each) for name, each in seconds.items()}


def beside_eager(cell: Cell, batch: int = 8, steps: int = 100) -> str:
    """One training step of a cell, compiled and step by step, in a sentence."""
    layer = Recurrent(cell)
    like = next(cell.parameters(), torch.empty(0))
    why = layer.why_eager(like.dtype)
    if why is not None:
        return f"runs step by step: {why}"
    x = torch.randn(batch, steps, cell.input_size, dtype=like.dtype)
    contenders = {
        name: training_step(Recurrent(cell, backend=name), x) for name in ("cpu", "eager")
    }
    timings = interleaved(contenders, 5)
    compiled, eager = (timings[name].median for name in ("cpu", "eager"))
    return (
        f"a training step of {batch} rows and {steps} steps: {1e3 * compiled:.2f} ms compiled, "
        f"{1e3 * eager:.1f} ms step by step, {eager / compiled:.0f} times as long"
    )


def row(name: str, size: object, timings: Mapping[str, Timing], ours: str = "saiki") -> Row:
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


def in_words(row: Row) -> str:
    """What is one number, and below it a line for each contender."""
    tables = {figure: each for figure, each in row.items() if isinstance(each, dict)}
    scalars = {figure: each for figure, each in row.items() if figure not in {"workload", *tables}}
    lines = [
        f"{row['workload']}: {', '.join(f'{figure} {each}' for figure, each in scalars.items())}"
    ]
    for name in dict.fromkeys(name for table in tables.values() for name in table):
        figures = (f"{figure} {each[name]}" for figure, each in tables.items() if name in each)
        lines.append(f"  {name:<28} {', '.join(figures)}")
    return "\n".join(lines)


def peak_memory(step: Step) -> int | None:
    """Bytes of memory that a step has in use at its peak beyond what is in use before it, once it
    has been done; the least of three times. None where the system does not tell: only Linux does.
    Small blocks are kept by the allocator, so below a few megabytes it says little."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None

    def once() -> int:
        before = resident()
        reset.write_text("5", encoding="ascii")  # the peak begins anew
        step()
        return _in_use("VmHWM") - before

    step()
    return min(once() for _ in range(3))


def resident() -> int:
    """Bytes of this process in memory, on Linux, without what is garbage, and what layers or malloc
    keep for the next call."""
    gc.collect()
    for backend in BACKENDS.values():
        backend.give_back()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return _in_use("VmRSS")


def _in_use(name: str) -> int:
    fields = dict(_fields(Path("/proc/self/status").read_text(encoding="ascii").splitlines()))
    return 1024 * int(fields[name].split()[0])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("saiki", "torch", "jax", "keras") if find_spec(name)},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    fields = dict(_fields(lines))
    wide = "AVX-512" if "avx512f" in fields.get("flags", "") else ""
    return " ".join(filter(None, (fields.get("model name", platform.processor()), wide)))


def _fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()
