"""Large buffers that are used again.

What a training step saves is freed when its backward pass ends and needed again, in the same size,
at the next step. The system would take the pages back in between and clear them anew, which costs
more time than the loop itself.
"""

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

SMALLEST = 1 << 20
"""Bytes below which PyTorch's own allocation is as good."""
LINE = 64
"""Bytes of a cache line, where buffers begin."""
KEPT = 1 << 29
"""Bytes kept for later at most."""

_lock = threading.Lock()
_free: dict[int, list[np.ndarray]] = {}
_kept = 0


def empty(*shape: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor whose memory is kept for the next of its size when it is freed."""
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return torch.empty(shape, dtype=dtype)
    memory = _take(size)
    lease = memory.view()  # an object of its own: it dies with the tensor's storage
    weakref.finalize(lease, _give_back, memory)
    return torch.from_numpy(lease).view(dtype).view(shape)


def _take(size: int) -> np.ndarray:
    global _kept
    with _lock:
        if _free.get(size):
            _kept -= size
            return _free[size].pop()
    room = np.empty(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size]


def _give_back(memory: np.ndarray) -> None:
    global _kept
    with _lock:
        if _kept + memory.nbytes <= KEPT:
            _kept += memory.nbytes
            _free.setdefault(memory.nbytes, []).append(memory)
