"""A cell over time."""

import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from saiki.call import Call
from saiki.cell import Cell, as_states, check_contract, holding, of_numbers, replacing
from saiki.compiler.kernels import Kernels
from saiki.eager import run as run_eagerly
from saiki.errors import InputError
from saiki.layers.run import exporter, run_layers, why_not
from saiki.saving.pretrained import DescribedModule
from saiki.torch_internals import is_autocast_on, is_expanded, leaf

BACKENDS = ("auto", "eager", "cpu")
_OF_TYPES = re.compile("dtype|scalar type")
"""In what PyTorch says of an operation whose operands have different types."""


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

    _saiki_changing = ("_saiki_kernels", "_saiki_warned")
    """Attributes that say nothing of what it computes, and may change at any call."""

    def __init__(
        self, cell: Cell, reverse: bool = False, backend: Literal["auto", "eager", "cpu"] = "auto"
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise InputError(f"Recurrent takes a saiki.Cell, got {type(cell).__name__}")
        if backend not in BACKENDS:
            raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        check_contract(cell)
        self.cell = cell
        self.reverse = reverse
        self.backend = backend
        self._saiki_kernels = Kernels(cell, backend != "auto")
        self._saiki_warned = False

    def arguments(self) -> dict[str, Any]:
        """Those that make the layer as it now is, whatever it was made with."""
        if type(self).__init__ is not Recurrent.__init__:
            return super().arguments()
        return {"cell": self.cell, "reverse": self.reverse, "backend": self.backend}

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
        y, (end,) = run_layers([self], x, [self.start(x, state)], lengths, memory=[read])
        return y, end if len(end) > 1 else end[0]

    def step(
        self, x: Tensor, state: Any = None, memory: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Any]:
        """One step of a stream, without autograd, as under ``torch.no_grad()``.

        >>> from saiki.cells import GRU
        >>> layer, x, state = Recurrent(GRU(3, 5)), torch.randn(2, 7, 3), None
        >>> for t in range(7):
        ...     y, state = layer.step(x[:, t], state)
        >>> torch.allclose(y, layer(x)[0][:, -1], atol=1e-6)
        True

        Args:
            x: ``(batch, input_size)``.
            state: the one before, as :meth:`forward` takes and returns it.
            memory: as for :meth:`forward`.

        Returns:
            The output, ``(batch, output_size)``, and the state then.

        Raises:
            InputError: the layer reads from the last step on, or a shape does not fit.
        """
        if torch.is_grad_enabled():
            with torch.no_grad():
                return self.step(x, state, memory)
        if self.reverse:
            raise InputError(
                "a reversed layer reads the last step first, so it cannot go step by "
                "step; call it with the whole sequence"
            )
        cell = self.cell
        if not isinstance(x, Tensor) or x.ndim != 2:
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"a step takes x as (batch, {cell.input_size}), got {shape}")
        if x.shape[1] != cell.input_size or not x.shape[0] or not x.is_floating_point():
            self.check_input(x.unsqueeze(1), None)  # which says what does not fit
        start, read = self.start(x, state), memory or {}
        if read or cell.memory_shapes:
            self.check_memory(x, read)
        if is_autocast_on():  # a state that is rounded at each step drifts
            dtype = of_numbers(cell).dtype
            with torch.autocast(x.device.type, enabled=False):
                read = {name: tensor.to(dtype) for name, tensor in read.items()}
                return self.step(x.to(dtype), tuple(s.to(dtype) for s in start), read)
        try:
            end = cell(x, *start, **read)
        except RuntimeError as error:
            self._explain(error, x)
            raise
        return end[0], end if len(end) > 1 else end[0]

    def check_input(self, x: Any, lengths: Tensor | None) -> Tensor | None:
        """``lengths`` in order, if there are any; what does not fit is refused."""
        if not isinstance(x, Tensor):
            how = "; unpack it, and pass lengths" if isinstance(x, PackedSequence) else ""
            raise InputError(f"x must be a tensor, got {type(x).__name__}{how}")
        if x.ndim != 3 or x.shape[-1] != self.input_size or x.shape[1] == 0:
            raise InputError(
                f"x must be (batch, time, {self.input_size}) with a step at least, got "
                f"{tuple(x.shape)}"
            )
        if not (x.is_floating_point() or x.is_complex()):
            raise InputError(
                f"x must hold floating-point numbers, got {x.dtype}; "
                f"x.to({of_numbers(self.cell).dtype}) makes them"
            )
        if lengths is None or x.shape[0] == 0:
            return None
        return check_lengths(lengths, x)

    def check_memory(self, x: Tensor, memory: Mapping[str, Tensor] | None) -> tuple[Tensor, ...]:
        """The memory in the order of ``memory_shapes``; what does not fit is refused."""
        memory, shapes = memory or {}, self.cell.memory_shapes
        if not memory and not shapes:
            return ()
        if set(memory) != set(shapes):
            raise InputError(
                f"{type(self.cell).__name__} reads the memory {', '.join(shapes) or 'of no name'}, "
                f"got {', '.join(memory) or 'none'}"
            )
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            actual_shape = tuple(memory[name].shape)
            expected = (x.shape[0], *shape)
            if len(actual_shape) == len(expected):
                for size, actual in zip(shape, actual_shape[1:], strict=True):
                    if isinstance(size, str) and actual > 0:
                        sizes.setdefault(size, actual)
                expected = (
                    x.shape[0],
                    *(sizes.get(n, n) if isinstance(n, str) else n for n in shape),
                )
            if actual_shape != expected:
                raise InputError(
                    f"the memory {name!r} must have the shape "
                    f"({', '.join(map(str, expected))}), got {actual_shape}"
                )
            if not memory[name].is_floating_point():
                raise InputError(
                    f"the memory {name!r} must be of the type of x, got {memory[name].dtype}; a "
                    "mask is 0 where it lets through and −∞ elsewhere, added to scores"
                )
        return tuple(memory[name] for name in shapes)

    def eager(self, call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The outputs and last states of a call of this layer alone, step by step, with what the
        call has in place of parameters and buffers of the cell."""
        (part,) = call.parts
        own = part.parameters
        try:
            with holding(self.cell, replacing(self.cell, own)) if own else nullcontext():
                return run_eagerly(self.cell, call)
        except RuntimeError as error:
            self._explain(error, call.x)
            raise

    def _explain(self, error: RuntimeError, x: Tensor) -> None:
        """Say in a sentence what PyTorch says of types that differ. A step may convert x by itself,
        so that nobody knows before."""
        like = of_numbers(self.cell)
        if x.dtype != like.dtype and _OF_TYPES.search(str(error)):
            raise InputError(
                f"x is of {x.dtype} and the weights are of {like.dtype}; convert one of them"
            ) from None

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
        states = as_states(state)
        wanted = [(batch, size) for size in self.cell.state_sizes]
        shapes = [s.shape if isinstance(s, Tensor) else type(s).__name__ for s in states]
        if shapes != wanted:
            got = [s if isinstance(s, str) else tuple(s) for s in shapes]
            raise InputError(f"the state must have the shapes {wanted}, got {got}")
        return states

    def explain(self, passes: bool = False) -> str:
        """The plan in words: which backend runs, what is hoisted, the stages, what is saved.

        Args:
            passes: whether to show first what each pass of the compiler did to the cell.
        """
        if passes and self.backend != "eager":
            each = self.kernels.passes(of_numbers(self.cell).dtype)
            return f"{each}\n{self.explain()}".lstrip()
        dtype = of_numbers(self.cell).dtype
        why = self.why_eager(dtype)
        known = None if self.backend == "eager" else self.kernels.find(dtype)
        step = None if known is None or known.compiled is None else known.compiled.step
        if why:  # what went wrong can be found in the trace
            graph = [] if step is None else [str(step), *step.trace.lines()]
            return "\n".join((f"eager: {why}", *graph))
        assert step is not None
        return f"{step.backend.name}: {step}"

    def why_eager(self, dtype: torch.dtype) -> str | None:
        """Why inputs of that type go through the eager loop; None if a kernel serves them."""
        if self.backend == "eager":
            return "the backend is 'eager'"
        return why_not(self, dtype) or None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the kernels behind; they are compiled again when needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_saiki_kernels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._saiki_kernels = Kernels(self.cell, self.backend != "auto")

    def extra_repr(self) -> str:
        return f"reverse={self.reverse}, backend={self.backend!r}"


def check_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    """``lengths`` on the CPU, as whole numbers from 1 to the number of steps of ``x``."""
    batch, time, _ = x.shape
    lengths = torch.as_tensor(lengths).cpu()
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise InputError(
            f"lengths must hold {batch} whole numbers, one for each row, got "
            f"{lengths.dtype} of shape {tuple(lengths.shape)}"
        )
    if exporter() is not None:
        return lengths.long()
    if lengths.min() < 1 or lengths.max() > time:
        raise InputError(
            f"lengths must lie between 1 and the {time} steps of x, got "
            f"{int(lengths.min())} to {int(lengths.max())}"
        )
    return lengths.long()


def refuse_memory(name: str, layers: Iterable[nn.Module | None]) -> None:
    """Layers made of others hand no memory on."""
    for layer in layers:
        cell = layer.cell if isinstance(layer, Recurrent) else layer
        if isinstance(cell, Cell) and cell.memory_shapes:
            raise InputError(
                f"{name} hands no memory on, and {type(cell).__name__} reads "
                f"{', '.join(cell.memory_shapes)}; take a Recurrent"
            )
