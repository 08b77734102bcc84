"""Windows of two series over the same points, what is read and what is to be written: those of a
file, or a sine and its cosine."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from saiki.data.tables.limits import LARGEST
from saiki.data.tables.numbers import read_numbers
from saiki.errors import InputError, shown
from saiki.input_kind import exists
from saiki.knobs import Knobs, knob

NAMES = ("sine", "cosine")
PHASES = 200
SHOWN = 8
"""As many windows side by side fit into the picture of a long series."""
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pair:
    """Windows of the input, ``(rows, steps)``, and of what is to be written, in a user's units."""

    x: Array
    target: Array

    def __getitem__(self, rows: Any) -> "Pair":
        return Pair(self.x[rows], self.target[rows])

    def __len__(self) -> int:
        return len(self.x)

    def first(self, steps: int) -> "Pair":
        """The same windows, cut short."""
        return Pair(self.x[:, :steps], self.target[:, :steps])


@dataclass(frozen=True)
class Windows:
    """Two series and the windows over them, the last of which are kept from training."""

    values: Array
    """``(points, 2)``."""
    names: tuple[str, ...]
    """What is read and what is written."""
    source: str
    """Where they come from."""
    steps: int
    """Points of a window."""
    validation: float
    """Share of the windows that are kept from training."""
    notes: str = ""
    """What a person should know of how they were read."""

    @classmethod
    def of_file(cls, path: Path, steps: int, validation: float, encoding: str = "") -> "Windows":
        """Of the two columns of a table; see :func:`saiki.data.tables.numbers.read_numbers`."""
        table = read_numbers(path, (2,), encoding)
        names = table.names or ("input", "target")
        return cls(table.values, names, str(path), steps, validation, "; ".join(table.notes))

    @cached_property
    def learnt(self) -> int:
        """How many of the windows are trained on."""
        return learnt(len(self.values), self.steps, self.validation)

    @cached_property
    def pairs(self) -> Pair:
        """Every window but the last, in time order, as ``for i in range(points − steps)`` makes
        them; those of training come first."""
        self.learnt  # noqa: B018  which may be refused
        return Pair(*(sliding_window_view(column, self.steps)[:-1] for column in self.values.T))

    @property
    def known(self) -> Array:
        """The points of training."""
        return self.values[: self.learnt + self.steps - 1]

    def scales(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of each series over the points of training."""
        for column, name in zip(self.known.T, self.names, strict=True):
            if column.min() == column.max():
                raise InputError(
                    f"the column {name} of {self.source} is {column[0]:g} at all {len(column)} "
                    "points of training, so there is nothing to learn"
                )
        return [(float(column.mean()), float(column.std())) for column in self.known.T]

    def in_words(self) -> str:
        """What a person should know of them."""
        count, (read, wanted) = len(self.pairs), self.names
        return (
            f"{count:,} windows of {self.steps} points, from {read} to {wanted}: "
            f"{self.learnt:,} to learn from, the last {count - self.learnt:,} to validate"
            + (f"; {self.notes}" if self.notes else "")
        )

    def starts(self) -> list[int]:
        """Where the windows of a picture begin: 0, and a point before each further quarter of what
        is shown, which is all of a short series and the end of a long one."""
        points = len(self.values)
        shown = min(points, SHOWN * self.steps)
        first = points - shown
        quarters = (max(first, first + i * shown // 4 - 1) for i in range(4))
        return sorted({min(start, len(self.pairs) - 1) for start in quarters})


def learnt(points: int, steps: int, validation: float) -> int:
    """How many windows of so many points are trained on; the others are kept for validation."""
    windows = points - steps
    count = math.floor(windows * (1 - validation))
    if windows < 2 or not 0 < count < windows:
        raise InputError(
            f"{points} points hold {max(windows, 0)} windows of {steps} steps, too few to keep "
            f"{validation:g} of them for validation; take fewer steps or more points"
        )
    return count


def numbers_of(text: str, encoding: str = "") -> tuple[Array, Array | None]:
    """What a user gives, as numbers or in a file: the first column, and any second one."""
    words = re.split(r"[\s,;]+", text.strip())
    with suppress(ValueError):
        numbers = np.array([float(word) for word in words])
        if (np.abs(numbers) <= LARGEST).all():
            return numbers, None
    if exists(text):
        values = read_numbers(Path(text), (1, 2), encoding).values
        return values[:, 0], values[:, 1] if values.shape[1] == 2 else None
    raise InputError(
        "sin-cos takes numbers within ±1e30 such as '0 0.5 0.9', or a table of them, got "
        f"{shown(text)}"
    )


class Wave(Knobs):
    """A sine and its cosine."""

    points: int = knob(100, "of the wave", minimum=4, maximum=100_000)
    periods: float = knob(
        3.0, "of the wave, from −π to π times this", minimum=0.001, maximum=10_000
    )
    stretch: float = knob(
        1.0,
        "of the wave: its points lie wider or closer in training, by this factor at most",
        minimum=1,
        maximum=10,
    )

    @property
    def edge(self) -> float:
        return math.pi * self.periods

    def values(self) -> Array:
        """Both over all points, ``(points, 2)``."""
        return _both(np.linspace(-self.edge, self.edge, self.points))

    def stretched(self, begin: Array, steps: int, random: np.random.Generator) -> Pair:
        """Windows that begin at these points, or between them, and whose own points lie wider or
        closer by factors between 1 / ``stretch`` and ``stretch``."""
        wider = self.stretch ** random.uniform(-1, 1, (len(begin), 1))
        at = begin[:, None] + wider * np.arange(steps)
        waves = _both(2 * self.edge / (self.points - 1) * at - self.edge)
        return Pair(waves[..., 0], waves[..., 1])

    def between(self, steps: int) -> Pair:
        """Windows that begin between the points, at phases never trained on."""
        random = np.random.default_rng(0)
        return self.stretched(random.uniform(0, self.points - 1, PHASES), steps, random)


def _both(at: Array) -> Array:
    """Sine and cosine, side by side along a new last axis."""
    return np.stack((np.sin(at), np.cos(at)), -1)
