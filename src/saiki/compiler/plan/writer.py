"""What writes new nodes into the graph of a step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from saiki.compiler.trace.nodes import Node


class Writer:
    """Writes into a graph, in front of the node that is being taken; the same thing once."""

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.inside: set[Node] = set()
        """What is followed, and all that is written of it."""
        self.here: Node
        """What is being taken."""
        self._known: dict[str, Node] = {}

    def emit(
        self,
        target: Any,
        args: tuple[Any, ...],
        shape: Sequence[int],
        dtype: torch.dtype | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Node:
        """The node that does this.

        Args:
            shape: of its value.
            dtype: of its value; that of the first node it takes where None.
        """
        key = repr((target, args, kwargs))
        if key not in self._known:
            with self.graph.inserting_before(self.here):
                node = self.graph.call_function(target, args, kwargs)
            if dtype is None:
                dtype = node.all_input_nodes[0].meta["val"].dtype
            node.meta["val"] = torch.empty(tuple(shape), dtype=dtype, device="meta")
            node.stack_trace = self.here.stack_trace
            if self.inside.intersection(node.all_input_nodes):
                self.inside.add(node)
            self._known[key] = node
        return self._known[key]
