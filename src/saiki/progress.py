"""How far long work is: told by whoever does it, and shown in one line.

On a terminal the line is written anew each second; elsewhere it is a new line each minute.
"""

import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TextIO, TypeVar

from saiki.errors import printable
from saiki.terminal import say

T = TypeVar("T")

TERMINAL_SECONDS, FILE_SECONDS = 1.0, 60.0
"""From one line to the next."""


class Line:
    """The line; a thread of its own writes it while :func:`line` is entered."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stage: Callable[[], str] = lambda: ""
        """What is being done and how far it is."""
        self.part = ""
        """How far :func:`each` is."""
        self._stream = stream
        self._rewrites = stream is not None and stream.isatty()
        self._width = 0
        self._lock = threading.RLock()
        self._closing = threading.Event()

    def clearing(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """``say`` for whole lines, which the line makes way for."""

        def say_beside(text: str) -> None:
            with self._lock:
                self._clear()
                say(text)

        return say_beside

    def write(self) -> None:
        text = "  ".join(part for part in (self.stage(), self.part) if part)
        with self._lock:
            if self._stream is None or not text or self._closing.is_set():
                return
            if self._rewrites:
                text = printable(text)
                text = text[: shutil.get_terminal_size().columns - 1]
                self._stream.write(f"\r{text:<{self._width}}")
                self._stream.flush()
                self._width = len(text)
            else:
                say(text, self._stream)

    def _clear(self) -> None:
        if self._stream is not None and self._width:
            self._stream.write(f"\r{'':{self._width}}\r")
            self._stream.flush()
            self._width = 0

    def work(self) -> None:
        """Write until the line is closed."""
        while not self._closing.wait(TERMINAL_SECONDS if self._rewrites else FILE_SECONDS):
            self.write()

    def close(self) -> None:
        with self._lock:
            self._closing.set()
            self._clear()


_line: ContextVar[Line | None] = ContextVar("line", default=None)


@contextmanager
def line(is_shown: bool = True) -> Iterator[Line]:
    """A line on standard error for as long as the block lasts, or one that nobody sees."""
    shown = Line(sys.stderr if is_shown else None)
    token = _line.set(shown)
    thread = threading.Thread(target=shown.work, name="saiki-progress", daemon=True)
    if is_shown:
        thread.start()
    try:
        yield shown
    finally:
        shown.close()
        if is_shown:
            thread.join()
        _line.reset(token)


def each(items: Sequence[T]) -> Iterator[T]:
    """``items``, batches say, of which the line says how many have been asked for."""
    shown = _line.get()
    try:
        for number, item in enumerate(items, 1):
            if shown is not None:
                shown.part = f"batch {number:,} of {len(items):,}"
            yield item
    finally:
        if shown is not None:
            shown.part = ""


class Rate:
    """How fast a count rises, over its last few looks."""

    def __init__(self, looks: int = 30) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=looks)

    def of(self, count: int) -> float | None:
        """Per second; None as long as nothing is known."""
        self._seen.append((monotonic(), count))
        (start, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - start) if last > first and now > start else None


def duration(seconds: float) -> str:
    """A length of time as a person would say it.

    >>> [duration(s) for s in (3.2, 89, 95, 5400, 100_000)]
    ['3 s', '89 s', '2 min', '1 h 30 min', '28 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if hours >= 10:
        return f"{round(seconds / 3600):,} h"
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
