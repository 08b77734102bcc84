"""Forecasts so simple that any other has to be better.

Each takes the past, ``(batch, time, targets)``, and a number of steps, and gives ``(batch, horizon,
targets)`` (Hyndman & Athanasopoulos 2021, §5.2). NaN in the past is missing and passed over; where
nothing is known, neither is the forecast, and it is NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saiki.errors import InputError

Forecast = Callable[[Tensor, int], Tensor]
"""From the past, ``(batch, time, targets)``, to so many steps, ``(batch, horizon, targets)``."""
ORIGINS = 2000
"""Origins at most whose errors make the intervals around a forecast."""
VALUES = 2**22
"""That are forecast at once."""


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


def mean(past: Tensor, horizon: int) -> Tensor:
    """yᵀ⁺ʰ = the mean of all that is known."""
    _check(past, horizon)
    return past.nanmean(1, keepdim=True).expand(-1, horizon, -1)


def _last_known(past: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``(batch, time, …)``, the last value along time that is not NaN, and when it was."""
    times = torch.arange(past.shape[1], device=past.device)
    times = times.view(-1, *(1,) * (past.ndim - 2)).expand_as(past)
    when = torch.where(past.isnan(), -1, times).amax(1, keepdim=True).clamp(min=0)
    return past.gather(1, when).squeeze(1), when.squeeze(1)


def _check(past: Tensor, horizon: int) -> None:
    if past.ndim != 3 or past.shape[1] == 0 or horizon < 1:
        raise InputError(
            f"a past of the shape (batch, time, targets) is forecast 1 step or more, got the shape "
            f"{tuple(past.shape)} and {horizon} steps"
        )


@dataclass(frozen=True, eq=False)
class ErrorQuantiles:
    """How far what came was from a forecast, by steps ahead and target: with it, intervals.

    Args:
        levels: rising, such as (0.1, 0.5, 0.9).
        values: the quantiles of truth − forecast, ``(horizon, targets, levels)``, in units of the
            series.
    """

    levels: tuple[float, ...]
    values: Tensor

    def around(self, forecast: Tensor) -> Tensor:
        """The quantiles of what may come, ``(batch, horizon, targets, levels)``, for as many steps
        as there are errors of, or fewer."""
        return forecast[..., None] + self.values[: forecast.shape[1]].to(forecast)

    @classmethod
    @torch.no_grad()
    def of(
        cls, forecast: Forecast, series: Sequence[Tensor] | Tensor, look_back: int, horizon: int,
        levels: Sequence[float], origins: int = ORIGINS,
    ) -> "ErrorQuantiles":  # fmt: skip
        """From the errors that a forecast makes within a part that is known to its end.

        Of the part a forecast was fitted on, its errors are too small; take another, or calibrate
        the intervals (:class:`saiki.nn.calibration.ConformalIntervals`).

        Args:
            series: ``(time, targets)``, or several such.
            look_back: steps of the past that it reads.
            origins: so many at most, evenly spread over all there are.

        Raises:
            InputError: no series is as long as look-back and horizon, or a target is nowhere
                known.
        """
        several = [series] if isinstance(series, Tensor) else list(series)
        counts = [max(0, len(one) - look_back - horizon + 1) for one in several]
        total = sum(counts)
        if not total:
            raise InputError(
                f"a series of {look_back} + {horizon} steps or more is needed, the longest has "
                f"{max(map(len, several), default=0)}"
            )
        chosen = torch.arange(min(origins, total)) * total // min(origins, total)
        found, before = [], 0
        for one, count in zip(several, counts, strict=True):
            starts = chosen[(chosen >= before) & (chosen < before + count)] - before
            before += count
            found += _errors_at(forecast, one, starts, look_back, horizon)
        values = quantiles_of_known(torch.cat(found), levels)
        if bool(values.isnan().any()):
            raise InputError("there is a target of which no forecast can be compared with a truth")
        return cls(tuple(levels), values)


def _errors_at(
    forecast: Forecast, series: Tensor, starts: Tensor, look_back: int, horizon: int
) -> list[Tensor]:
    if not len(starts):
        return []
    windows = series.unfold(0, look_back + horizon, 1).transpose(1, 2)  # (origins, time, targets)
    at_once = max(1, VALUES // windows[0].numel())
    pieces = [windows[part] for part in starts.to(series.device).split(at_once)]
    return [piece[:, look_back:] - forecast(piece[:, :look_back], horizon) for piece in pieces]


def quantiles_of_known(values: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles along the first dimension, which becomes the last, of what is not NaN, linear
    between the values (Hyndman & Fan 1996, definition 7); NaN of nothing.

    >>> quantiles_of_known(torch.tensor([4.0, torch.nan, 0.0, 2.0]), [0.25, 0.5])
    tensor([1., 2.])
    """
    in_order = values.sort(0).values  # NaN comes last
    last = (~values.isnan()).sum(0) - 1
    found = []
    for level in levels:
        place = level * last.clamp(min=0).to(values)
        below = place.floor().long()
        above = torch.minimum(below + 1, last.clamp(min=0))
        low, high = (in_order.gather(0, i[None])[0] for i in (below, above))
        found.append(low + (place - below) * (high - low))
    return torch.stack(found, -1)
