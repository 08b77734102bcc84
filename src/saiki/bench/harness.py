"""Honest timing: interleaved repeats, medians, the spread, and ratios; and memory."""

import ctypes
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from saiki.compiler.kernels import BACKENDS

Step = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender over the repeats."""

    median: float
    fastest: float
    slowest: float

    def divided(self, calls: int) -> "Timing":
        """Of one of so many calls that were timed together."""
        return Timing(self.median / calls, self.fastest / calls, self.slowest / calls)


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
    return {n: Timing(statistics.median(s), min(s), max(s)) for n, s in seconds.items()}


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
        **{name: found for name in ("saiki", "torch", "jax", "keras") if (found := _version(name))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    found = dict(_fields(lines))
    wide = "AVX-512" if "avx512f" in found.get("flags", "") else ""
    return " ".join(filter(None, (found.get("model name", platform.processor()), wide)))


def _fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
