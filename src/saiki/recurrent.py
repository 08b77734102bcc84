"""Layers: a cell over time, in one direction or two, and layers on top of each other."""

import copy
import functools
import itertools
import warnings
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.nn.utils.stateless import _reparametrize_module as swapped

from saiki.cell import Cell, as_states, verify
from saiki.compiler.kernels import Kernels
from saiki.compiler.op import scan
from saiki.errors import CompileError, InputError

BACKENDS = ("auto", "eager", "cpu")
MERGES = ("concat", "sum", "mean", "mul")


class Recurrent(nn.Module):
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
        self._kernels = Kernels(cell)
        self._warned = False

    @property
    def input_size(self) -> int:
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        return self.cell.state_sizes[0]

    def forward(
        self,
        x: Tensor,
        state: Tensor | tuple[Tensor, ...] | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Run the cell over every step.

        Args:
            x: ``(batch, time, input_size)``.
            state: the state before the first step, as the layer returns it; the cell's own if None.
            lengths: ``(batch,)``, the number of real steps of each row, from 1 to ``time``. What
                lies beyond is never read, ``y`` is 0 there, and the returned state of a row is
                the one after its own last step.

        Raises:
            InputError: a shape or a length does not fit.
        """
        if x.ndim != 3 or x.shape[-1] != self.input_size or 0 in x.shape:
            raise InputError(
                f"x must be (batch, time, {self.input_size}) and not empty, got {tuple(x.shape)}"
            )
        if lengths is not None:
            lengths = check_lengths(lengths, x)
        start = self._start(x, state)
        key = self._kernel(x, start)
        if key < 0:
            y, end = self._eager(x, start, lengths)
        else:
            eager = functools.partial(self._eager_with, lengths)
            tensors = self._kernels.known[x.dtype].setting.tensors()
            y, end = scan(x, start, tensors, lengths, key, self.reverse, eager)
        return y, end if len(end) > 1 else end[0]

    def _eager(
        self, x: Tensor, start: tuple[Tensor, ...], lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.reverse:
            x = flip(x, lengths)
        if lengths is None:
            outputs, end = unroll(self.cell, x.unbind(1), start)
            y = torch.stack(outputs, 1)
        else:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            order, back = packed.sorted_indices, packed.unsorted_indices
            assert order is not None
            assert back is not None
            steps = packed.data.split(packed.batch_sizes.tolist())
            outputs, end = unroll(self.cell, steps, tuple(s[order] for s in start))
            whole = PackedSequence(torch.cat(outputs), packed.batch_sizes, order, back)
            y, _ = pad_packed_sequence(whole, batch_first=True, total_length=x.shape[1])
            end = tuple(s[back] for s in end)
        if self.reverse:
            y = flip(y, lengths)
        return y, end

    def _eager_with(
        self, lengths: Tensor | None, x: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        """The eager loop as a function of the states and parameters ``tensors`` holds."""
        states = len(self.cell.state_sizes)
        names = [n for n, _ in (*self.cell.named_parameters(), *self.cell.named_buffers())]
        values = dict(zip(names, tensors[states:], strict=True))
        with swapped(self.cell, values):
            y, end = self._eager(x, tensors[:states], lengths)
        return y, *end

    def _kernel(self, x: Tensor, start: tuple[Tensor, ...]) -> int:
        """The number of the kernel this call goes to; -1 for the eager loop.

        Raises:
            CompileError: the backend asked for by name cannot serve.
        """
        if self.backend == "eager":
            return -1
        why = self._kernels.obstacle(x, start)
        if not why:
            key: int = _key(self, x.dtype)
            if key >= 0:
                return key
            why = _why_not(self, x.dtype)
            if self.backend == "auto" and not self._warned:
                self._warned = True
                warnings.warn(f"running step by step: {why}", stacklevel=3)
        if self.backend != "auto":
            raise CompileError(why)
        return -1

    def _start(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        batch = x.shape[0]
        if state is None:
            return tuple(s.to(x) for s in as_states(self.cell.initial_state(batch)))
        given = as_states(state)
        wanted = [(batch, size) for size in self.cell.state_sizes]
        shapes = [tuple(s.shape) for s in given]
        if shapes != wanted:
            raise InputError(f"the state must have the shapes {wanted}, got {shapes}")
        return given

    def explain(self) -> str:
        """The plan in words: which backend runs, what is hoisted, the stages, what is saved."""
        dtype = next(self.cell.parameters(), torch.empty(0)).dtype
        why = self.why_eager(dtype)
        return f"eager: {why}" if why else f"cpu: {self._kernels.find(dtype).compiled}"

    def why_eager(self, dtype: torch.dtype) -> str | None:
        """Why inputs of that type go through the eager loop; None if a kernel serves them."""
        if self.backend == "eager":
            return "the backend is 'eager'"
        return _why_not(self, dtype) or None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the kernels behind; they are compiled again when needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_kernels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._kernels = Kernels(self.cell)

    def extra_repr(self) -> str:
        return f"reverse={self.reverse}, backend={self.backend!r}"


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _key(layer: Recurrent, dtype: torch.dtype) -> int:
    return layer._kernels.find(dtype).key


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _why_not(layer: Recurrent, dtype: torch.dtype) -> str:
    return layer._kernels.find(dtype).why_not


def unroll(
    cell: Cell, steps: Iterable[Tensor], state: tuple[Tensor, ...]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """The eager time loop, by which everything compiled is judged.

    ``steps`` holds the input of each step, ``(rows, input_size)``. Rows may only leave, from the
    end: the first rows are those of the longest sequences. Returns the first state after each
    step, and the last state of each row.
    """
    outputs: list[Tensor] = []
    left: list[tuple[Tensor, ...]] = []
    for x in steps:
        rows = len(x)
        if rows < len(state[0]):
            left.append(tuple(s[rows:] for s in state))
            state = tuple(s[:rows] for s in state)
        state = cell(x, *state)
        outputs.append(state[0])
    if not left:
        return outputs, state
    pieces = (state, *reversed(left))
    return outputs, tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))


def check_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    """``lengths`` on the CPU, as whole numbers from 1 to the number of steps of ``x``."""
    batch, time, _ = x.shape
    lengths = torch.as_tensor(lengths).cpu()
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise InputError(
            f"lengths must hold {batch} whole numbers, one for each row, got "
            f"{lengths.dtype} of shape {tuple(lengths.shape)}"
        )
    if lengths.min() < 1 or lengths.max() > time:
        raise InputError(
            f"lengths must lie between 1 and the {time} steps of x, got "
            f"{int(lengths.min())} to {int(lengths.max())}"
        )
    return lengths.long()


def flip(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Each row of ``x``, ``(batch, time, features)``, backwards; its padding stays at the end."""
    if lengths is None:
        return x.flip(1)
    t = torch.arange(x.shape[1], device=x.device)
    last = lengths.to(x.device)[:, None] - 1
    source = torch.where(t <= last, last - t, t)
    return x.gather(1, source[..., None].expand(x.shape))


class Bidirectional(nn.Module):
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
        self, x: Tensor, state: tuple[Any, Any] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, Any]]:
        """Shapes as in :class:`Recurrent`; the state is a pair, forward and backward."""
        if state is not None and len(state) != 2:
            raise InputError(f"the state must be a pair, forward and backward, got {len(state)}")
        past, future = (None, None) if state is None else state
        a, a_state = self.forward_layer(x, past, lengths)
        b, b_state = self.backward_layer(x, future, lengths)
        match self.merge:
            case "concat":
                y = torch.cat((a, b), -1)
            case "sum":
                y = a + b
            case "mean":
                y = (a + b) / 2
            case _:
                y = a * b
        return y, (a_state, b_state)

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"


class Stack(nn.Module):
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


def fresh(cell: Cell) -> Cell:
    """A copy of ``cell`` whose parameters are drawn anew, where its modules know how."""
    twin = copy.deepcopy(cell)
    for module in reversed(list(twin.modules())):
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return twin
