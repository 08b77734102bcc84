"""How good forecasts are beside simple ones, and how sure one may be of that."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from saiki.data.series.features import Column
from saiki.data.series.origins import Origins, Window
from saiki.experiment import Figures, placed
from saiki.experiments.forecast.model import LEVELS, Simple, season_of
from saiki.experiments.forecast.source import SeriesSource
from saiki.knobs import Knobs, knob
from saiki.metrics.forecast_comparison import Comparison, Coverage, coverage, diebold_mariano
from saiki.metrics.forecasts import crps_of_quantiles, mean_of_known, seasonal_naive_error
from saiki.models.forecaster import Forecaster
from saiki.models.simple_forecasts import CLASSES, StatisticalForecast
from saiki.nn.calibration import interval
from saiki.plots.first_step import FirstStep

ROWS_AT_ONCE = 2000
SHARES = (0.8, 0.95)
"""Of what comes, that intervals are to hold."""
TOUCHING = 1e-4
"""Of a unit: a value so near to a bound lies on it."""
IN_WORDS = {
    "last_value": "the last value", "seasonal": "the value a season before",
    "drift": "a line through the first and the last value", "linear": "a linear map",
    "exponential_smoothing": "exponential smoothing", "arima": "ARIMA",
}  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """Forecasts of a part and what came, by origin, in units of the series.

    Args:
        truth: ``(origins, horizon, columns)``; NaN where there is none.
        quantiles: of the model, ``(origins, horizon, columns, levels)``.
        forecasts: of the model, under an empty name, and of simple ones: as ``truth``.
        unit: of the errors of each forecast, ``(origins, 1, columns)``; see
            :meth:`saiki.nn.series_scaling.WindowScaling.error_unit`.
        overlap: origins whose forecasts share a step.
        calibrated_on: of so many origins for each of these were intervals made as wide as they are;
            0 where they were not.
        of_returns: whether errors count in shares of the last value.
    """

    truth: Tensor
    quantiles: Tensor
    forecasts: dict[str, Tensor]
    unit: Tensor
    overlap: int
    calibrated_on: float = 0.0
    of_returns: bool = False

    def errors(self, name: str = "") -> Tensor:
        """Squared, of one of the forecasts, in units of each."""
        return ((self.forecasts[name] - self.truth) / self.unit).square()

    def skill(self) -> float | None:
        """The share of the error of the best simple forecast that the model does without; None
        where that is without error."""
        best = min(mean_of_known(self.errors(name)) for name in self.forecasts if name)
        return 1 - mean_of_known(self.errors()) / best if best else None

    def figures(self, scales: Tensor) -> dict[str, float | None]:
        """Those of a result.

        Args:
            scales: see :func:`seasonal_scales`.
        """
        absolute = (self.forecasts[""] - self.truth).abs()
        crps = crps_of_quantiles(self.quantiles, LEVELS, self.truth)
        figures: dict[str, float | None] = {
            "mse": mean_of_known(self.errors()),
            "mae": mean_of_known(absolute / self.unit),
            "mase": mean_of_known(absolute / scales),
            "crps": mean_of_known(crps / self.unit),
        }
        for share in SHARES:
            figures[f"coverage_{100 * share:.0f}"] = self.covered(share).share
        for name in self.forecasts:
            if name:
                figures[f"mse_{name}"] = mean_of_known(self.errors(name))
        figures["better_than_last_value"] = self.better("last_value") / self.truth.shape[2]
        return figures

    def covered(self, share: float, is_open: bool = False) -> Coverage:
        """How many values lie within the interval of that share.

        Args:
            is_open: whether values on its bounds, such as counts are often, lie outside.
        """
        low, high = interval(self.quantiles, LEVELS, share)
        margin = TOUCHING * self.unit * (-1 if is_open else 1)
        return coverage(low - margin, high + margin, self.truth, self.overlap)

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
        for share in SHARES:
            low, high = interval(self.quantiles, LEVELS, share)
            inside = ((low <= self.truth) & (self.truth <= high)).float()
            inside = inside.masked_fill(self.truth.isnan(), torch.nan)
            covered[f"{100 * share:.0f} %"] = [mean_of_known(inside[:, step]) for step in steps]
        return errors, covered

    def compared(self, name: str, columns: slice = slice(None)) -> Comparison:
        """The squared errors of the model beside those of one of the simple forecasts."""
        ours, others = (self.errors(each)[:, :, columns] for each in ("", name))
        return diebold_mariano(ours, others, self.overlap)

    def better(self, name: str) -> int:
        """Of how many columns it is said, of each by itself, that the model is better."""
        columns = range(self.truth.shape[2])
        return sum(self.compared(name, slice(i, i + 1)).is_better for i in columns)

    def verdict(self) -> str:
        """Whether the model is better than the best of the simple forecasts, and than the last
        value."""
        simple = {name: mean_of_known(self.errors(name)) for name in self.forecasts if name}
        best = min(simple, key=simple.__getitem__)
        lines = [
            self.compared(name).verdict(IN_WORDS[name])
            for name in dict.fromkeys((best, "last_value"))
        ]
        columns = self.truth.shape[2]
        if columns > 1:
            lines[-1] += f", and in {self.better('last_value')} of {columns} columns by itself"
        return "; ".join(lines)

    def coverage_verdict(self, share: float) -> str:
        """How many values came within the intervals of that share, and what it means where that is
        not as many by more than chance. They are too wide only where the values between their
        bounds are too many, without those on them: intervals of counts cannot hold any share."""
        covered, between = self.covered(share), self.covered(share, is_open=True)
        message = f"{100 * share:g} % intervals covered {covered}"
        is_wide = between.share > share
        counted = between if is_wide else covered
        if between.share <= share <= covered.share or not counted.differs_from(
            share, self.calibrated_on
        ):
            return message
        what = "wider than they had to be" if is_wide else "and are too narrow"
        if not self.calibrated_on:
            return f"{message}, {what}"
        how = "calmer" if is_wide else "rougher"
        return f"{message}, {what}: what is tested is {how} than what validated"


@torch.no_grad()
def judge(
    model: Forecaster,
    origins: Origins,
    every: int,
    simple: Mapping[str, Simple],
    paths: int,
    calibrated_on: float = 0.0,
) -> Judgement:
    """Forecasts from every so many origins of a part, beside what came.

    Args:
        calibrated_on: see :class:`Judgement`; intervals are as they were calibrated unless it is 0.
    """
    places = (origins.origin - origins.first()) // every
    shape = int(places.max()) + 1, origins.horizon, int(origins.number.max()) + 1
    gaps = torch.full(shape, torch.nan)
    truth, unit = gaps.clone(), gaps[:, :1].clone()
    quantiles = gaps[..., None].repeat(1, 1, 1, len(LEVELS))
    forecasts = {name: gaps.clone() for name in ("", *simple)}
    draw = torch.Generator(next(model.parameters()).device).manual_seed(0)
    for window, rows in origins.in_order(ROWS_AT_ONCE, every):
        at = torch.from_numpy(places[rows]), slice(None), torch.from_numpy(origins.number[rows])
        moved = Window(*placed(tuple(window), model))
        forecast = model(*moved, paths, draw, bool(calibrated_on))
        truth[at] = window.future
        unit[at] = model.network.scaling.error_unit(moved.past, moved.column).cpu()[:, None]
        forecasts[""][at], quantiles[at] = forecast.mean.cpu(), forecast.quantiles.cpu()
        for name, simple_forecast in simple.items():
            forecasts[name][at] = simple_forecast(window.past.double(), window.column).float()
    overlap = -(-origins.horizon // every)
    of_returns = model.network.scaling.kind == "log-return"
    return Judgement(truth, quantiles, forecasts, unit, overlap, calibrated_on, of_returns)


@torch.no_grad()
def calibrate(model: Forecaster, origins: Origins, every: int, paths: int, seed: int) -> None:
    """Make intervals as wide as every so many origins of a part ask for."""
    draw = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    parts_of_rows = []
    for window, _ in origins.in_order(ROWS_AT_ONCE, every):
        moved = Window(*placed(tuple(window), model))
        forecast = model(*moved, paths, draw, is_calibrated=False)
        unit = model.network.scaling.unit(moved.past, moved.column)
        parts_of_rows.append((forecast.quantiles, moved.future, unit))
    model.calibrate(*(torch.cat(parts) for parts in zip(*parts_of_rows, strict=True)))


def first_step(judgement: Judgement, column: Column, origins: Origins, every: int) -> FirstStep:
    """Forecasts of one step of the first column, to be drawn."""
    at = int(origins.origin[0]) + every * np.arange(len(judgement.truth))
    reached = at < len(column)
    truth, forecast, last = (
        values[reached, 0, 0].numpy()
        for values in (judgement.truth, *(judgement.forecasts[n] for n in ("", "last_value")))
    )
    ours, others = (judgement.errors(name)[:, 0, 0] for name in ("", "last_value"))
    verdict = diebold_mariano(ours, others, 1).verdict()
    name = " ".join(filter(None, (column.series, column.target)))
    return FirstStep(
        name, column.times[at[reached]], truth, forecast, last, judgement.of_returns, verdict
    )


def seasonal_scales(source: SeriesSource) -> Tensor:
    """Of each column the mean absolute error of the value a season before, in what is learned from;
    what the mean absolute scaled error is measured in, ``(columns,)``."""
    parts = [
        torch.from_numpy(column.values[: split.train, None])
        for column, split in zip(source.columns, source.splits, strict=True)
    ]
    period = season_of(parts) or 1
    return torch.stack([seasonal_naive_error(part, period)[0] for part in parts]).float()


LONGEST = 24
"""Steps of a season that they are told of; with longer ones a single fit takes minutes."""


@dataclass(frozen=True)
class BesideStatistical:
    """A judgement on few origins."""

    judgement: Judgement

    def figures(self) -> Figures:
        """Of each method its error, and the share of it that the network does without on the same
        origins."""
        figures: Figures = {}
        mine = mean_of_known(self.judgement.errors())
        for name in self._known():
            error = mean_of_known(self.judgement.errors(name))
            figures[f"mse_{name}"] = error
            figures[f"skill_beside_{name}"] = 1 - mine / error if error else None
        return figures

    def _known(self) -> Iterator[str]:
        """Those that forecast anything: none does from a past with gaps."""
        for name in CLASSES:
            if not self.judgement.forecasts[name].isnan().all():
                yield name

    def verdicts(self) -> Iterator[str]:
        count = len(self.judgement.truth)
        for name in self._known():
            verdict = self.judgement.compared(name).verdict(IN_WORDS[name])
            yield f"{verdict}, from {count} origins"


Judgements = tuple[Judgement, BesideStatistical | None]
"""Of all origins, and of those few, where they are."""


class StatisticalPeers(Knobs):
    """How many forecasts of statistical models stand beside the network's."""

    statistical: int = knob(
        0, "origins, far apart in what is tested, from which exponential smoothing and ARIMA "
        "forecast as well; each fit takes seconds, and statsforecast does it", minimum=0,
        maximum=10**6,
    )  # fmt: skip

    def check(self) -> None:
        """Whether what forecasts is installed, before anything is trained.

        Raises:
            InputError: it is not.
        """
        if self.statistical:
            StatisticalForecast("arima")

    def judgement(
        self,
        model: Forecaster,
        source: SeriesSource,
        test: Origins,
        paths: int,
        calibrated_on: float,
    ) -> BesideStatistical | None:
        """None where nobody asks."""
        if not self.statistical:
            return None
        learned = [
            torch.from_numpy(column.values[: split.train, None])
            for column, split in zip(source.columns, source.splits, strict=True)
        ]
        period = season_of(learned) or 1
        period = period if period <= LONGEST else 1
        forecasts: dict[str, Simple] = {
            name: partial(_of_windows, StatisticalForecast(name, period), test.horizon)
            for name in CLASSES
        }
        span = int((test.origin - test.first()).max()) + 1
        every = max(1, -(-span // self.statistical))
        return BesideStatistical(judge(model, test, every, forecasts, paths, calibrated_on))


def _of_windows(
    forecast: StatisticalForecast, horizon: int, past: Tensor, column: Tensor
) -> Tensor:
    return forecast(past[..., None], horizon)[..., 0]
