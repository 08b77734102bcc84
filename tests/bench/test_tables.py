"""Every table of ``saiki bench`` at its smallest: who is timed, and that all of them run."""

from functools import partial

import pytest
import torch
from benchmarks import adder, decoding, spoken_digits, translate

from saiki import cli
from saiki.bench import cells, grid, layers, peers
from saiki.bench.harness import peak_memory
from saiki.errors import InputError
from saiki.experiments.translate import Translate
from tiny import PAIRS, TINY, tones

SMALL = {"hidden_size": 4, "embedding_size": 4, "minimum": 1, "batch_size": 8, "source": "x",
         "target": "y"}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Short sequences, and no peer that takes seconds to compile."""
    torch.set_num_threads(1)
    for name in ("of_jax", "of_keras"):
        monkeypatch.setattr(peers, name, lambda *_: None)
    for module in (cells, layers):
        monkeypatch.setattr(module, "SHORT", (2, 5, 1, 3))
        monkeypatch.setattr(module, "LONG", (1, 6, 2, 3))
        monkeypatch.setattr(module, "WIDE", ((2, 4, 3, 5),))
    monkeypatch.setattr(grid, "SHAPES", ((1, 2, 3, 4),))
    monkeypatch.setattr(grid, "OTHER", ((1, 2, 3, 4),))
    monkeypatch.setattr(grid, "TIMED", 1e-6)
    monkeypatch.setattr(grid, "LIMIT_SIZE", 8)
    monkeypatch.setattr(layers, "SPEECH", (4, 6, 2, 3))
    monkeypatch.setattr(cells, "VARIANTS", {"peephole": cells.VARIANTS["peephole"]})
    monkeypatch.setattr(adder, "ITERATIONS", 3)
    monkeypatch.setattr(translate, "BATCHES", 1)
    monkeypatch.setattr(decoding, "SENTENCES", 2)


def timed(rows):
    """The contenders of each row, after what every row holds."""
    contenders = {}
    for row in rows:
        times, spread = row["milliseconds"], row["spread"]
        assert times.keys() == spread.keys()
        assert all(spread[name][0] <= times[name] <= spread[name][1] for name in times)
        assert len(row["ratio"]) == len(times) - 1
        contenders[row["workload"]] = [*times]
    return contenders


@pytest.mark.long
def test_cells_are_timed_beside_the_peers_and_the_eager_loop():
    others = ["saiki", "torch.nn", "eager"]
    assert timed(cells.rows(1)) == {
        **{f"bidirectional {family}": others for family in ("rnn", "lstm", "gru")},
        "gru": others,
        "variants beside the plain lstm": ["saiki", "peephole"],
        "peephole lstm": ["saiki", "torch.nn without peepholes"],
    }


def test_the_adder_is_timed_beside_numpy():
    assert timed(adder.rows(1)) == {"adder, preset report, 3 iterations": ["saiki", "numpy"]}


def test_all_contenders_of_a_row_are_timed_in_turn(monkeypatch):
    called = []
    monkeypatch.setattr(cells, "training_step", lambda *_: lambda: called.append("ours"))
    monkeypatch.setattr(peers, "of_torch", lambda *_: lambda: called.append("theirs"))
    cells._against_peers("gru", "gru", (1, 2, 1, 2), False, 2)
    assert called == ["ours", "theirs", "ours"] * 3  # to warm up, and twice; the last is eager


def test_drop_ins_are_timed_beside_recurrent_and_ragged_batches_beside_full_ones():
    both = ["saiki.Recurrent", "saiki.nn"]
    assert timed(layers.rows(1)) == {
        **{f"bidirectional {family}": both for family in ("rnn", "lstm", "gru")},
        "gru": both,
        "peephole lstm": both,
        "ragged bidirectional lstm": [
            "full", "with lengths", "saiki.nn, full", "saiki.nn, packed"
        ],
    }  # fmt: skip


@pytest.mark.long
def test_the_grid_times_every_cell_and_mode_beside_torch():
    rows = list(grid.rows(1))
    modes = [(m, c) for c in ("lstm", "gru", "rnn") for m in ("train", "infer")]
    modes += [(f"train, {n}", c) for c in grid.OURS for n in ("float64", "bfloat16", "autocast")]
    names = [f"{c}, {m}, 1 thread" for m, c in modes]
    assert timed(rows) == {name: ["saiki.nn", "torch.nn"] for name in names}
    assert all(row["limit"] > 0 for row in rows[:6])
    assert ["memory" in row for row in rows] == [row["mode"] == "train" for row in rows]


def test_what_a_step_has_in_memory_at_its_peak_is_counted():
    megabytes = [64, 32]
    # what it holds at once, however small that is at its end
    peaks = [peak_memory(lambda n=n: torch.ones(n << 18).sum()) for n in megabytes]
    if peaks[0] is None:
        pytest.skip("only Linux with glibc tells")
    assert [round(n / 2**20) for n in peaks] == pytest.approx(megabytes, abs=1)


def test_what_loses_in_the_grid_is_said():
    ratios = {("lstm", 8): 0.5, ("lstm", 2): 2.0, ("gru", 8): 0.98}
    rows = [
        {"workload": name, "family": name, "mode": "train", "threads": 2, "size": (size,),
         "ratio": {"torch.nn": ratio}} for (name, size), ratio in ratios.items()
    ]  # fmt: skip
    rows[0]["memory"] = {"saiki.nn": 9 << 20, "torch.nn": 6 << 20}
    rows[1]["memory"] = {"saiki.nn": 5 << 20, "torch.nn": 6 << 20}
    rows[2]["memory"] = {"saiki.nn": 3 << 20, "torch.nn": 1 << 20}
    lines = grid.summary(rows).splitlines()
    assert lines[0].startswith("lstm, train, threads 2: 1.00× on the geometric mean of 2 shapes")
    assert lines[2:] == [
        "1 of 3 take longer than torch.nn by more than 3 %", "  0.50×  lstm  (8,)",
        "1 of 2 training steps that take torch.nn 4 MiB or more take more memory by more than 3 %",
        "  1.50×  lstm  (8,)",
    ]  # fmt: skip


def test_the_limit_counts_products_of_both_weights_and_of_gradients():
    assert grid.operations((2, 3, 4, 5), "gru", "infer") == 2 * 2 * 3 * 9 * 15
    assert grid.operations((2, 3, 4, 5), "gru", "train") == 3 * 2 * 2 * 3 * 9 * 15


def test_an_epoch_of_spoken_digits_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(spoken_digits, "find_spec", lambda name: None)
    report = {**spoken_digits.SpokenDigits.presets["report"], "samples": 20, "hidden_size": 3}
    report |= {"data": str(tones(tmp_path, takes=10))}
    monkeypatch.setitem(spoken_digits.SpokenDigits.presets, "report", report)
    first, second = spoken_digits.rows(1)
    assert timed([first, second]) == {
        f"spoken digits, preset report, {which} epoch": ["saiki"] for which in ("first", "second")
    }
    assert first["accuracy after the first epoch"]["saiki"].keys() == {"validation", "test"}


def test_translation_is_timed_with_layers_of_three_makes(tmp_path, monkeypatch):
    path = tmp_path / "pairs.tsv"
    path.write_text(PAIRS)
    monkeypatch.setattr(translate, "Translate", partial(Translate, data=str(path), **SMALL))
    assert timed(translate.rows(1)) == {
        "translate, 1 iterations, float32": ["saiki", "torch.nn.LSTM", "step by step"],
        "translate, 1 iterations, bfloat16": ["saiki", "torch.nn.LSTM", "step by step"],
        "translate with input feeding, 1 iterations": ["saiki", "step by step"],
    }


def test_decoding_is_timed_together_and_one_by_one(tmp_path):
    out = tmp_path / "run"
    words = [*TINY["translate"].flags(tmp_path), "--out", str(out)]
    assert cli.main(["run", "translate", *words]) == 0
    rows = list(decoding.rows(out, 1))
    assert timed(rows) == {
        f"{how}, 2 sentences": ["together", "one by one"] for how in ("greedy", "beam 5")
    }
    assert all(speed > 0 for row in rows for speed in row["sentences a second"].values())
    with pytest.raises(InputError, match="is not a run folder"):
        next(decoding.rows(tmp_path, 1))
