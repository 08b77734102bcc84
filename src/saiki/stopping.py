"""Ctrl-C in the program ``saiki``: heard wherever it arrives, and once.

A press raises :class:`Stop` wherever Python is. In a destructor, in a callback of a weak reference
and below some functions in C that is printed and forgotten, and so is the wish. So the exception is
watched: where it is gone and the program has not ended, the key is pressed again.

Nothing is raised inside an import: some of what PyTorch begins with takes an exception for the end
of the world (``std::terminate``). The press waits for the end of a short one, and in a long one the
program ends where it is.
"""

import _thread
import atexit
import os
import signal
import sys
import time
import weakref
from types import FrameType
from typing import NoReturn

STOPPED = 130
"""The exit code of a program that was stopped by Ctrl-C."""
SENTENCE = b"saiki: stopped\n"
WATCH_SECONDS = 0.05
"""From one look at an exception to the next."""
IMPORT_SECONDS = 0.2
"""For which a press waits for the end of an import."""
PATIENCE_SECONDS = 1.0
"""In which a second press changes nothing, for the first one is being heeded."""


class Stop(KeyboardInterrupt):
    """A press that is on its way to the end of the program."""


class _Presses:
    """What has been pressed so far."""

    first_at: float | None = None
    """When the first came; None if none has."""
    stop: weakref.ref[Stop] | None = None
    """What was raised last."""
    raised_at = 0.0
    is_over = False
    """Whether the program ends by itself from here on."""


def listen() -> None:
    """Hear Ctrl-C from here on, unless whoever started the program has switched it off."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _press)
        sys.unraisablehook = _unraisable


def is_pressed() -> bool:
    return _Presses.first_at is not None


def is_over() -> bool:
    return _Presses.is_over


def close() -> None:
    """A press from here on comes too late: what is said last is said."""
    if signal.getsignal(signal.SIGINT) is _press:
        _Presses.is_over = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end(code: int) -> NoReturn:
    """End the program now. To take apart what PyTorch has built takes Python a second."""
    close()
    _flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    atexit._run_exitfuncs()
    _flush()
    os._exit(code)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _press(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _Presses.is_over or (_is_on_its_way() and now - _Presses.raised_at < PATIENCE_SECONDS):
        return
    if _Presses.first_at is None:
        _Presses.first_at = now
        _thread.start_new_thread(_watch, ())
    if _is_import(frame):
        if now - _Presses.first_at > IMPORT_SECONDS:
            close()
            os.write(2, SENTENCE)
            end(STOPPED)
        return
    stop = Stop()
    _Presses.stop, _Presses.raised_at = weakref.ref(stop), now
    try:
        raise stop
    finally:
        del stop  # or its traceback would hold it through this frame, and it would never be gone


def _is_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _is_on_its_way() -> bool:
    return _Presses.stop is not None and _Presses.stop() is not None


def _watch() -> None:
    while not _Presses.is_over:
        time.sleep(WATCH_SECONDS)
        if not (_Presses.is_over or _is_on_its_way()):
            if os.name == "nt":  # where the other would end the process
                _thread.interrupt_main()
            else:
                os.kill(os.getpid(), signal.SIGINT)


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    if not isinstance(lost.exc_value, Stop):
        sys.__unraisablehook__(lost)
