"""The season of a series: after how many steps it repeats itself."""

import math
from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.errors import InputError

LEVEL = 0.01
"""How often a season may be found where there is none; see :func:`period_of`."""
FEWEST = 3
"""Seasons that a series must hold."""
NEIGHBOURS = 24
"""Ordinates on either side, whose median a peak of the spectrum is compared with."""
NEWEST = 2**17
"""Steps that are looked at, the last of a series."""
OVERTONES = 12
"""The strongest wave of a season may be as high as this among those that make it up."""
ENOUGH = 0.9
"""Of the power of all peaks, a season explains at least so much of what the best one does."""


def period_of(series: Tensor, longest: int | None = None, level: float = LEVEL) -> int | None:
    """After how many steps a series repeats itself; None where it does not.

    The series, without its linear trend and with regressions on the value before taken out, goes
    through a Hann window into a periodogram, and each ordinate is compared with the median of those
    around it: where the ratio is so high that noise of any smooth spectrum has one such ordinate in
    about ``level`` of all series, there is a wave (Fisher 1929 for white noise; Thomson 1982 for
    others). The season is the shortest whole number of steps that is a period of waves with nine
    tenths of the power that the best has, if the autocorrelation there and twice as far is
    positive.

    In white noise and in random walks of 60 to 3,000 steps a season is found in about 1 % of all
    series, in autoregressions, their sums and walks with noise on top in 4 %, and in short ones
    that go up and down in turn in 8 %.

    Args:
        series: ``(time,)``, or ``(time, columns)``: of most columns that have a season. NaN is
            missing. Of longer series the last ``NEWEST`` steps are looked at.
        longest: steps that a season may have; as many as the series has three of if None.

    >>> t = torch.arange(200)
    >>> period_of(torch.sin(2 * torch.pi * t / 24) + 0.01 * t)
    24
    """
    if series.ndim not in (1, 2):
        raise InputError(
            f"a series is (time,) or (time, columns), got the shape {tuple(series.shape)}"
        )
    series = series[-NEWEST:].detach().cpu().double()
    columns = series[None] if series.ndim == 1 else series.T
    longest = min(longest or len(series), len(series) // FEWEST)
    periods = Counter(_period(column, longest, level) for column in columns)
    periods.pop(None, None)
    return periods.most_common(1)[0][0] if periods else None


def _period(x: Tensor, longest: int, level: float) -> int | None:
    known = x.isfinite()
    if known.sum() < 8 or longest < 2:
        return None
    x = _prewhitened(_detrended(x, known), known)
    n = len(x)
    if not bool(x.any()):
        return None
    power = torch.fft.rfft(x * torch.hann_window(n, dtype=x.dtype)).abs().square()[1:]
    background = _medians(power) / math.log(2)
    high = power / background.clamp(min=1e-12 * float(power.max()))
    waves = _waves(power, high, n, level)
    if not waves:
        return None
    candidates = sorted(
        {round(k / f) for f, _ in waves for k in range(1, OVERTONES + 1)} & {*range(2, longest + 1)}
    )
    scores = {p: sum(s for f, s in waves if _fits(f, p, n)) for p in candidates}
    best = max(scores.values(), default=0.0)
    correlation = torch.fft.irfft(torch.fft.rfft(x, 2 * n).abs().square())
    for period in candidates:
        correlations = [float(correlation[k * period]) for k in (1, 2)]
        if scores[period] >= ENOUGH * best > 0 and min(correlations) > 0:
            return period
    return None


def _detrended(x: Tensor, known: Tensor) -> Tensor:
    """Less the line of least squares, and 0 where nothing is known."""
    t = torch.arange(len(x), dtype=x.dtype)
    t = t - t[known].mean()
    x = torch.where(known, x - x[known].mean(), 0.0)
    slope = (t * x).sum() / t[known].square().sum()
    rest = torch.where(known, x - slope * t, 0.0)
    size = x.abs().max()
    return torch.where(rest.abs().max() > 1e-9 * size, rest, 0.0)


def _prewhitened(x: Tensor, known: Tensor) -> Tensor:
    """Less its regression on the value before, and what is left less that of its own: so sums of
    random walks become noise, too, while no wave can vanish, not even one of two steps."""
    for _ in range(2):
        both = known[1:] & known[:-1]
        slope = (x[1:] * x[:-1])[both].sum() / x[:-1][both].square().sum().clamp(min=1e-300)
        x, known = torch.where(both, x[1:] - slope.clamp(0, 1) * x[:-1], 0.0), both
    return x


def _medians(power: Tensor) -> Tensor:
    """Of each ordinate and those around it."""
    around = min(NEIGHBOURS, (len(power) - 1) // 2)
    padded = F.pad(power[None, None], (around, around), mode="reflect")[0, 0]
    return padded.unfold(0, 2 * around + 1, 1).median(-1).values


def _waves(power: Tensor, high: Tensor, n: int, level: float) -> list[tuple[float, float]]:
    """The frequencies of the peaks that are too high for noise, and their powers."""
    bound = 1.25 * math.log(len(power) / level)
    padded = F.pad(power, (1, 1))
    peak = (power > padded[:-2]) & (power >= padded[2:]) & (high > bound)
    waves = []
    for i in peak.nonzero()[:, 0].tolist():
        left, right = float(padded[i]), float(padded[i + 2])
        top = float(power[i])
        # of a Hann window, the ratio of the higher neighbour says how far between ordinates
        side, ratio = (1, math.sqrt(right / top)) if right > left else (-1, math.sqrt(left / top))
        shift = side * (2 * ratio - 1) / (ratio + 1)
        waves.append(((i + 1 + shift) / n, left + top + right))
    return waves


def _fits(frequency: float, period: int, n: int) -> bool:
    """Whether a wave repeats itself after the period, as exactly as n steps can say."""
    turns = frequency * period
    return round(turns) > 0 and abs(turns - round(turns)) <= max(0.5 * period / n, 1e-9)
