"""Batches made in advance, so that the loop need not wait for them."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def prefetch(items: Iterator[T], depth: int) -> Iterator[Iterator[T]]:
    """``items``, up to ``depth`` of them made by a thread while the one before is in use.

    With a depth of 0 there is no thread. An error of ``items`` is raised where its item would have
    come. The thread has ended when the block has.
    """
    if depth == 0:
        yield items
        return
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    closing = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not closing.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if closing.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    def drain() -> Iterator[T]:
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value

    thread = threading.Thread(target=work, name="saiki-batches", daemon=True)
    thread.start()
    try:
        yield drain()
    finally:
        closing.set()
        thread.join()
