"""How forecasts of a trained model are drawn, and how it is exported."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saiki.data.series.features import Column
from saiki.data.series.origins import Origins
from saiki.errors import InputError
from saiki.experiment import placed
from saiki.experiments.shared.series_source import SeriesSource
from saiki.models.forecaster import Forecast, Forecaster
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.plots.forecasts import Fan

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
    begin = max(0, origin - max(SHOWN * horizon, LEAST))
    truth = column.values[origin : origin + horizon]
    title = " ".join(filter(None, (column.series, column.target)))
    return Fan(
        title, column.times[begin : origin + horizon], column.values[begin:origin],
        truth if len(truth) == horizon else None, found.mean[0].cpu().numpy(),
        found.quantiles[0].cpu().numpy(),
    )  # fmt: skip


def fans_ahead(found: Sequence[tuple[Sequence[Column], Forecast]], horizon: int) -> list[Fan]:
    """What comes after the last rows of columns, of the first of them where there are many."""
    return [
        fan_of(column, len(column), Forecast(mean[None], quantiles[None]), horizon)
        for columns, (means, many) in found
        for column, mean, quantiles in zip(columns, means, many, strict=True)
    ][:AHEAD]
