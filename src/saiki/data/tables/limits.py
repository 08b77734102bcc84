"""How large numbers may be, and tables: how much memory there is, asked before much is taken."""

import os
import re
from pathlib import Path

from saiki.errors import InputError

LARGEST = 1e30
"""Of a number, as float32 can do with."""
_COPIES = 6
"""As many copies of a table there are at once while it is brought into order and learned from, of
which some hold what the calendar says."""
_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that this process may still take; None where the system does not say."""
    bounds = list[int]()
    try:
        free = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
        bounds += [int(free[1]) * 1024] if free else []
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            bounds.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        largest = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        bounds += [max(0, int(largest) - used)] if largest.isdecimal() else []
    except (OSError, ValueError):
        pass
    return min(bounds, default=None)


def check_memory(path: Path, rows: int, columns: int) -> None:
    """Raise :class:`InputError` where so many rows of so many columns, and the times and series
    beside them, take more memory than there is."""
    free = free_memory()
    needed = _COPIES * 8 * rows * (columns + 2)
    if free is not None and needed > free:
        raise InputError(
            f"{path} has {rows:,} rows, of which {columns} columns take {needed / 2**30:,.1f} GiB "
            f"of memory, and {free / 2**30:,.1f} GiB are free; take fewer columns or a part of the "
            "rows"
        )
