"""The one door to a device: all that the compiler asks of it.

The compiler plans what is done before, in and after a loop, and knows no device. A
:class:`Backend` is one: it says what it cannot serve, makes large products, finds room for large
tensors, compiles a :class:`~saiki.compiler.plan.program.Program` and runs it over the steps of a
:class:`Walk`. :mod:`saiki.compiler.kernels` alone chooses one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from saiki.compiler.plan.program import Array, Program
from saiki.errors import CompileError


class Place(NamedTuple):
    """Rows whose last axis is contiguous, and the first of the columns meant."""

    rows: Tensor
    column: int = 0


@dataclass(frozen=True, eq=False)
class Walk:
    """The way of a loop through its steps: which rows of the step arrays each of them takes.

    At step s the rows below ``counts[s]`` take part, and row r lies at
    ``offsets[s] + r · row_stride``. ``lengths`` holds the number of steps of each row, longest
    first.
    """

    offsets: Tensor
    counts: Tensor
    row_stride: int
    lengths: tuple[int, ...]

    @cached_property
    def backwards(self) -> "Walk":
        """The same steps from the last to the first."""
        return Walk(self.offsets.flip(0), self.counts.flip(0), self.row_stride, self.lengths)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def places(self, reverse: bool) -> Tensor:
        """Where the rows of each step lie, step by step as the eager loop takes them: reversed, it
        begins each row at the row's own last step."""
        lengths, steps = torch.tensor(self.lengths), torch.arange(len(self.offsets))[:, None]
        real = steps < lengths
        at = lengths - 1 - steps if reverse else steps
        return (self.offsets[at] + torch.arange(self.rows) * self.row_stride)[real]

    def by_row(self, steps: Tensor) -> Tensor:
        """``(rows, time, features)`` of what lies in the order of the walk, 0 where a row has no
        step; the order of time may be any."""
        rows, time = self.rows, len(self.offsets)
        if self.row_stride > 1:
            return steps.view(rows, time, -1)
        if len(steps) < rows * time:
            real = torch.arange(time)[:, None] < torch.tensor(self.lengths)
            whole = steps.new_zeros(rows * time, steps.shape[1])
            whole[real.flatten()] = steps
            steps = whole
        return steps.view(time, rows, -1).transpose(0, 1)


class Loop(Protocol):
    """A program compiled for one floating-point type."""

    def compile(self) -> None:
        """Do now what would be done when the loop is first bound."""

    def forget(self) -> None:
        """Keep nothing of it for other processes."""

    def bind(
        self,
        rows: Mapping[Array, Place],
        parameters: Sequence[Tensor],
        walk: Walk,
        sizes: Mapping[int, int],
    ) -> Any:
        """All that :meth:`Backend.run` takes to run over the steps of ``walk``.

        Args:
            rows: where the arrays of the program lie, but for temporaries and parameters. They
                are read when the job runs, and written in place.
            parameters: their values, in the order of the program.
            sizes: of memory, by the numbers that stand for them.
        """


class Recorded(ABC):
    """A function of tensors as one call. What it returns is overwritten by its next call."""

    reads: Sequence[Tensor]
    """What it reads beside its inputs, each where it lay when the function was recorded."""

    @abstractmethod
    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]: ...


class Backend(ABC):
    """A device, or a way to use one."""

    name: str
    """As people call it."""
    inline_weights: int
    """Numbers in the weights of a product with x, up to which a loop multiplies by them itself: it
    would take longer to write the product for all steps, and to read it."""

    @abstractmethod
    def obstacle(self, dtype: torch.dtype) -> str:
        """Why it cannot serve layers that read numbers of that type; empty if it can."""

    @abstractmethod
    def describe(self, dtype: torch.dtype) -> str:
        """How its loops of that type work, in a few words."""

    @abstractmethod
    def product(self, left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
        """``left · right + added``: a large product before or after a loop, of two matrices or, one
        by one, of as many as there are rows."""

    @abstractmethod
    def empty(self, *shape: int, like: Tensor) -> Tensor:
        """An uninitialised tensor of the type and device of ``like``, large and used for one call
        or from a forward pass to its backward pass."""

    def memory(self) -> object:
        """What keeps the memory of calls for the next ones, as long as somebody holds it."""
        return None

    def give_back(self) -> None:  # noqa: B027  most keep none
        """Keep no memory that is free now."""

    @abstractmethod
    def loop(self, program: Program, dtype: torch.dtype, key: str | None = None) -> Loop:
        """The program as a loop over numbers of that type.

        Args:
            key: what names the program in any process; None where nothing does.
        """

    def recorded(
        self,
        function: Callable[[Sequence[Tensor]], Sequence[Tensor | None]],
        inputs: Sequence[Tensor],
    ) -> "Recorded":
        """All that ``function`` does, loops of compiled cells and operations of PyTorch, as one
        call, for other numbers in tensors of the same shapes.

        Raises:
            CompileError: it does what cannot be recorded, or so much that nothing would be gained.
        """
        raise CompileError(f"{self.name} records nothing")

    @abstractmethod
    def run(self, jobs: Sequence[Any]) -> None:
        """Run jobs of its own loops, none of which writes what another reads or writes."""
