"""Trying a grid: its settings, its table, its verdicts."""

import csv
import json
import math
import signal
from contextlib import nullcontext

import numpy as np
import pytest

from saiki import cli
from saiki.errors import InputError
from saiki.experiment import Claim, Trial
from saiki.experiments.adder import Adder
from saiki.plots import canvas
from saiki.runs import sweep, workers
from saiki.runs.folder import RunFolder
from tiny import WAVE


def test_the_grid_is_every_combination_in_the_order_written():
    assert Adder.outline().grid(["bits=8,4", "cell=rnn,gru", "learning-rate=0.1"]) == [
        {"bits": 8, "cell": "rnn", "learning_rate": 0.1},
        {"bits": 8, "cell": "gru", "learning_rate": 0.1},
        {"bits": 4, "cell": "rnn", "learning_rate": 0.1},
        {"bits": 4, "cell": "gru", "learning_rate": 0.1},
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bits"], "expected knob=value,value, got 'bits'"),
        (["bits="], "expected knob=value,value, got 'bits='"),
        (["=3"], "expected knob=value,value, got '=3'"),
        (["bit=3"], "there is no knob 'bit'; the knobs are batch_size,"),
        (["bits=4,33"], "bits must be a whole number from 2 to 32, got '33'"),
        (["bits=4,"], "bits must be a whole number from 2 to 32, got ''"),
        (["bits=4", "bits=5"], "bits is given twice; write bits=a,b"),
        (["log_every=4", "log-every=5"], "log_every is given twice"),
        (["seed=1,2"], "seeds are counted with --seeds N"),
    ],
)
def test_a_word_that_is_no_grid_is_refused(words, sentence):
    with pytest.raises(InputError) as error:
        Adder.outline().grid(words)
    assert str(error.value).startswith(sentence)


def test_a_setting_is_the_preset_with_its_changes_and_the_seeds_from_0():
    rows = sweep.settings(Adder, "report", [{"bits": 4}, {"bits": 6, "batch_size": 2}], seeds=3)
    report = dict(Adder.presets["report"])
    for row, change in zip(rows, ({"bits": 4}, {"bits": 6, "batch_size": 2}), strict=True):
        wanted = tuple(Adder(**{**report, **change, "seed": seed}) for seed in range(3))
        assert row.experiments == wanted
    assert [row.label for row in rows] == ["bits=4", "bits=6, batch_size=2"]
    assert rows[1].folder_name(2) == "bits=6,batch_size=2,seed=2"


def test_a_setting_that_comes_twice_is_run_once():
    rows = sweep.settings(Adder, None, [{"bits": 4}, {"bits": 8}, {}, {"bits": 4}], seeds=2)
    assert [row.changes for row in rows] == [{"bits": 4}, {"bits": 8}]  # 8 is the default


def rows_and_trials(figures):
    """One row for each of ``figures``: a list of the results of its seeds."""
    rows = sweep.settings(Adder, None, [{"bits": n + 3} for n in range(len(figures))], seeds=2)
    trials = [Trial({}, tuple(results)) for results in figures]
    return rows, trials


def test_the_table_holds_mean_and_sample_deviation_of_each_figure():
    values = [0.5, 0.75, 0.25, 1.0]
    rows, trials = rows_and_trials([[{"loss": v, "score": 7.0} for v in values]])
    assert sweep.table(rows, trials) == [
        {
            "bits": 3,
            "loss_mean": pytest.approx(np.mean(values)),
            "loss_std": pytest.approx(np.std(values, ddof=1)),
            "score_mean": 7.0,
            "score_std": 0.0,
        }
    ]


def test_one_seed_has_no_spread():
    line, *_ = sweep.table(*rows_and_trials([[{"loss": 0.25}]]))
    assert (line["loss_mean"], line["loss_std"]) == (0.25, 0.0)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_figure_that_one_run_lacks_is_null(value):
    line, *_ = sweep.table(*rows_and_trials([[{"loss": 1.0}, {"loss": value}]]))
    assert (line["loss_mean"], line["loss_std"]) == (None, None)


def test_a_figure_that_the_first_run_lacks_is_null():
    rows, trials = rows_and_trials([[{"score": 0.0}, {"score": 1.0, "loss": 2.0}]])
    line, *_ = sweep.table(rows, trials)
    assert (line["score_mean"], line["loss_mean"], line["loss_std"]) == (0.5, None, None)
    assert trials[0].means() == {"score": 0.5, "loss": None}


def test_the_table_is_saved_as_json_and_csv_and_the_curves_as_one_picture(tmp_path, monkeypatch):
    figures_saved = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: figures_saved.append(figure) or path)
    results = [{"loss": 1.0}, {"loss": 2.0}], [{"loss": 3.0}, {"loss": None}]
    rows, trials = rows_and_trials(results)
    out = RunFolder(tmp_path)
    for i, row in enumerate(rows):
        for seed in (0, 1):
            run = RunFolder(tmp_path / row.folder_name(seed))
            run.path.mkdir()
            for step in (1, 2):
                run.append("metrics.jsonl", {"step": step, "loss": 10 * i + seed + step})
    lines = sweep.table(rows, trials)
    table, sheet, _ = sweep.save(out, rows, trials, lines)
    assert json.loads(table.read_text()) == lines
    with sheet.open() as text:
        assert list(csv.DictReader(text)) == [
            {"bits": "3", "loss_mean": "1.5", "loss_std": str(math.sqrt(0.5))},
            {"bits": "4", "loss_mean": "", "loss_std": ""},
        ]
    curves = {line.get_label(): list(line.get_ydata()) for line in figures_saved[0].axes[0].lines}
    assert curves == {"bits=3": [1.5, 2.5], "bits=4": [11.5, 12.5]}  # means over the seeds


def test_the_table_is_printed_in_columns():
    printed = []
    lines = [
        {"cell": "rnn", "loss_mean": 0.123456, "loss_std": 0.0321, "seconds_mean": 12.0},
        {"cell": "lstm", "bits": 4, "loss_mean": None, "loss_std": None},
    ]
    sweep.show(lines, ("figure_of_nobody", "loss"), printed.append)
    assert [line.split() for line in printed] == [
        ["cell", "bits", "loss"],
        ["rnn", "0.1235", "±", "0.032"],
        ["lstm", "4", "not", "finite"],
    ]
    # and the last column begins at the same place in each line
    last = zip(printed, ("loss", "0.1235", "not"), strict=True)
    assert len({line.index(word) for line, word in last}) == 1


def learns(trials):
    return trials[0].mean("score") > 0.5, f"score {trials[0].mean('score'):.1f}"


def loses(trials):
    return trials[0].mean("score") < trials[1].mean("score"), "compared"


CLAIMS = (
    Claim("Four bits are learned", "report", ({"bits": 4},), learns),
    Claim("Six bits are learned", "report", ({"bits": 6},), learns),
    Claim("Six bits are worse than four", "report", ({"bits": 6}, {"bits": 4}), loses),
    Claim("Four bits are worse than six", "report", ({"bits": 4}, {"bits": 6}), loses),
    Claim("Nine bits are learned", "report", ({"bits": 9},), learns),
    Claim("Nine bits are worse than four", "report", ({"bits": 9}, {"bits": 4}), loses),
    Claim("Four bits of another preset", "original", ({"bits": 4},), learns),
)


def test_each_claim_that_the_runs_decide_gets_its_verdict_and_no_other(monkeypatch):
    monkeypatch.setattr(Adder, "claims", CLAIMS)
    rows = sweep.settings(Adder, "report", [{"bits": 4}, {"bits": 6}], seeds=2)
    trials = [Trial({}, ({"score": 0.9}, {"score": 0.7})), Trial({}, ({"score": 0.2},) * 2)]
    verdicts = [
        (c.statement, held, words) for c, held, words in sweep.verdicts(Adder, rows, trials)
    ]
    assert verdicts == [
        ("Four bits are learned", True, "score 0.8"),
        ("Six bits are learned", False, "score 0.2"),
        ("Six bits are worse than four", True, "compared"),
        ("Four bits are worse than six", False, "compared"),
    ]


def test_a_claim_is_decided_however_its_settings_were_written(monkeypatch):
    monkeypatch.setattr(Adder, "claims", CLAIMS[:1])
    changes = {"bits": 4, "learning_rate": 0.2}  # 0.2 is what the preset says
    rows = sweep.settings(Adder, "report", [changes], seeds=1)
    assert len(list(sweep.verdicts(Adder, rows, [Trial({}, ({"score": 1.0},))]))) == 1


def test_the_settings_of_all_claims_are_each_run_once(monkeypatch):
    monkeypatch.setattr(Adder, "claims", CLAIMS)
    rows = sweep.claim_settings(Adder, seeds=2)
    assert [row.changes for row in rows] == [
        {"preset": "report", "bits": 4},
        {"preset": "report", "bits": 6},
        {"preset": "report", "bits": 9},
        {"preset": "original", "bits": 4},
    ]
    report = dict(Adder.presets["report"])
    assert rows[1].experiments == tuple(Adder(**report | {"bits": 6, "seed": s}) for s in (0, 1))


def test_the_settings_of_the_claims_decide_every_claim():
    rows = sweep.claim_settings(Adder, seeds=1)
    figures = {"exact_sum_rate": 0.0, "state_peak": 0.0, "dead_units": 0.0}
    trials = [Trial(row.experiments[0].to_dict(), (figures,)) for row in rows]
    decided = [claim.statement for claim, _, _ in sweep.verdicts(Adder, rows, trials)]
    assert decided == [claim.statement for claim in Adder.claims]


# Going on with a sweep.

KNOBS = ["hidden_size=3,4", "iterations=12", "bits=4", "longer_bits=5", "log_every=4"]
WORDS = ["try", "adder", *KNOBS, "--seeds", "2"]


def in_this_process(started, stop_after=None):
    """A runner that notes what it starts, and is stopped by Ctrl-C in the middle of a run."""

    append = RunFolder.append

    def stop(*line):
        append(*line)
        signal.raise_signal(signal.SIGINT)

    def run(tasks):
        for task in tasks:
            started.append(task.folder.path.name)
            with pytest.MonkeyPatch.context() as patch:
                if len(started) == stop_after:
                    patch.setattr(RunFolder, "append", stop)
                task.run()
            yield task

    return run


def try_(capsys, monkeypatch, runner, *words):
    """Exit code and table, without the column of seconds, of a sweep that ``runner`` does."""
    monkeypatch.setattr(workers, "processes", lambda jobs: nullcontext(runner))
    code = cli.main([*WORDS, *words])
    lines = capsys.readouterr().out.splitlines()
    return code, [line.split()[:-3] for line in lines[:3]]


def without_seconds(path):
    rows = json.loads((path / "table.json").read_text())
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def test_a_sweep_that_was_stopped_goes_on_to_the_same_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = try_(capsys, monkeypatch, in_this_process([]), "--out", "whole")
    first, second = [], []
    code, _ = try_(capsys, monkeypatch, in_this_process(first, stop_after=3))
    assert (code, len(first)) == (130, 3)
    assert len(list(tmp_path.glob("runs/adder/1/*/result.json"))) == 2
    assert try_(capsys, monkeypatch, in_this_process(second), "--resume") == whole
    assert second == [first[2], second[1]]  # the one that was stopped, and the one not begun
    assert len({*first, *second}) == 4
    folder = tmp_path / "runs/adder/1"
    assert without_seconds(folder) == without_seconds(tmp_path / "whole")
    for name in ("model.safetensors", "metrics.jsonl"):
        for path in (tmp_path / "whole").glob(f"*/{name}"):
            there = folder / path.relative_to(tmp_path / "whole")
            assert there.read_bytes() == path.read_bytes()


def test_a_sweep_over_files_goes_on(tmp_path, capsys, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(WAVE)
    data = ",".join(str(tmp_path / f"{name}.csv") for name in ("a", "b"))
    words = ["try", "sin-cos", f"data={data}", "steps=6", "epochs=2", "hidden_size=4"]
    words += ["--seeds", "1", "--out", str(tmp_path / "out")]
    started, resumed = [], []
    runner = in_this_process(started, stop_after=2)
    monkeypatch.setattr(workers, "processes", lambda jobs: nullcontext(runner))
    assert cli.main(words) == 130
    monkeypatch.setattr(workers, "processes", lambda jobs: nullcontext(in_this_process(resumed)))
    assert cli.main([*words, "--resume"]) == 0
    assert resumed == started[1:]
    assert len(started) == 2
    assert len({RunFolder(path).config["knobs"]["data"] for path in out_folders(tmp_path)}) == 2


def out_folders(folder):
    return [path for path in (folder / "out").iterdir() if path.is_dir()]


def test_a_sweep_that_has_ended_runs_nothing_again(tmp_path, capsys, monkeypatch):
    before = try_(capsys, monkeypatch, in_this_process([]), "--out", str(tmp_path))
    table, started = (tmp_path / "table.json").read_bytes(), []
    words = ("--out", str(tmp_path), "--resume")
    assert try_(capsys, monkeypatch, in_this_process(started), *words) == before
    assert started == []
    assert (tmp_path / "table.json").read_bytes() == table  # to the seconds


def test_a_folder_of_something_else_is_no_sweep_to_go_on_with(tmp_path, capsys, monkeypatch):
    (tmp_path / "thesis.txt").write_text("years of work")
    words = ("--out", str(tmp_path), "--resume")
    assert try_(capsys, monkeypatch, in_this_process([]), *words)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
