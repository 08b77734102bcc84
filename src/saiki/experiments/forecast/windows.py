"""What forecasts are learned from and judged by: windows of the columns of a table."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Self

from torch import Tensor

from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.series.origins import Origins, Split, Timelines, Window
from saiki.experiments.forecast.source import SeriesSource

Batch = tuple[Tensor, ...]
"""The parts of a window."""


class SeriesWindows(IndexedDataset[Batch]):
    """Windows around the origins of forecasts, in three parts of time.

    Args:
        look_back: rows that a forecast is made from.
        horizon: rows that are forecast.
    """

    source: SeriesSource
    look_back: int
    horizon: int

    prefetch = 2

    @cached_property
    def timelines(self) -> Timelines:
        return self.source.timelines(self.look_back, self.horizon)

    @cached_property
    def train(self) -> Origins:
        ranges = [
            (min(self.look_back, max(1, split.train - self.horizon)), split.train)
            for split in self.source.splits
        ]
        return Origins(self.timelines, ranges)

    @cached_property
    def validation(self) -> Origins:
        return Origins(self.timelines, [(s.train, s.validation) for s in self.source.splits])

    @cached_property
    def test(self) -> Origins:
        return self.tested(self.source.splits)

    def tested(self, splits: Sequence[Split]) -> Origins:
        """The windows of what is tested of each column."""
        return Origins(self.timelines, [split.tested(self.horizon) for split in splits])

    @property
    def parts(self) -> Self:
        return self

    def batch(self, draw: Draw) -> Window:
        return self.train.window(draw.own)

    def describe(self) -> str:
        return self.source.in_words()

    def items(self) -> Mapping[str, Iterator[bytes]]:
        parts = ("values", "known", "observed")
        each = (getattr(column, part) for column in self.source.columns for part in parts)
        return {"columns": (values.tobytes() for values in each)}

    def example(self) -> Batch:
        return next(self.batches(0))

    def input_example(self) -> str:
        return "TABLE.csv" if self.source.is_made else str(self.source.path)
