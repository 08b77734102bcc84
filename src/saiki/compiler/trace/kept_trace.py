"""A trace that another process may have left."""

import torch

from saiki.cell import Cell
from saiki.compiler.shelf import shelf
from saiki.compiler.trace.graph_file import UnwrittenError, from_text, to_text
from saiki.compiler.trace.trace import Trace, trace
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


def kept_trace(
    key: str | None, cell: Cell, watch: Watch, dtype: torch.dtype, inline_weights: int
) -> Trace:
    """:func:`~saiki.compiler.trace.trace.trace`, or what it found when it was last called with all
    that a step depends on as it is now."""
    kept = None if key is None else shelf.get(KIND, key)
    if key is not None and kept is not None:
        try:
            return from_text(kept.decode())
        except Exception:  # whatever it holds, the step says it anew
            shelf.drop(key)
    found = trace(cell, watch, dtype, inline_weights)
    if key is not None:
        try:
            text = to_text(found)
        except UnwrittenError:
            return found
        shelf.put(KIND, key, text.encode())
    return found
