"""Series that are made up, each by a law that is known; the same for the same seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from saiki.data.series.series_table import Series, SeriesTable
from saiki.data.series.steps import BusinessDays, Step, following

Numbers = NDArray[np.float64]
STEPS, DAYS, ITEMS, DAYS_SOLD = 3000, 4000, 100, 250
BEFORE = 500
"""Steps that pass before a series begins, so that nothing is left of where its law started."""
MONDAY = np.datetime64("2010-01-04", "us")


@dataclass(frozen=True)
class Made:
    """A table that can be made up.

    Args:
        make: makes it from a seed.
        target: the column that is forecast.
        series: the column that would tell its series apart; empty where there is one.
    """

    make: Callable[[int], SeriesTable]
    target: str
    series: str = ""


def prices(seed: int) -> SeriesTable:
    """A price by the business day whose best forecast is the last one, while how far it moves can
    be forecast: a martingale with GARCH(1, 1) (Bollerslev 1986) and Student's t of 5 degrees of
    freedom,

    vᵗ = ω + 0.09 (rᵗ⁻¹)² + 0.89 vᵗ⁻¹,  rᵗ = √vᵗ εᵗ,  pᵗ = pᵗ⁻¹ (1 + rᵗ)

    from 100, at 1.2 % a day on average.
    """
    random = np.random.default_rng(seed)
    variance = of_long = 0.012**2
    returns = np.empty(BEFORE + DAYS)
    for t, draw in enumerate(random.standard_t(5, len(returns)) * np.sqrt(3 / 5)):
        returns[t] = max(np.sqrt(variance) * draw, -0.5)
        variance = 0.02 * of_long + 0.09 * returns[t] ** 2 + 0.89 * variance
    price = np.cumprod(1 + returns[BEFORE:], dtype=np.float64) * 100
    description = "a price that is made up, a random walk whose volatility changes"
    return _table([("", price)], "price", description, BusinessDays())


def demand(seed: int) -> SeriesTable:
    """What is sold of a hundred things by the day, in counts: negative binomial around levels from
    0.3 to 100 a day, with a week of their own, a slow rise or fall, and a third of them on some
    days only."""
    random = np.random.default_rng(seed)
    days, columns = np.arange(DAYS_SOLD), []
    for number in range(ITEMS):
        level = np.exp(random.uniform(np.log(0.3), np.log(100)))
        week = np.exp(random.normal(0, 0.4, 7))
        trend = np.exp(random.normal(0, 0.3) * days / DAYS_SOLD)
        mean = level * (week / week.mean())[days % 7] * trend
        size = random.uniform(1, 10)  # the variance is mean + mean² / size
        sold = random.negative_binomial(size, size / (size + mean))
        is_wanted = random.random(DAYS_SOLD) < (
            random.uniform(0.2, 0.6) if number % 3 == 0 else 1.0
        )
        sold = np.where(is_wanted, sold, 0).astype(float)
        sold[0] += not sold.any()  # what is never sold is no series
        columns.append((f"item {number + 1:03d}", sold))
    description = "demand that is made up, in counts, with a week and days without any"
    return _table(columns, "sold", description, timedelta(days=1))


def random_walk(seed: int) -> SeriesTable:
    """xᵗ = xᵗ⁻¹ + εᵗ, of Gaussian ε of variance 1: nothing forecasts it better than its last value,
    at any step ahead."""
    random = np.random.default_rng(seed)
    return _table([("", random.standard_normal(STEPS).cumsum())], "x", "a random walk, made up")


def coefficients(seed: int) -> tuple[float, float]:
    """φ₁ and φ₂ of :func:`autoregressive`: its roots are 1 / r e^{±iω}, r from 0.4 to 0.8 and ω
    any, so that it is stationary and swings."""
    radius, angle = np.random.default_rng((seed, 0)).uniform((0.4, 0.0), (0.8, np.pi))
    return float(2 * radius * np.cos(angle)), float(-(radius**2))


def autoregressive(seed: int) -> SeriesTable:
    """xᵗ = φ₁ xᵗ⁻¹ + φ₂ xᵗ⁻² + εᵗ, of Gaussian ε of variance 1, with :func:`coefficients` of the
    same seed."""
    first, second = coefficients(seed)
    noise = np.random.default_rng((seed, 1)).standard_normal(BEFORE + STEPS)
    x = [0.0, 0.0]
    for each in noise:
        x.append(first * x[-1] + second * x[-2] + float(each))
    description = f"an autoregressive series, made up, of coefficients {first:.2f} and {second:.2f}"
    return _table([("", np.array(x[-STEPS:]))], "x", description)


def _table(
    columns: Sequence[tuple[str, Numbers]], target: str, description: str, step: Step | None = None
) -> SeriesTable:
    series = []
    for name, values in columns:
        count = len(values)
        times = np.arange(count)
        if step is not None:
            first = np.array([MONDAY])
            times = np.concatenate((first, following(first, step, count - 1)))
        none = np.zeros((count, 0))
        series.append(Series(name, times, values[:, None], none, none))
    time = "" if step is None else "time"
    return SeriesTable(tuple(series), (target,), (), (), time, step, "", description, "")


MADE = {
    "prices": Made(prices, "price"),
    "demand": Made(demand, "sold", "item"),
    "random-walk": Made(random_walk, "x"),
    "autoregressive": Made(autoregressive, "x"),
}
