"""Exponential smoothing and ARIMA beside a network: a module stands in for statsforecast."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest

from commands import flags
from saiki import cli
from saiki.runs.reopen import reopen


class Repeats:
    """Forecasts the season before."""

    def __init__(self, season_length):
        self.season_length = season_length

    def forecast(self, y, h):
        return {"mean": np.resize(y[-self.season_length :], h)}


@pytest.fixture
def statsforecast(monkeypatch):
    package, models = ModuleType("statsforecast"), ModuleType("statsforecast.models")
    models.AutoETS, models.AutoARIMA = type("AutoETS", (Repeats,), {}), Repeats
    package.models = models
    monkeypatch.setitem(sys.modules, "statsforecast", package)
    monkeypatch.setitem(sys.modules, "statsforecast.models", models)


def command(folder, **changes):
    draw = np.random.default_rng(0)
    rows = [f"{5 + 2 * np.sin(i * np.pi / 6) + draw.normal() / 9}" for i in range(600)]
    (folder / "table.csv").write_text("\n".join(["load", *rows]) + "\n")
    knobs = {
        "data": folder / "table.csv", "target": "load", "horizon": 12, "look_back": 48,
        "segment": 12, "hidden_size": 4, "epochs": 0.1, "device": "cpu", "statistical": 9,
        **changes,
    }  # fmt: skip
    return ["run", "forecast", *flags(**knobs), "--out", str(folder / "run")]


@pytest.mark.long
def test_statistical_models_stand_beside_the_network_on_the_same_origins(
    statsforecast, tmp_path, capsys
):
    assert cli.main(command(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "than ARIMA" in printed
    assert "than exponential smoothing" in printed
    assert "from 9 origins" in printed
    figures = json.loads((tmp_path / "run" / "result.json").read_text())
    experiment, model = reopen(tmp_path / "run")
    test, column = experiment.data.test, experiment.source.columns[0].values
    every = -(-len(test) // 9)
    origins = test.origin[::every]
    truth = np.stack([column[t : t + 12] for t in origins])
    before = np.stack([column[t - 12 : t] for t in origins])
    unit = column[: experiment.source.splits[0].train].std()
    wanted = (((truth - before) / unit) ** 2).mean()
    assert figures["mse_arima"] == pytest.approx(wanted, rel=1e-3)
    assert figures["mse_exponential_smoothing"] == pytest.approx(wanted, rel=1e-3)
    judgement = experiment.judgement(model)
    mine = float(judgement.errors()[::every].double().mean())
    assert figures["skill_beside_arima"] == pytest.approx(1 - mine / wanted, rel=1e-3)


def test_what_is_not_installed_is_said_before_training(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    assert cli.main(command(tmp_path)) == 2
    assert "pip install 'saiki[series]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
