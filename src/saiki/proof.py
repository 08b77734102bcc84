"""Proofs: gradients against finite differences, padding that must not leak, both directions."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saiki.eager import flip
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, Stack, as_layer
from saiki.torch_internals import seed as reseed

GRADIENT_BOUND = 1e-5
EQUALITY_BOUND = 1e-10


@dataclass(frozen=True)
class Row:
    """One statement with the error measured for it."""

    claim: str
    error: float
    bound: float

    @property
    def passed(self) -> bool:
        return self.error <= self.bound  # False for NaN


@dataclass(frozen=True, repr=False)
class Report:
    """What was checked. ``print(report)`` shows the table; ``report.passed`` is the verdict."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def failed(self) -> tuple[str, ...]:
        """The claims that do not hold."""
        return tuple(row.claim for row in self.rows if not row.passed)

    def __str__(self) -> str:
        width = max(len(row.claim) for row in self.rows)
        lines = [
            f"  {row.claim:<{width}}  error {row.error:8.1e}  bound {row.bound:.0e}  "
            f"{'ok' if row.passed else 'FAILED'}"
            for row in self.rows
        ]
        verdict = "passed" if self.passed else f"FAILED: {', '.join(self.failed)}"
        return "\n".join((self.title, *lines, *(f"  {n}" for n in self.notes), f"  {verdict}"))

    __repr__ = __str__


def check(layer: nn.Module, batch: int = 3, time: int = 5, seed: int = 0) -> Report:
    """Prove a cell or a recurrent layer right, or name what is wrong with it.

    Works on a copy in float64 whose parameters are moved a little at random, so that one that
    starts at zero counts too. It is in evaluation mode, since dropout has no derivative to test.

    * The gradient of every parameter, of the input and of the initial state agrees with central
      finite differences of a random projection of all outputs and last states, coordinate by
      coordinate and along random directions, to a relative 1e-5.
    * Rows of unequal length, with NaN in the padding, give what each row gives by itself, and the
      same gradients.
    * A reversed layer gives what the layer gives for flipped input.
    * A compiled layer, whose gradients these then are, gives what the eager loop gives.

    Random numbers that a step draws in evaluation too are the same in all that is compared; but a
    row by itself would draw others, so that padding is not tried then.

    >>> from saiki.cells import GRU
    >>> check(GRU(2, 3)).passed
    True

    Args:
        batch: rows of the random input.
        time: steps of the random input, at least 2.
        seed: of the random input, weights and directions.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = copy.deepcopy(as_layer(layer)).double().eval()
        with torch.no_grad():
            for p in layer.parameters():
                p.add_(0.1 * torch.randn_like(p))
                p.requires_grad_()
        x = torch.randn(batch, time, layer.input_size, dtype=torch.float64)
        draws = _draws(layer, x)
        rows = [
            *_gradients_of_layer(layer, x),
            *(() if draws else _padding(layer, x)),
            *(_reversal(name, part) for name, part in _parts(layer)),
        ]
        eager = {part.why_eager(torch.float64) for _, part in _parts(layer)}
        if eager == {None}:
            rows += _backends(layer, x)
    notes = [f"eager: {why}" for why in eager if why]
    if draws:
        notes.append("padding not tried: rows by themselves draw other random numbers")
    return Report(_title(layer), tuple(rows), tuple(notes))


def check_loss(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Report:
    """Prove the gradient of ``loss(model)`` for every parameter of a whole model.

    Works on a copy in float64, to which ``loss`` is applied.
    """
    twin = copy.deepcopy(model).double().eval()
    return Report(
        f"loss of {type(model).__name__}",
        tuple(gradients(lambda: loss(twin), dict(twin.named_parameters()))),
    )


def gradients(loss: Callable[[], Tensor], tensors: dict[str, Tensor]) -> Iterator[Row]:
    """A row for each of ``tensors``: its gradient of ``loss()`` against finite differences.

    The tensors are float64 leaves that ``loss`` reads; their values are restored afterwards.
    Up to eight coordinates and, in larger tensors, eight random directions are tried. The error is
    |a − n| / max(|a|, |n|, 10⁻³ max(1, |loss|)) for the analytic and numerical derivatives a, n.
    """

    elsewhere = any(tensor.device.type != "cpu" for tensor in tensors.values())

    def value() -> Tensor:
        with _seeded(elsewhere):
            return loss()

    exact = derivatives(value(), list(tensors.values()))
    with torch.no_grad():
        floor = 1e-3 * max(1.0, abs(value().item()))
        for (name, tensor), gradient in zip(tensors.items(), exact, strict=True):
            errors = []
            for direction in _directions(tensor):
                a = (gradient * direction).sum().item()
                errors.append(_error(value, tensor, direction, a, floor))
            yield Row(f"gradient of {name}", _worst(errors), GRADIENT_BOUND)


@contextmanager
def _seeded(elsewhere: bool = False) -> Iterator[None]:
    """Let random numbers that are drawn inside be the same each time."""
    with torch.random.fork_rng():
        reseed(0, elsewhere)
        yield


def _draws(layer: Layer, x: Tensor) -> bool:
    """Whether it draws random numbers."""
    with _seeded(), torch.no_grad():
        before = torch.get_rng_state()
        layer(x)
        return not torch.equal(before, torch.get_rng_state())


def derivatives(value: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of ``value`` for each of ``tensors``; zero where there is none."""
    if not (value.requires_grad and tensors):
        return [torch.zeros_like(t) for t in tensors]
    return [*torch.autograd.grad(value, tensors, allow_unused=True, materialize_grads=True)]


def _error(
    value: Callable[[], Tensor], tensor: Tensor, direction: Tensor, a: float, floor: float
) -> float:
    """Error of the derivative ``a`` along ``direction``; smaller steps where a kink is crossed."""
    saved, errors = tensor.clone(), []
    for step in (1e-6, 1e-7, 1e-8):
        tensor.copy_(saved + step * direction)
        above = value().item()
        tensor.copy_(saved - step * direction)
        n = (above - value().item()) / (2 * step)
        tensor.copy_(saved)
        errors.append(abs(a - n) / max(abs(a), abs(n), floor))
        if errors[-1] <= GRADIENT_BOUND:
            break
    return min(errors) if all(e == e for e in errors) else float("nan")


def _directions(tensor: Tensor) -> Iterator[Tensor]:
    coordinates = torch.randperm(tensor.numel())[:8].tolist()
    for i in coordinates:
        direction = torch.zeros_like(tensor)
        direction.view(-1)[i] = 1
        yield direction
    for _ in range(8 if tensor.numel() > 8 else 0):
        direction = torch.randn_like(tensor)
        yield direction / direction.norm()


def _gradients_of_layer(layer: Layer, x: Tensor) -> Iterator[Row]:
    x = x.clone().requires_grad_()
    _, end = layer(x)
    start = map_state(lambda s: torch.randn_like(s).requires_grad_(), end)
    like = [*layer(x)[:1], *flatten(end).values()]
    weights = [torch.randn_like(t) for t in 2 * like]

    def loss() -> Tensor:
        terms = []
        for state in (start, None):  # None: so that a learned initial state is reached
            y, last = layer(x, state)
            terms += [y, *flatten(last).values()]
        total = torch.zeros((), dtype=x.dtype)
        for term, weight in zip(terms, weights, strict=True):
            total = total + (term * weight).sum()
        return total

    names = layer.cell.state_names if isinstance(layer, Recurrent) else ()
    parameters = {name.removeprefix("cell."): p for name, p in layer.named_parameters()}
    states = {
        f"initial state {names[i] if names else path}": s
        for i, (path, s) in enumerate(flatten(start).items())
    }
    yield from gradients(loss, {**parameters, "the input": x, **states})


def _padding(layer: Layer, x: Tensor) -> Iterator[Row]:
    batch, time, _ = x.shape
    lengths = torch.tensor(
        [1 + (time - 1) * (batch - 1 - i) // max(1, batch - 1) for i in range(batch)]
    )
    padded = x.clone()
    for row, length in zip(padded, lengths.tolist(), strict=True):
        row[length:] = float("nan")
    parameters = list(layer.parameters())

    def backward(outputs: list[Tensor]) -> list[Tensor]:
        total = sum(((o * o).sum() for o in outputs), torch.zeros((), dtype=x.dtype))
        return derivatives(total, parameters)

    y, end = layer(padded, lengths=lengths)
    together = [y, *flatten(end).values()]
    alone: list[list[Tensor]] = []
    for i, length in enumerate(lengths.tolist()):
        y_i, end_i = layer(x[i : i + 1, :length])
        y_i = nn.functional.pad(y_i, (0, 0, 0, time - length))
        alone.append([y_i, *flatten(end_i).values()])
    apart = [torch.cat(parts) for parts in zip(*alone, strict=True)]
    yield Row("padded rows as each row alone", _difference(together, apart), EQUALITY_BOUND)
    error = _difference(backward(together), backward(apart))
    yield Row("gradients of padded rows as of each row alone", error, EQUALITY_BOUND)


def _reversal(name: str, layer: Recurrent) -> Row:
    x = torch.randn(3, 5, layer.input_size, dtype=torch.float64)
    lengths = torch.tensor([2, 5, 3])
    twin = Recurrent(layer.cell, reverse=not layer.reverse, backend=layer.backend)
    with torch.no_grad():
        with _seeded():
            y, end = layer(x, lengths=lengths)
        with _seeded():
            flipped, flipped_end = twin(flip(x, lengths), lengths=lengths)
    a = [y, *flatten(end).values()]
    b = [flip(flipped, lengths), *flatten(flipped_end).values()]
    claim = "reversal as flipped input" + (f" ({name})" if name else "")
    return Row(claim, _difference(a, b), EQUALITY_BOUND)


def _backends(layer: Layer, x: Tensor) -> Iterator[Row]:
    outputs, gradients = [], []
    for backend in ("cpu", "eager"):
        twin = copy.deepcopy(layer)
        for _, part in _parts(twin):
            part.backend = backend
        leaf = x.clone().requires_grad_()
        with _seeded():
            y, end = twin(leaf)
        results = [y, *flatten(end).values()]
        total = sum(((o * o).sum() for o in results), torch.zeros((), dtype=x.dtype))
        outputs.append([o.detach() for o in results])
        gradients.append(derivatives(total, [leaf, *twin.parameters()]))
    yield Row("compiled as eager", _difference(*outputs), EQUALITY_BOUND)
    yield Row("gradients compiled as eager", _difference(*gradients), EQUALITY_BOUND)


def _difference(first: list[Tensor], second: list[Tensor]) -> float:
    pairs = zip(first, second, strict=True)
    return _worst([((a - b).abs().max() / b.abs().max().clamp(min=1)).item() for a, b in pairs])


def _worst(errors: list[float]) -> float:
    return max(errors, key=lambda e: float("inf") if e != e else e, default=0.0)


def _parts(layer: Layer) -> Iterator[tuple[str, Recurrent]]:
    for name, module in layer.named_modules():
        if isinstance(module, Recurrent):
            yield name, module


def _title(layer: nn.Module) -> str:
    match layer:
        case Recurrent():
            return type(layer.cell).__name__
        case Bidirectional():
            return f"Bidirectional {_title(layer.forward_layer)}"
        case Stack():
            return f"Stack of {', '.join(_title(part) for part in layer.layers)}"
        case _:
            return type(layer).__name__


def flatten(state: Any, path: str = "") -> dict[str, Tensor]:
    """The tensors of a nested state by their place in it: ``{"0.1": c of the first layer, …}``."""
    if isinstance(state, Tensor):
        return {path: state}
    tensors: dict[str, Tensor] = {}
    for i, part in enumerate(state):
        tensors |= flatten(part, f"{path}.{i}" if path else str(i))
    return tensors


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """The nested state with ``function`` applied to each tensor."""
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(function, part) for part in state)
