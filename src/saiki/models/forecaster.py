"""What forecasts: a network with the series and columns that it has learned from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saiki.data.series.features import Column
from saiki.data.series.origins import Window
from saiki.errors import InputError, near, shown
from saiki.models.segment_forecaster import SegmentForecaster, check_levels
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.nn.calibration import ConformalIntervals
from saiki.saving.pretrained import DescribedModule

PATHS = 200
"""Continuations that are drawn where steps are forecast one by one."""


class Forecast(NamedTuple):
    """What may come, a row for each window."""

    mean: Tensor
    """The point forecast, ``(rows, horizon)``: the median of quantiles, the mean of paths."""
    quantiles: Tensor
    """``(rows, horizon, levels)``."""


class Forecaster(DescribedModule, name="forecaster.v1"):
    """A network of forecasts with all it has to know to go on with a table of the same columns.

    Args:
        network: of all steps at once, or step by step.
        series: names of the series that were learned from.
        targets: names of the columns that are forecast.
        known: names of the features known beforehand, those of the calendar among them.
        observed: names of those known afterwards.
        horizon: steps that are forecast.
        look_back: steps that are read.
        levels: of the quantiles, rising, each with its mirror.
        step: how far rows are apart, in words; empty where there are no times.

    Raises:
        InputError: the network reads other features, or the levels are not in order.
    """

    def __init__(
        self,
        network: SegmentForecaster | StepwiseForecaster,
        series: Sequence[str],
        targets: Sequence[str],
        known: Sequence[str],
        observed: Sequence[str],
        horizon: int,
        look_back: int,
        levels: Sequence[float] = (0.025, 0.1, 0.5, 0.9, 0.975),
        step: str = "",
    ) -> None:
        super().__init__()
        check_levels(levels)
        reads = network.known, getattr(network, "observed", 0)
        if reads != (len(known), len(observed)):
            raise InputError(
                f"the network reads {reads[0]} known features and {reads[1]} observed ones, and "
                f"there are {len(known)} and {len(observed)}"
            )
        self.network = network
        self.series, self.targets = tuple(series), tuple(targets)
        self.known, self.observed = tuple(known), tuple(observed)
        self.horizon, self.look_back, self.levels = horizon, look_back, tuple(levels)
        self.step = step
        self.calibration = ConformalIntervals(levels, horizon, 1)
        for name, count in (("known", len(known)), ("observed", len(observed))):
            self.register_buffer(f"{name}_mean", torch.zeros(count))
            self.register_buffer(f"{name}_deviation", torch.ones(count))

    def equations(self) -> str:
        return self.network.equations()

    def fit_scales(self, columns: Sequence[Column], ends: Sequence[int]) -> None:
        """Take means and deviations from what is learned from alone.

        Args:
            columns: in the order of their numbers.
            ends: behind the last row of each that is learned from.
        """
        parts = [
            torch.from_numpy(column.values[:end]) for column, end in zip(columns, ends, strict=True)
        ]
        self.network.scaling.fit(parts)
        for name in ("known", "observed"):
            rows = [getattr(column, name)[:end] for column, end in zip(columns, ends, strict=True)]
            values = np.concatenate(rows)
            if not values.shape[1]:
                continue
            deviation = np.nanstd(values, 0)
            getattr(self, f"{name}_mean").copy_(torch.from_numpy(np.nanmean(values, 0)))
            deviation = np.where(deviation > 0, deviation, 1.0)
            getattr(self, f"{name}_deviation").copy_(torch.from_numpy(deviation))

    def number_of(self, series: str, target: str) -> int:
        """That of a column, from 1 on; 0 for a series that was not learned from.

        Raises:
            InputError: there is no such target.
        """
        if target not in self.targets:
            raise InputError(
                f"the model forecasts {', '.join(self.targets)}, got {shown(target)}"
                f"{near(target, self.targets)}"
            )
        if series not in self.series:
            return 0
        return 1 + self.series.index(series) * len(self.targets) + self.targets.index(target)

    def features(self, known: Tensor, observed: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Those known beforehand and those known afterwards, in the scale of the network."""
        found = []
        for name, values in (("known", known), ("observed", observed)):
            mean, deviation = getattr(self, f"{name}_mean"), getattr(self, f"{name}_deviation")
            scaled = ((values - mean) / deviation).nan_to_num(nan=0.0)
            found.append(scaled if len(mean) else None)
        return found[0], found[1]

    def loss(self, window: Window) -> Tensor:
        """What training lowers; see the networks."""
        known, observed = self.features(window.known, window.observed)
        if isinstance(self.network, StepwiseForecaster):
            whole = torch.cat((window.past, window.future), 1)
            return self.network.loss(whole, window.column, known)
        quantiles = self.network(window.past, window.column, known, observed)
        unit = self.network.scaling.unit(window.past, window.column)
        return self.network.loss(quantiles, window.future, unit)

    def forward(
        self,
        past: Tensor,
        column: Tensor,
        known: Tensor,
        observed: Tensor,
        future: Tensor | None = None,
        paths: int = PATHS,
        generator: torch.Generator | None = None,
        is_calibrated: bool = True,
    ) -> Forecast:
        """What may come after each window.

        Args:
            past, column, known, observed: see :class:`saiki.data.series.origins.Window`, whose
                ``future`` is not read.
            paths: continuations that are drawn, where the network goes step by step.
            generator: of the paths.
            is_calibrated: whether intervals are as wide as the validation part asked for.
        """
        of_steps, of_past = self.features(known, observed)
        if isinstance(self.network, StepwiseForecaster):
            drawn = self.network.paths(past, column, self.horizon, paths, of_steps, generator)
            levels = drawn.new_tensor(self.levels)
            quantiles, mean = drawn.quantile(levels, 0).movedim(0, -1), drawn.mean(0)
        else:
            quantiles = self.network(past, column, of_steps, of_past)
            mean = quantiles[..., len(self.levels) // 2]
        if is_calibrated:
            quantiles = self.calibrated(quantiles, self.network.scaling.unit(past, column))
            if self.network.scaling.kind == "size":  # of counts
                quantiles = quantiles.clamp(min=0)
        return Forecast(mean, quantiles)

    def calibrated(self, quantiles: Tensor, unit: Tensor) -> Tensor:
        """Quantiles of rows with margins that count in ``unit``, ``(rows,)``."""
        scale = unit[:, None, None, None]
        found: Tensor = self.calibration(quantiles[:, :, None] / scale) * scale
        return found[:, :, 0]

    def calibrate(self, quantiles: Tensor, truth: Tensor, unit: Tensor) -> None:
        """Make intervals as wide as these forecasts of a part that was not learned from ask for.

        Args:
            quantiles: ``(rows, horizon, levels)``, not calibrated.
            truth: ``(rows, horizon)``.
            unit: see :meth:`saiki.nn.series_scaling.WindowScaling.unit`, ``(rows,)``.
        """
        scale = unit[:, None, None]
        self.calibration.fit_((quantiles / scale)[:, :, None], truth[..., None] / scale)


def window_of(
    column: Column, number: int, look_back: int, horizon: int, dtype: torch.dtype
) -> Window:
    """The newest window of a column, behind whose end nobody knows.

    Raises:
        InputError: its known features do not reach as far as the forecast.
    """
    lacks = len(column) + horizon - len(column.known)
    if column.known.shape[1] and lacks > 0:
        raise InputError(
            f"to forecast {horizon} steps, what is known beforehand must reach {lacks} rows further"
        )
    past = _newest(column.values[:, None], look_back, np.nan)[:, 0]
    begin = len(column) + horizon
    known = _newest(column.known[:begin], look_back + horizon, 0.0)
    observed = _newest(column.observed, look_back, 0.0)
    tensors = [torch.from_numpy(part)[None].to(dtype) for part in (past, known, observed)]
    future = torch.full((1, horizon), torch.nan, dtype=dtype)
    return Window(tensors[0], torch.tensor([number]), tensors[1], tensors[2], future)


def _newest(values: NDArray[np.float64], count: int, filler: float) -> NDArray[np.float64]:
    """The last so many rows, with fillers in front where there are fewer."""
    some = values[-count:] if count else values[:0]
    padding = np.full((count - len(some), values.shape[1]), filler)
    return np.concatenate((padding, some))
