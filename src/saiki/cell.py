"""The language of cells: one time step, written as its equations."""

import inspect
import re
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saiki.errors import CellError
from saiki.saving.pretrained import DescribedModule
from saiki.torch_internals import seed, swapped
from saiki.twin import Twin

Step = Callable[..., Tensor | tuple[Tensor, ...]]


class Cell(DescribedModule, name="cell.v1"):
    """One time step of a recurrent network, written as its equations.

    A subclass defines ``step(self, x, *state)``: it takes the input of one time step,
    ``(batch, input_size)``, and the state in the order of its own signature, each
    ``(batch, state_size)``, and returns the new state in the same order. A cell with one state
    returns the tensor itself. The first state is the output of the layer built on the cell.

    The state has ``hidden_size`` features each unless ``state_sizes`` says otherwise, and begins
    at zero unless ``initial_state`` says otherwise. Parameters and modules of any kind may live
    in a cell. The rows of the batch must not see each other. A step may draw random numbers, for
    dropout say: for each row and step by itself, from PyTorch's own generator.

    Parameters of ``step`` that are given by name alone, after ``*``, are its memory: tensors that
    each row has for itself and that are the same at all steps, such as what a decoder attends to.
    ``memory_shapes`` says what shapes they have.

    >>> class Leaky(Cell):
    ...     def __init__(self, input_size, hidden_size):
    ...         super().__init__(input_size, hidden_size)
    ...         self.W = torch.nn.Linear(input_size, hidden_size)
    ...
    ...     def step(self, x, h):
    ...         return 0.9 * h + 0.1 * torch.tanh(self.W(x))
    >>> Leaky(3, 5).state_names
    ('h',)
    """

    _saiki_bookkeeping = ("_saiki_names", "_saiki_memory")
    step: Step

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int) or size < 1:
                raise CellError(f"{name} must be a whole number of at least 1, got {size!r}")
        if not callable(getattr(type(self), "step", None)):
            raise CellError(f"{type(self).__name__} defines no step(self, x, *state)")
        self.input_size = input_size
        self.hidden_size = hidden_size

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the state, as ``step`` gives them."""
        step = type(self).step
        if self.__dict__.get("_saiki_names", (None,))[0] is not step:
            self.__dict__["_saiki_names"] = step, _state_names(step, type(self).__name__)
        names: tuple[str, ...] = self.__dict__["_saiki_names"][1]
        return names

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The number of features of each state; override it for a projection."""
        return (self.hidden_size,) * len(self.state_names)

    @property
    def memory_names(self) -> tuple[str, ...]:
        """The names of the memory, as ``step`` gives them."""
        step = type(self).step
        if self.__dict__.get("_saiki_memory", (None,))[0] is not step:
            self.__dict__["_saiki_memory"] = step, _memory_names(step)
        names: tuple[str, ...] = self.__dict__["_saiki_memory"][1]
        return names

    @property
    def memory_shapes(self) -> Mapping[str, tuple[int | str, ...]]:
        """The shape of each memory, but for the batch, which comes first.

        A size that has a name may be another one in each call: ``{"keys": ("source", 512),
        "mask": ("source",)}``. Memory is of the type of x.
        """
        return {}

    def initial_state(self, batch: int) -> Tensor | tuple[Tensor, ...]:
        """The state before the first step, ``(batch, state_size)`` each; override to learn it."""
        like = of_numbers(self)
        return tuple(like.new_zeros(batch, size) for size in self.state_sizes)

    def forward(self, x: Tensor, *state: Tensor, **memory: Tensor) -> tuple[Tensor, ...]:
        """One step with the contract checked; always a tuple. Hooks on the cell see every step.

        Raises:
            CellError: ``step`` returned another number of states, another shape or another type.
        """
        new = as_states(self.step(x, *state, **memory))
        if len(new) != len(state):
            raise CellError(
                f"step of {type(self).__name__} must return {len(state)} state(s) "
                f"({', '.join(self.state_names)}), and it returned {len(new)}"
            )
        for i, (old, value) in enumerate(zip(state, new, strict=True)):
            if not isinstance(value, Tensor):
                problem = f"a {type(value).__name__} as"
            elif value.shape != old.shape:
                problem = f"shape {tuple(value.shape)} instead of {tuple(old.shape)} for"
            elif value.dtype != old.dtype:
                problem = f"{value.dtype} instead of {old.dtype} for"
            else:
                continue
            raise CellError(
                f"step of {type(self).__name__} returned {problem} state {self.state_names[i]!r}"
            )
        return new

    def equations(self) -> str:
        """One step in the signs of mathematics, a line each: what the docstring writes as
        equations, or else the source of ``step``. A cell with switches overrides it, and leaves out
        what is off."""
        lines = _equations_of(inspect.getdoc(type(self)) or "")
        if not lines:
            try:
                lines = textwrap.dedent(inspect.getsource(type(self).step)).splitlines()
            except (OSError, TypeError):  # it was typed, and no file holds it
                names = ", ".join(self.state_names)
                lines = [f"{names} ← step(x, {names})"]
        return "\n".join(lines)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


EQUATION = re.compile(r"\s*[^\s=←]+(, [^\s=←]+)* (=|←) \S.*")
"""What stands left of the sign is a name, or several with commas between: no sentence begins so."""


def _equations_of(docstring: str) -> list[str]:
    """Its lines that are equations, up to where it tells the arguments."""
    text = re.split(r"^(?:Args|Raises|Returns):", docstring, maxsplit=1, flags=re.MULTILINE)[0]
    lines = (line for line in text.splitlines() if EQUATION.fullmatch(line))
    return textwrap.dedent("\n".join(lines)).splitlines()


def _state_names(step: Step, cell: str) -> tuple[str, ...]:
    after_x = list(inspect.signature(step).parameters.values())[2:]
    state = [p for p in after_x if p.kind is not p.KEYWORD_ONLY]
    if not state:
        raise CellError(f"step of {cell} takes no state; write step(self, x, h)")
    if any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in state):
        raise CellError(f"step of {cell} must name each state: step(self, x, h)")
    return tuple(p.name for p in state)


def _memory_names(step: Step) -> tuple[str, ...]:
    parameters = inspect.signature(step).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


_HOLDING = threading.RLock()


@contextmanager
def holding(cell: Cell, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let ``tensors`` take the place of parameters and buffers of ``cell``, by name, for a while.

    Only one thread may do so at a time: all would see what one has put there.
    """
    with _HOLDING, swapped(cell, dict(tensors)):
        yield


def replacing(cell: Cell, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """``tensors``, in the order of the parameters and buffers of ``cell``, by all names that each
    has there: a tied weight has several."""
    own = (*cell.parameters(), *cell.buffers())
    replacements = {id(mine): tensor for mine, tensor in zip(own, tensors, strict=False)}
    every = (
        *cell.named_parameters(remove_duplicate=False),
        *cell.named_buffers(remove_duplicate=False),
    )
    return {name: replacements[id(mine)] for name, mine in every}


def of_numbers(module: nn.Module) -> Tensor:
    """The first parameter of real numbers, whose type and device are those of the module."""
    for part in module.modules():  # as ``parameters()`` has them, and soon found
        for parameter in part._parameters.values():
            if parameter is not None and parameter.is_floating_point():
                return parameter
    return torch.empty(0)


def as_states(state: Any) -> tuple[Any, ...]:
    """What ``step`` returned, or what a caller passed as a state, as a tuple."""
    return tuple(state) if isinstance(state, tuple | list) else (state,)


def check_contract(cell: Cell) -> None:
    """Run one step of ``cell`` on random rows and raise if it breaks the contract.

    Raises:
        CellError: wrong number, shape or type of the states, memory without a shape, or rows of the
            batch that see each other: changing row 0 of the input, the state and the memory changes
            the result of another row.
    """
    check_memory(cell)
    like = of_numbers(cell)
    if like.is_meta:
        return
    devices = [like.device] if like.is_cuda else []
    random = torch.Generator().manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(3, *sizes, generator=random, dtype=torch.float64).to(like)

    initial = as_states(cell.initial_state(3))
    shapes = [tuple(s.shape) for s in initial]
    wanted = [(3, size) for size in cell.state_sizes]
    if shapes != wanted:
        raise CellError(
            f"initial_state(3) of {type(cell).__name__} must have the shapes {wanted}, got {shapes}"
        )
    x, state = draw(cell.input_size), [draw(size) for size in cell.state_sizes]
    memory = [draw(*shape) for shape in example_shapes(cell).values()]
    count = 1 + len(state)

    trial = Twin(clone=True)  # trying a step is not a step of the user's
    twin = trial.of(cell)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        copies = [tensor.clone() for tensor in tensors]
        with torch.random.fork_rng(devices), torch.no_grad(), trial.putting_back():
            seed(0, bool(devices))
            read = dict(zip(cell.memory_shapes, copies[count:], strict=True))
            return twin.forward(*copies[:count], **read)

    before = run(x, *state, *memory)
    for row in (0, 2):  # the last too, for a step in which rows see only later ones
        others = [i for i in range(3) if i != row]
        changed = [tensor.clone() for tensor in (x, *state, *memory)]
        for tensor in changed:
            tensor[row] = 2 * tensor[row] + 1
        for name, a, b in zip(cell.state_names, before, run(*changed), strict=True):
            if not torch.allclose(a[others], b[others], rtol=1e-4, atol=1e-6, equal_nan=True):
                raise CellError(
                    f"step of {type(cell).__name__} mixes rows of the batch: changing one row "
                    f"changes state {name!r} of another"
                )


def check_memory(cell: Cell) -> None:
    """Raise unless ``memory_shapes`` tells the shape of each memory that ``step`` takes.

    Raises:
        CellError: it tells of others, or a size is neither a whole number nor a name.
    """
    names, shapes = cell.memory_names, cell.memory_shapes
    unknown = [name for name in names if name not in shapes]
    if unknown:
        raise CellError(
            f"step of {type(cell).__name__} must name each state in front of the star, and "
            f"memory_shapes must tell the shape of the memory {', '.join(unknown)}"
        )
    unread = [name for name in shapes if name not in names]
    if unread:
        raise CellError(
            f"memory_shapes of {type(cell).__name__} tells of {', '.join(unread)}, which step does "
            "not take after the star"
        )
    for name, shape in shapes.items():
        if any(not isinstance(n, int | str) or (isinstance(n, int) and n < 1) for n in shape):
            raise CellError(
                f"the sizes of the memory {name!r} of {type(cell).__name__} must be whole numbers "
                f"of at least 1 or names, got {shape}"
            )


def example_shapes(cell: Cell) -> dict[str, tuple[int, ...]]:
    """Shapes that the memory may have, but for the rows: of the named sizes the first is 4."""
    sizes: dict[str, int] = {}
    return {
        name: tuple(sizes.setdefault(n, 4 + len(sizes)) if isinstance(n, str) else n for n in shape)
        for name, shape in cell.memory_shapes.items()
    }
