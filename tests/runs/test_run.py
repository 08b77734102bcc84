"""One run: what it leaves in its folder, and what comes back out of it."""

import json
import platform

import pytest
import torch
from safetensors.torch import load_file

from saiki.experiments.adder import Adder
from saiki.plots import canvas
from saiki.plots.training import draw_training
from saiki.runs.folder import RunFolder
from saiki.training import Training
from small_runs import SETTING, run, trained_apart

EXPLODES = {"activation": "relu", "optimiser": "sgd", "learning_rate": 100.0, "log_every": 1}


def test_the_folder_holds_these_files_and_no_other(outcome):
    assert {path.name for path in outcome.folder.path.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "lens.jsonl",
        "result.json",
        "model.safetensors",
        "checkpoint",
        "loss.png",
        "lens.png",
    }
    for picture in ("loss.png", "lens.png"):
        assert (outcome.folder.path / picture).read_bytes()[:4] == b"\x89PNG"


def test_without_the_lens_there_is_nothing_of_it(tmp_path):
    run(tmp_path)
    assert not list(tmp_path.glob("lens*"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_run_that_ends_before_its_first_checkpoint_leaves_nothing(tmp_path, monkeypatch, error):
    def model(experiment):
        raise error

    monkeypatch.setattr(Adder, "model", model)
    with pytest.raises(error):
        run(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_config_tells_every_knob_the_preset_and_the_versions(outcome):
    config = json.loads((outcome.folder.path / "config.json").read_text())
    assert config["experiment"] == "adder"
    assert config["preset"] == "mine"
    assert config["knobs"] == SETTING.to_dict()
    assert config["versions"]["torch"] == torch.__version__
    assert config["versions"]["python"] == platform.python_version()


def test_the_weights_are_those_of_the_same_training_elsewhere(outcome):
    # the lens was on in one and off in the other
    weights, (model, _) = load_file(outcome.folder.path / "model.safetensors"), trained_apart()
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_the_metrics_are_the_points_of_the_training_and_what_was_monitored(tmp_path):
    run(tmp_path)
    records = list(RunFolder(tmp_path).lines("metrics.jsonl"))
    model, points = trained_apart()
    assert [record["step"] for record in records] == [20, 40, 50]
    for record, point in zip(records, points, strict=True):
        assert (record["loss"], record["gradient_norm"]) == (
            point.figures["loss"],
            point.figures["gradient_norm"],
        )
    assert {k: records[-1][k] for k in ("state_max", "dead_units")} == SETTING.monitor(model)


def test_the_lens_writes_a_line_for_each_look(outcome):
    records = list(outcome.folder.lines("lens.jsonl"))
    assert [record["step"] for record in records] == [1, 20, 40, 50]
    assert [len(r["layers"]["layer"]["gradient"]["h"]) for r in records] == [4, 4, 4, 4]


def test_the_result_is_flat_and_holds_the_figures_of_the_trained_model(outcome):
    result = json.loads((outcome.folder.path / "result.json").read_text())
    assert not any(isinstance(value, dict | list) for value in result.values())
    for name, value in SETTING.evaluate(trained_apart()[0]).items():
        assert result[name] == value
    records = list(outcome.folder.lines("metrics.jsonl"))
    assert result["train_loss"] == records[-1]["loss"]
    assert result["gradient_norm_max"] == max(r["gradient_norm"] for r in records)
    assert result["state_peak"] == max(r["state_max"] for r in records)
    assert (result["iterations"], result["stopped"]) == (50, None)
    assert result == {**outcome.figures, "stopped": None}


def test_the_loss_is_drawn_as_it_was_logged(outcome, monkeypatch):
    curves = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: curves.append(figure) or path)
    draw_training(outcome.folder.path, outcome.folder.points())
    line = curves[0].axes[0].lines[0]
    records = list(outcome.folder.lines("metrics.jsonl"))
    assert list(line.get_xdata()) == [r["step"] for r in records]
    assert list(line.get_ydata()) == [r["loss"] for r in records]


def test_a_person_sees_progress_at_each_tenth(tmp_path):
    lines = []
    run(tmp_path, Adder(iterations=40, bits=4, log_every=1), say=lines.append)
    steps = [int(line.split()[0]) for line in lines if "loss " in line]
    assert steps == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert lines[-1] == str(tmp_path / "loss.png")


def test_an_exploding_run_ends_in_a_whole_folder_and_says_where(tmp_path):
    outcome = run(tmp_path, Adder(**EXPLODES))
    step = int(outcome.figures["iterations"])
    assert 1 < step < 100
    assert f" at iteration {step}: " in outcome.trouble
    result = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["stopped"] == outcome.trouble
    assert [r["step"] for r in RunFolder(tmp_path).lines("metrics.jsonl")] == [*range(1, step)]
    assert (tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"
    # the weights are those from before the step that failed
    torch.manual_seed(0)
    shorter = Adder(**EXPLODES, iterations=step - 1)
    model = shorter.model()
    Training(shorter, model).run(lambda point: None)
    for name, value in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_run_that_explodes_at_once_has_figures_without_a_curve(tmp_path):
    outcome = run(tmp_path, Adder(activation="relu", recurrent_scale=1e8), watch=True)
    assert "h overflowed at iteration 1, step " in outcome.trouble
    assert outcome.figures["train_loss"] is outcome.figures["state_peak"] is None
    assert RunFolder(tmp_path).result["iterations"] == 1
