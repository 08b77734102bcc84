"""Large buffers that are used again.

What a training step saves is freed when its backward pass ends and needed again, in the same size,
at the next step. The system would take the pages back in between and clear them anew, which costs
more time than the loop itself. No free buffer is kept longer than the last compiled cell is there.
"""

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor
from torch.utils import deterministic

SMALLEST = 1 << 20
"""Bytes below which PyTorch's own allocation is as good."""
LINE = 64
"""Bytes of a cache line, where buffers begin."""
CLASSES = 8
"""Sizes of buffers between a power of 2 and the next."""
SPARE = 1.5
"""Lent and free buffers together, by the most that were lent at once of late."""
TURNS = 4
"""How many times as much is lent before a buffer that nothing asked for is given back."""


def empty(*shape: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor whose memory is kept for the next of about its size when it is freed.

    It holds NaN where PyTorch's own would: with deterministic algorithms and
    ``torch.utils.deterministic.fill_uninitialized_memory``.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return torch.empty(shape, dtype=dtype)
    tensor = torch.from_numpy(pool().lend(size)).view(dtype).view(shape)
    fills = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if fills and dtype.is_floating_point and torch.are_deterministic_algorithms_enabled():
        tensor.fill_(math.nan)
    return tensor


class Pool:
    """Buffers that are lent, come back when nobody holds them, and are lent again.

    Sizes are rounded up, so that ragged batches of about the same size share buffers, and a buffer
    serves whatever fills half of it. The one that was free longest goes first: where more than
    ``SPARE`` times what was lent at once of late would be held, and where nothing asked for it
    while ``TURNS`` times as much was lent.

    That a buffer has come back is seen when the next is lent. Nothing is called when it does: that
    would be code of Python between any two operations, in which a Ctrl-C is lost. The collector may
    run such code of others' inside this class, on the same thread, so nobody ever waits for the
    lock: who finds it taken does without the pool.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.leases: list[tuple[weakref.ref[np.ndarray], np.ndarray]] = []
        """What was lent, which dies when nobody holds it, and the buffer that it is part of."""
        self.free: list[tuple[int, np.ndarray]] = []
        """Free buffers, the last to come back at the end, each with the turnover at that time."""
        self.turnover = 0
        """Bytes ever lent."""
        self.peak, self.peak_before, self.turn_ends = 0, 0, 0
        """The most bytes lent at once in this turn and in the one before; the turnover that ends
        it."""

    @property
    def lent(self) -> int:
        """Bytes of the buffers that are lent."""
        return sum(memory.nbytes for lease, memory in self.leases if lease() is not None)

    @property
    def held(self) -> int:
        """Bytes of all buffers, lent or free."""
        return sum(memory.nbytes for _, memory in (*self.leases, *self.free))

    def lend(self, size: int) -> np.ndarray:
        """``size`` bytes, which come back when the array is no longer used."""
        if not self.lock.acquire(blocking=False):
            return _allocated(size)
        try:
            memory = self._free_or_new(rounded(size))
            lease = memory[:size]  # an object of its own: it dies with the tensor's storage
            self.leases.append((weakref.ref(lease), memory))
            self._evict()
        finally:
            self.lock.release()
        return lease

    def clear(self) -> None:
        """Give back all that is free."""
        if self.lock.acquire(blocking=False):
            try:
                self._sort_in()
                self.free = []
            finally:
                self.lock.release()

    def _free_or_new(self, size: int) -> np.ndarray:
        self._sort_in()
        fits = [
            (memory.nbytes, -i)
            for i, (_, memory) in enumerate(self.free)
            if size <= memory.nbytes <= 2 * size
        ]
        memory = self.free.pop(-min(fits)[1])[1] if fits else _allocated(size)
        self._count(memory.nbytes)
        return memory

    def _sort_in(self) -> None:
        free, lent = [], []
        for lease, memory in self.leases:
            if lease() is None:
                free.append((self.turnover, memory))
            else:
                lent.append((lease, memory))
        # at once, or after a Ctrl-C in between a buffer would be lent to two
        self.leases, self.free = lent, self.free + free

    def _count(self, size: int) -> None:
        """Note that a buffer of that size is about to be lent."""
        lent = self.lent + size
        self.turnover += size
        self.peak = max(self.peak, lent)
        if self.turnover >= self.turn_ends:
            self.peak, self.peak_before = lent, self.peak
            self.turn_ends = self.turnover + TURNS * self._lately()

    def _lately(self) -> int:
        return max(self.peak, self.peak_before)

    def _evict(self) -> None:
        lately, held = self._lately(), self.held
        first = 0
        for since, memory in self.free:
            if held <= SPARE * lately and self.turnover - since <= TURNS * lately:
                break
            held -= memory.nbytes
            first += 1
        del self.free[:first]


def pool() -> Pool:
    """That of this process: the one that somebody holds, or a new one."""
    global _known
    current = None if _known is None else _known()
    if current is None:
        current = Pool()
        _known = weakref.ref(current)
    return current


def rounded(size: int) -> int:
    """The size of the smallest class that holds ``size`` bytes."""
    step = 1 << max(0, (size - 1).bit_length() - 1 - (CLASSES.bit_length() - 1))
    return -(-size // step) * step


def _allocated(size: int) -> np.ndarray:
    room = np.empty(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size]


_known: weakref.ref[Pool] | None = None
