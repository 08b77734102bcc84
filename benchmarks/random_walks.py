"""How often a forecaster is said to be better than the last value where nothing is, and where much
is: on random walks, and on autoregressive series whose law is known.

A network of its own is trained on each of so many series, forecasts its last fifth, and is compared
with the last value by the test that ``saiki run forecast`` makes. On random walks "better" may be
said in 5 % at most; the interval is that of Clopper & Pearson (1934), of 95 %. On autoregressive
series the mean squared error is also divided by that of the conditional expectation, which knows
the law. "Better" on more than 5 % of the walks or on less than 95 % of the others, or an error more
than 5 % above that of the law on average, is a failure.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saiki.bench.harness import Row
from saiki.data.series.made import coefficients
from saiki.experiments.forecast.exercise import Forecasting
from saiki.experiments.forecast.judgement import judge
from saiki.experiments.forecast.model import Simple
from saiki.metrics.forecasts import mean_of_known
from saiki.metrics.significance import clopper_pearson
from saiki.training.loop import Training

HORIZONS = (1, 6)
SMALL = {
    "look_back": 12, "segment": 4, "hidden_size": 16, "epochs": 12.0, "batch_size": 64,
    "learning_rate": 0.01, "dropout": 0.0, "device": "cpu",
}  # fmt: skip
FIRST = 1000
"""The seed of the first series: the settings above were chosen on others."""
SCALING = {"random-walk": "last", "autoregressive": "none"}
"""A walk is read from its last value, which makes the network's forecasts close to that; a series
that returns to its mean as it stands."""


@dataclass(frozen=True)
class Outcome:
    """Of one series.

    Args:
        is_better: whether it is said to be better than the last value.
        error: mean squared, in squared units of the last value's error.
        of_law: the same of the conditional expectation; 1 of a random walk, whose last value it is.
    """

    is_better: bool
    error: float
    of_law: float


def law(seed: int, horizon: int) -> Simple:
    """E(xᵗ⁺ʰ | xᵗ, xᵗ⁻¹) of :func:`saiki.data.series.made.autoregressive`."""
    first, second = coefficients(seed)

    def forecast(past: Tensor, column: Tensor) -> Tensor:
        steps = [past[:, -2], past[:, -1]]
        for _ in range(horizon):
            steps.append(first * steps[-1] + second * steps[-2])
        return torch.stack(steps[2:], 1)

    return forecast


def outcome(made: str, seed: int, horizon: int) -> Outcome:
    """A network trained on one series and judged."""
    knobs = {**SMALL, "scaling": SCALING[made], "horizon": horizon}
    experiment = Forecasting(made=made, made_seed=seed, seed=seed, **knobs)
    torch.manual_seed(seed)
    model = experiment.model()
    Training(experiment, model).run(lambda point: None)
    simple: dict[str, Simple] = {
        "last_value": lambda past, column: past[:, -1:].expand(-1, horizon)
    }
    if made == "autoregressive":
        simple["law"] = law(seed, horizon)
    judgement = judge(model, experiment.data.test, 1, simple, experiment.paths)
    ours, of_last, of_law = (
        mean_of_known(judgement.errors(name)) for name in ("", "last_value", [*simple][-1])
    )
    is_better = judgement.compared("last_value").is_better
    return Outcome(is_better, ours / of_last, of_law / of_last)


def row_of(made: str, horizon: int, outcomes: Sequence[Outcome]) -> Row:
    """How often the network is said to be better, and how far it is from the law."""
    count, better = len(outcomes), sum(each.is_better for each in outcomes)
    ratios = sorted(each.error / each.of_law for each in outcomes)
    share, mean = better / count, sum(ratios) / count
    is_wrong = share > 0.05 if made == "random-walk" else share < 0.95
    return {
        "workload": f"{made}, {horizon} steps",
        "count": count,
        "better": better,
        "share": round(share, 3),
        "interval": [round(bound, 3) for bound in clopper_pearson(better, count)],
        "error beside the law's": round(mean, 4),
        "its 95th percentile": round(ratios[int(0.95 * (count - 1))], 4),
        **({"missed": "too often, or too far from the law"} if is_wrong or mean > 1.05 else {}),
    }


def rows(count: int = 200) -> Iterator[Row]:
    torch.set_num_threads(1)
    for horizon, made in itertools.product(HORIZONS, SCALING):
        outcomes = [outcome(made, seed, horizon) for seed in range(FIRST, FIRST + count)]
        yield row_of(made, horizon, outcomes)
