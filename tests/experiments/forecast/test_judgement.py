"""What is said of forecasts: as often right as it claims, in units in which it can be compared."""

import csv

import numpy as np
import pytest
import torch
from benchmarks import random_walks

from saiki.data.series.made import MADE
from saiki.experiments.forecast.exercise import Forecasting
from saiki.experiments.forecast.judgement import Judgement, first_step, judge
from saiki.experiments.forecast.model import simple_forecasts
from saiki.training.loop import Training

SERIES, STEPS = 20, 800


def table_of(kind, path):
    """Twenty series of a kind, in one table."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "x"])
        random = np.random.default_rng(5)
        for number in range(SERIES):
            x = np.zeros(STEPS + 100)
            for t in range(2, len(x)):
                mean = x[t - 1] if kind == "walk" else 0.6 * x[t - 1] - 0.4 * x[t - 2]
                x[t] = mean + random.standard_normal()
            rows.writerows((f"s{number:02d}", f"{value:.6f}") for value in x[100:])
    return path


@pytest.mark.parametrize("kind", ["walk", "autoregressive"])
def test_better_is_said_of_series_that_can_be_forecast_and_of_no_random_walk(kind, tmp_path):
    experiment = Forecasting(
        data=str(table_of(kind, tmp_path / "x.csv")), target="x", series="name", horizon=3,
        look_back=12, segment=4, hidden_size=16, epochs=2.0, updates=0, dropout=0.0,
        learning_rate=0.01,
        scaling="last" if kind == "walk" else "none", device="cpu",
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = experiment.model()
    Training(experiment, model).run(lambda point: None)
    figures = experiment.evaluate(model)
    better = round(SERIES * figures["better_than_last_value"])
    if kind == "walk":
        assert better <= 3  # more than that in 1 of 500 cases, if each is at most 1 in 40
        verdict = experiment.describe_model(model).split("\n")[0]
        assert "not better than the last value (p = " in verdict or "worse than the last" in verdict
        assert verdict.endswith(f"and in {better} of 20 columns by itself")
        return
    assert better == SERIES

    def law(past, column):
        steps = [past[:, -2], past[:, -1]]
        for _ in range(3):
            steps.append(0.6 * steps[-1] - 0.4 * steps[-2])
        return torch.stack(steps[2:], 1)

    judgement = judge(model, experiment.data.test, 1, {"last_value": law, "law": law}, 2)
    assert judgement.errors().mean() < 1.05 * judgement.errors("law").mean()


@pytest.mark.long
def test_one_series_is_read_and_judged_as_the_benchmark_does(monkeypatch):
    monkeypatch.setitem(random_walks.SMALL, "epochs", 3.0)
    walk = random_walks.outcome("random-walk", 1, 1)
    other = random_walks.outcome("autoregressive", 1, 1)
    assert not walk.is_better
    assert walk.of_law == 1
    assert other.is_better
    assert other.of_law < other.error < 1.5 * other.of_law < 1
    for name, better, is_missed in (
        ("random-walk", 10, False), ("random-walk", 11, True),
        ("autoregressive", 190, False), ("autoregressive", 189, True),
    ):  # fmt: skip
        some = [random_walks.Outcome(i < better, 1.04, 1.0) for i in range(200)]
        row = random_walks.row_of(name, 1, some)
        assert row["interval"][0] < row["share"] == better / 200 < row["interval"][1]
        assert ("missed" in row) is is_missed
    assert "missed" in random_walks.row_of("autoregressive", 1, [
        random_walks.Outcome(True, 1.06, 1.0)
    ])  # fmt: skip


def made_up(truth, bound, calibrated_on=1.0):
    """A judgement of one column and step, whose intervals of 80 % reach from −bound to bound."""
    levels = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]) * bound
    quantiles = levels.expand(len(truth), 1, 1, 5)
    nothing = torch.zeros(len(truth), 1, 1)
    forecasts = {"": nothing, "last_value": nothing}
    unit = torch.ones(len(truth), 1, 1)
    return Judgement(truth[:, None, None], quantiles, forecasts, unit, 1, calibrated_on)


def test_intervals_that_hold_too_much_or_too_little_are_told():
    draw = torch.Generator().manual_seed(0)
    truth = torch.randn(1000, generator=draw)
    right = made_up(truth, 1.2816).coverage_verdict(0.8)
    assert right.startswith("80 % intervals covered ")
    assert "," not in right
    wide = made_up(truth, 2.0).coverage_verdict(0.8)
    assert wide.endswith("wider than they had to be: what is tested is calmer than what validated")
    narrow = made_up(truth, 0.8).coverage_verdict(0.8)
    assert narrow.endswith("and are too narrow: what is tested is rougher than what validated")
    assert made_up(truth, 0.8, 0.0).coverage_verdict(0.8).endswith("%, and are too narrow")


def test_intervals_of_counts_that_cannot_be_narrower_are_not_too_wide():
    truth = (torch.rand(2000, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    at_bounds = made_up(2 * truth - 1, 1.0)  # all values lie on the bounds
    assert at_bounds.covered(0.8).share == 1
    assert at_bounds.coverage_verdict(0.8) == "80 % intervals covered 100.0 ± 0.0 %"
    assert "wider" in made_up(2 * truth - 1, 1.1).coverage_verdict(0.8)


def test_errors_of_returns_count_in_shares_of_the_last_price():
    experiment = Forecasting(
        made="prices", scaling="log-return", horizon=2, look_back=10, segment=5, hidden_size=8,
        epochs=0.05, updates=0, calendar=False, device="cpu", train=2800,
    )  # fmt: skip
    model = experiment.model()
    simple = simple_forecasts(experiment.source, 10, 2)
    judgement = judge(model, experiment.data.test, 3, simple, 2)
    [column] = experiment.source.columns
    price, begin = column.values, experiment.source.splits[0].validation
    at = begin + 3 * np.arange(len(judgement.truth))
    log_returns = np.diff(np.log(price[:2800]))
    for step in (0, 1):
        wanted = (price[at + step] / price[at - 1] - 1) / log_returns.std()
        np.testing.assert_allclose(
            judgement.errors("last_value")[:, step, 0], wanted**2, rtol=1e-3, atol=1e-5
        )
    assert (judgement.quantiles > 0).all()
    step = first_step(judgement, column, experiment.data.test, 3)
    np.testing.assert_allclose(step.truth, price[at], rtol=1e-6)
    np.testing.assert_allclose(
        step.change(step.truth), 100 * (price[at] / price[at - 1] - 1), atol=1e-3
    )
    assert (step.times == column.times[at]).all()
    assert step.in_percent


def test_all_that_can_be_made_up_is_offered():
    assert set(Forecasting.knob("made").choices) == {"nothing", *MADE}
