"""Forecasters by their knobs, and how good their forecasts are beside simple ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saiki.data.series.origins import Origins, Split
from saiki.data.series.steps import in_words
from saiki.errors import InputError
from saiki.experiment import placed
from saiki.experiments.shared.layers import CellChoice, bidirectional
from saiki.experiments.shared.series_source import SeriesSource
from saiki.knobs import Knobs, knob
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.metrics.forecast_comparison import Coverage, coverage, diebold_mariano
from saiki.metrics.forecasts import crps_of_quantiles, mean_of_known, seasonal_naive_error
from saiki.models.forecaster import Forecaster
from saiki.models.linear_forecaster import LinearForecaster
from saiki.models.season import period_of
from saiki.models.segment_forecaster import SegmentForecaster
from saiki.models.simple_forecasts import drift, last_value, seasonal_last_value
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.nn.calibration import interval
from saiki.nn.series_likelihoods import LIKELIHOODS
from saiki.nn.series_scaling import SCALINGS

OF_STEPS = {
    **dict.fromkeys(("segment", "scaling", "dropout", "bidirectional"), ("together",)),
    **dict.fromkeys(("layers", "likelihood", "embedding_size"), ("one-by-one",)),
}
"""How steps are forecast where a knob has an effect."""
LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
ROWS_AT_ONCE, COLUMNS_LOOKED_AT = 2048, 50
RIDGES = (1e-6, 1e-4, 1e-2)
"""Of the linear map, of which the validation part chooses one."""
IN_WORDS = {
    "last_value": "the last value", "seasonal": "the value a season before",
    "drift": "a line through the first and the last value", "linear": "a linear map",
}  # fmt: skip


class ForecastModel(Knobs):
    """What reads a series, and what it says of what is to come."""

    steps: str = knob(
        "together", "that are forecast: together, from segments, or one by one, each from those "
        "before", choices=("together", "one-by-one"),
    )  # fmt: skip
    recurrent: CellChoice = CellChoice(cell="gru", hidden_size=128)
    layers: int = knob(1, "recurrent layers, where steps go one by one", minimum=1, maximum=16)
    bidirectional: bool = bidirectional(False)
    segment: int = knob(24, "rows of a segment", minimum=1, maximum=100_000)
    scaling: str = knob(
        "last", "what of a window is taken away before it is read: its last value, mean and "
        "deviation, or nothing", choices=tuple(name for name in SCALINGS if name != "size"),
    )  # fmt: skip
    dropout: float = knob(
        0.5, "share of features set to 0, where steps are forecast together", minimum=0,
        maximum=0.95,
    )  # fmt: skip
    likelihood: str = knob("student", "law of the next value", choices=LIKELIHOODS)
    embedding_size: int = knob(8, "features of a column, one by one", minimum=1, maximum=8192)

    def validate(self) -> None:
        self.refuse_unused("steps", OF_STEPS)

    def network(
        self, columns: int, known: int, observed: int, horizon: int
    ) -> SegmentForecaster | StepwiseForecaster:
        """A new network of so many columns and features."""
        if self.steps == "together":
            size = self.recurrent.hidden_size
            cell = self.recurrent.build_cell(size)
            encoder = Bidirectional(cell) if self.bidirectional else Recurrent(cell)
            decoder = self.recurrent.build_cell(size) if self.bidirectional else None
            return SegmentForecaster(
                encoder, decoder, self.segment, horizon, columns, known, observed, LEVELS,
                self.scaling, self.dropout,
            )  # fmt: skip
        if observed:
            raise InputError(
                "columns that are known only afterwards cannot be forecast step by step, since "
                "nobody knows them in between; take steps together, or leave out observed"
            )
        size, layers = 1 + known + self.embedding_size, list[Recurrent]()
        for _ in range(self.layers):
            layers.append(Recurrent(self.recurrent.build_cell(size)))
            size = layers[-1].output_size
        layer = layers[0] if len(layers) == 1 else Stack(layers)
        return StepwiseForecaster(layer, self.likelihood, columns, known, self.embedding_size)

    def _check(self, source: SeriesSource) -> None:
        """Whether the values can follow the law.

        Raises:
            InputError: they cannot.
        """
        if self.steps == "together" or not LIKELIHOODS[self.likelihood].counts:
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
            return "Σ_q max(q (y − ŷ_q), (q − 1)(y − ŷ_q)) / s, over the quantiles q and all steps"
        return "−Σₜ ln p(xᵗ)"

    def build(self, source: SeriesSource, look_back: int, horizon: int) -> Forecaster:
        """A new model of these columns, with their scales."""
        table, known = source.table, source.features
        network = self.network(len(source.columns), len(known), len(table.past), horizon)
        series, names = [each.name for each in table.series], (table.targets, known, table.past)
        self._check(source)
        step = in_words(table.step) if table.step else ""
        model = Forecaster(network, series, *names, horizon, look_back, LEVELS, step)
        model.fit_scales(source.columns, [split.train for split in source.splits])
        return model


Simple = Callable[[Tensor, int], Tensor]
"""From the past ``(rows, time, 1)`` and a number of steps to what follows, ``(rows, steps, 1)``."""


def simple_forecasts(source: SeriesSource, look_back: int, horizon: int) -> dict[str, Simple]:
    """What a network has to beat, each made of what is learned from: the last value, the value a
    season before if there is a season, the line from the first to the last value, and a linear map
    in closed form."""
    parts = _standardised(source, 0, lambda split: split.train)
    found: dict[str, Simple] = {"last_value": last_value, "drift": drift}
    period = season_of(parts)
    if period is not None and period <= look_back:
        found["seasonal"] = lambda past, steps: seasonal_last_value(past, steps, period)
    linear = LinearForecaster(look_back, horizon, from_last=True)
    held = _standardised(source, look_back, lambda split: split.validation)
    found["linear"] = linear.fit_(parts, RIDGES, held)
    return found


def season_of(parts: Sequence[Tensor]) -> int | None:
    """Steps of the season that most columns have; None where most have none."""
    found = [period_of(part[:, 0]) for part in parts[:COLUMNS_LOOKED_AT]]
    return max(set(found), key=found.count) if found else None


def _standardised(source: SeriesSource, before: int, end: Callable[[Split], int]) -> list[Tensor]:
    """Each column from ``before`` rows in front of the validation part, or from its beginning, up
    to a place, by the mean and deviation of what is learned from: ``(time, 1)``."""
    found = []
    for column, split in zip(source.columns, source.splits, strict=True):
        learned = column.values[: split.train]
        mean, deviation = np.nanmean(learned), np.nanstd(learned)
        begin = max(0, split.train - before) if before else 0
        values = (column.values[begin : end(split)] - mean) / (deviation or 1.0)
        found.append(torch.from_numpy(values)[:, None])
    return found


@dataclass(frozen=True)
class Judgement:
    """Forecasts of a part and what came, by origin, in deviations of each column.

    Args:
        truth: ``(origins, horizon, columns)``; NaN where there is none.
        quantiles: of the model, ``(origins, horizon, columns, levels)``.
        forecasts: of the model, under an empty name, and of simple ones: as ``truth``.
        overlap: origins whose forecasts share a step.
    """

    truth: Tensor
    quantiles: Tensor
    forecasts: dict[str, Tensor]
    overlap: int

    def errors(self, name: str = "") -> Tensor:
        """Squared, of one of the forecasts."""
        return (self.forecasts[name] - self.truth).square()

    def figures(self, scales: Tensor) -> dict[str, float | None]:
        """Those of a result.

        Args:
            scales: seasonal errors of the part that was learned from, ``(columns,)``.
        """
        absolute = (self.forecasts[""] - self.truth).abs()
        found: dict[str, float | None] = {
            "mse": mean_of_known(self.errors()),
            "mae": mean_of_known(absolute),
            "mase": mean_of_known(absolute / scales),
            "crps": mean_of_known(crps_of_quantiles(self.quantiles, LEVELS, self.truth)),
        }
        for share in (0.8, 0.95):
            found[f"coverage_{100 * share:.0f}"] = self.covered(share).share
        for name in self.forecasts:
            if name:
                found[f"mse_{name}"] = mean_of_known(self.errors(name))
        return found

    def covered(self, share: float) -> Coverage:
        """How many values lie within the interval of that share."""
        low, high = interval(self.quantiles, LEVELS, share)
        return coverage(low, high, self.truth, self.overlap)

    def by_horizon(self) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Mean squared errors of all forecasts by steps ahead, and the share of what came within
        each interval."""
        steps = range(self.truth.shape[1])
        errors = {
            IN_WORDS.get(name, "the network"): [
                mean_of_known(self.errors(name)[:, step]) for step in steps
            ]
            for name in self.forecasts
        }
        covered = {}
        for share in (0.8, 0.95):
            low, high = interval(self.quantiles, LEVELS, share)
            inside = ((low <= self.truth) & (self.truth <= high)).float()
            inside = inside.masked_fill(self.truth.isnan(), torch.nan)
            covered[f"{100 * share:.0f} %"] = [mean_of_known(inside[:, step]) for step in steps]
        return errors, covered

    def verdict(self) -> str:
        """Whether the model is better than the best of the simple forecasts, and than the last
        value."""
        simple = {name: mean_of_known(self.errors(name)) for name in self.forecasts if name}
        best = min(simple, key=simple.__getitem__)
        lines = []
        for name in dict.fromkeys((best, "last_value")):
            compared = diebold_mariano(self.errors(), self.errors(name), self.overlap)
            lines.append(compared.verdict(IN_WORDS[name]))
        return "; ".join(lines)


@torch.no_grad()
def judge(
    model: Forecaster,
    origins: Origins,
    every: int,
    simple: Mapping[str, Simple],
    paths: int,
    is_calibrated: bool = True,
) -> Judgement:
    """Forecasts from every so many origins of a part, beside what came."""
    places = (origins.origin - origins.first()) // every
    shape = int(places.max()) + 1, origins.horizon, int(origins.number.max()) + 1
    gaps = torch.full(shape, torch.nan)
    truth, quantiles = gaps.clone(), gaps[..., None].repeat(1, 1, 1, len(LEVELS))
    forecasts = {name: gaps.clone() for name in ("", *simple)}
    draw = torch.Generator(next(model.parameters()).device).manual_seed(0)
    for window, rows in origins.in_order(ROWS_AT_ONCE, every):
        at = torch.from_numpy(places[rows]), slice(None), torch.from_numpy(origins.number[rows])
        found = model(*placed(tuple(window), model), paths, draw, is_calibrated)
        mean, deviation = (
            part.cpu()[:, None]
            for part in model.network.scaling.of_column(window.column.to(draw.device))
        )
        truth[at] = (window.future - mean) / deviation
        forecasts[""][at] = (found.mean.cpu() - mean) / deviation
        quantiles[at] = (found.quantiles.cpu() - mean[..., None]) / deviation[..., None]
        past = ((window.past - mean) / deviation)[..., None].double()
        for name, forecast in simple.items():
            forecasts[name][at] = forecast(past, origins.horizon)[..., 0].float()
    return Judgement(truth, quantiles, forecasts, -(-origins.horizon // every))


def seasonal_scales(source: SeriesSource) -> Tensor:
    """Of each column the mean absolute error of the value a season before, in what is learned from,
    in deviations; what the mean absolute scaled error is measured in."""
    parts = _standardised(source, 0, lambda split: split.train)
    period = season_of(parts) or 1
    return torch.stack([seasonal_naive_error(part, period)[0] for part in parts]).float()
