"""``saiki try``: a grid, its table, its claims."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from commands import saiki
from forked import CHILDREN
from saiki.experiment import Claim
from saiki.experiments.adder import Adder

GRID = [
    "adder",
    "hidden_size=3,4",
    "iterations=12",
    "bits=4",
    "longer_bits=5",
    "log_every=4",
    "--seeds",
    "2",
]


@pytest.fixture(scope="module", autouse=True)
def workers_need_not_import():
    """How they begin otherwise is tested with what they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saiki.runs.workers.CONTEXT", CHILDREN)
        yield


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """The folder of a grid that was run one job at a time, and what was printed."""
    folder = tmp_path_factory.mktemp("tried") / "one"
    return folder, saiki("try", *GRID, "--jobs", 1, "--out", folder)


def rows(folder):
    return json.loads((folder / "table.json").read_text())


def test_try_prints_its_table_and_last_its_folder(tried):
    folder, (code, out, err) = tried
    assert (code, err, out[-1]) == (0, [], str(folder))
    varied = [word.split("=")[0] for word in GRID if "=" in word]
    assert out[0].split() == [*varied, "exact_sum_rate", "loss", "seconds"]
    assert [line.split()[0] for line in out[1:3]] == ["3", "4"]
    assert not [line for line in out if "held" in line]  # these runs decide no claim


def test_the_table_is_the_mean_and_deviation_of_the_runs_it_names(tried):
    folder, _ = tried
    varied = ["hidden_size", "iterations", "bits", "longer_bits", "log_every"]
    table = rows(folder)
    assert [[row[name] for name in varied] for row in table] == [[3, 12, 4, 5, 4], [4, 12, 4, 5, 4]]
    runs = sorted(path.name for path in folder.iterdir() if path.is_dir())
    name = "hidden_size={},iterations=12,bits=4,longer_bits=5,log_every=4,seed={}"
    assert runs == [name.format(size, seed) for size in (3, 4) for seed in (0, 1)]
    for row in table:
        paths = [folder / name.format(row["hidden_size"], seed) for seed in (0, 1)]
        results = [json.loads((path / "result.json").read_text()) for path in paths]
        for figure in ("loss", "exact_sum_rate", "exact_sum_rate_longer", "train_loss", "seconds"):
            values = [result[figure] for result in results]
            assert row[f"{figure}_mean"] == pytest.approx(np.mean(values), rel=1e-12)
            assert row[f"{figure}_std"] == pytest.approx(np.std(values, ddof=1), rel=1e-9)
        assert row["state_exploded_at_mean"] is None
        assert row["stopped_mean"] == 0
    assert table[0]["loss_std"] > 0  # the seeds differ


def test_the_sheet_holds_the_same_table(tried):
    with (tried[0] / "table.csv").open() as text:
        sheet = list(csv.DictReader(text))
    for row, line in zip(rows(tried[0]), sheet, strict=True):
        assert row == {name: json.loads(value) if value else None for name, value in line.items()}


def test_the_number_of_jobs_does_not_change_a_number(tried):
    assert saiki("try", *GRID, "--jobs", 2, "--out", "two")[0] == 0
    one, two = (
        [{k: v for k, v in row.items() if "seconds" not in k} for row in rows(folder)]
        for folder in (tried[0], Path("two"))
    )
    assert one == two
    for path in tried[0].glob("*/model.safetensors"):
        assert path.read_bytes() == Path("two", path.relative_to(tried[0])).read_bytes()


def test_a_run_of_the_grid_is_the_run_of_its_knobs(tried):
    words = "adder --hidden-size 4 --iterations 12 --bits 4 --longer-bits 5 --log-every 4 --seed 1"
    saiki("run", *words.split(), "--out", "alone")
    name = "hidden_size=4,iterations=12,bits=4,longer_bits=5,log_every=4,seed=1"
    there = tried[0] / name
    for file in ("model.safetensors", "metrics.jsonl"):
        assert Path("alone", file).read_bytes() == (there / file).read_bytes()


def test_without_a_grid_the_claims_are_run_and_judged(monkeypatch):
    def figures(trials):
        return f"{trials[0].mean('iterations'):.0f} iterations"

    def claim(statement, bound):
        changes = ({"iterations": 3, "bits": 4, "longer_bits": 4},)
        judge = lambda trials: (trials[0].mean("iterations") < bound, figures(trials))  # noqa: E731
        return Claim(statement, "report", changes, judge)

    monkeypatch.setattr(Adder, "claims", (claim("It ends soon", 5), claim("It ends at once", 2)))
    code, out, err = saiki("try", "adder", "--seeds", 1, "--jobs", 1)
    assert (code, err, out[-1]) == (0, [], "runs/adder/1")
    assert "held      It ends soon: 3 iterations" in out
    assert "not held  It ends at once: 3 iterations" in out
