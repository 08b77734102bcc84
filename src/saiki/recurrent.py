"""Layers: a cell over time, in one direction or two, and layers on top of each other."""

import copy
import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from saiki.cell import Cell, as_states, holding, of_numbers, replacing, verify
from saiki.compiler.call import Call, Part
from saiki.compiler.compiled import compiled_cell
from saiki.compiler.kernels import Kernels
from saiki.compiler.operators import scan
from saiki.eager import run as run_eagerly
from saiki.errors import CompileError, ExportError, InputError
from saiki.saving.pretrained import DescribedModule
from saiki.torch_internals import is_autocast_on, is_expanded, leaf
from saiki.twin import Twin

BACKENDS = ("auto", "eager", "cpu")
MERGES = ("concat", "sum", "mean", "mul")
STAND_IN: ContextVar[Callable[..., Any] | None] = ContextVar("STAND_IN", default=None)
"""Called in place of :func:`together` while a model is exported; tensors hold no numbers then."""


class Recurrent(DescribedModule, name="recurrent.v1"):
    """A cell over time.

    ``y, state = layer(x)`` takes ``x: (batch, time, input_size)`` and returns the first state of
    each step, ``y: (batch, time, output_size)``, and the state after the last one: a tensor
    ``(batch, state_size)`` for a cell with one state, a tuple of them for a cell with more.

    >>> from saiki.cells import LSTM
    >>> y, (h, c) = Recurrent(LSTM(3, 5))(torch.randn(2, 7, 3))
    >>> y.shape, bool((y[:, -1] == h).all())
    (torch.Size([2, 7, 5]), True)

    Args:
        cell: the equations; they are tried once, and a cell that breaks the contract is refused.
        reverse: read each row from its last step to its first; ``y`` keeps the order of ``x``.
        backend: ``"eager"`` runs ``step`` in a loop; ``"cpu"`` compiles it; ``"auto"`` takes the
            fastest that serves, and says so once when a cell cannot be compiled.

    Raises:
        CellError: the cell breaks its contract.
        InputError: an argument is not among those allowed.
    """

    def __init__(
        self, cell: Cell, reverse: bool = False, backend: Literal["auto", "eager", "cpu"] = "auto"
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise InputError(f"Recurrent takes a saiki.Cell, got {type(cell).__name__}")
        if backend not in BACKENDS:
            raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        verify(cell)
        self.cell = cell
        self.reverse = reverse
        self.backend = backend
        self._saiki_kernels = Kernels(cell, backend != "auto")
        self._saiki_warned = False

    @property
    def input_size(self) -> int:
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        return self.cell.state_sizes[0]

    def forward(
        self,
        x: Any,
        state: Tensor | tuple[Tensor, ...] | None = None,
        lengths: Tensor | None = None,
        memory: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """Run the cell over every step.

        Args:
            x: ``(batch, time, input_size)``.
            state: the state before the first step, as the layer returns it; the cell's own if None.
            lengths: ``(batch,)``, the number of real steps of each row, from 1 to ``time``. What
                lies beyond is never read, ``y`` is 0 there, and the returned state of a row is
                the one after its own last step.
            memory: what a cell with memory reads at all steps, by name, ``(batch, …)`` each.

        Raises:
            InputError: a shape or a length does not fit.
        """
        if not isinstance(x, Tensor):
            node = leaf(self, x, state, lengths, memory)
            if node is not None:
                return node
        lengths = self.check_input(x, lengths)
        read = self.check_memory(x, memory)
        y, (end,) = together([self], x, [self.start(x, state)], lengths, memory=[read])
        return y, end if len(end) > 1 else end[0]

    def check_input(self, x: Any, lengths: Tensor | None) -> Tensor | None:
        """``lengths`` in order, if there are any; what does not fit is refused."""
        if not isinstance(x, Tensor):
            how = "; unpack it, and pass lengths" if isinstance(x, PackedSequence) else ""
            raise InputError(f"x must be a tensor, got {type(x).__name__}{how}")
        if x.ndim != 3 or x.shape[-1] != self.input_size or 0 in x.shape:
            raise InputError(
                f"x must be (batch, time, {self.input_size}) and not empty, got {tuple(x.shape)}"
            )
        return None if lengths is None else check_lengths(lengths, x)

    def check_memory(self, x: Tensor, memory: Mapping[str, Tensor] | None) -> tuple[Tensor, ...]:
        """The memory in the order of ``memory_shapes``; what does not fit is refused."""
        memory, shapes = memory or {}, self.cell.memory_shapes
        if set(memory) != set(shapes):
            raise InputError(
                f"{type(self.cell).__name__} reads the memory {', '.join(shapes) or 'of no name'}, "
                f"got {', '.join(memory) or 'none'}"
            )
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            given = tuple(memory[name].shape)
            wanted = (x.shape[0], *shape)
            if len(given) == len(wanted):
                for size, actual in zip(shape, given[1:], strict=True):
                    if isinstance(size, str) and actual > 0:
                        sizes.setdefault(size, actual)
                wanted = (
                    x.shape[0],
                    *(sizes.get(n, n) if isinstance(n, str) else n for n in shape),
                )
            if given != wanted:
                raise InputError(
                    f"the memory {name!r} must have the shape "
                    f"({', '.join(map(str, wanted))}), got {given}"
                )
            if not memory[name].is_floating_point():
                raise InputError(
                    f"the memory {name!r} must be of the type of x, got {memory[name].dtype}; a "
                    "mask is 0 where it lets through and −∞ elsewhere, added to scores"
                )
        return tuple(memory[name] for name in shapes)

    def eager(
        self,
        x: Tensor,
        start: tuple[Tensor, ...],
        lengths: Tensor | None,
        tensors: Sequence[Tensor] | None = None,
        time_first: bool = False,
        memory: Sequence[Tensor] = (),
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Step by step, with ``tensors`` in place of the parameters and buffers of the cell; any
        after those are of other places, and left there.

        Shapes are those of :func:`together`.
        """
        if tensors is not None:
            with holding(self.cell, replacing(self.cell, tensors)):
                return self.eager(x, start, lengths, time_first=time_first, memory=memory)
        return run_eagerly(self.cell, x, start, lengths, self.reverse, time_first, memory)

    def kernel(
        self, x: Tensor, given: tuple[Tensor, ...], tensors: Sequence[Tensor] | None
    ) -> tuple[int, Sequence[Tensor]]:
        """The number of the kernel that serves x, the states and memory ``given`` and these
        tensors, -1 for the eager loop; and ``tensors``, or those of the cell in their place.

        Raises:
            CompileError: the backend asked for by name cannot serve.
        """
        if self.backend == "eager":
            return -1, tensors or ()
        kernels = self.kernels
        why, kind = kernels.obstacle(x), (x.dtype, x.device.type)
        if torch.compiler.is_compiling():
            _look_at(self.cell)
        elif not why:
            why = kernels.hooked(kind)
        if not why:
            key: int = _key(self, *kind)
            why = kernels.hooked(kind)
            if not why and key >= 0:
                if tensors is None:
                    tensors = [owner[name] for owner, name in kernels.known[kind][0].inputs]
                why = kernels.mixture(x, (*given, *tensors))
                if not why:
                    return key, tensors
            elif not why:
                why = _why_not(self, *kind)
                is_told = kernels.known[kind][0].compiled is not None  # when it was refused
                if self.backend == "auto" and not self._saiki_warned and not is_told:
                    self._saiki_warned = True
                    warnings.warn(f"running step by step: {why}", stacklevel=4)
        if self.backend != "auto":
            raise CompileError(why)
        return -1, tensors or ()

    @property
    def kernels(self) -> Kernels:
        """The compiled forms of the cell that the layer now has."""
        if self._saiki_kernels.cell is not self.cell:
            self._saiki_kernels = Kernels(self.cell, self.backend != "auto")
        return self._saiki_kernels

    def start(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        """The states before the first step: ``state`` if it fits, the cell's own if it is None."""
        batch = x.shape[0]
        if state is None:
            try:
                return tuple(s.to(x) for s in as_states(self.cell.initial_state(batch)))
            except RuntimeError:
                if is_expanded(next(self.cell.parameters(), None)):
                    raise InputError(
                        "the gradients of single samples by call_for_per_sample_grads know no loop "
                        "over time; torch.func.vmap over torch.func.grad does"
                    ) from None
                raise
        given = as_states(state)
        wanted = [(batch, size) for size in self.cell.state_sizes]
        shapes = [tuple(s.shape) if isinstance(s, Tensor) else type(s).__name__ for s in given]
        if shapes != wanted:
            raise InputError(f"the state must have the shapes {wanted}, got {shapes}")
        return given

    def explain(self) -> str:
        """The plan in words: which backend runs, what is hoisted, the stages, what is saved."""
        dtype = of_numbers(self.cell).dtype
        why = self.why_eager(dtype)
        known = None if self.backend == "eager" else self.kernels.find(dtype)
        step = None if known is None or known.compiled is None else known.compiled.step
        if why:  # what went wrong can be found in the trace
            return f"eager: {why}" + ("" if step is None else f"\n{step}\n{step.trace}".rstrip())
        assert step is not None
        return f"{step.backend.name}: {step}"

    def why_eager(self, dtype: torch.dtype) -> str | None:
        """Why inputs of that type go through the eager loop; None if a kernel serves them."""
        if self.backend == "eager":
            return "the backend is 'eager'"
        return _why_not(self, dtype) or None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the kernels behind; they are compiled again when needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_saiki_kernels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._saiki_kernels = Kernels(self.cell, self.backend != "auto")

    def extra_repr(self) -> str:
        return f"reverse={self.reverse}, backend={self.backend!r}"


def _look_at(cell: Cell) -> None:
    """Let ``torch.compile`` see on what the choice of a kernel depends, so that it compiles anew
    when that changes. What it cannot see, the operators ask for when they run."""
    for module in cell.modules():
        if module.training:
            pass
        for table in (module._parameters, module._buffers):
            for tensor in table.values():
                if tensor is None:
                    pass


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _key(layer: Recurrent, dtype: torch.dtype, device: str) -> int:
    found = layer.kernels.find(dtype, device)
    if found.compiled is not None:
        found.compiled.is_fresh = True
    return found.key


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _why_not(layer: Recurrent, dtype: torch.dtype, device: str = "cpu") -> str:
    return layer.kernels.find(dtype, device).why_eager


def together(
    layers: Sequence[Recurrent],
    x: Tensor,
    starts: Sequence[tuple[Tensor, ...]],
    lengths: Tensor | None = None,
    tensors: Sequence[Sequence[Tensor]] | None = None,
    time_first: bool = False,
    memory: Sequence[Sequence[Tensor]] | None = None,
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """Several layers over the same input, in one operation where kernels serve them all.

    Args:
        x: ``(batch, time, input_size)``, or ``(time, batch, input_size)`` with ``time_first``; or
            ``(steps of all rows, input_size)``, packed as
            :class:`torch.nn.utils.rnn.PackedSequence` holds them.
        starts: the states of each layer before the first step.
        lengths: ``(batch,)``; or, of a packed x, the number of rows at each step.
        tensors: for each layer what takes the place of the parameters and buffers of its cell.
        memory: what the cell of each layer reads at all steps, in the order of ``memory_shapes``.

    Returns:
        The outputs side by side, in the layout of x, and the last states of each layer.
    """
    memory = [()] * len(layers) if memory is None else memory
    stand_in = exporting()
    if stand_in is not None:
        if any(memory):
            raise ExportError("a cell with memory cannot be exported")
        result: tuple[Tensor, list[tuple[Tensor, ...]]] = stand_in(
            layers, x, starts, lengths, tensors, time_first
        )
        return result
    if is_autocast_on():
        return _in_own_precision(layers, x, starts, lengths, tensors, time_first, memory)
    given = [None] * len(layers) if tensors is None else tensors
    served = [
        layer.kernel(x, (*start, *read), its)
        for layer, start, its, read in zip(layers, starts, given, memory, strict=True)
    ]

    def eager(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        rest = iter(tensors)
        states = [tuple(itertools.islice(rest, len(start))) for start in starts]
        given = [tuple(itertools.islice(rest, len(its))) for _, its in served]
        parts = []
        for layer, start, its, read, (key, _) in zip(
            layers, states, given, memory, served, strict=True
        ):
            real = compiled_cell(key).real_tensors()
            cell = Twin(zip(real, its, strict=True)).of(layer.cell)
            reads = tuple(itertools.islice(rest, len(read)))
            parts.append(run_eagerly(cell, x, start, lengths, layer.reverse, time_first, reads))
        return torch.cat([y for y, _ in parts], -1), *(s for _, end in parts for s in end)

    if all(key >= 0 for key, _ in served):
        calls = [
            Part(key, layer.reverse, start, its, read)
            for layer, start, (key, its), read in zip(layers, starts, served, memory, strict=True)
        ]
        return scan(Call(x, lengths, time_first, calls), eager)
    if len(layers) == 1:
        y, end = layers[0].eager(x, starts[0], lengths, given[0], time_first, memory[0])
        return y, [end]
    parts = [
        together([layer], x, [start], lengths, None if its is None else [its], time_first, [read])
        for layer, start, its, read in zip(layers, starts, given, memory, strict=True)
    ]
    return torch.cat([y for y, _ in parts], -1), [end for _, (end,) in parts]


def _in_own_precision(
    layers: Sequence[Recurrent],
    x: Tensor,
    starts: Sequence[tuple[Tensor, ...]],
    lengths: Tensor | None,
    tensors: Sequence[Sequence[Tensor]] | None,
    time_first: bool,
    memory: Sequence[Sequence[Tensor]],
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """:func:`together` without autocast: a state that is rounded at each step drifts."""
    own = layers[0].cell.parameters() if tensors is None else iter(tensors[0])
    dtype = next((t.dtype for t in own if t.is_floating_point()), x.dtype)
    starts = [tuple(s.to(dtype) for s in start) for start in starts]
    memory = [tuple(m.to(dtype) for m in read) for read in memory]
    with torch.autocast(x.device.type, enabled=False):
        return together(layers, x.to(dtype), starts, lengths, tensors, time_first, memory)


def exporting() -> Callable[..., Any] | None:
    """What stands in for :func:`together`; torch.compile cannot see it, and need not."""
    return None if torch.compiler.is_dynamo_compiling() else STAND_IN.get()


def hooked(module: nn.Module) -> bool:
    """Whether hooks of its own wait for the module to be called."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def merged(y: Tensor, merge: str, size: int) -> Tensor:
    """Two outputs that lie side by side, ``size`` features the first, as one; see
    :class:`Bidirectional`."""
    if merge == "concat":
        return y
    a, b = y[..., :size], y[..., size:]
    match merge:
        case "sum":
            return a + b
        case "mean":
            return (a + b) / 2
    return a * b


def check_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    """``lengths`` on the CPU, as whole numbers from 1 to the number of steps of ``x``."""
    batch, time, _ = x.shape
    lengths = torch.as_tensor(lengths).cpu()
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise InputError(
            f"lengths must hold {batch} whole numbers, one for each row, got "
            f"{lengths.dtype} of shape {tuple(lengths.shape)}"
        )
    if exporting() is not None:
        return lengths.long()
    if lengths.min() < 1 or lengths.max() > time:
        raise InputError(
            f"lengths must lie between 1 and the {time} steps of x, got "
            f"{int(lengths.min())} to {int(lengths.max())}"
        )
    return lengths.long()


class Bidirectional(DescribedModule, name="bidirectional.v1"):
    """Two layers that read the same input in opposite directions (Schuster & Paliwal 1997).

    ``y, (forward_state, backward_state) = layer(x)``. At each step ``y`` merges what the forward
    layer knows of the past with what the backward layer knows of the future, that step included.

    Args:
        layer: a cell, or a :class:`Recurrent` that is not reversed.
        merge: ``"concat"`` (forward first), ``"sum"``, ``"mean"`` or ``"mul"``.
        backward: the cell or reversed :class:`Recurrent` of the other direction; without it, one
            like ``layer`` with parameters of its own.
    """

    def __init__(
        self,
        layer: Cell | Recurrent,
        merge: Literal["concat", "sum", "mean", "mul"] = "concat",
        backward: Cell | Recurrent | None = None,
    ) -> None:
        super().__init__()
        if merge not in MERGES:
            raise InputError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
        forward = as_layer(layer)
        _without_memory("Bidirectional", [forward, backward])
        if not isinstance(forward, Recurrent) or forward.reverse:
            raise InputError("Bidirectional takes a Cell or a Recurrent that is not reversed")
        if backward is None:
            backward = Recurrent(fresh(forward.cell), reverse=True, backend=forward.backend)
        elif isinstance(backward, Cell):
            backward = Recurrent(backward, reverse=True, backend=forward.backend)
        if not isinstance(backward, Recurrent) or not backward.reverse:
            raise InputError("backward must be a Cell or a Recurrent with reverse=True")
        if forward.input_size != backward.input_size:
            raise InputError(
                f"both directions read the same input, got {forward.input_size} and "
                f"{backward.input_size} features"
            )
        sizes = forward.output_size, backward.output_size
        if merge != "concat" and sizes[0] != sizes[1]:
            raise InputError(f"merge={merge!r} needs outputs of one size, got {sizes}")
        self.forward_layer = forward
        self.backward_layer = backward
        self.merge = merge

    @property
    def input_size(self) -> int:
        return self.forward_layer.input_size

    @property
    def output_size(self) -> int:
        size = self.forward_layer.output_size
        return size + self.backward_layer.output_size if self.merge == "concat" else size

    def forward(
        self, x: Any, state: tuple[Any, Any] | None = None, lengths: Tensor | None = None
    ) -> Any:
        """Shapes as in :class:`Recurrent`; the state is a pair, forward and backward."""
        if not isinstance(x, Tensor):
            node = leaf(self, x, state, lengths)
            if node is not None:
                return node
        if state is not None and len(state) != 2:
            raise InputError(f"the state must be a pair, forward and backward, got {len(state)}")
        layers = self.forward_layer, self.backward_layer
        lengths = self.forward_layer.check_input(x, lengths)
        given = (None, None) if state is None else state
        if all(type(layer) is Recurrent and not hooked(layer) for layer in layers):
            starts = [layer.start(x, its) for layer, its in zip(layers, given, strict=True)]
            y, ends = together(layers, x, starts, lengths)
            past, future = (end if len(end) > 1 else end[0] for end in ends)
        else:  # whoever watches a direction, or makes it another, wants it called
            a, past = layers[0](x, given[0], lengths)
            b, future = layers[1](x, given[1], lengths)
            y = torch.cat((a, b), -1)
        return merged(y, self.merge, layers[0].output_size), (past, future)

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"


class Stack(DescribedModule, name="stack.v1"):
    """Layers on top of each other: each reads the output of the one below.

    ``y, states = layer(x)`` with one state for each layer, from the lowest.

    Args:
        layers: cells, :class:`Recurrent`, :class:`Bidirectional` or further stacks, lowest first.
        dropout: share of features set to zero between two layers while training, not after the
            last one.
    """

    def __init__(self, layers: Iterable[nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        parts = [as_layer(layer) for layer in layers]
        if not parts:
            raise InputError("Stack needs at least one layer")
        _without_memory("Stack", parts)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), got {dropout}")
        for lower, upper in itertools.pairwise(parts):
            if lower.output_size != upper.input_size:
                raise InputError(
                    f"a layer with {lower.output_size} outputs lies below one with "
                    f"{upper.input_size} inputs"
                )
        self.layers = nn.ModuleList(parts)
        self.dropout = nn.Dropout(dropout)
        self.input_size: int = parts[0].input_size
        self.output_size: int = parts[-1].output_size

    def forward(
        self, x: Tensor, state: tuple[Any, ...] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Shapes as in :class:`Recurrent`; the state holds one entry for each layer."""
        if state is not None and len(state) != len(self.layers):
            raise InputError(f"the state must hold {len(self.layers)} entries, got {len(state)}")
        states = []
        for i, layer in enumerate(self.layers):
            x, end = layer(
                x if i == 0 else self.dropout(x), None if state is None else state[i], lengths
            )
            states.append(end)
        return x, tuple(states)


Layer = Recurrent | Bidirectional | Stack


def as_layer(layer: nn.Module) -> Layer:
    """A cell as a :class:`Recurrent`; a layer as itself."""
    if isinstance(layer, Cell):
        return Recurrent(layer)
    if not isinstance(layer, Recurrent | Bidirectional | Stack):
        raise InputError(f"expected a Cell or a recurrent layer, got {type(layer).__name__}")
    return layer


def _without_memory(name: str, layers: Iterable[nn.Module | None]) -> None:
    for layer in layers:
        cell = layer.cell if isinstance(layer, Recurrent) else layer
        if isinstance(cell, Cell) and cell.memory_shapes:
            raise InputError(
                f"{name} hands no memory on, and {type(cell).__name__} reads "
                f"{', '.join(cell.memory_shapes)}; take a Recurrent"
            )


def fresh(cell: Cell) -> Cell:
    """A copy of ``cell`` whose parameters are drawn anew, where its modules know how."""
    twin = copy.deepcopy(cell)
    for module in reversed(list(twin.modules())):
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return twin
