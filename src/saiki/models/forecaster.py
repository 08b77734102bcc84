"""What forecasts: a network with the series and columns that it has learned from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saiki.data.series.features import Column
from saiki.data.series.origins import Window
from saiki.errors import InputError, near, shown
from saiki.models.segment_forecaster import SegmentForecaster, check_levels
from saiki.models.stepwise_forecaster import Read, StepwiseForecaster
from saiki.nn.calibration import ConformalIntervals
from saiki.saving.pretrained import DescribedModule

PIECE = 4096
"""Steps that are read at once, so that a long series needs no more memory than that."""
PATHS = 200
"""Continuations that are drawn where steps are forecast one by one."""


class Forecast(NamedTuple):
    """What may come, a row for each window."""

    mean: Tensor
    """The point forecast, ``(rows, horizon)``: the median of quantiles, the mean of laws and of
    paths."""
    quantiles: Tensor
    """``(rows, horizon, levels)``."""


class Memory(NamedTuple):
    """What a forecaster keeps of series that it follows, a row for each."""

    column: Tensor
    """The number of the column, from 1 on, ``(rows,)``; 0: none of those learned from."""
    unit: Tensor
    """In which margins count, ``(rows,)``."""
    read: Read | None
    """Of a network that goes step by step over columns that it has learned from; others read their
    newest window again."""
    past: Tensor
    """The newest values, ``(rows, look_back)``; NaN is a gap, or before the series begins."""
    known: Tensor
    """``(rows, look_back, known)``."""
    observed: Tensor
    """``(rows, look_back, observed)``."""


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
        InputError: the network reads other features, a name stands twice, or the levels are not in
            order.
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
        for names in (series, targets, known, observed):
            if len(set(names)) < len(names):
                raise InputError(f"no name may stand twice, got {shown(list(names))}")
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
            for feature in range(len(getattr(self, name))):
                values = np.concatenate([part[:, feature] for part in rows]).astype(np.float64)
                getattr(self, f"{name}_mean")[feature] = np.nanmean(values)
                getattr(self, f"{name}_deviation")[feature] = np.nanstd(values) or 1.0

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

    def features(self, name: str, values: Tensor) -> Tensor | None:
        """Those ``"known"`` beforehand or ``"observed"``, in the scale of the network; None where
        there are none."""
        mean, deviation = getattr(self, f"{name}_mean"), getattr(self, f"{name}_deviation")
        scaled: Tensor = ((values - mean) / deviation).nan_to_num(nan=0.0)
        return scaled if len(mean) else None

    def loss(self, window: Window) -> Tensor:
        """What training lowers; see the networks."""
        known = self.features("known", window.known)
        observed = self.features("observed", window.observed)
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
                ``future`` is not read; as many steps are forecast as ``known`` goes beyond.
            paths: continuations that are drawn, where the network goes step by step.
            generator: of the paths.
            is_calibrated: whether intervals are as wide as the validation part asked for.
        """
        of_steps = self.features("known", known)
        unit = self.network.scaling.unit(past, column) if is_calibrated else None
        if isinstance(self.network, StepwiseForecaster):
            time = past.shape[1]
            before, ahead = (
                (None, None) if of_steps is None else (of_steps[:, :time], of_steps[:, time:])
            )
            read = self.network.read(past, column, before)
            steps = known.shape[1] - time
            return self._from_paths(self.network, read, steps, ahead, unit, paths, generator)
        quantiles = self.network(past, column, of_steps, self.features("observed", observed))
        return self._forecast(quantiles[..., len(self.levels) // 2], quantiles, unit)

    def reach(self, horizon: int) -> int:
        """Steps ahead of which known features are needed to forecast so many.

        Raises:
            InputError: the network forecasts fewer.
        """
        if isinstance(self.network, StepwiseForecaster):
            return horizon
        if horizon > self.horizon:
            raise InputError(
                f"the model forecasts {self.horizon} rows at once and no more, got the horizon "
                f"{horizon}; train one with --horizon {horizon}, or with --steps one-by-one, which "
                "goes on as far as you like"
            )
        return self.horizon

    @torch.no_grad()
    def remember(self, past: Tensor, column: Tensor, known: Tensor, observed: Tensor) -> Memory:
        """What is kept of series from their first step on, however long they are.

        Args:
            past: ``(rows, time)``.
            column: ``(rows,)``.
            known: ``(rows, time, known)``.
            observed: ``(rows, time, observed)``.
        """
        like = next(self.parameters())
        column, read = column.to(like.device), None
        if isinstance(self.network, StepwiseForecaster) and bool((column > 0).all()):
            pieces = (part.split(PIECE, 1) for part in (past, known))
            for values, features in zip(*pieces, strict=True):
                scaled = self.features("known", features.to(like))
                read = self.network.read(values.to(like), column, scaled, read)
        newest = [
            _padded(part, self.look_back, filler).to(like)
            for part, filler in ((past, torch.nan), (known, 0.0), (observed, 0.0))
        ]
        unit = self.network.scaling.unit(newest[0], column)
        return Memory(column, unit, read, *newest)

    @torch.no_grad()
    def go_on(self, memory: Memory, past: Tensor, known: Tensor, observed: Tensor) -> Memory:
        """What is kept after newer steps, as if all had been read together; shapes are those of
        :meth:`remember`."""
        read = None
        past, known, observed = (part.to(memory.past) for part in (past, known, observed))
        if memory.read is not None:
            assert isinstance(self.network, StepwiseForecaster)
            features = self.features("known", known)
            read = self.network.read(past, memory.column, features, memory.read)
        newer = (memory.past, past), (memory.known, known), (memory.observed, observed)
        newest = [torch.cat(parts, 1)[:, -self.look_back :] for parts in newer]
        unit = memory.unit
        if read is None:
            unit = self.network.scaling.unit(newest[0], memory.column)
        return Memory(memory.column, unit, read, *newest)

    @torch.no_grad()
    def ahead(
        self,
        memory: Memory,
        known: Tensor,
        horizon: int,
        paths: int = PATHS,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """What may come after all that is kept, ``horizon`` steps of it.

        Args:
            known: of as many steps as :meth:`reach` says, ``(rows, reach, known)``.
        """
        self.reach(horizon)
        known = known.to(memory.known)
        if memory.read is not None:
            assert isinstance(self.network, StepwiseForecaster)
            features = self.features("known", known)
            return self._from_paths(
                self.network, memory.read, horizon, features, memory.unit, paths,
                generator,
            )  # fmt: skip
        both = torch.cat((memory.known, known), 1)
        forecast: Forecast = self(
            memory.past, memory.column, both, memory.observed, None, paths, generator
        )
        return Forecast(forecast.mean[:, :horizon], forecast.quantiles[:, :horizon])

    def _from_paths(
        self,
        network: StepwiseForecaster,
        read: Read,
        horizon: int,
        known: Tensor | None,
        unit: Tensor | None,
        paths: int,
        generator: torch.Generator | None,
    ) -> Forecast:
        """The law of the next step, and what paths say of those behind it."""
        if horizon == 1:
            law, _ = network.follow(read, None if known is None else known[:, 0])
            return self._forecast(law.mean, law.quantiles(self.levels), unit)
        law, samples = network.paths(read, horizon, paths, known, generator)
        further = samples[..., 1:]
        levels = samples.new_tensor(self.levels)
        mean = torch.cat((law.mean, further.mean(0)), 1)
        # step by step, since no more than 16 million numbers are taken at once
        of_steps = [step.quantile(levels, 0).mT for step in further.unbind(-1)]
        quantiles = torch.cat((law.quantiles(self.levels), torch.stack(of_steps, 1)), 1)
        return self._forecast(mean, quantiles, unit)

    def _forecast(self, mean: Tensor, quantiles: Tensor, unit: Tensor | None) -> Forecast:
        """With intervals as wide as the validation part asked for, where there is a unit."""
        if unit is not None:
            scale = unit[:, None, None, None]
            quantiles = (self.calibration(quantiles[:, :, None] / scale) * scale)[:, :, 0]
            if self.network.scaling.kind == "size":  # of counts
                quantiles = quantiles.clamp(min=0)
        return Forecast(mean, quantiles)

    def calibrate(self, quantiles: Tensor, truth: Tensor, unit: Tensor) -> None:
        """Make intervals as wide as these forecasts of a part that was not learned from ask for.

        Args:
            quantiles: ``(rows, horizon, levels)``, not calibrated.
            truth: ``(rows, horizon)``.
            unit: see :meth:`saiki.nn.series_scaling.WindowScaling.unit`, ``(rows,)``.
        """
        scale = unit[:, None, None]
        self.calibration.fit_((quantiles / scale)[:, :, None], truth[..., None] / scale)


def _padded(part: Tensor, count: int, filler: float) -> Tensor:
    """The newest so many steps, with fillers in front where there are fewer."""
    newest = part[:, -count:]
    lacks = count - newest.shape[1]
    if not lacks:
        return newest
    return torch.cat((newest.new_full((len(part), lacks, *part.shape[2:]), filler), newest), 1)
