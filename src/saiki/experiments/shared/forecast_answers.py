"""What a trained forecaster says of a table, and how that is drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saiki.data.series.features import Column
from saiki.data.series.origins import Origins, Window
from saiki.errors import InputError
from saiki.experiment import placed
from saiki.experiments.shared.series_source import SeriesSource
from saiki.models.forecaster import Forecast, Forecaster, window_of
from saiki.plots.forecasts import Fan

FANS, SHOWN = 6, 3
"""Forecasts that are drawn, and as many horizons of the past before each."""


def forecast_table(
    model: Forecaster, source: SeriesSource, path: Path, paths: int, seed: int
) -> list[dict[str, Any]]:
    """What comes after the last rows of a table, a row for each column and time.

    Raises:
        InputError: the table cannot be read, or what is known beforehand ends too soon.
    """
    rows = []
    for column, found in forecast_columns(model, source, path, paths, seed):
        times = column.times[len(column) : len(column) + model.horizon]
        for step, time in enumerate(times):
            levels = zip(model.levels, found.quantiles[0, step].tolist(), strict=True)
            rows.append(
                {
                    "time": in_iso(time),
                    "series": column.series,
                    "target": column.target,
                    "mean": found.mean[0, step].item(),
                    "quantiles": {f"{level:g}": value for level, value in levels},
                }
            )
    return rows


@torch.no_grad()
def forecast_columns(
    model: Forecaster, source: SeriesSource, path: Path, paths: int, seed: int
) -> list[tuple[Column, Forecast]]:
    """The columns of a table, and what comes after each."""
    like = next(model.parameters())
    found = []
    for column in source.columns_of(source.read(path), model.horizon):
        number = model.number_of(column.series, column.target)
        window = window_of(column, number, model.look_back, model.horizon, like.dtype)
        draw = torch.Generator(like.device).manual_seed(seed)
        found.append((column, model(Window(*placed(tuple(window), model)), paths, draw)))
    return found


def in_iso(time: Any) -> str | int:
    """A time as text, without a clock where there is none; a number as it is."""
    if not np.issubdtype(time.dtype, np.datetime64):
        return int(time)
    text = np.datetime_as_string(time, unit="s")
    return str(text).removesuffix("T00:00:00")


def in_words(row: dict[str, Any]) -> str:
    """A row of a forecast for people."""
    low, high = (row["quantiles"][level] for level in ("0.1", "0.9"))
    name = " ".join(filter(None, (row["series"], row["target"])))
    return f"{row['time']}  {name}  {row['mean']:.6g}  (80 %: {low:.6g} to {high:.6g})"


@torch.no_grad()
def fans_of(
    model: Forecaster, source: SeriesSource, test: Origins, paths: int, is_calibrated: bool
) -> list[Fan]:
    """Forecasts of what is tested, from origins at even distances, of one column after another."""
    if not len(test):
        raise InputError("there is nothing to draw")
    numbers = [place % len(source.columns) for place in range(FANS)]
    draw = torch.Generator(next(model.parameters()).device).manual_seed(0)
    fans = []
    for place, number in enumerate(numbers):
        own = np.flatnonzero(test.number == number)
        if not len(own):
            continue
        row = own[(2 * place + 1) * len(own) // (2 * FANS)]
        window = test.window(np.array([row]))
        found = model(Window(*placed(tuple(window), model)), paths, draw, is_calibrated)
        fans.append(fan_of(source.columns[number], int(test.origin[row]), found, model.horizon))
    return fans


def fan_of(column: Column, origin: int, found: Forecast, horizon: int) -> Fan:
    """One forecast, with some of the past before it and what came, as far as that is known."""
    begin = max(0, origin - SHOWN * horizon)
    truth = column.values[origin : origin + horizon]
    title = " ".join(filter(None, (column.series, column.target)))
    return Fan(
        title, column.times[begin : origin + horizon], column.values[begin:origin],
        truth if len(truth) == horizon else None, found.mean[0].cpu().numpy(),
        found.quantiles[0].cpu().numpy(),
    )  # fmt: skip


def fans_ahead(found: Sequence[tuple[Column, Forecast]], horizon: int) -> list[Fan]:
    """What comes after the last rows of columns."""
    return [fan_of(column, len(column), forecast, horizon) for column, forecast in found]
