"""Forecasts so simple that any other has to be better.

Each takes the past, ``(batch, time, targets)``, and a number of steps, and gives ``(batch, horizon,
targets)`` (Hyndman & Athanasopoulos 2021, §5.2). NaN in the past is missing and passed over; where
nothing is known, neither is the forecast, and it is NaN.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from saiki.errors import InputError

Forecast = Callable[[Tensor, int], Tensor]
"""From the past, ``(batch, time, targets)``, to so many steps, ``(batch, horizon, targets)``."""


def last_value(past: Tensor, horizon: int) -> Tensor:
    """yᵀ⁺ʰ = yᵀ, the last that is known.

    >>> last_value(torch.tensor([[[1.0], [3.0], [torch.nan]]]), 2)[0, :, 0]
    tensor([3., 3.])
    """
    _check(past, horizon)
    return _last_known(past)[0].unsqueeze(1).expand(-1, horizon, -1)


def seasonal_last_value(past: Tensor, horizon: int, period: int) -> Tensor:
    """yᵀ⁺ʰ = the last that is known a whole number of periods before.

    Args:
        period: of the season, in steps; see :func:`saiki.models.season.period_of`.

    Raises:
        InputError: the past is shorter than a period.

    >>> seasonal_last_value(torch.arange(5.0).view(1, 5, 1), 4, period=3)[0, :, 0]
    tensor([2., 3., 4., 2.])
    """
    _check(past, horizon)
    time = past.shape[1]
    if not 1 <= period <= time:
        raise InputError(
            f"the past must be as long as a period of {period} steps, of 1 or more, got {time}"
        )
    missing = past.new_full((past.shape[0], -time % period, past.shape[2]), torch.nan)
    seasons = torch.cat([missing, past], 1).unflatten(1, (-1, period))
    phases = torch.arange(horizon, device=past.device) % period
    return _last_known(seasons)[0][:, phases]


def drift(past: Tensor, horizon: int) -> Tensor:
    """yᵀ⁺ʰ = yᵀ + h (yᵀ − y¹) / (T − 1): on along the line from the first value that is known to
    the last; the last value where there is but one."""
    _check(past, horizon)
    last, end = _last_known(past)
    first, start = _last_known(past.flip(1))
    start = past.shape[1] - 1 - start
    slope = (last - first) / (end - start).clamp(min=1)
    ahead = torch.arange(1, horizon + 1, device=past.device)[None, :, None]
    return last.unsqueeze(1) + (ahead + (past.shape[1] - 1 - end).unsqueeze(1)) * slope.unsqueeze(1)


def _last_known(past: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``(batch, time, …)``, the last value along time that is not NaN, and when it was."""
    times = torch.arange(past.shape[1], device=past.device)
    times = times.view(-1, *(1,) * (past.ndim - 2)).expand_as(past)
    when = torch.where(past.isnan(), -1, times).amax(1, keepdim=True).clamp(min=0)
    return past.gather(1, when).squeeze(1), when.squeeze(1)


def _check(past: Tensor, horizon: int) -> None:
    """Raise :class:`InputError` unless it is a past of which so many steps can be forecast."""
    if past.ndim != 3 or past.shape[1] == 0 or horizon < 1:
        raise InputError(
            f"a past of the shape (batch, time, targets) is forecast 1 step or more, got the shape "
            f"{tuple(past.shape)} and {horizon} steps"
        )


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
        _check(past, horizon)
        batch, _, targets = past.shape
        rows = past.detach().cpu().double().transpose(1, 2).flatten(0, 1).numpy()
        means = np.stack([self._mean(row, horizon) for row in rows])
        return torch.from_numpy(means).view(batch, targets, horizon).transpose(1, 2).to(past)

    def _mean(self, row: np.ndarray, horizon: int) -> np.ndarray:
        known = np.flatnonzero(np.isfinite(row))
        row = row[known[0] :] if len(known) else row[:0]
        if len(row) < 2 or not np.isfinite(row).all():
            return np.full(horizon, np.nan)
        model = self._class(season_length=self.period)
        return np.asarray(model.forecast(y=row, h=horizon)["mean"])
