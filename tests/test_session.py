"""One run: what it leaves in its folder, and what comes back out of it."""

import json
import platform
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from saiki import checks, session
from saiki.errors import InputError
from saiki.experiments.adder import Adder
from saiki.plots import canvas
from saiki.plots.training import draw_training
from saiki.record import Options
from saiki.runs import RunFolder
from saiki.training import Training

SETTING = Adder(
    iterations=50, bits=4, longer_bits=6, hidden_size=5, batch_size=7, log_every=20, seed=3
)
EXPLODES = {"activation": "relu", "optimiser": "sgd", "learning_rate": 100.0, "log_every": 1}


def run(path, setting=SETTING, preset=None, **options):
    folder = RunFolder.create("adder", path)
    return session.run(setting, folder, preset, Options(**options))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run"), watch=True, preset="mine")


@pytest.fixture
def folder(outcome, tmp_path):
    """A copy of the run's folder, to be damaged."""
    shutil.copytree(outcome.folder.path, tmp_path, dirs_exist_ok=True)
    return tmp_path


def trained_apart():
    """The same training without a session."""
    torch.manual_seed(3)
    model, points = SETTING.model(), []
    Training(SETTING, model).run(points.append)
    return model, points


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
    drawn = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: drawn.append(figure) or path)
    draw_training(outcome.folder.path, outcome.folder.points())
    line = drawn[0].axes[0].lines[0]
    records = list(outcome.folder.lines("metrics.jsonl"))
    assert list(line.get_xdata()) == [r["step"] for r in records]
    assert list(line.get_ydata()) == [r["loss"] for r in records]


def test_a_person_sees_progress_at_each_tenth(tmp_path):
    said = []
    run(tmp_path, Adder(iterations=40, bits=4, log_every=1), say=said.append)
    steps = [int(line.split()[0]) for line in said if "loss " in line]
    assert steps == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert said[-1] == str(tmp_path / "loss.png")


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


def test_a_reopened_model_answers_as_the_one_in_memory(outcome):
    experiment, model = session.reopen(outcome.folder.path)
    assert experiment == SETTING
    twin, _ = trained_apart()
    for pair in ("3 + 4", "7 + 7", "123456 + 654321"):
        answers = [experiment.predict(m, pair) for m in (model, twin)]
        assert answers[0]["output"] == answers[1]["output"]
    x, _ = Adder.encode(Adder.kept_apart(4), 4)
    assert torch.equal(model(x), twin(x))


def damaged(path, config=None, **changes):
    original = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config or {**original, **changes}))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda p: (p / "config.json").unlink(), "is not a run folder"),
        (lambda p: (p / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda p: damaged(p, config={"a": 1}), "is not the record of a run"),
        (lambda p: damaged(p, knobs=[1]), "is not the record of a run"),
        (lambda p: damaged(p, experiment="subtracter"), "no experiment 'subtracter'"),
        (lambda p: damaged(p, knobs={"colour": 1}), "no knob 'colour'"),
        (lambda p: damaged(p, knobs={"hidden_size": 0}), "hidden_size must be"),
        (lambda p: damaged(p, knobs={"hidden_size": 6}), "does not hold the weights of this run"),
        (lambda p: (p / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda p: (p / "model.safetensors").write_bytes(b"\0" * 64), "is damaged"),
        (lambda p: (p / "model.safetensors").write_bytes(b""), "is damaged"),
        (lambda p: save_file({}, p / "model.safetensors"), "was not written by saiki"),
    ],
)
def test_a_damaged_folder_is_told_in_one_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(InputError) as error:
        session.reopen(folder)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: damaged(p, config={"experiment": "adder"}),
        lambda p: (p / "metrics.jsonl").write_text('{"step": 1}\n'),
    ],
)
def test_a_damaged_folder_cannot_be_compared_and_says_so(folder, damage):
    damage(folder)
    with pytest.raises(InputError):
        list(session.compare([folder, folder], folder / "compare.png"))


# Comparison.


def test_a_comparison_shows_only_what_differs(outcome, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: drawn.append(figure) or path)
    other = Adder(**{**SETTING.to_dict(), "hidden_size": 3, "longer_bits": 4, "learning_rate": 0.5})
    folders = [outcome.folder.path, run(tmp_path / "other", other).folder.path]
    drawn.clear()
    *lines, picture = session.compare(folders, tmp_path / "compare.png")
    assert picture == str(tmp_path / "compare.png")
    cut = lines.index("figures")
    settings = {line.split()[0]: line.split()[1:] for line in lines[2:cut]}
    assert settings == {
        "hidden_size": ["5", "3"],
        "longer_bits": ["6", "4"],
        "learning_rate": ["0.01", "0.5"],
    }
    figures = {line.split()[0]: line.split()[1:] for line in lines[cut + 1 :]}
    assert "iterations" not in figures  # 50 in both
    assert figures["exact_sum_rate_longer"][1] == "–"  # the other run has none
    results = [RunFolder(path).result["train_loss"] for path in folders]
    assert figures["train_loss"] == [f"{value:.6g}" for value in results]
    curves = {line.get_label(): list(line.get_ydata()) for line in drawn[0].axes[0].lines}
    for path in folders:
        records = RunFolder(path).lines("metrics.jsonl")
        assert curves[str(path)] == [r["loss"] for r in records]


# Cells of a user's file.

GOOD = """
import torch
from saiki import Cell
from saiki.cells import GRU


class Leaky(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return 0.9 * h + 0.1 * torch.tanh(self.W(x))


class Borrowed(Leaky):
    def step(self, x, h):
        return torch.sin(self.W(x)) + h
"""


def test_the_cells_of_a_file_are_those_it_defines_and_not_those_it_imports(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    assert [cell.__name__ for cell in checks.cells_in(str(path))] == ["Leaky", "Borrowed"]
    assert [cell.__name__ for cell in checks.cells_in(f"{path}:Borrowed")] == ["Borrowed"]


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        (GOOD, ":Leeky", "defines no cell 'Leeky'; it defines Leaky, Borrowed"),
        (GOOD, ":GRU", "defines no cell 'GRU'; it defines Leaky, Borrowed"),
        ("x = 1\n", "", "defines no subclass of saiki.Cell"),
        ("x = 1\ndef f(:\n", ":f", "(line 2)"),
        ("x = 1\n\ny = x / 0\n", ":f", "does not run: division by zero (line 3)"),
        ("import no_such_module_at_all\n", "", "No module named 'no_such_module_at_all' (line 1)"),
    ],
)
def test_a_file_without_the_cell_is_told_with_what_it_has_or_where_it_breaks(
    tmp_path, text, name, sentence
):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError) as error:
        checks.cells_in(f"{tmp_path / 'mine.py'}{name}")
    assert sentence in str(error.value)


def test_a_batch_is_doubled_but_for_its_whole_numbers():
    batch = (torch.ones(2), (torch.ones(1, dtype=torch.long), torch.tensor([0.1])))
    a, (b, c) = checks.doubled(batch)
    assert (a.dtype, b.dtype, c.dtype) == (torch.float64, torch.long, torch.float64)
    assert c.item() == pytest.approx(0.1, rel=1e-7)
