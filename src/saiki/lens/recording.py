"""Hooks that see a layer while it runs, and give its time steps back as they were."""

import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from saiki.activations import CATALOGUE, Activation
from saiki.cell import Cell
from saiki.cells import GRU
from saiki.layers.recurrent import Recurrent
from saiki.layers.run import WATCHER, Loop
from saiki.lens.views import LayerView, View, statistics
from saiki.nn.drop_in.noise import Noisy
from saiki.nn.drop_in.swapping import swapped_in


def watchable(model: nn.Module) -> list[str]:
    """The names of the recurrent layers of a model, which are all that :func:`watch` looks at."""
    kinds = Recurrent | nn.RNNBase
    return [name for name, module in model.named_modules() if isinstance(module, kinds)]


@contextmanager
def watch(model: nn.Module) -> Iterator[View]:
    """Record every recurrent layer of ``model`` in one forward and backward pass inside the block.

    The view is filled when the block ends: one :class:`LayerView` for each :class:`Recurrent`, by
    its name in the model. If the layer runs more than once, its last run is shown. Of a layer of
    ``saiki.nn`` or ``torch.nn`` those on top of each other and both directions have views of their
    own, ``rnn.l0``, ``rnn.l0_reverse``, ``rnn.l1``, …, as their weights have names. Inside the
    block layers run step by step. Whatever recurrent module cannot be seen is told in a warning.
    """
    session, view = _Session(model), View()
    with swapped_in(model) as left_alone:
        for name, why in left_alone.items():
            message = f"the lens does not see {name or 'the model'}: {why}"
            warnings.warn(message, stacklevel=3)
        with session.watching():
            yield view
    order = {name: i for i, name in enumerate(session.layers)}  # that of the model
    for name, (_, recorder) in sorted(session.recorders.items(), key=lambda r: order[r[1][0]]):
        view[name] = recorder.view()
    if session.layers and not view and not left_alone:
        message = "the lens saw nothing: no recurrent layer of the model ran inside the block"
        warnings.warn(message, stacklevel=3)


class _Session:
    """What was recorded of each layer, by its name."""

    def __init__(self, model: nn.Module) -> None:
        modules = dict(model.named_modules())
        self.names = {id(m): name for name, m in modules.items() if isinstance(m, Recurrent)}
        self.drop_ins = {name: m for name, m in modules.items() if isinstance(m, nn.RNNBase)}
        self.layers = watchable(model)
        self.recorders: dict[str, tuple[str, _Recorder]] = {}
        """By the name of the layer: that of the module which runs it, and its last run."""
        self.parts: Iterator[tuple[str, str]] = iter(())
        """The names of the layers that the drop-in now running has yet to run, and its own."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        handles: list[RemovableHandle] = []
        for name, module in self.drop_ins.items():
            handles += (
                module.register_forward_pre_hook(partial(self._enter, name)),
                module.register_forward_hook(self._leave, always_call=True),
            )
        token = WATCHER.set(self.at)
        try:
            yield
        finally:
            WATCHER.reset(token)
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, module: Any, inputs: object) -> None:
        ends = ["", "_reverse"] if module.bidirectional else [""]
        parts = [f"l{i}{end}" for i in range(module.num_layers) for end in ends]
        named = [".".join(filter(None, (name, part))) for part in parts]
        self.parts = iter([(each, name) for each in (named if len(parts) > 1 else [name])])

    def _leave(self, *_: object) -> None:
        self.parts = iter(())

    @contextmanager
    def at(self, layer: Loop) -> Iterator[None]:
        """Record ``layer``, which runs inside the block."""
        owner = self.names.get(id(layer))
        name, owner = (owner, owner) if owner is not None else next(self.parts, (None, None))
        if name is None or owner is None:  # a layer that is no part of the model
            yield
            return
        recorder = _Recorder(layer)
        self.recorders[name] = owner, recorder
        with recorder.recording():
            yield


class _Recorder:
    """Hooks on the cell of one layer while it runs; another layer may share it."""

    def __init__(self, layer: Loop) -> None:
        self.cell, self.reverse = layer.cell, layer.reverse
        inner = self.cell.inner if isinstance(self.cell, Noisy) else self.cell
        self.names = inner.state_names
        step: Any = type(inner).step
        if isinstance(self.cell, Noisy) and isinstance(inner, GRU):
            step = type(inner).gates  # all of it that runs under noise
        self.probe = _Probe(step.__code__)
        self.rows: list[int] = []
        """Of each step of the loop: shorter rows have left, from the end."""
        self.norms: list[dict[str, list[float]]] = []
        """Of the gradient of each row of each state, at each step of the loop."""
        self.first_infinite: tuple[str, int, int] | None = None
        """The state, the step of the loop and the longest row, where a number is not finite."""
        self.seen: dict[str, list[Tensor]] = {}
        self.first_rows: dict[str, list[Tensor]] = {}
        self.made_by: dict[str, Activation] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        handles = (
            self.cell.register_forward_pre_hook(lambda *_: self.probe.begin()),
            self.cell.register_forward_hook(self.after_step, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def after_step(self, cell: Cell, inputs: tuple[Tensor, ...], states: Any) -> None:
        named = self.probe.end()
        if states is None:  # the step raised, and the error is on its way
            return
        norms: dict[str, list[float]] = {}
        self.rows.append(len(inputs[0]))
        self.norms.append(norms)
        for name, state in zip(self.names, states, strict=False):  # the last may be a mask
            self.first_rows.setdefault(name, []).append(state[0].detach())
            named[name] = (state, named.get(name, (state, None))[1])
            is_finite = state.detach().isfinite().flatten(1).all(1)
            if self.first_infinite is None and not bool(is_finite.all()):
                self.first_infinite = name, len(self.rows) - 1, is_finite.tolist().index(False)
            if state.requires_grad:
                state.register_hook(_store_norms(norms, name))
        for name, (value, function) in named.items():
            self.seen.setdefault(name, []).append(value.detach())
            if function is not None:
                self.made_by[name] = function

    def view(self) -> LayerView:
        first = self.first_infinite
        return LayerView(
            gradient={name: self.gradient(name) for name in self.names},
            values={
                name: statistics(torch.cat([v.reshape(-1) for v in values]), self.made_by.get(name))
                for name, values in self.seen.items()
            },
            first_infinite=None if first is None else 1 + self.time(*first[1:]),
            first_infinite_state=None if first is None else first[0],
            reverse=self.reverse,
            states={
                name: torch.stack(rows[::-1] if self.reverse else rows)
                for name, rows in self.first_rows.items()
            },
        )

    def gradient(self, name: str) -> list[float]:
        """The norm over all rows of the gradient of a state, at each time step of the input."""
        total = [0.0] * len(self.rows)
        for step, norms in enumerate(self.norms):
            for row, norm in enumerate(norms.get(name, ())):
                time = self.time(step, row)
                total[time] = math.hypot(total[time], norm)
        return total

    def time(self, step: int, row: int) -> int:
        """The time step of the input that a row reads at a step of the loop: a reversed layer
        begins with the last one that the row has."""
        return self.lengths[row] - 1 - step if self.reverse else step

    @cached_property
    def lengths(self) -> list[int]:
        """The steps of each row, once all have been seen."""
        return [sum(rows > row for rows in self.rows) for row in range(max(self.rows))]


def _store_norms(norms: dict[str, list[float]], name: str) -> Any:
    def store(gradient: Tensor) -> None:
        norms[name] = gradient.flatten(1).norm(dim=1).tolist()

    return store


def _activation(name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Activation | None:
    """What a function of PyTorch with these arguments behind x is in the catalogue, if it is."""
    if name in ("clamp", "hardtanh"):
        bounds = (*arguments, *(value for key, value in named.items() if key != "inplace"))
        name = {(0, 1): "hard_sigmoid", (-1, 1): "hard_tanh"}.get(bounds, "")
    function = CATALOGUE.get({"hardsigmoid": "hard_sigmoid"}.get(name, name))
    if function is None or name not in ("elu", "celu"):
        return function
    alpha = float(arguments[0] if arguments else named.get("alpha", 1))
    return function.with_parameters(alpha=alpha) if 0 < alpha < math.inf else None


class _Probe(TorchFunctionMode):
    """Between ``begin`` and ``end``, sees which names ``step`` gives to which tensors.

    The interpreter's profile hook reads the local variables of ``step`` as it returns, and the
    mode notes which activation function made which tensor.
    """

    def __init__(self, code: CodeType) -> None:
        super().__init__()
        self.code = code
        self.input = code.co_varnames[1]
        self.activation: dict[int, Activation] = {}
        self.outputs: list[Tensor] = []  # kept, so that no two tensors share an id
        self.named: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        activation = _activation(getattr(func, "__name__", ""), args[1:], kwargs or {})
        if activation is not None and isinstance(result, Tensor):
            self.activation[id(result)] = activation
            self.outputs.append(result)
        return result

    def begin(self) -> None:
        self.activation, self.outputs, self.named = {}, [], {}
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

    def end(self) -> dict[str, tuple[Tensor, Activation | None]]:
        sys.setprofile(self.previous)
        self.__exit__(None, None, None)
        return {n: (v, self.activation.get(id(v))) for n, v in self.named.items()}
