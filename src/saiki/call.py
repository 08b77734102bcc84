"""A call of layers: all that is given to what runs them, the eager loop, kernels or exporters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

Results = tuple[Tensor, list[tuple[Tensor, ...]]]
"""The outputs of all layers side by side, in the layout of x, and the last states of each."""


class Part(NamedTuple):
    """One of the layers of a call, and the tensors that are its own."""

    reverse: bool
    """Whether it reads each row from its last step to its first."""
    states: Sequence[Tensor]
    """Before the first step, ``(batch, state_size)`` each."""
    parameters: Sequence[Tensor]
    """In place of the parameters and buffers of the cell, none where it keeps its own; for a kernel
    all that its trace reads, in that order."""
    memory: Sequence[Tensor]
    """What the cell reads at all steps, ``(batch, …)`` each, in the order of ``memory_shapes``."""
    key: int = -1
    """The number of the kernel; -1 for the eager loop."""


class Call(NamedTuple):
    """Some layers that read the same input."""

    x: Tensor
    """``(batch, time, input_size)``, or ``(time, batch, input_size)`` with ``time_first``; or
    ``(steps of all rows, input_size)``, packed as :class:`torch.nn.utils.rnn.PackedSequence` holds
    them."""
    lengths: Tensor | None
    """``(batch,)``; or, of a packed x, the number of rows at each step; on the CPU."""
    time_first: bool
    parts: Sequence[Part]
    layers: Sequence[Any] = ()
    """Those of the parts; none where a graph makes the call, which knows kernels alone."""

    def tensors(self) -> list[Tensor]:
        """All that gradients are taken by: x, then states, parameters and memory of each part."""
        tensors = [self.x]
        for part in self.parts:
            tensors += part.states
            tensors += part.parameters
            tensors += part.memory
        return tensors

    def with_tensors(self, tensors: Sequence[Any], lengths: Tensor | None) -> "Call":
        """The same call of others, in the order of :meth:`tensors`."""
        parts, end = [], 1
        for part in self.parts:
            states = end
            parameters = states + len(part.states)
            memory = parameters + len(part.parameters)
            end = memory + len(part.memory)
            own = tensors[states:parameters], tensors[parameters:memory], tensors[memory:end]
            parts.append(Part(part.reverse, *own, part.key))
        return Call(tensors[0], lengths, self.time_first, parts, self.layers)

    def alone(self) -> list["Call"]:
        """Each part as a call of its own."""
        return [
            Call(self.x, self.lengths, self.time_first, [part], self.layers[i : i + 1])
            for i, part in enumerate(self.parts)
        ]
