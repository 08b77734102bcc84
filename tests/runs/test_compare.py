"""Runs beside each other: what differs, and nothing else."""

import pytest

from saiki.errors import InputError
from saiki.experiments.adder import Adder
from saiki.plots import canvas
from saiki.runs.compare import compare
from saiki.runs.folder import RunFolder
from small_runs import SETTING, damaged, run


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: damaged(p, config={"experiment": "adder"}),
        lambda p: damaged(p, knobs={"hidden_size": "\ud800"}),
        lambda p: damaged(p, knobs={"colour": 1}),
        lambda p: (p / "metrics.jsonl").write_text('{"step": 1}\n'),
    ],
)
def test_a_damaged_folder_cannot_be_compared_and_says_so(folder, damage):
    damage(folder)
    with pytest.raises(InputError):
        list(compare([folder, folder], folder / "compare.png"))


def test_a_comparison_shows_only_what_differs(outcome, tmp_path, monkeypatch):
    figures_saved = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: figures_saved.append(figure) or path)
    other = Adder(**{**SETTING.to_dict(), "hidden_size": 3, "longer_bits": 4, "learning_rate": 0.5})
    folders = [outcome.folder.path, run(tmp_path / "other", other).folder.path]
    figures_saved.clear()
    *lines, picture = compare(folders, tmp_path / "compare.png")
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
    curves = {line.get_label(): list(line.get_ydata()) for line in figures_saved[0].axes[0].lines}
    for path in folders:
        records = RunFolder(path).lines("metrics.jsonl")
        assert curves[str(path)] == [r["loss"] for r in records]


def test_runs_of_two_exercises_are_not_compared(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "config.json").write_text('{"experiment": "sin-cos", "knobs": {}}')
    with pytest.raises(InputError, match=r"is a run of adder, .* one of sin-cos; their losses"):
        list(compare([folder, other], folder / "compare.png"))
    assert not (folder / "compare.png").exists()
