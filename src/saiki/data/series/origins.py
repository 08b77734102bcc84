"""Windows of series around the moments at which something is forecast."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saiki.errors import InputError

Array = np.ndarray[Any, Any]


class Window(NamedTuple):
    """What is known at the origins of forecasts, and what comes after them; a row for each."""

    past: Tensor
    """``(rows, look_back)``; NaN is a gap, or before the series begins."""
    column: Tensor
    """The number of the column, from 1 on, ``(rows,)``."""
    known: Tensor
    """Features known beforehand, ``(rows, look_back + horizon, known)``."""
    observed: Tensor
    """Features known afterwards, ``(rows, look_back, observed)``."""
    future: Tensor
    """``(rows, horizon)``; NaN where nobody knows."""


class Split(NamedTuple):
    """Where the parts of a series end: what is learned from, what validates, what is tested."""

    train: int
    validation: int
    test: int
    reach: int
    """Where what came is known to the end of, to judge forecasts that reach beyond ``test``."""

    @classmethod
    def of(cls, rows: int, train: int, validation: float, test: float) -> "Split":
        """Parts one after the other, so that nothing is learned from what comes later.

        Args:
            rows: of the series.
            train: rows that are learned from; 0 is all that the other two leave.
            validation, test: rows, or below 1 a share of all.
        """
        later = [round(part * rows) if part < 1 else int(part) for part in (validation, test)]
        first = train or rows - sum(later)
        ends = first, first + later[0], first + sum(later)
        if first < 1 or ends[-1] > rows:
            raise InputError(
                f"a series of {rows:,} rows cannot be parted into {max(first, 0):,} to learn from, "
                f"{later[0]:,} that validate and {later[1]:,} that are tested"
            )
        return cls(*ends, ends[-1])

    def part(self, number: int, count: int) -> "Split":
        """As many parts of what is tested follow each other; the one of this number, from 1 on,
        with as many rows before it that validate, and all before those to learn from."""
        tested, validated = self.test - self.validation, self.validation - self.train
        begin, end = (self.validation + tested * at // count for at in (number - 1, number))
        return Split(begin - validated, begin, end, self.reach)

    def tested(self, horizon: int) -> tuple[int, int]:
        """The first origin of what is tested, and the end of what is forecast from all of them."""
        return self.validation, min(self.test + horizon - 1, self.reach)


class Strip(NamedTuple):
    """Arrays of several columns one behind another, as far apart as windows reach, so that none
    reaches another."""

    rows: Tensor
    """``(all, …)``, float32."""
    begins: Array
    """Where the first row of each column is, ``(columns,)``."""

    @classmethod
    def of(cls, parts: Sequence[Array], before: int, after: int, filler: float) -> "Strip":
        """What several columns have in common is held once.

        Args:
            parts: of each column, ``(time, …)``.
            before, after: how many rows of ``filler`` are around each.
        """
        different = {id(part): part for part in parts}
        lengths = [before + len(part) + after for part in different.values()]
        begins = np.cumsum([0, *lengths[:-1]]) + before
        rows = torch.full((sum(lengths), *parts[0].shape[1:]), filler)
        for begin, part in zip(begins, different.values(), strict=True):
            rows.numpy()[begin : begin + len(part)] = part
        place = dict(zip(different, begins, strict=True))
        return cls(rows, np.array([place[id(part)] for part in parts]))


class Timelines:
    """Columns, as windows are cut out of them.

    Args:
        values: of each column, ``(time,)``.
        known: of each column, ``(time, known)``; they may reach further.
        observed: of each column, ``(time, observed)``.
        look_back: rows of a window before the origin of a forecast.
        horizon: rows from it on.
    """

    def __init__(
        self,
        values: Sequence[Array],
        known: Sequence[Array],
        observed: Sequence[Array],
        look_back: int,
        horizon: int,
    ) -> None:
        self.look_back, self.horizon = look_back, horizon
        self.values = Strip.of(values, look_back, horizon, torch.nan)
        self.known = Strip.of(known, look_back, horizon, 0.0)
        self.observed = Strip.of(observed, look_back, horizon, 0.0)


class Origins:
    """All windows of several columns whose forecasts begin in one part of each.

    The forecast from origin t is of rows t, t + 1, …, and whatever it goes by stands before t; the
    window of what has been may reach into the part before.

    Args:
        of: the columns.
        ranges: of each column, the first origin and the end of the part, in which all rows lie that
            are forecast.
    """

    def __init__(self, of: Timelines, ranges: Sequence[tuple[int, int]]) -> None:
        self.of, self.look_back, self.horizon = of, of.look_back, of.horizon
        numbers, origins = list[Array](), list[Array]()
        for number, (first, end) in enumerate(ranges):
            every = np.arange(max(first, 1), end - self.horizon + 1)
            numbers.append(np.full(len(every), number, np.int32))
            origins.append(every)
        self.number, self.origin = np.concatenate(numbers), np.concatenate(origins)
        if not len(self.origin):
            raise InputError(
                f"no series is long enough: a forecast of {self.horizon} rows needs "
                f"{self.horizon + 1} of them in each part"
            )

    def __len__(self) -> int:
        return len(self.origin)

    def first(self) -> Array:
        """The first origin of the column of each."""
        begins = np.full(int(self.number.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(begins, self.number, self.origin)
        first: Array = begins[self.number]
        return first

    def window(self, rows: Array) -> Window:
        """The windows of these numbers."""
        number, origin = self.number[rows], self.origin[rows]

        def cut(strip: Strip, begin: int, end: int) -> Tensor:
            place = torch.from_numpy(strip.begins[number] + origin)
            return strip.rows[place[:, None] + torch.arange(begin, end)]

        return Window(
            cut(self.of.values, -self.look_back, 0),
            torch.from_numpy(number).long() + 1,
            cut(self.of.known, -self.look_back, self.horizon),
            cut(self.of.observed, -self.look_back, 0),
            cut(self.of.values, 0, self.horizon),
        )

    def in_order(self, size: int, every: int = 1) -> Iterator[tuple[Window, Array]]:
        """So many at a time, and their numbers; of each column only every so many origins."""
        chosen = np.flatnonzero((self.origin - self.first()) % every == 0)
        for at in range(0, len(chosen), size):
            rows = chosen[at : at + size]
            yield self.window(rows), rows
