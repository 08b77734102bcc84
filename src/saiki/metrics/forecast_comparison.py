"""Whether one forecast is better than another, and how sure a share is, of origins that follow each
other: their forecasts overlap, so what is measured of them is dependent.

All ± here are halves of 95 % intervals.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from saiki.errors import InputError
from saiki.metrics.significance import two_sided

LEVEL = 0.05
"""How often a difference may be found where there is none."""
LONG = 50
"""So many horizons of origins are enough for the variance of Harvey, Leybourne & Newbold; with
fewer, it is taken from the lowest frequencies."""
FLAT = 4
"""The spectrum counts as flat up to the frequency of one wave in so many horizons."""


@dataclass(frozen=True)
class Precision:
    """How far a mean of dependent values may be from the truth.

    Args:
        error: its standard error.
        freedom: degrees of freedom of Student's t that the error comes with; 0 where there are too
            few values to say anything.
    """

    error: float
    freedom: int

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval."""
        return critical_t(self.freedom) * self.error if self.freedom else math.inf

    def p(self, difference: float) -> float:
        """How probable a mean at least this far from 0 is by chance; 1 where nothing is known."""
        if not self.freedom or not math.isfinite(difference) or not math.isfinite(self.error):
            return 1.0
        if self.error == 0:
            return float(difference == 0)
        return two_sided(difference / self.error, self.freedom)


def precision_of_mean(values: Tensor, horizon: int = 1) -> Precision:
    """How precise the mean of ``values: (origins,)`` in order of time is, where those fewer than
    ``horizon`` origins apart depend on each other.

    With ``LONG`` · h origins or more, the variance is γ₀ + 2 Σ γₖ over the first h − 1
    autocovariances (Diebold & Mariano 1995, §1.1), with the correction (n + 1 − 2h + h (h − 1) / n)
    / n and the n − 1 degrees of freedom of Harvey, Leybourne & Newbold (1997, eq. 9). With fewer it
    is found too small too often (they say of 24 horizons that differ in 8 % where none does, of 3
    that do in 17 %), and is taken instead as the mean of the first m ordinates of the periodogram,
    with 2m degrees of freedom (Coroneo & Iacone 2020, §2), where m = n / (4h), but from 1 to √n.
    With less than 3 origins or one and a half horizons nothing is said.
    """
    n = len(values)
    if n < 3 or 2 * n < 3 * horizon or not bool(torch.isfinite(values).all()):
        return Precision(math.inf, 0)
    x = values.double() - values.double().mean()
    if n >= LONG * horizon:
        spectrum = torch.fft.rfft(x, 2 * n).abs().square()
        covariances = torch.fft.irfft(spectrum)[:horizon] / n
        variance = float(2 * covariances.sum() - covariances[0])
        factor = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
        if variance > 0:
            return Precision(math.sqrt(variance / n / factor), n - 1)
    count = max(1, min(n // (FLAT * horizon), math.isqrt(n), (n - 1) // 2))
    ordinates = torch.fft.rfft(x)[1 : count + 1].abs().square() / n
    return Precision(math.sqrt(float(ordinates.mean()) / n), 2 * count)


@cache
def critical_t(freedom: int, level: float = LEVEL) -> float:
    """What |T| exceeds with probability ``level``.

    >>> round(critical_t(4), 4)
    2.7764
    """
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > level:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > level else (low, middle)
    return high


@dataclass(frozen=True)
class Coverage:
    """The share of what came that lay within its intervals.

    Args:
        share: from 0 to 1; NaN of nothing.
        precision: of the share.
        count: values that it is the share of.
    """

    share: float
    precision: Precision
    count: int

    def differs_from(self, share: float, calibrated_on: float = 0.0) -> bool:
        """Whether the share is another than this one by more than chance.

        Args:
            calibrated_on: where intervals were made to hold that share of other values, how many
                origins those had for each one here. What chance did to them is in the intervals:
                were both alike, the difference would have the variance of the share here times
                1 + 1 / ``calibrated_on``.
        """
        if not self.count:
            return False
        # where all values lie within, their spread says nothing
        least = math.sqrt(share * (1 - share) / self.count)
        both = 1 + (1 / calibrated_on if calibrated_on else 0.0)
        error = max(self.precision.error, least) * math.sqrt(both)
        return Precision(error, self.precision.freedom).p(self.share - share) < LEVEL

    def __str__(self) -> str:
        """As in ``81.2 ± 2.1 %``, without the latter where too little is known."""
        if not math.isfinite(self.precision.half_width):
            return f"{100 * self.share:.1f} %"
        return f"{100 * self.share:.1f} ± {100 * self.precision.half_width:.1f} %"


def coverage(lower: Tensor, upper: Tensor, truth: Tensor, overlap: int | None = None) -> Coverage:
    """How often lower ≤ truth ≤ upper, of all known values, each ``(origins, horizon, targets)``.

    All steps and targets of an origin are one observation, and origins nearer to each other than
    ``overlap`` are dependent: see :func:`precision_of_mean`.

    Args:
        overlap: origins whose forecasts share a step; if None as many as there are steps, each
            origin being a step later than the one before.

    Raises:
        InputError: shapes differ.
    """
    if not lower.shape == upper.shape == truth.shape or truth.ndim < 2:
        raise InputError(
            f"bounds of the shapes {tuple(lower.shape)} and {tuple(upper.shape)} are not those of "
            f"a truth of the shape (origins, horizon, …), got {tuple(truth.shape)}"
        )
    known = ~truth.isnan()
    is_within = (lower <= truth) & (truth <= upper) & known
    count, within = known.flatten(1).sum(1).double(), is_within.flatten(1).sum(1).double()
    if count.sum() == 0:
        return Coverage(math.nan, Precision(math.inf, 0), 0)
    share = float(within.sum() / count.sum())
    around = (within - share * count) / count.mean()
    precision = precision_of_mean(around, truth.shape[1] if overlap is None else overlap)
    return Coverage(share, precision, int(count.sum()))


@dataclass(frozen=True)
class Comparison:
    """What a forecast loses, beside what another does.

    Args:
        loss: the mean of the one.
        other: that of the other.
        precision: of their difference.
    """

    loss: float
    other: float
    precision: Precision

    @property
    def difference(self) -> float:
        """Of the loss and that of the other; below 0 is better."""
        return self.loss - self.other

    @property
    def p(self) -> float:
        """Of the Diebold-Mariano test, to both sides."""
        return self.precision.p(self.difference)

    @property
    def is_better(self) -> bool:
        """Whether less is lost, by more than chance."""
        return self.p < LEVEL and self.difference < 0

    @property
    def improvement(self) -> float:
        """The share of the loss of the other that is not lost; below 0 more is."""
        return -self.difference / self.other if self.other else math.nan

    def verdict(self, name: str = "the last value") -> str:
        """What to say of it: *better than the last value by 12 ± 2 %*, half of the 95 % interval of
        the difference, as a share of what the other loses; *worse than …*, or *not better than the
        last value (p = 0.4)*."""
        if self.p < LEVEL and self.other:
            word = "better" if self.difference < 0 else "worse"
            width = self.precision.half_width / abs(self.other)
            return f"{word} than {name} by {_percent(abs(self.improvement), width)}"
        if not math.isfinite(self.loss):
            return f"not better than {name}: its loss is no finite number"
        if not self.precision.freedom:
            return f"not shown to be better than {name}: there are too few forecasts to say"
        return f"not better than {name} (p = {_rounded(self.p)})"


def diebold_mariano(losses: Tensor, others: Tensor, overlap: int) -> Comparison:
    """Two forecasts of the same, compared (Diebold & Mariano 1995, with the correction of Harvey,
    Leybourne & Newbold 1997):

    d = losses − others,  t = mean(d) / error,  p = P(|T| ≥ |t|)

    with error and degrees of freedom from :func:`precision_of_mean`. Where none is better, p is
    below 5 % in 3 to 7 % of all cases, for errors that are moving averages of up to h steps.

    Args:
        losses: such as squared errors, ``(origins, …)`` in order of time: all that follows the
            origins (steps, targets, series) is one observation. NaN is left out, on both sides.
        others: those of the other forecast, of the same shape.
        overlap: origins whose forecasts share a step: the horizon, where each origin is a step
            later than the one before, and 1 where forecasts do not overlap.

    Raises:
        InputError: shapes differ, or the overlap is below 1.
    """
    if losses.shape != others.shape or losses.ndim < 1 or overlap < 1:
        raise InputError(
            f"two forecasts of the same origins are compared, with an overlap of 1 or more, got "
            f"losses of the shapes {tuple(losses.shape)} and {tuple(others.shape)} and an overlap "
            f"of {overlap}"
        )
    first, second = (x.double().reshape(len(x), -1) for x in (losses, others))
    known = ~(first.isnan() | second.isnan())
    count = known.sum(1).double()
    if count.sum() == 0:
        return Comparison(math.nan, math.nan, Precision(math.inf, 0))
    a, b = (torch.where(known, x, 0.0).sum(1) for x in (first, second))
    mean_a, mean_b = (float(x.sum() / count.sum()) for x in (a, b))
    around = (a - b - (mean_a - mean_b) * count) / count.mean()
    return Comparison(mean_a, mean_b, precision_of_mean(around, overlap))


def _percent(share: float, width: float) -> str:
    """A share and half of its interval, to two digits of the latter at most."""
    digits = 0 if 100 * width >= 1 else min(3, 1 - math.floor(math.log10(max(100 * width, 1e-3))))
    return f"{100 * share:.{digits}f} ± {100 * width:.{digits}f} %"


def _rounded(p: float) -> str:
    return f"{p:.1f}" if p >= 0.1 else f"{p:.2f}"
