"""How forecasts of a trained model are drawn, and how it is exported."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saiki.cell import Cell, as_states
from saiki.data.series.features import Column
from saiki.data.series.origins import Origins
from saiki.errors import InputError
from saiki.experiment import placed
from saiki.experiments.forecast.outlook import Outlook
from saiki.experiments.forecast.source import SeriesSource
from saiki.layers.stack import Stack
from saiki.models.forecaster import Forecast, Forecaster
from saiki.models.stepwise_forecaster import Read, StepwiseForecaster
from saiki.plots.forecasts import Fan, draw_fans

FANS, SHOWN, LEAST = 6, 3, 24
"""Forecasts that are drawn, as many horizons of the past before each, and rows of it at least."""
AHEAD = 12
"""Columns of which it is drawn what comes after them, at most."""


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


class NextStep(nn.Module):
    """A forecaster step by step for other programs: one row in, the law of the next out."""

    def __init__(self, model: Forecaster, network: StepwiseForecaster) -> None:
        super().__init__()
        self.model, self.network = model, network

    def forward(
        self, value: Tensor, column: Tensor, state: Any, features: Tensor | None = None
    ) -> tuple[Any, ...]:
        """The numbers of the law in the units of ``value``, ``(rows,)`` each, in the order of
        :func:`law_names` (see :mod:`saiki.nn.series_likelihoods`), not calibrated; and the state
        then.

        Args:
            value: of the row before, ``(rows,)``; NaN where it is missing or there was none.
            column: the number of each, from 1 on, ``(rows,)``.
            state: as the row before left it; zeros before the first. Where changes are forecast
                its last part is the newest known value, ``(rows,)``, and NaN before the first.
            features: known beforehand of the row that is forecast, ``(rows, known)``.
        """
        z, (shift, scale) = self.network.scaling(value[:, None], column)
        last, newest = z[:, 0], None
        if self.network.scaling.is_of_changes:
            state, before = state
            last = ((value - before) / scale[:, 0]).nan_to_num(nan=0.0)
            newest = torch.where(value.isnan(), before, value)
            shift = newest[:, None]
        read = Read(last, state, shift, scale, self.network.column(column))
        known = None if features is None else self.model.features("known", features)
        law, state = self.network.follow(read, known)
        state = state if newest is None else (state, newest)
        return *(getattr(law, name)[:, 0] for name in law_names(self.model)), state


def law_names(model: Forecaster) -> tuple[str, ...]:
    """The numbers of the law of the next value; none of a network that says quantiles."""
    if not isinstance(model.network, StepwiseForecaster):
        return ()
    return tuple(number.name for number in fields(model.network.law))


def exported_forecaster(model: Forecaster) -> tuple[nn.Module, Any]:
    """A module that forecasts all steps at once, or the next one, and an example of its arguments.

    Raises:
        InputError: the states of its cells do not begin at 0.
    """
    if isinstance(model.network, StepwiseForecaster):
        return _exported_step(model, model.network)
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


@torch.no_grad()
def _exported_step(model: Forecaster, network: StepwiseForecaster) -> tuple[nn.Module, Any]:
    like = next(model.parameters())
    value, column = like.new_tensor([1.0, 2.0]), torch.tensor([1, 1], device=like.device)
    cells = [module for module in network.layer.modules() if isinstance(module, Cell)]
    states = [as_states(cell.initial_state(2)) for cell in cells]
    if any(bool(state.any()) for of_cell in states for state in of_cell):
        raise InputError(
            "the states of this model do not begin at 0, which no file for other programs says; "
            "take another cell"
        )
    several = [of_cell if len(of_cell) > 1 else of_cell[0] for of_cell in states]
    state: Any = tuple(several) if isinstance(network.layer, Stack) else several[0]
    if network.scaling.is_of_changes:
        state = state, value - 1
    features = [like.new_zeros(2, len(model.known))] if model.known else []
    return NextStep(model, network), (value, column, state, *features)


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
        forecast = model(*placed(tuple(window), model), paths, draw, is_calibrated)
        fans.append(fan_of(source.columns[number], int(test.origin[row]), forecast, model.horizon))
    return fans


def fan_of(column: Column, origin: int, forecast: Forecast, horizon: int) -> Fan:
    """One forecast, with some of the past before it and what came, as far as that is known."""
    begin = max(0, origin - max(SHOWN * horizon, LEAST))
    truth = column.values[origin : origin + horizon]
    title = " ".join(filter(None, (column.series, column.target)))
    return Fan(
        title, column.times[begin : origin + horizon], column.values[begin:origin],
        truth if len(truth) == horizon else None, forecast.mean[0].cpu().numpy(),
        forecast.quantiles[0].cpu().numpy(),
    )  # fmt: skip


def draw_ahead(outlook: Outlook, tables: Sequence[str], path: Path, title: str) -> Path:
    """What comes after the last rows of tables."""
    forecasts = [each for table in tables for each in outlook.of_table(outlook.read(Path(table)))]
    fans, count = (
        fans_ahead(forecasts, outlook.horizon),
        sum(len(columns) for columns, _ in forecasts),
    )
    some = f"; the first {len(fans)} of {count:,} columns" if len(fans) < count else ""
    return draw_fans(path, fans, outlook.model.levels, f"{title}{some}")


def fans_ahead(forecasts: Sequence[tuple[Sequence[Column], Forecast]], horizon: int) -> list[Fan]:
    """What comes after the last rows of columns, of the first of them where there are many."""
    return [
        fan_of(column, len(column), Forecast(mean[None], quantiles[None]), horizon)
        for columns, (means, many) in forecasts
        for column, mean, quantiles in zip(columns, means, many, strict=True)
    ][:AHEAD]
