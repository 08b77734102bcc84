"""Random recurrent cells as Python source, each from one integer, and a verdict on each.

A cell is a list of statements, each of which makes values from earlier ones, so that a smaller cell
is had by leaving statements out. All values stay moderate, and where a function has a kink or a
choice, no two of its arguments are alike, so that rounding decides nothing.
"""

import linecache
import random
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from compiler import random_grids, random_operations, random_python
from compiler.comparison import assert_same, draw, eager, outcome, randomised
from saiki import Recurrent

PRELUDE = """import torch
from torch import nn
from torch.nn import functional as F

from saiki import Cell
"""
BENT = '''

class Bent(torch.autograd.Function):
    """A sine whose gradient is said to be half of what it is."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return torch.sin(v)

    @staticmethod
    def backward(ctx, d):
        (v,) = ctx.saved_tensors
        return 0.5 * d * torch.cos(v)
'''


DISPROVED = "this is a fault of saiki"
"""In the reason why a layer runs step by step whose kernel was tried and gave other numbers."""
OPERATIONS = random_operations.SHARES | random_grids.SHARES | random_python.SHARES


@dataclass(frozen=True)
class Value:
    """A name in ``step``, the shape of what it holds without the rows, and whether its entries are
    all different."""

    name: str
    shape: tuple[int, ...]
    distinct: bool = True

    @property
    def width(self) -> int:
        return self.shape[-1]


@dataclass(frozen=True)
class Statement:
    """Lines of ``step`` and the values that they make for later ones."""

    text: str
    makes: tuple[Value, ...]


@dataclass(frozen=True)
class RandomCell:
    """A cell in parts."""

    input_size: int
    states: tuple[Value, ...]
    attributes: dict[str, str]
    """The lines of ``__init__`` that make each attribute."""
    statements: tuple[Statement, ...]
    results: tuple[str, ...]
    """What ``step`` returns for each state."""

    @property
    def source(self) -> str:
        body = [*(s.text for s in self.statements), f"return {', '.join(self.results)}"]
        step = "\n".join(body)
        used = _reached(step, self.attributes)
        init = [f"super().__init__({self.input_size}, {self.states[0].width})"]
        init += [line for name, line in self.attributes.items() if name in used]
        if not any("nn." in line for line in init):
            init.append("self.unread = nn.Parameter(torch.zeros(2))")  # it tells the type
        sizes = ", ".join(str(s.width) for s in self.states)
        names = ", ".join(s.name for s in self.states)
        parts = [
            PRELUDE,
            BENT if "Bent" in step else "",
            "\n\nclass Random(Cell):\n    def __init__(self):\n",
            _indented("\n".join(init)),
            f"\n    @property\n    def state_sizes(self):\n        return ({sizes},)\n",
            f"\n    def step(self, x, {names}):\n",
            _indented(step),
        ]
        return "".join(parts)

    def smaller(self) -> Iterator["RandomCell"]:
        """The cell without one of its statements, or with a state kept as it is."""
        for i in reversed(range(len(self.statements))):
            for chosen in range(2):
                yield self._without(i, chosen)
        for i, (result, state) in enumerate(zip(self.results, self.states, strict=True)):
            if result != state.name:
                yield replace(self, results=(*self.results[:i], state.name, *self.results[i + 1 :]))

    def _without(self, index: int, chosen: int) -> "RandomCell":
        """Without a statement: what it makes is an earlier value of the same shape, or of x."""
        statement = self.statements[index]
        before = [*self.states, Value("x", (self.input_size,))]
        before = [v for s in self.statements[:index] for v in s.makes][::-1] + before
        rest, results = self.statements[index + 1 :], self.results
        for made in statement.makes:
            alike = [v.name for v in before if v.shape == made.shape]
            stand_in = alike[0] if alike and not chosen else _from_x(made.shape)
            rest = tuple(
                replace(s, text=re.sub(rf"\b{made.name}\b", stand_in, s.text)) for s in rest
            )
            results = tuple(re.sub(rf"\b{made.name}\b", stand_in, r) for r in results)
        return replace(self, statements=(*self.statements[:index], *rest), results=results)


def _from_x(shape: tuple[int, ...]) -> str:
    if not shape:
        return "x[:, 0]"
    return f"x[:, :1{', None' * (len(shape) - 1)}].expand(-1, {', '.join(map(str, shape))})"


def _indented(text: str) -> str:
    return "".join(f"        {line}\n" for line in text.splitlines())


def _reached(text: str, attributes: dict[str, str]) -> set[str]:
    """The attributes that ``text`` reads, and those that they are made of."""
    names: set[str] = set()
    waiting = re.findall(r"self\.(\w+)", text)
    while waiting:
        name = waiting.pop()
        if name in attributes and name not in names:
            names.add(name)
            waiting += re.findall(r"self\.(\w+)", attributes[name])
    return names


@dataclass
class Builder:
    """A cell in the making: what operations read and write."""

    dice: random.Random
    attributes: dict[str, str] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def pick(self, *choices):
        return self.dice.choice(choices)

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def block(self, text: str, *makes: tuple[tuple[int, ...], bool]) -> tuple[Value, ...]:
        """Some lines, in which ``{0}``, ``{1}`` … stand for the names of what they make."""
        count = len(self.values)
        new = tuple(Value(f"v{count + i}", *make) for i, make in enumerate(makes))
        text = re.sub(r"\{(\d)\}", lambda m: new[int(m[1])].name, text)
        self.used |= set(re.findall(r"\b[abcx]\b|\bv\d+\b", text)) - {v.name for v in new}
        self.statements.append(Statement(text, new))
        self.values += new
        return new

    def emit(self, text: str, shape: tuple[int, ...], distinct: bool = True) -> Value:
        return self.block(f"{{0}} = {text}", (tuple(shape), distinct))[0]

    def attribute(self, kind: str, text: str, **more: str) -> str:
        """A new attribute; ``text`` may speak of it as ``{name}``."""
        name = f"{kind}{len(self.attributes)}"
        self.attributes[name] = text.replace("{name}", name)
        return f"self.{name}"

    def parameter(self, *shape: int) -> str:
        sizes = ", ".join(map(str, shape))
        return self.attribute("P", f"self.{{name}} = nn.Parameter(torch.zeros({sizes}))")

    def buffer(self, shape: tuple[int, ...]) -> str:
        """Numbers of which no two are alike."""
        count = 1
        for size in shape:
            count *= size
        numbers = f"torch.sin(torch.arange({count}.0) * 1.7 + {len(self.attributes)})"
        sizes = f".view({', '.join(map(str, shape))})" if len(shape) > 1 else ""
        return self.attribute("c", f'self.register_buffer("{{name}}", {numbers}{sizes})')

    def any(self, *ranks: int, least: int = 1, distinct: bool = False) -> Value:
        """A value of those numbers of features' dimensions, rather one not yet read."""
        fit = [
            v for v in self.values if len(v.shape) in ranks and (not v.shape or v.width >= least)
        ]
        if not fit:
            fit = [self.widened(least) if 1 in ranks else self.grid(least)]
        weights = [(1 if v.name in self.used else 4) + 2 * i / len(fit) for i, v in enumerate(fit)]
        value = self.dice.choices(fit, weights)[0]
        return self.apart(value) if distinct and not value.distinct else value

    def vector(self, least: int = 1, distinct: bool = False) -> Value:
        return self.any(1, least=least, distinct=distinct)

    def apart(self, v: Value) -> Value:
        """``v`` with its entries made different."""
        return self.emit(f"{v.name} + {self.buffer(v.shape) if v.shape else 0.37}", v.shape)

    def widened(self, least: int) -> Value:
        v = self.vector()
        return self.emit(f"{self.linear(v.width, least + 2)}({v.name})", (least + 2,))

    def grid(self, least: int = 1) -> Value:
        """A new value with two dimensions of features."""
        rows, columns = self.pick(2, 3), max(least, self.pick(2, 3, 4))
        v = self.fitted(self.vector(), rows * columns)
        view = self.pick(
            f".view(-1, {rows}, {columns})",
            f".unflatten(1, ({rows}, {columns}))",
            f".reshape(x.shape[0], {rows}, {columns})",
        )
        return self.emit(v.name + view, (rows, columns), v.distinct)

    def linear(self, inputs: int, outputs: int) -> str:
        made = f"nn.Linear({inputs}, {outputs}"
        known = [
            name
            for name, line in self.attributes.items()
            if re.search(rf"= {re.escape(made)}[,)]", line)
        ]
        if known and self.chance(0.35):
            return f"self.{self.pick(*known)}"
        if known and self.chance(0.1):
            tied = f"self.{{name}} = {made})\nself.{{name}}.weight = self.{known[0]}.weight"
            return self.attribute("A", tied)
        return self.attribute("A", f"self.{{name}} = {made}{self.pick('', ', bias=False')})")

    def fitted(self, v: Value, width: int) -> Value:
        """``v`` brought to another number of features."""
        if v.width == width:
            return v
        if v.width > width and self.chance(0.5):
            start = self.dice.randint(0, v.width - width)
            return self.emit(f"{v.name}[:, {start} : {start + width}]", (width,), v.distinct)
        if v.width < width and self.chance(0.2):
            times = -(-width // v.width)
            return self.emit(f"{v.name}.repeat(1, {times})[:, :{width}]", (width,), False)
        return self.emit(f"{self.linear(v.width, width)}({v.name})", (width,))

    def flat(self, v: Value) -> Value:
        if not v.shape:
            return self.emit(f"{v.name}[:, None]", (1,))
        if len(v.shape) == 2:
            return self.emit(f"{v.name}.flatten(1)", (v.shape[0] * v.shape[1],), v.distinct)
        return v


def generate(seed: int) -> RandomCell:
    """The cell of that number. Each draws on some of the operations only, so that one which cannot
    be compiled does not make all cells run step by step."""
    dice = random.Random(seed)
    size = dice.choice((2, 3, 4, 5, 7))
    count = dice.choice((1, 1, 1, 2, 2, 3))
    states = tuple(Value(n, (dice.choice((1, 2, 3, 4, 5, 5, 8)),)) for n in "abc"[:count])
    build = Builder(dice, values=[Value("x", (size,)), *states])
    # names v0, v1 … are counted by all values, so that none is given twice
    operations = [op for op, share in OPERATIONS.items() if dice.random() < share]
    for _ in range(dice.randint(2, 8)):
        dice.choice(operations or [random_operations.pair])(build)
    results = tuple(_result(build, state) for state in states)
    return RandomCell(size, states, build.attributes, tuple(build.statements), results)


def _result(build: Builder, state: Value) -> str:
    """The new state, of what no other value has read so far."""
    alike = [v.name for v in build.values[:4] if v.shape == state.shape and v.name in "abcx"]
    if alike and build.chance(0.06):
        return build.pick(*alike)
    loose = [v for v in build.values if v.name not in build.used][-4:]
    parts = [build.flat(v) for v in loose] or [build.vector()]
    whole = parts[0]
    if len(parts) > 1:
        width = sum(v.width for v in parts)
        whole = build.emit(f"torch.cat([{', '.join(v.name for v in parts)}], 1)", (width,))
    old, size = state.name, state.width
    if build.chance(0.2):
        new = f"{build.linear(whole.width, size)}(torch.tanh({whole.name}))"
    elif size > 2 and build.chance(0.1):
        new = f"{build.linear(2, size)}({old}[:, 1:3])"
    else:
        v = build.fitted(whole, size).name
        new = build.pick(
            f"torch.tanh({v})",
            f"torch.tanh({v}) * 0.5 + 0.4 * {old}",
            f"torch.sigmoid({v})",
            f"torch.lerp({old}, torch.tanh({v}), 0.3)",
            f"{old} + 0.1 * torch.tanh({v} - {old})",
            f"torch.cat([torch.tanh({v}[:, :1]), {old}[:, :-1]], 1)",
        )
    return build.emit(new, state.shape).name


def load(source: str):
    """The class that ``source`` defines; its lines are found by name in messages."""
    name = f"<random cell {zlib.crc32(source.encode())}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space = {"__name__": "random_cell"}
    exec(compile(source, name, "exec"), space)
    return space["Random"]


class UnfitError(Exception):
    """The eager loop itself cannot run the cell, or leaves the range in which it can be judged."""


def judge(source: str, seed: int) -> str:
    """Hold the cell to the eager loop: dense and ragged rows, last states, all gradients.

    Returns:
        Why the layer runs step by step, empty if it is compiled.

    Raises:
        AssertionError: it gives other numbers.
        UnfitError: the cell itself is at fault.
    """
    torch.manual_seed(seed)
    dice = random.Random(seed)
    every = (None, torch.tensor([2, 4, 1, 4, 3]))
    try:
        layer = Recurrent(randomised(load(source)()), reverse=dice.random() < 0.3)
        x = draw(5, 4, layer.input_size).requires_grad_()
        start = tuple(draw(5, size) for size in layer.cell.state_sizes)
        start = start if len(start) > 1 else start[0]
        expected = [outcome(eager(layer), x, start, lengths) for lengths in every]
    except Exception as error:
        raise UnfitError(f"{type(error).__name__}: {error}") from error
    if any(not (t is None or t.abs().max() < 1e6) for actual in expected for t in actual.values()):
        raise UnfitError("numbers that are not moderate")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "running step by step: ", UserWarning)
        for lengths, right in zip(every, expected, strict=True):
            actual = outcome(layer, x, start, lengths)
            compiled = layer.kernels.find(x.dtype).compiled
            eps = compiled.step.eps if compiled else 0.0  # of what a step rounds to in between
            assert_same(actual, right, max(1e-8, 100 * eps))
    return layer.why_eager(x.dtype) or ""
