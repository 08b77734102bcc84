"""Keep C libraries off the terminal: what they write to the standard error is dropped."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_kept = -1


@contextmanager
def hushed() -> Iterator[None]:
    """Drop what anything in this process writes to the standard error.

    Threads may be in here together: the first one in redirects, the last one out restores.
    """
    global _inside, _kept
    with _lock:
        if not _inside:
            _kept = _redirect()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _restore(_kept)


def _redirect() -> int:
    """Point the standard error at nothing; returns a copy of what it was, or −1."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        return -1
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    return kept


def _restore(kept: int) -> None:
    if kept >= 0:
        os.dup2(kept, 2)
        os.close(kept)
