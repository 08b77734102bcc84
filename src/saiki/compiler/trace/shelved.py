"""Traces on disk, for the next process."""

import torch

from saiki.compiler.shelf import shelf
from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.graph_file import UnwrittenError, from_text, to_text
from saiki.compiler.watch.lasting import PassingError, lasting_tokens
from saiki.compiler.watch.watch import Watch

KIND = "trace"
"""Of what is kept on the shelf."""


def lasting_key(watch: Watch, dtype: torch.dtype, inline_weights: int) -> str | None:
    """What names the trace in any process; None where nothing does."""
    try:
        depends = lasting_tokens(watch.fingerprint)
    except PassingError:
        return None
    return shelf.key("trace", depends, str(dtype), str(inline_weights))


def read_trace(key: str | None) -> Trace | None:
    """The trace that was put on the shelf under that name, when all that a step depends on was as
    it is now; None where there is none."""
    text = None if key is None else shelf.get(KIND, key)
    if key is None or text is None:
        return None
    try:
        return from_text(text.decode())
    except Exception:  # whatever it holds, the step can be traced anew
        shelf.drop(key)
        return None


def put_trace(key: str | None, trace: Trace) -> None:
    """Put a trace on the shelf, where it has a name and can be written."""
    if key is None:
        return
    try:
        text = to_text(trace)
    except UnwrittenError:
        return
    shelf.put(KIND, key, text.encode())
