"""Keep C libraries off the terminal: what they write to the standard error is dropped."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_copy = -1
"""Of the standard error, to be restored; −1: it was closed."""


@contextmanager
def hushed() -> Iterator[None]:
    """Drop what anything in this process writes to the standard error.

    Threads may be in here together: the first one in redirects, the last one out restores.
    """
    global _inside, _copy
    with _lock:
        if not _inside:
            try:
                _copy = os.dup(2)
            except OSError:
                _copy = -1
            else:
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, 2)
                os.close(nothing)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _copy >= 0:
                os.dup2(_copy, 2)
                os.close(_copy)
