"""Graphs as functions."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import fx


def function(graph: fx.Graph) -> Callable[..., Any]:
    """What ``graph`` computes, as a function that leaves nothing behind when it is dropped; the
    source of every ``fx.GraphModule`` is kept as long as the process lives."""
    code = graph.python_code("self")
    namespace: dict[str, Any] = dict(code.globals)
    exec(compile(code.src, "<graph>", "exec"), namespace)
    return partial(namespace["forward"], None)
