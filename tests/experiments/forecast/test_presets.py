"""The presets of prices and demand, and what is claimed of forecasts."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import flags
from saiki import cli
from saiki.experiment import Trial
from saiki.experiments.forecast.exercise import CELLS, HORIZONS, Forecasting
from saiki.experiments.forecast.model import ForecastModel
from saiki.runs.reopen import reopen

TINY = {
    "prices": {"hidden_size": 4, "epochs": 0.2, "train": 600, "validation": 200.0, "test": 200.0},
    "demand": {"hidden_size": 4, "epochs": 0.02, "paths": 4, "every": 20},
}
PRICES, MEMORY, LONG, COVER, OF_OIL, BOTH_WAYS = (0, 1, 4, 5, 6, 7)
"""Numbers of claims."""


def words(preset, **changes):
    return flags(preset=preset, **{**TINY[preset], "device": "cpu", **changes})


@pytest.fixture(scope="module", params=TINY)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / request.param
    assert cli.main(["run", "forecast", *words(request.param), "--out", str(folder)]) == 0
    return request.param, folder


@pytest.mark.long
def test_what_is_made_up_is_forecast_and_drawn(run, tmp_path, capsys):
    preset, folder = run
    assert {"forecasts", "horizon", "first_step"} <= {path.stem for path in folder.glob("*.png")}
    experiment, model = reopen(folder)
    assert "made up" in experiment.describe_data()
    figures = json.loads((folder / "result.json").read_text())
    assert {"mse", "mse_last_value", "coverage_80", "better_than_last_value"} <= figures.keys()
    if preset == "prices":
        assert re.search("(worse|not better) than the last", experiment.describe_model(model))
        assert "ŷʲ = m exp(s y)" in experiment.equations()
    # a table of one's own with the same columns goes on, too
    table = tmp_path / "mine.csv"
    days = np.arange(80).astype("M8[D]") + np.timedelta64(15_000, "D")
    days = days if preset == "demand" else days[np.is_busday(days)]
    header, first = ("time,price", "") if preset == "prices" else ("time,item,sold", "my thing,")
    lines = [f"{day},{first}{3 + i % 5}" for i, day in enumerate(days)]
    table.write_text("\n".join([header, *lines]) + "\n")
    capsys.readouterr()
    assert cli.main(["predict", str(folder), str(table), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == experiment.horizon
    for row in rows:
        quantiles = [*row["quantiles"].values()]
        assert quantiles == sorted(quantiles)
        assert quantiles[0] >= 0
    if preset == "prices":  # ten times the price is ten times its forecast
        table.write_text("\n".join([header, *(f"{line}0" for line in lines)]) + "\n")
        assert cli.main(["predict", str(folder), str(table), "--json"]) == 0
        more = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        np.testing.assert_allclose(
            [row["mean"] for row in more], [10 * row["mean"] for row in rows], rtol=1e-4
        )
        table.write_text("\n".join([header, *lines[:-1], f"{days[-1]},0"]) + "\n")
        assert cli.main(["predict", str(folder), str(table)]) == 2
        assert "a log-return is of values above 0, and price holds 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": "x.csv"}, "say with --target which columns"),
        ({"data": "x.csv", "made_seed": 1}, "made_seed is of what is made up"),
        ({"target": "close"}, "prices that are made up have their own columns"),
        ({"made": "nothing", "made_seed": 3}, "made_seed goes with made prices or demand or"),
        ({"made": "random-walk"}, "a log-return is of values above 0, and x holds -"),
    ],
)
def test_what_cannot_be_made_up_is_refused(changes, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("close\n" + "50\n" * 900)
    flags = words("prices", **changes)
    assert cli.main(["run", "forecast", *flags, "--out", str(tmp_path / "run")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_price_of_ones_own_takes_the_place_of_the_made_one(tmp_path):
    table = tmp_path / "x.csv"
    table.write_text("close\n" + "".join(f"{50 + i % 7}\n" for i in range(900)))
    preset = Forecasting.preset("prices")
    source = Forecasting(**preset, data=str(table), target="close").source
    assert [column.target for column in source.columns] == ["close"]
    assert len(source.columns[0]) == 900


def test_other_seeds_make_other_prices():
    one, other = (Forecasting(**Forecasting.preset("prices"), made_seed=seed) for seed in (0, 1))
    assert [*one.data.items()["columns"]] != [*other.data.items()["columns"]]


def trials(settings, **figures):
    """Trials with so many seeds as there are values: of each figure the values of each setting."""
    columns = [
        dict(zip(figures, rows, strict=True)) for rows in zip(*figures.values(), strict=True)
    ]
    return [
        Trial(dict(knobs), tuple(
            dict(zip(column, values, strict=True)) for values in zip(*column.values(), strict=True)
        ))
        for knobs, column in zip(settings, columns, strict=True)
    ]  # fmt: skip


def decided(number, settings, **figures):
    return Forecasting.claims[number].judge(trials(settings, **figures))


def test_a_claim_about_prices_holds_where_all_prices_say_so():
    settings, of_last = [{}] * 5, [[1.0, 1.0]] * 5
    verdicts = [[0.0, 1.0]] * 5
    better = [[0.9, 0.92], [0.91, 0.9], [0.93, 0.9], [0.9, 0.9], [0.89, 0.9]]
    held, figures = decided(
        PRICES, settings, mse=better, mse_last_value=of_last, better_than_last_value=verdicts
    )
    assert held
    assert "better is said of 5 of 10 runs" in figures
    worse = [[1.0 + 0.1 * i, 1.1 - 0.1 * i] for i in range(5)]
    held, _ = decided(
        PRICES, settings, mse=worse, mse_last_value=of_last, better_than_last_value=verdicts
    )
    assert not held


def test_memory_is_judged_among_all_horizons():
    settings = [{"cell": cell, "horizon": h} for h in HORIZONS for cell in CELLS]
    values = [[1.0, 1.01, 0.99], [0.9, 0.9, 0.9], [0.9, 0.91, 0.89]] * len(HORIZONS)
    values[-1] = [1.0, 0.99, 1.01]  # at 168 LSTM helps nobody
    values = [[v + 0.001 * i for i, v in enumerate(row)] for row in values]
    decisions = [decided(MEMORY + i, settings, mse=values) for i in range(3)]
    assert [held for held, _ in decisions] == [True, True, False]
    assert "as one of 6" in decisions[0][1]
    assert decisions[2][1].startswith("mse rnn 1.001 ±")


@pytest.mark.parametrize("number", [LONG, BOTH_WAYS])
def test_the_first_of_two_has_less_error_or_not(number):
    settings = Forecasting.claims[number].changes
    knobs = [Forecasting.from_dict({**changes}).to_dict() for changes in settings]
    assert decided(number, knobs, mse=[[0.8, 0.81, 0.8], [0.9, 0.91, 0.92]])[0]
    assert not decided(number, knobs, mse=[[0.9, 0.91, 0.92], [0.8, 0.81, 0.8]])[0]
    assert not decided(number, knobs, mse=[[0.8], [0.9]])[0]  # one seed shows nothing


@pytest.mark.parametrize("number", [COVER, OF_OIL])
def test_coverage_may_miss_by_three_points(number):
    settings = Forecasting.claims[number].changes
    count = len(settings)

    def of(first, second):
        return decided(
            number, settings, coverage_80=[[first] * 2] * count, coverage_95=[[second] * 2] * count
        )

    assert of(0.775, 0.96)[0]
    assert not of(0.84, 0.95)[0]
    assert not of(0.8, 0.92)[0]


@pytest.mark.parametrize(
    "changes", [{}, {"bidirectional": True}, {"steps": "one-by-one", "layers": 2}]
)
def test_recurrent_weights_begin_smaller_and_nothing_else_does(changes):
    parts = {}
    for scale in (1.0, 0.25):
        torch.manual_seed(0)
        network = ForecastModel(hidden_size=6, initial_scale=scale, **changes).network(2, 1, 0, 4)
        parts[scale] = dict(network.named_parameters(remove_duplicate=False))
    scaled = 0
    for name, weight in parts[1.0].items():
        is_recurrent = ".cell." in name or name.startswith("decoder")
        shrinks = is_recurrent and weight.ndim > 1
        torch.testing.assert_close(parts[0.25][name], weight * 0.25 if shrinks else weight)
        scaled += shrinks
    assert scaled >= 4
