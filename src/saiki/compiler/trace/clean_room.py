"""A place where PyTorch behaves as in a fresh process, whatever the caller is in the middle of.

Dynamo, fake tensors, ``make_fx``, ``torch.func``, autocast, inference mode, hooks on saved tensors
and dispatch modes are states of a thread. So a kernel is traced and proved in a thread of its own.
"""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

from saiki.torch_internals import fx_state_kept

Result = TypeVar("Result")

STACK = 64 << 20
"""Bytes of the stack of the thread: steps of a thousand operations nest deeply in PyTorch."""

_here = threading.local()
_starting = threading.Lock()


def is_inside() -> bool:
    """Whether the caller runs in a clean room."""
    return bool(getattr(_here, "inside", False))


def in_clean_room(function: Callable[[], Result]) -> Result:
    """What ``function()`` returns, or raises, in a thread in which no mode of PyTorch is on."""
    future: Future[Result] = Future()
    context, threads = contextvars.copy_context(), torch.get_num_threads()

    def work(future: Future[Result]) -> None:
        _here.inside = True
        torch.set_num_threads(threads)  # or the thread would first find out, by starting some
        try:
            future.set_result(context.run(function))
        except BaseException as error:
            future.set_exception(error)

    with _starting:
        before = threading.stack_size(STACK)
        try:
            thread = threading.Thread(target=work, args=(future,), name="saiki", daemon=True)
            anomaly, check = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
            torch.autograd.set_detect_anomaly(False)
            thread.start()
        finally:
            threading.stack_size(before)
    try:
        with fx_state_kept():
            thread.join()
    finally:
        torch.autograd.set_detect_anomaly(anomaly, check)
    try:
        return future.result()
    finally:
        del future  # or an error would hold this frame, and that the error
