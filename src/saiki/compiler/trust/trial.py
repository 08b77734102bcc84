"""A kernel on trial: what it computes beside what the eager loop does, on the user's own numbers.

A few rows and steps of the first batch that a kernel is given go through the eager loop, too, and
outputs and all gradients are compared. Later, at growing intervals, one step at a random place is.
What differs by more than rounding explains is never returned.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from saiki.call import Call, Part
from saiki.compiler.run.compiled import compiled_cell, eagerly, originals
from saiki.compiler.trace.clean_room import in_clean_room
from saiki.compiler.trace.draws import drawing
from saiki.compiler.trace.record import gradients_of
from saiki.twin import like

ROWS = 3
"""Rows of the batch that are compared as they are; two more are changed a little, for a batch of
zeros proves nothing."""
STEPS = 3
LARGE = 1 << 16
"""Numbers of a parameter that it would take long to change."""


class Sample:
    """Some rows and steps of one part of a call, as a call of ``(batch, time, features)``."""

    def __init__(self, call: Call, part: Part) -> None:
        rows, steps = _some(call)
        if steps.shape[1] == 1:  # two steps, or nothing would go from one to the next
            steps = steps.repeat(1, 2, 1)
        self.random = torch.Generator().manual_seed(0)
        x = self._with_changed(steps, 0.05)
        states = [self._with_changed(t[rows], 0.05) for t in part.states]
        memory = [self._with_changed(t[rows], 0.0) for t in part.memory]
        cell = compiled_cell(part.key)
        own = cell.watch.parameters  # in place of others, another value cannot be put everywhere
        parameters = [
            self._parameter(p) if i < own and isinstance(t, torch.nn.Parameter) else p
            for i, (p, t) in enumerate(zip(part.parameters, cell.real_tensors(), strict=True))
        ]
        self.call = Call(x, None, False, [Part(part.reverse, states, parameters, memory, part.key)])
        self.eps = cell.step.eps

    def _with_changed(self, rows: Tensor, added: float) -> Tensor:
        more = rows[torch.arange(2) % len(rows)]
        if more.is_floating_point():
            more = more * (1 + 0.1 * self.noise(more)) + added * self.noise(more)
        return torch.cat((rows, more)).contiguous()

    def _parameter(self, tensor: Tensor) -> Tensor:
        """A parameter a little different; where it is 0 it might hide what is multiplied by it. A
        large one without zeros, which hides nothing, is left as it is."""
        is_large = tensor.numel() > LARGE and bool(tensor.all())
        if is_large or not tensor.is_floating_point():
            return tensor
        noise = self.noise(tensor)
        return torch.where(tensor == 0, 0.05 * noise, tensor * (1 + 0.05 * noise)).to(tensor.dtype)

    def noise(self, like: Tensor) -> Tensor:
        """Random numbers of the shape and type of ``like``."""
        return torch.randn(like.shape, generator=self.random, dtype=torch.float64).to(like.dtype)

    def difference(
        self, actual: "Outcome", cotangents: Sequence[Tensor] | None = None, rows: int | None = None
    ) -> str:
        """How the outcome of a kernel differs from that of the eager loop, for the first ``rows``;
        with ``cotangents`` the gradients too."""
        expected = eager_outcome(first_rows(self.call, rows), cotangents)
        if not difference(actual, expected, self.eps):
            return ""
        nearby = eager_outcome(first_rows(self._nearby(), rows), cotangents)
        return difference(actual, expected, self.eps, nearby)

    def _nearby(self) -> Call:
        """The call with numbers that differ in their last bits."""
        (part,) = self.call.parts
        x, *states = map(self._close, (self.call.x, *part.states))
        parameters = [*map(self._close, part.parameters)]
        close = part._replace(states=states, parameters=parameters)
        return self.call._replace(x=x, parts=[close])

    def _close(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return tensor * (1 + 4 * torch.finfo(tensor.dtype).eps * self.noise(tensor))


def _some(call: Call) -> tuple[Tensor, Tensor]:
    """The numbers of some rows of a call, and their first steps, ``(rows, time, features)``."""
    x, lengths = call.x, call.lengths
    if x.ndim == 2:
        assert lengths is not None
        time = min(STEPS, len(lengths))
        rows = torch.arange(min(ROWS, int(lengths[time - 1])))
        starts = (lengths.cumsum(0) - lengths)[:time]
        return rows, x[(starts + rows[:, None]).flatten()].view(len(rows), time, -1)
    whole = x.transpose(0, 1) if call.time_first else x
    batch, time = whole.shape[:2]
    rows = torch.arange(min(ROWS, batch))
    if lengths is not None:
        rows = lengths.argsort(descending=True)[:ROWS]
        time = int(lengths[rows].min())
    return rows, whole[rows, : min(STEPS, time)]


def first_rows(call: Call, rows: int | None) -> Call:
    """The first rows of a call of ``(batch, time, features)``; all of them if ``rows`` is None."""
    if rows is None:
        return call
    parts = [
        part._replace(
            states=[s[:rows] for s in part.states], memory=[m[:rows] for m in part.memory]
        )
        for part in call.parts
    ]
    return call._replace(x=call.x[:rows], parts=parts)


def can_judge(*tensors: Tensor) -> bool:
    """Whether there is a batch, and of numbers whose products stay in the range of their type: what
    explodes may do so a step earlier in one order of summing than in another."""
    return all(
        t.numel() > 0 and _bound(t) < torch.finfo(t.dtype).max ** 0.25
        for t in tensors
        if t.is_floating_point()
    )


def _bound(tensor: Tensor) -> float:
    """The largest absolute value; NaN if there is one among them."""
    low, high = torch.aminmax(tensor)  # without a copy of a large tensor
    return float(torch.maximum(-low, high))


Outcome = dict[str, Tensor | None]


def difference(
    actual: Outcome, expected: Outcome, eps: float = 0.0, nearby: Outcome | None = None
) -> str:
    """What differs by more than rounding explains, and by how much; empty if nothing does.

    Args:
        eps: of the coarsest type that a step rounds to, if it is another than that of its states.
        nearby: what is expected of numbers that differ in their last bits: where that is something
            else, as the variance of equal numbers is, so may be what a kernel computes.
    """
    for kind in (True, False):
        names = [name for name in expected if name.startswith("∂") == kind]
        largest = {name: _largest(expected[name]) for name in names}
        whole = max(largest.values(), default=0.0)
        for name in names:
            a, b = actual.get(name), expected[name]
            if a is None or b is None:
                rest = b if a is None else a
                if rest is not None and bool((rest != 0).any()):
                    return f"{name} is {'absent' if a is None else 'not 0'}"
                continue
            if a.shape != b.shape:
                return f"{name} has the shape {tuple(a.shape)} instead of {tuple(b.shape)}"
            bound = max(torch.finfo(b.dtype).eps, eps) ** 0.5 * max(largest[name], 0.01 * whole)
            if a.numel() == 0 or float((a - b).abs_().max()) <= bound:
                continue
            other = None if nearby is None else nearby[name]
            if other is not None:
                bound += 100 * _largest(other - b)
            same = (a == b) | (_overflows(a) & _overflows(b))
            off = torch.where(same, 0.0, (a - b).abs())
            if not bool((off <= bound).all()):
                return f"{name} is off by {float(off.nan_to_num(torch.inf).max()):.1e}"
    return ""


def _overflows(tensor: Tensor) -> Tensor:
    """Where a number is, or in another order of summing may be, too large for its type."""
    return ~(tensor.abs() < torch.finfo(tensor.dtype).max / 1000)


def _largest(tensor: Tensor | None) -> float:
    """The largest absolute value of the finite ones."""
    if tensor is None or tensor.numel() == 0:
        return 0.0
    return _bound(tensor.nan_to_num(0.0, posinf=0.0, neginf=0.0))


def outcome(
    call: Call, outputs: Sequence[Tensor], gradients: Sequence[Tensor | None] = ()
) -> Outcome:
    """What a call of one part yields, by name.

    Args:
        outputs: y and the last states.
        gradients: by x, states, parameters and memory, or none.
    """
    (part,) = call.parts
    states: Outcome = {f"the last state {i}": end for i, end in enumerate(outputs[1:])}
    if not gradients:
        return {"y": outputs[0], **states}
    names = [
        "∂L/∂x",
        *(f"∂L/∂(first state {i})" for i in range(len(part.states))),
        *(f"∂L/∂{name}" for name in compiled_cell(part.key).step.names),
        *(f"∂L/∂(memory {i})" for i in range(len(part.memory))),
    ]
    return {"y": outputs[0], **states, **dict(zip(names, gradients, strict=True))}


def eager_outcome(call: Call, cotangents: Sequence[Tensor] | None) -> Outcome:
    """What the eager loop gives for a call of one part; with ``cotangents`` its gradients too."""
    is_learning = cotangents is not None

    def leaf(tensor: Tensor, original: Tensor | None) -> Tensor:
        if original is None:
            return tensor.detach().requires_grad_(is_learning)
        if not (isinstance(original, torch.nn.Parameter) or original.requires_grad):
            return tensor
        number = tensor.detach().requires_grad_(is_learning and tensor.is_floating_point())
        return like(number, original)

    def work() -> Outcome:
        real = originals(call)
        leaves = [*map(leaf, call.tensors(), real)]
        with torch.set_grad_enabled(is_learning):
            outputs = eagerly(call.with_tensors(leaves, None), on_trial=True)
        numbers = [tensor.detach() for tensor in outputs]
        if cotangents is None:
            return outcome(call, numbers)
        return outcome(call, numbers, gradients_of(outputs, cotangents, leaves, real))

    with drawing():
        return in_clean_room(work)
