"""Forecasters by their knobs, and the simple forecasts that they have to beat."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from saiki.data.series.origins import Split
from saiki.data.series.steps import in_words
from saiki.errors import InputError
from saiki.experiments.forecast.source import SeriesSource
from saiki.experiments.groups.layers import CellChoice, bidirectional
from saiki.knobs import Knobs, knob
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, Stack
from saiki.models.forecaster import Forecaster
from saiki.models.linear_forecaster import LinearForecaster
from saiki.models.season import period_of
from saiki.models.segment_forecaster import OUTER_WEIGHT, SegmentForecaster
from saiki.models.simple_forecasts import Forecast, drift, last_value, seasonal_last_value
from saiki.models.stepwise_forecaster import STEPWISE, StepwiseForecaster
from saiki.nn.series_likelihoods import LIKELIHOODS
from saiki.nn.series_scaling import SCALINGS

OF_STEPS = {
    **dict.fromkeys(("segment", "dropout", "bidirectional"), ("together",)),
    **dict.fromkeys(("layers", "likelihood", "embedding_size"), ("one-by-one",)),
}
"""How steps are forecast where a knob has an effect."""
AUTO = "auto"
LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
COLUMNS_LOOKED_AT = 50
RIDGES = (1e-6, 1e-4, 1e-2)
"""Of the linear map, of which the validation part chooses one."""


class ForecastModel(Knobs):
    """What reads a series, and what it says of what is to come."""

    steps: str = knob(
        "together", "that are forecast: together, from segments, or one by one, each from those "
        "before", choices=("together", "one-by-one"),
    )  # fmt: skip
    recurrent: CellChoice = CellChoice(cell="gru", hidden_size=128)
    initial_scale: float = knob(
        1.0, "of the first weights of recurrent cells, beside those that their family begins with",
        minimum=0.001, maximum=10,
    )  # fmt: skip
    layers: int = knob(1, "recurrent layers, where steps go one by one", minimum=1, maximum=16)
    bidirectional: bool = bidirectional(False)
    segment: int = knob(24, "rows of a segment", minimum=1, maximum=100_000)
    scaling: str = knob(
        AUTO, "what of a window is taken away before it is read: its last value, mean and "
        "deviation, or nothing; or its changes or log-returns are read, and forecast. By itself: "
        "the last value together, changes one by one, nothing of counts",
        choices=(AUTO, *(name for name in SCALINGS if name != "size")),
    )  # fmt: skip
    dropout: float = knob(
        0.5, "share of features set to 0, where steps are forecast together", minimum=0,
        maximum=0.95,
    )  # fmt: skip
    likelihood: str = knob("student", "law of the next value", choices=LIKELIHOODS)
    embedding_size: int = knob(8, "features of a column, one by one", minimum=1, maximum=8192)

    def validate(self) -> None:
        self.refuse_unused("steps", OF_STEPS)
        if self.steps == "one-by-one" and self.scaling not in (AUTO, *STEPWISE):
            raise InputError(
                f"scaling {self.scaling} is of a window, and steps one by one know none; take "
                f"{' or '.join(STEPWISE)}"
            )
        if self.counts and self.scaling not in (AUTO, "none"):
            raise InputError(
                f"counts ({self.likelihood}) have no scaling but none, got {self.scaling}"
            )

    @property
    def counts(self) -> bool:
        """Whether a law of counts is asked for."""
        return self.steps == "one-by-one" and LIKELIHOODS[self.likelihood].counts

    @property
    def _scaling(self) -> str:
        if self.scaling != AUTO:
            return self.scaling
        if self.steps == "together":
            return "last"
        return "none" if self.counts else "difference"

    @torch.no_grad()
    def _begin(self, cells: nn.Module) -> None:
        """Scale their first weights, but no biases."""
        for weight in cells.parameters():
            if weight.ndim > 1:
                weight.mul_(self.initial_scale)

    def network(
        self, columns: int, known: int, observed: int, horizon: int
    ) -> SegmentForecaster | StepwiseForecaster:
        """A new network of so many columns and features."""
        if self.steps == "together":
            size = self.recurrent.hidden_size
            cell, decoder = self.recurrent.build_cell(size), None
            encoder: Layer = Recurrent(cell)
            if self.bidirectional:
                encoder, decoder = Bidirectional(cell), self.recurrent.build_cell(size)
                self._begin(decoder)
            self._begin(encoder)
            return SegmentForecaster(
                encoder, decoder, self.segment, horizon, columns, known, observed, LEVELS,
                self._scaling, self.dropout,
            )  # fmt: skip
        if observed:
            raise InputError(
                "columns that are known only afterwards cannot be forecast step by step, since "
                "nobody knows them in between; take steps together, or leave out observed"
            )
        size, layers = 1 + known + self.embedding_size, list[Recurrent]()
        for _ in range(self.layers):
            layers.append(Recurrent(self.recurrent.build_cell(size)))
            self._begin(layers[-1])
            size = layers[-1].output_size
        layer = layers[0] if len(layers) == 1 else Stack(layers)
        return StepwiseForecaster(
            layer, self.likelihood, columns, known, self.embedding_size, self._scaling
        )

    def _check(self, source: SeriesSource) -> None:
        """Whether the values can follow the law.

        Raises:
            InputError: they cannot.
        """
        if not self.counts:
            return
        for column in source.columns:
            real = column.values[~np.isnan(column.values)]
            if (real < 0).any() or (real != np.round(real)).any():
                raise InputError(
                    f"{self.likelihood} is of counts, and {column.target} holds other numbers; "
                    "take student or gaussian"
                )

    def error(self) -> str:
        """What training lowers, as an equation."""
        if self.steps == "together":
            return (
                "Σ_q w_q max(q (y − ŷ_q), (q − 1)(y − ŷ_q)) / s, over all steps and quantiles q, w "
                f"1 in the middle, {OUTER_WEIGHT:g} beside it"
            )
        return "−Σₜ ln p(xᵗ)"

    def build(self, source: SeriesSource, look_back: int, horizon: int) -> Forecaster:
        """A new model of these columns, with their scales."""
        table, known = source.table, source.features
        network = self.network(len(source.columns), len(known), len(table.past), horizon)
        series, names = [each.name for each in table.series], (table.targets, known, table.past)
        self._check(source)
        for column in source.columns:
            network.scaling.check(torch.from_numpy(column.values), column.target)
        step = in_words(table.step) if table.step else ""
        model = Forecaster(network, series, *names, horizon, look_back, LEVELS, step)
        model.fit_scales(source.columns, [split.train for split in source.splits])
        return model


Simple = Callable[[Tensor, Tensor], Tensor]
"""From the past, ``(rows, look_back)``, and the number of the column of each to what follows,
``(rows, horizon)``."""


def simple_forecasts(source: SeriesSource, look_back: int, horizon: int) -> dict[str, Simple]:
    """What a network has to beat, each made of what is learned from: the last value, the value a
    season before if there is a season, the line from the first to the last value, and a linear map
    in closed form."""
    parts = _standardised(source, 0, lambda split: split.train)
    forecasts: dict[str, Forecast] = {"last_value": last_value, "drift": drift}
    period = season_of(parts)
    if period is not None and period <= look_back:
        forecasts["seasonal"] = partial(seasonal_last_value, period=period)
    linear = LinearForecaster(look_back, horizon, from_last=True)
    held = _standardised(source, look_back, lambda split: split.validation)
    forecasts["linear"] = linear.fit_(parts, RIDGES, held)
    means, deviations = torch.tensor(_standards(source), dtype=torch.float64).T

    def of_values(forecast: Forecast, past: Tensor, column: Tensor) -> Tensor:
        mean, deviation = means[column - 1, None], deviations[column - 1, None]
        z: Tensor = forecast(((past - mean) / deviation)[..., None], horizon)[..., 0]
        found_ahead: Tensor = mean + deviation * z
        return found_ahead

    return {name: partial(of_values, forecast) for name, forecast in forecasts.items()}


def season_of(parts: Sequence[Tensor]) -> int | None:
    """Steps of the season that most columns have; None where most have none."""
    periods = [period_of(part[:, 0]) for part in parts[:COLUMNS_LOOKED_AT]]
    return max(set(periods), key=periods.count) if periods else None


def _standards(source: SeriesSource) -> list[tuple[float, float]]:
    """Mean and deviation of each column in what is learned from."""
    learned = [
        column.values[: split.train]
        for column, split in zip(source.columns, source.splits, strict=True)
    ]
    return [(float(np.nanmean(each)), float(np.nanstd(each)) or 1.0) for each in learned]


def _standardised(source: SeriesSource, before: int, end: Callable[[Split], int]) -> list[Tensor]:
    """Each column from ``before`` rows in front of the validation part, or from its beginning, up
    to a place, by the mean and deviation of what is learned from: ``(time, 1)``."""
    series = []
    standards = _standards(source)
    for column, split, of_column in zip(source.columns, source.splits, standards, strict=True):
        mean, deviation = of_column
        begin = max(0, split.train - before) if before else 0
        values = (column.values[begin : end(split)] - mean) / deviation
        series.append(torch.from_numpy(values)[:, None])
    return series
