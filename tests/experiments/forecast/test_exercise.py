"""The exercise of forecasts: what it learns of waves, what it beats, and how a table goes on."""

import csv
import json

import numpy as np
import pytest
import torch

from commands import flags
from saiki import cli
from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.experiments.forecast.answers import exported_forecaster, law_names
from saiki.experiments.forecast.exercise import Forecasting
from saiki.export import onnx
from saiki.layers.stack import Stack
from saiki.models.forecaster import Forecaster
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.runs.reopen import reopen


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two shops by the hour; what is sold follows the hour, and a sale that is known beforehand."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "shops.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["when", "shop", "sold", "sale"])
        for shop, level in (("north", 20.0), ("south", 300.0)):
            for t in range(700):
                sale = int(random.random() < 0.1)
                wave = 2 + np.sin(2 * np.pi * t / 24) + 2 * sale
                sold = level * (wave + 0.1 * random.standard_normal())
                when = np.datetime64("2024-03-01T00") + np.timedelta64(t, "h")
                rows.writerow([when, shop, f"{sold:.3f}", sale])
    return path


def words(table, **changes):
    knobs = {
        "data": table, "target": "sold", "series": "shop", "known": "sale", "horizon": 6,
        "look_back": 48, "segment": 6, "hidden_size": 32, "epochs": 10.0, "learning_rate": 0.01,
        "batch_size": 32, "device": "cpu", "dropout": 0.0, "scaling": "none", **changes,
    }  # fmt: skip
    if knobs.get("steps") == "one-by-one":
        window = {"segment", "dropout", *({"scaling"} - changes.keys())}
        knobs = {k: v for k, v in knobs.items() if k not in window}
    return flags(**knobs)


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for steps in ("together", "one-by-one"):
        flags = words(table, steps=steps, paths=50)
        assert cli.main(["run", "forecast", *flags, "--out", str(folder / steps)]) == 0
    return folder


@pytest.mark.parametrize("steps", ["together", "one-by-one"])
@pytest.mark.long
def test_what_is_known_beforehand_beats_what_only_reads_the_past(steps, runs):
    experiment, model = reopen(runs / steps)
    figures = experiment.evaluate(model)
    simple = [v for name, v in figures.items() if name.startswith("mse_")]
    assert figures["mse"] < 0.6 * min(simple)
    assert figures["skill"] == pytest.approx(1 - figures["mse"] / min(simple))
    assert {"mse_last_value", "mse_seasonal", "mse_drift", "mse_linear"} <= figures.keys()
    assert 0.6 < figures["coverage_80"] < 0.95
    assert "better than" in experiment.describe_model(model)


def longer(table, folder, sale):
    """The table with six rows more of each shop, whose sales alone are known."""
    path = folder / "longer.csv"
    lines = table.read_text().splitlines()
    for shop in ("north", "south"):
        for t in range(700, 706):
            when = np.datetime64("2024-03-01T00") + np.timedelta64(t, "h")
            lines.append(f"{when},{shop},,{sale}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("steps", ["together", "one-by-one"])
def test_a_table_goes_on(steps, runs, table, tmp_path, capsys):
    means = []
    for sale in (0, 1):
        path = longer(table, tmp_path, sale)
        capsys.readouterr()
        assert cli.main(["predict", str(runs / steps), str(path), "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["series"] for row in rows] == ["north"] * 6 + ["south"] * 6
        assert rows[0]["time"] == "2024-03-30T04:00:00"
        for row in rows:
            quantiles = [*row["quantiles"].values()]
            assert quantiles == sorted(quantiles)
        means.append([row["mean"] for row in rows])
    gained = np.array(means[1]) - np.array(means[0])
    levels = np.repeat([20.0, 300.0], 6)
    ratio = gained / levels  # a sale brings two levels more
    assert ratio.min() > 0.5
    assert abs(ratio.mean() - 2) < 1
    assert cli.main(["predict", str(runs / steps), str(table)]) == 2
    assert "must reach 6 rows further" in capsys.readouterr().err


def test_a_series_that_was_not_learned_from_is_forecast_in_its_own_units(runs, table, tmp_path):
    """Whatever is drawn for what has no name: 50 times a series is 50 times its forecast."""
    lines = longer(table, tmp_path, 0).read_text().splitlines()
    for shop, factor in (("west", 1.0), ("east", 50.0)):
        rows = [line.split(",") for line in lines if ",north," in line]
        lines += [
            f"{when},{shop},{float(sold) * factor if sold else ''},{sale}"
            for when, _, sold, sale in rows
        ]
    path = tmp_path / "four.csv"
    path.write_text("\n".join(lines) + "\n")
    experiment, model = reopen(runs / "together")
    outlook = experiment.outlook(model)
    forecasts = {
        columns[0].series: forecast.quantiles
        for columns, forecast in outlook.of_table(outlook.read(path))
    }
    torch.testing.assert_close(forecasts["east"], 50 * forecasts["west"], rtol=1e-3, atol=1e-2)


def test_rows_of_another_distance_are_refused_and_too_few_are_told(runs, table, tmp_path, capsys):
    lines = longer(table, tmp_path, 0).read_text().splitlines()
    daily = tmp_path / "daily.csv"
    days = [np.datetime64("2024-01-01") + np.timedelta64(day, "D") for day in range(60)]
    rows = [f"{day},north,{20 + i % 7},0" for i, day in enumerate(days)]
    daily.write_text("\n".join(["when,shop,sold,sale", *rows]))
    assert cli.main(["predict", str(runs / "together"), str(daily)]) == 2
    errors = capsys.readouterr().err
    assert "the model learned from rows 1 hour apart, and those of" in errors
    assert "are 1 day apart" in errors
    few = tmp_path / "few.csv"
    north = [line for line in lines if ",north," in line]
    few.write_text("\n".join([lines[0], *north[-26:]]) + "\n")
    assert cli.main(["predict", str(runs / "together"), str(few)]) == 0
    assert "north sold has 20 rows where the model reads 48" in capsys.readouterr().err


def test_what_is_known_beforehand_is_data_of_the_run(table, tmp_path):
    changed = tmp_path / "changed.csv"
    text = table.read_text()
    changed.write_text(text.replace(",1\r\n", ",0\r\n", 1).replace(",1\n", ",0\n", 1))
    assert changed.read_text() != text
    items = [
        [*Forecasting(data=str(path), target="sold", series="shop", known="sale").data.items()[
            "columns"]] for path in (table, changed)
    ]  # fmt: skip
    assert items[0] != items[1]


def test_the_examples_are_the_origins_of_each_series(table):
    data = Forecasting(data=str(table), target="sold", series="shop", horizon=6, look_back=48).data
    # of 700 rows 490 are learned from and the last 140 tested; six rows follow each origin
    assert data.examples() == (2 * (490 - 48 - 5), 2 * (140 - 5))


def test_what_comes_later_changes_no_forecast_of_the_test(runs, table, tmp_path):
    experiment, model = reopen(runs / "together")
    whole = experiment.judgement(model)
    changed = tmp_path / "changed.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    for row in rows[1:]:
        if row[0] >= "2024-03-28":
            row[2] = str(float(row[2]) + 1000)
    with changed.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    other = experiment.changed({"data": str(changed)}).judgement(model)
    before = 27 * 24 - experiment.source.splits[0].validation - 6
    assert before > 20
    np.testing.assert_array_equal(
        whole.forecasts[""][:before].numpy(), other.forecasts[""][:before].numpy()
    )
    assert not np.array_equal(whole.forecasts[""].numpy(), other.forecasts[""].numpy())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": ""}, "say with --target"),
        ({"target": "solt"}, "did you mean sold"),
        ({"steps": "one-by-one", "known": "", "observed": "sale"}, "take steps together"),
        (
            {"steps": "one-by-one", "bidirectional": "true"},
            "bidirectional goes with steps together, got one-by-one",
        ),
        (
            {"steps": "one-by-one", "scaling": "last"},
            "scaling last is of a window, and steps one by one know none",
        ),
        (
            {"steps": "one-by-one", "likelihood": "negative_binomial", "scaling": "difference"},
            "counts (negative_binomial) have no scaling but none, got difference",
        ),
        ({"likelihood": "gaussian"}, "likelihood goes with steps one-by-one, got together"),
        (
            {"steps": "one-by-one", "likelihood": "negative_binomial"},
            "negative_binomial is of counts, and sold holds other numbers",
        ),
        ({"horizon": 500}, "no series is long enough"),
        ({"validation": 600.0, "test": 600.0}, "cannot be parted"),
    ],
)
def test_what_cannot_be_forecast_is_refused(changes, sentence, table, tmp_path, capsys):
    flags = words(table, **changes)
    assert cli.main(["run", "forecast", *flags, "--out", str(tmp_path / "run")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_what_is_exported_forecasts_as_the_model_does(runs, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "shops.onnx"
    assert cli.main(["export", str(runs / "together"), "--onnx", str(path)]) == 0
    experiment, model = reopen(runs / "together")
    window = experiment.data.test.window(np.arange(0, 300, 50))
    session = runtime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    inputs = zip(names, (window.past, window.column, window.known), strict=True)
    [forecast] = session.run(None, {name: tensor.numpy() for name, tensor in inputs})
    with torch.no_grad():
        wanted = model(*window).quantiles
    np.testing.assert_allclose(forecast, wanted.numpy(), rtol=1e-4, atol=1e-2)


def test_an_exported_step_can_be_followed(runs, tmp_path):
    """Row by row, by another program, with the laws of the whole."""
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "step.onnx"
    assert cli.main(["export", str(runs / "one-by-one"), "--onnx", str(path)]) == 0
    experiment, model = reopen(runs / "one-by-one")
    session = runtime.InferenceSession(path)
    names = json.loads(session.get_modelmeta().custom_metadata_map["law"])
    assert names == ["location", "scale", "freedom"]
    columns, network = experiment.source.columns, model.network
    values = torch.stack([torch.from_numpy(column.values[:30]) for column in columns]).float()
    values[0, 11] = torch.nan
    known = torch.from_numpy(np.stack([column.known[:30] for column in columns])).float()
    column = torch.tensor([1, 2])
    with torch.no_grad():
        output = network(values, column, model.features("known", known))
        wanted = network.laws(output, values, column)
    value, state = torch.full((2,), torch.nan), np.zeros((2, 32), np.float32)
    newest = value.numpy()
    for t in range(30):
        arrays = (value, column, state, newest, known[:, t])
        inputs = [each.name for each in session.get_inputs()]
        *law, state, newest = session.run(None, {n: np.asarray(v) for n, v in zip(inputs, arrays,
                                         strict=True)})  # fmt: skip
        for name, exported in zip(names, law, strict=True):
            if t == 0 and name == "location":
                assert np.isnan(exported).all()  # nothing says how high a series begins
                continue
            np.testing.assert_allclose(exported, getattr(wanted, name)[:, t, 0], rtol=1e-4)
        value = values[:, t]


@pytest.mark.long
def test_steps_of_counts_and_of_several_layers_are_exported_too(tmp_path):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    layers = Stack([LSTM(3, 4), GRU(4, 5)])
    network = StepwiseForecaster(layers, "negative_binomial", 2, embedding_size=2)
    model = Forecaster(network, ["a", "b"], ["sold"], (), (), 4, 8).eval()
    module, example = exported_forecaster(model)
    path = onnx(module, example, tmp_path / "step.onnx")  # compares the file with the module
    assert path.exists()
    assert law_names(model) == ("rate", "dispersion")
    assert len(module(*example)) == 3
    with torch.no_grad():
        network.layer.layers[1].cell.initial_state = lambda rows: torch.ones(rows, 5)
        with pytest.raises(InputError, match="do not begin at 0"):
            exported_forecaster(model)


@pytest.mark.long
def test_each_part_of_what_is_tested_is_judged_by_what_learned_from_all_before(
    table, tmp_path, capsys
):
    command = [*words(table, epochs=0.1, updates=0, origins=3), "--out", str(tmp_path / "once")]
    assert cli.main(["run", "forecast", *command]) == 0
    once = json.loads((tmp_path / "once" / "result.json").read_text())
    assert {f"skill_origin_{part}" for part in (1, 2, 3)} <= once.keys()
    command = [*words(table, epochs=0.1, updates=0, origins=3), "--cross-validate", "origins"]
    assert cli.main(["run", "forecast", *command, "--out", str(tmp_path / "anew")]) == 0
    folds = [reopen(tmp_path / "anew" / f"origin={part}") for part in (1, 2, 3)]
    # the first part is forecast by a network that learned from the same rows, once and anew
    first = folds[0][0].evaluate(folds[0][1])["skill"]
    assert first == pytest.approx(once["skill_origin_1"], rel=1e-4)
    # parts follow each other, and hold all origins of what is tested together
    whole = reopen(tmp_path / "once")[0]
    origins = np.concatenate([e.data.test.origin[e.data.test.number == 0] for e, _ in folds])
    np.testing.assert_array_equal(origins, whole.data.test.origin[whole.data.test.number == 0])
    for experiment, _ in folds:
        split = experiment.source.splits[0]
        assert int(experiment.data.test.origin.min()) == split.validation
        assert split.validation - split.train == len(experiment.source.columns[0].values) // 10
    learned = [experiment.source.splits[0].train for experiment, _ in folds]
    assert learned == sorted({*learned})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"origin": 4, "origins": 3}, "origin counts from 1 to the number of origins, 3, got 4"),
        ({"origins": 500}, "no series is long enough"),
    ],
)
def test_origins_that_are_not_there_are_refused(changes, sentence, table, tmp_path, capsys):
    run = [
        "run",
        "forecast",
        *words(table, epochs=0.1, updates=0, **changes),
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main([*run, "--cross-validate", "origins"]) == 2
    assert sentence in capsys.readouterr().err


def test_one_origin_is_no_cross_validation(table, tmp_path, capsys):
    run = ["run", "forecast", *words(table), "--out", str(tmp_path / "run")]
    assert cli.main([*run, "--cross-validate", "origins"]) == 2
    assert "--origins 5 --cross-validate origins" in capsys.readouterr().err
