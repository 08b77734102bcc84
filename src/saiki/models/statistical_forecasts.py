"""Exponential smoothing and ARIMA, by statsforecast where it is installed."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from saiki.errors import InputError

Method = Literal["exponential_smoothing", "arima"]
CLASSES: dict[Method, str] = {"exponential_smoothing": "AutoETS", "arima": "AutoARIMA"}


class StatisticalForecast:
    """A model of its own for each past and target, chosen by an information criterion (Hyndman &
    Khandakar 2008) and fitted when it forecasts: seconds for each where the period is long.

    Args:
        method: ``"exponential_smoothing"`` or ``"arima"``.
        period: of the season, in steps; 1: there is none.

    Raises:
        InputError: statsforecast is not installed, or there is no such method.
    """

    def __init__(self, method: Method, period: int = 1) -> None:
        if method not in CLASSES:
            raise InputError(f"the method must be one of {', '.join(CLASSES)}, got {method!r}")
        if period < 1:
            raise InputError(f"the period must be 1 step or more, got {period}")
        try:
            from statsforecast import models
        except ImportError:
            raise InputError(
                "exponential smoothing and ARIMA need statsforecast: pip install 'saiki[series]'"
            ) from None
        self.method, self.period = method, period
        self._class = getattr(models, CLASSES[method])

    def __call__(self, past: Tensor, horizon: int) -> Tensor:
        """The mean of what follows ``past: (batch, time, targets)``, ``(batch, horizon, targets)``.

        Missing values in front of a series are passed over; one that has others, or is shorter than
        two values, is not forecast: NaN.
        """
        return self._all(past, horizon, ())[..., 0]

    def quantiles(self, past: Tensor, horizon: int, levels: Sequence[float]) -> Tensor:
        """``(batch, horizon, targets, levels)``, of levels such as 0.1, 0.5 and 0.9; that of 0.5 is
        the mean, the laws being symmetric."""
        return self._all(past, horizon, levels)[..., 1:]

    def _all(self, past: Tensor, horizon: int, levels: Sequence[float]) -> Tensor:
        if past.ndim != 3 or horizon < 1:
            raise InputError(
                "a past of the shape (batch, time, targets) is forecast 1 step or more, got the "
                f"shape {tuple(past.shape)} and {horizon} steps"
            )
        batch, _, targets = past.shape
        rows = past.detach().cpu().double().transpose(1, 2).flatten(0, 1).numpy()
        found = np.stack([self._one(row, horizon, levels) for row in rows])
        return torch.from_numpy(found).view(batch, targets, horizon, -1).transpose(1, 2).to(past)

    def _one(self, row: np.ndarray, horizon: int, levels: Sequence[float]) -> np.ndarray:
        """The mean and the quantiles, ``(horizon, 1 + levels)``."""
        known = np.flatnonzero(np.isfinite(row))
        row = row[known[0] :] if len(known) else row[:0]
        if len(row) < 2 or not np.isfinite(row).all():
            return np.full((horizon, 1 + len(levels)), np.nan)
        shares = {level: round(100 * abs(2 * level - 1), 6) for level in levels if level != 0.5}
        model = self._class(season_length=self.period)
        asked: dict[str, Any] = {"level": sorted(set(shares.values()))} if shares else {}
        said = model.forecast(y=row, h=horizon, **asked)
        names = [
            f"{'lo' if level < 0.5 else 'hi'}-{shares[level]}" if level in shares else "mean"
            for level in levels
        ]
        return np.stack([np.asarray(said[name]) for name in ("mean", *names)], -1)


def exponential_smoothing(past: Tensor, horizon: int, period: int = 1) -> Tensor:
    """See :class:`StatisticalForecast`."""
    return StatisticalForecast("exponential_smoothing", period)(past, horizon)


def arima(past: Tensor, horizon: int, period: int = 1) -> Tensor:
    """See :class:`StatisticalForecast`."""
    return StatisticalForecast("arima", period)(past, horizon)
