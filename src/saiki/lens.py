"""What happens inside a recurrent layer: states, gates and gradients over time.

    with lens.watch(model) as view:
        y, _ = model(x)
        loss(y).backward()
    view["layer"].gradient["h"]   # the norm of ∂L/∂h at each time step

Every quantity that ``step`` gives a name is seen under that name, in any cell.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from saiki.activations import CATALOGUE
from saiki.cell import Cell
from saiki.layers.recurrent import Recurrent
from saiki.numbers import number

EDGE = 0.05
"""A unit is saturated within this share of a bounded range, or within it of the only bound."""


@dataclass(frozen=True)
class Statistics:
    """One named quantity over all rows, units and time steps."""

    mean: float
    std: float
    minimum: float
    maximum: float
    saturated: float | None
    """Share of values at the edge of the activation's range; None if no activation made it."""


@dataclass
class LayerView:
    """One recurrent layer during one forward and backward pass."""

    gradient: dict[str, list[float]] = field(default_factory=dict)
    """Norm of ∂L/∂s over rows and units for each state s, at each time step of the input."""
    values: dict[str, Statistics] = field(default_factory=dict)
    """States, gates and whatever else ``step`` names."""
    first_infinite: int | None = None
    """The first time step, in the order of computation, with a state that is not finite."""
    reverse: bool = False
    """Whether the layer reads from the last time step to the first."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "gradient": self.gradient,
            "values": {name: vars(s) for name, s in self.values.items()},
            "first_infinite": self.first_infinite,
            "reverse": self.reverse,
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> "LayerView":
        """From what :meth:`to_dict` gave, out of a file: what was not finite there is NaN.

        Raises:
            LookupError, TypeError, ValueError or AttributeError: it is something else.
        """
        gradient = {s: [_out_of_file(n) for n in norms] for s, norms in values["gradient"].items()}
        named = {}
        for name, its in values["values"].items():
            saturated = its.pop("saturated")
            numbers = {key: _out_of_file(value) for key, value in its.items()}
            edge = None if saturated is None else _out_of_file(saturated)
            named[name] = Statistics(**numbers, saturated=edge)
        first = values["first_infinite"]
        if not gradient or not all(gradient.values()):
            raise ValueError("a layer without gradients")
        return cls(gradient, named, None if first is None else int(first), bool(values["reverse"]))


def _out_of_file(value: float | None) -> float:
    """A number out of JSON, where what is not finite is null."""
    return math.nan if value is None else 0.0 + value


View = dict[str, LayerView]


@contextmanager
def watch(model: nn.Module) -> Iterator[View]:
    """Record every recurrent layer of ``model`` in one forward and backward pass inside the block.

    The view is filled when the block ends: one :class:`LayerView` for each :class:`Recurrent`, by
    its name in the model. If the layer runs more than once, its last run is shown.
    """
    recorders = {
        name: _Recorder(layer)
        for name, layer in model.named_modules()
        if isinstance(layer, Recurrent)
    }
    view: View = {}
    try:
        yield view
    finally:
        for recorder in recorders.values():
            recorder.detach()
    for name, recorder in recorders.items():
        if recorder.steps:
            view[name] = recorder.view()


class _Recorder:
    """Hooks on one layer and its cell."""

    def __init__(self, layer: Recurrent) -> None:
        self.layer = layer
        self.names = layer.cell.state_names
        self.steps = 0
        self.probe = _Probe(type(layer.cell).step.__code__)
        self.handles = [
            layer.register_forward_pre_hook(lambda *_: self.start()),
            layer.register_forward_hook(lambda *_: self.stop(), always_call=True),
        ]
        self.of_cell: list[RemovableHandle] = []

    def start(self) -> None:
        """The layer begins to run: watch its cell, which another layer may share, until it ends."""
        self.of_cell = [
            self.layer.cell.register_forward_pre_hook(lambda *_: self.probe.begin()),
            self.layer.cell.register_forward_hook(self.after_step, always_call=True),
        ]
        self.steps = 0
        self.first_infinite: int | None = None
        self.norms: list[dict[str, float]] = []
        self.seen: dict[str, list[Tensor]] = {}
        self.made_by: dict[str, str] = {}

    def after_step(self, cell: Cell, inputs: tuple[Tensor, ...], states: Any) -> None:
        named = self.probe.end()
        if states is None:  # the step raised, and the error is on its way
            return
        t, norms = self.steps, dict.fromkeys(self.names, 0.0)
        self.steps += 1
        self.norms.append(norms)
        for name, state in zip(self.names, states, strict=True):
            named[name] = (state, named.get(name, (state, None))[1])
            if self.first_infinite is None and not bool(state.detach().isfinite().all()):
                self.first_infinite = t + 1
            if state.requires_grad:
                state.register_hook(_store_norm(norms, name))
        for name, (value, function) in named.items():
            self.seen.setdefault(name, []).append(value.detach())
            if function is not None:
                self.made_by[name] = function

    def stop(self) -> None:
        for handle in self.of_cell:
            handle.remove()

    def detach(self) -> None:
        self.stop()
        for handle in self.handles:
            handle.remove()

    def view(self) -> LayerView:
        reverse, first_infinite = self.layer.reverse, self.first_infinite
        in_time = self.norms[::-1] if reverse else self.norms
        if reverse and first_infinite is not None:
            first_infinite = self.steps + 1 - first_infinite
        return LayerView(
            gradient={name: [norms[name] for norms in in_time] for name in self.names},
            values={
                name: statistics(torch.cat([v.reshape(-1) for v in values]), self.made_by.get(name))
                for name, values in self.seen.items()
            },
            first_infinite=first_infinite,
            reverse=reverse,
        )


def _store_norm(norms: dict[str, float], name: str) -> Any:
    def store(gradient: Tensor) -> None:
        norms[name] = gradient.norm().item()

    return store


class _Probe(TorchFunctionMode):
    """Between ``begin`` and ``end``, sees which names ``step`` gives to which tensors.

    The interpreter's profile hook reads the local variables of ``step`` as it returns, and the
    mode notes which activation function made which tensor.
    """

    def __init__(self, code: CodeType) -> None:
        super().__init__()
        self.code = code
        self.input = code.co_varnames[1]
        self.activation: dict[int, str] = {}
        self.made: list[Tensor] = []  # kept, so that no two tensors share an id
        self.named: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        name = {"hardtanh": "hard_tanh", "hardsigmoid": "hard_sigmoid"}.get(name, name)
        if name == "clamp":
            name = {(0, 1): "hard_sigmoid", (-1, 1): "hard_tanh"}.get(tuple(args[1:]), "")
        if name in CATALOGUE and isinstance(result, Tensor):
            self.activation[id(result)] = name
            self.made.append(result)
        return result

    def begin(self) -> None:
        self.activation, self.made, self.named = {}, [], {}
        self.previous = sys.getprofile()
        self.__enter__()
        sys.setprofile(self.on_event)

    def on_event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "return" and frame.f_code is self.code:
            rows = len(frame.f_locals[self.input])
            self.named = {
                name: value
                for name, value in frame.f_locals.items()
                if isinstance(value, Tensor) and name != self.input and value.shape[:1] == (rows,)
            }

    def end(self) -> dict[str, tuple[Tensor, str | None]]:
        sys.setprofile(self.previous)
        self.__exit__(None, None, None)
        return {n: (v, self.activation.get(id(v))) for n, v in self.named.items()}


def statistics(values: Tensor, activation: str | None = None) -> Statistics:
    """Mean, spread, extremes and share of saturated units of what ``activation`` returned."""
    return Statistics(
        mean=values.mean().item(),
        std=values.std(correction=0).item(),
        minimum=values.min().item(),
        maximum=values.max().item(),
        saturated=None if activation is None else saturated(values, activation),
    )


def saturated(values: Tensor, activation: str) -> float | None:
    """Share of ``values`` at a finite edge of the range of ``activation``; None if it has none."""
    low, high = CATALOGUE[activation].range
    margin = EDGE * (high - low) if math.isfinite(high - low) else EDGE
    if low == -math.inf and high == math.inf:
        return None
    if activation == "relu":
        margin = 0.0  # off or on: nothing in between
    at_edge = (values <= low + margin) | (values >= high - margin)
    return at_edge.float().mean().item()


EXPLODED = 1e3
"""A state beyond this, or a gradient this many times the first one, counts as exploded."""


def describe(history: Sequence[tuple[int, View]]) -> str:
    """One plain sentence for each layer on what happened inside it, with the numbers.

    Args:
        history: the iteration and what was seen there, in order.
    """
    layers = dict.fromkeys(name for _, view in history for name in view)
    sentences = []
    for layer in layers:
        frames = [(iteration, view[layer]) for iteration, view in history if layer in view]
        prefix = f"{layer}: " if len(layers) > 1 else ""
        sentences.append(prefix + _trouble(frames) + _flow(*frames[-1]))
    return "\n".join(sentences)


def _trouble(frames: Sequence[tuple[int, LayerView]]) -> str:
    """The first thing that went wrong, if any did."""
    state = next(iter(frames[0][1].gradient))
    largest_norms = (max(view.gradient[state]) for _, view in frames)
    first = next((norm for norm in largest_norms if 0 < norm < math.inf), math.inf)
    for iteration, view in frames:
        norms = view.gradient[state]
        if view.first_infinite is not None:
            return f"{state} overflowed at iteration {iteration}, step {view.first_infinite}; "
        largest = max(abs(view.values[state].minimum), abs(view.values[state].maximum))
        if largest > EXPLODED:
            return f"{state} exploded by iteration {iteration}: it reached {number(largest)}; "
        worst = max(norms, key=lambda n: math.inf if math.isnan(n) else n)
        if not worst <= EXPLODED * first or math.isinf(worst):
            step = norms.index(worst) + 1
            return (
                f"the gradient exploded at iteration {iteration}: "
                f"norm {number(worst)} at step {step}; "
            )
    alive = [i for i, (_, view) in enumerate(frames) if max(view.gradient[state]) > 0]
    dead = frames[alive[-1] + 1 if alive else 0 :]
    if dead:
        return f"the gradient died: it is 0 at every step from iteration {dead[0][0]} on; "
    return ""


def _flow(iteration: int, view: LayerView) -> str:
    """How the gradient changes on its way back through time, and how saturated the units are."""
    norms = next(iter(view.gradient.values()))
    start, end = (1, len(norms)) if view.reverse else (len(norms), 1)
    newest, oldest = norms[start - 1], norms[end - 1]
    if not (math.isfinite(newest) and math.isfinite(oldest)):
        change = "is not finite"
    elif newest == oldest == 0:
        change = "is 0"
    elif oldest == 0:
        change = "vanishes to exactly 0"
    elif newest > 1.5 * oldest:
        change = f"shrinks {number(newest / oldest)}×"
    elif oldest > 1.5 * newest:
        change = f"grows {number(oldest / newest)}×" if newest else "comes from earlier steps only"
    else:
        change = "keeps its size"
    way = f"at iteration {iteration} the gradient {change} from step {start} to step {end}"
    return way + _saturation(view)


def _saturation(view: LayerView) -> str:
    shares = {n: s.saturated for n, s in view.values.items() if s.saturated is not None}
    if not shares:
        return ""
    parts = ", ".join(f"{share:.0%} of {name}" for name, share in shares.items())
    return f"; saturated are {parts}"
