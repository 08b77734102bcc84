"""What a trained forecaster says of a table, and how that is drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saiki.data.series import steps
from saiki.data.series.features import Column
from saiki.data.series.origins import Origins
from saiki.errors import InputError
from saiki.experiment import placed
from saiki.experiments.shared.series_source import SeriesSource
from saiki.models.forecaster import Forecast, Forecaster, window_of
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.plots.forecasts import Fan

FANS, SHOWN = 6, 3
"""Forecasts that are drawn, and as many horizons of the past before each."""


def rows_of(model: Forecaster, column: Column, found: Forecast) -> list[dict[str, Any]]:
    """What comes after the last row of a column, a row for each time."""
    times = in_iso(column.times[len(column) : len(column) + model.horizon])
    levels = [f"{level:g}" for level in model.levels]
    return [
        {
            "time": time,
            "series": column.series,
            "target": column.target,
            "mean": found.mean[0, step].item(),
            "quantiles": dict(zip(levels, found.quantiles[0, step].tolist(), strict=True)),
        }
        for step, time in enumerate(times)
    ]


@torch.no_grad()
def forecast_columns(
    model: Forecaster, source: SeriesSource, path: Path, paths: int, seed: int
) -> list[tuple[Column, Forecast]]:
    """The columns of a table, and what comes after each.

    Raises:
        InputError: the table cannot be read, its rows are not as far apart as those that were
            learned from, or what is known beforehand ends too soon.
    """
    like, table = next(model.parameters()), source.read(path)
    step = steps.in_words(table.step) if table.step else ""
    if step != model.step:
        apart = [f"{each} apart" if each else "without times" for each in (model.step, step)]
        raise InputError(
            f"the model learned from rows {apart[0]}, and those of {path} are {apart[1]}"
        )
    found = []
    for column in source.columns_of(table, model.horizon):
        number = model.number_of(column.series, column.target)
        model.network.scaling.check(torch.from_numpy(column.values), column.target)
        window = window_of(column, number, model.look_back, model.horizon, like.dtype)
        draw = torch.Generator(like.device).manual_seed(seed)
        found.append((column, model(*placed(tuple(window), model), paths, draw)))
    return found


class Ahead(nn.Module):
    """A forecaster for other programs: plain tensors in, calibrated quantiles out."""

    def __init__(self, model: Forecaster) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        past: Tensor,
        column: Tensor,
        features: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Quantiles, ``(rows, horizon, levels)``.

        Args:
            past: ``(rows, look_back)``.
            column: the number of each, ``(rows,)``.
            features: known beforehand, ``(rows, look_back + horizon, known)``, or, where there are
                none, those known afterwards.
            observed: known afterwards, ``(rows, look_back, observed)``.
        """
        # the file is one for these sizes
        torch._check(past.shape[1] == self.model.look_back)
        none = past.new_zeros(*past.shape, 0)
        known = none if features is None or not self.model.known else features
        if not self.model.known:
            observed = features
        observed = none if observed is None else observed
        torch._check(known is none or known.shape[1] == past.shape[1] + self.model.horizon)
        torch._check(observed.shape[1] == past.shape[1])
        forecast: Forecast = self.model(past, column, known, observed)
        return forecast.quantiles


def exported_forecaster(model: Forecaster) -> tuple[nn.Module, Any]:
    """A module that forecasts all steps at once, and an example of its arguments.

    Raises:
        InputError: the model draws step by step.
    """
    if isinstance(model.network, StepwiseForecaster):
        raise InputError(
            "a model that draws one step after another is no function of the past; export one "
            "whose steps are forecast together"
        )
    like, rows = next(model.parameters()), 2
    past = torch.arange(2.0 * model.look_back).view(rows, -1).to(like)
    wide = model.look_back + model.horizon
    features = [
        like.new_zeros(rows, length, len(names))
        for length, names in ((wide, model.known), (model.look_back, model.observed))
        if names
    ]
    column = torch.tensor([1, 0], device=like.device)
    return Ahead(model), (past, column, *features)


def in_iso(times: NDArray[Any]) -> list[Any]:
    """Times as text, without a clock where all are days; numbers as they are."""
    if not np.issubdtype(times.dtype, np.datetime64):
        found: list[Any] = times.tolist()
        return found
    are_days = bool((times == times.astype("M8[D]")).all())
    return np.datetime_as_string(times, unit="D" if are_days else "s").tolist()  # type: ignore[no-any-return]


def remark_on(model: Forecaster, columns: Sequence[Column]) -> str:
    """What a person should know of the table; nothing if empty."""
    short = [column for column in columns if len(column) < model.look_back]
    if not short:
        return ""
    name = " ".join(filter(None, (short[0].series, short[0].target)))
    others = f" and {len(short) - 1} more columns" if len(short) > 1 else ""
    return (
        f"{name}{others} has {len(short[0])} rows where the model reads {model.look_back}; what "
        "lacks counts as missing, and the forecast is less sure than it says"
    )


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
        found = model(*placed(tuple(window), model), paths, draw, is_calibrated)
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
