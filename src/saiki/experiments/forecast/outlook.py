"""What a trained forecaster says of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saiki.data.series import steps
from saiki.data.series.features import Column, Features, columns_of
from saiki.data.series.forecast_rows import ForecastRow
from saiki.data.series.series_table import SeriesTable
from saiki.errors import InputError, printable, shown
from saiki.experiments.forecast.source import SeriesSource
from saiki.models.forecaster import Forecast, Forecaster, Memory
from saiki.prediction import Prediction


@dataclass(frozen=True, eq=False)
class Outlook:
    """What is asked of a trained forecaster: how far ahead, of tables that are read how.

    Args:
        paths: continuations that are drawn, where steps are forecast one by one.
        seed: of them.
    """

    model: Forecaster
    source: SeriesSource
    horizon: int
    paths: int
    seed: int

    @property
    def reach(self) -> int:
        """Steps ahead of which known features are needed.

        Raises:
            InputError: the model forecasts fewer than it is asked for.
        """
        return self.model.reach(self.horizon)

    @property
    def of_calendar(self) -> tuple[str, ...]:
        """Names of the features of the calendar that the model learned from."""
        return self.model.known[len(self.source.column_names[1]) :]

    def read(self, path: Path) -> SeriesTable:
        """A table.

        Raises:
            InputError: it cannot be read, or its rows are not as far apart as those that were
                learned from.
        """
        model, table = self.model, self.source.read(path)
        step = steps.in_words(table.step) if table.step else ""
        if step != model.step:
            apart = [f"{each} apart" if each else "without times" for each in (model.step, step)]
            raise InputError(
                f"the model learned from rows {apart[0]}, and those of {path} are {apart[1]}"
            )
        return table

    def columns_of(self, table: SeriesTable) -> list[list[Column]]:
        """Those of each series, with the times and features of what is to come."""
        every, count = columns_of(table, self.reach, self.of_calendar), len(table.targets)
        return [every[at : at + count] for at in range(0, len(every), count)]

    def remember(self, columns: Sequence[Column]) -> Memory:
        """What the model keeps of the columns of a series."""
        first, count = columns[0], len(columns[0])
        past = torch.stack([torch.from_numpy(column.values) for column in columns])
        self.check(past)
        known, observed = (
            torch.from_numpy(part[:count]).expand(len(columns), -1, -1)
            for part in (first.known, first.observed)
        )
        return self.model.remember(past, self.numbers(first.series), known, observed)

    def check(self, past: Tensor) -> None:
        """Whether the model can read values, a row for each target.

        Raises:
            InputError: they have to have a logarithm, and have none.
        """
        for values, name in zip(past, self.model.targets, strict=True):
            self.model.network.scaling.check(values, name)

    def numbers(self, series: str) -> Tensor:
        """Those of the columns of a series."""
        return torch.tensor([self.model.number_of(series, name) for name in self.model.targets])

    def forecast(self, memory: Memory, known: Features) -> Forecast:
        """What comes after what is kept, a row for each target.

        Args:
            known: features of what is to come, ``(reach or fewer, known)``.

        Raises:
            InputError: they end too soon.
        """
        lacks = self.reach - len(known)
        if known.shape[1] and lacks > 0:
            raise InputError(
                f"to forecast {self.reach} steps, what is known beforehand must reach {lacks} rows "
                "further"
            )
        draw = torch.Generator(memory.past.device).manual_seed(self.seed)
        features = torch.from_numpy(known[: self.reach]).expand(len(memory.past), -1, -1)
        return self.model.ahead(memory, features, self.horizon, self.paths, draw)

    def of_table(self, table: SeriesTable) -> list[tuple[list[Column], Forecast]]:
        """The columns of each series of a table, and what comes after them.

        Raises:
            InputError: see :meth:`forecast`.
        """
        forecasts = []
        for columns in self.columns_of(table):
            known = columns[0].known[len(columns[0]) :]
            forecasts.append((columns, self.forecast(self.remember(columns), known)))
        return forecasts

    def rows(self, series: str, times: NDArray[Any], forecast: Forecast) -> list[ForecastRow]:
        """A forecast of a series, a row for each target and time."""
        levels = [f"{level:g}" for level in self.model.levels]
        return [
            ForecastRow(
                time,
                series,
                target,
                forecast.mean[place, step].item(),
                dict(zip(levels, forecast.quantiles[place, step].tolist(), strict=True)),
            )
            for place, target in enumerate(self.model.targets)
            for step, time in enumerate(in_iso(times[: self.horizon]))
        ]

    def prediction(self, path: Path) -> Prediction:
        """Of a table."""
        table = self.read(path)
        rows, every = list[ForecastRow](), list[Column]()
        for columns, forecast in self.of_table(table):
            first = columns[0]
            rows += self.rows(first.series, first.times[len(first) :], forecast)
            every += columns
        changes = f"{path}: {table.changes}" if table.changes else ""
        names = dict.fromkeys(column.series for column in every)
        remarks = [changes, self.of_horizon(), self.of_new([*names]), self.of_short(every)]
        return of_rows(rows, remarks)

    def of_horizon(self) -> str:
        """A remark on steps beyond those that were learned; nothing if there are none."""
        if self.horizon <= self.model.horizon:
            return ""
        return (
            f"forecasts were tested, and their intervals calibrated, {self.model.horizon} rows "
            "ahead; further ahead the margin of the last of these is taken, and nobody knows how "
            "well intervals hold"
        )

    def of_new(self, series: Sequence[str]) -> str:
        """A remark on series that were not learned from."""
        new = [name for name in series if name not in self.model.series]
        if not new:
            return ""
        others = f" and {len(new) - 1} more series" if len(new) > 1 else ""
        return f"{shown(new[0])}{others} is new to the model and taken for one like the others"

    def of_short(self, columns: Sequence[Column]) -> str:
        """A remark on series that are shorter than what the model reads."""
        short = [column for column in columns if len(column) < self.model.look_back]
        if not short:
            return ""
        name = printable(" ".join(filter(None, (short[0].series, short[0].target))))
        others = f" and {len(short) - 1} more columns" if len(short) > 1 else ""
        return (
            f"{name}{others} has {len(short[0])} rows where the model reads "
            f"{self.model.look_back}; what lacks counts as missing, and the forecast is less sure "
            "than it says"
        )


def in_iso(times: NDArray[Any]) -> list[Any]:
    """Times as text, without a clock where all are days; numbers as they are."""
    if not np.issubdtype(times.dtype, np.datetime64):
        numbers: list[Any] = times.tolist()
        return numbers
    are_days = bool((times == times.astype("M8[D]")).all())
    return np.datetime_as_string(times, unit="D" if are_days else "s").tolist()  # type: ignore[no-any-return]


def of_rows(rows: Sequence[ForecastRow], remarks: Sequence[str]) -> Prediction:
    """The rows of a forecast as a prediction."""
    remark = "; ".join(filter(None, remarks))
    return Prediction(rows=rows, text="\n".join(map(str, rows)), remark=remark)
