"""From sine to cosine: the windows, what the decoder is told, every figure by hand."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from batches import some
from saiki import cli
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.sin_cos import SinCos
from saiki.metrics.series import r2
from saiki.models.series import Units, written
from saiki.training import Training


def setting(preset=None, **changes):
    return SinCos.from_dict({**SinCos.preset(preset), **changes})


def trained(experiment):
    torch.manual_seed(experiment.seed)
    training = Training(experiment, experiment.model())
    training.run(lambda point: None)
    return training.model.eval()


class Writes(nn.Module):
    """Writes 0 and ``off``, and ``forced`` where it is told the truth."""

    def __init__(self, off=0.0, forced=0.0):
        super().__init__()
        self.off, self.forced = off, forced
        self.reads, self.writes = Units(), Units()

    def write(self, z, before=None):
        share = torch.zeros_like(z) if before is None else before[..., 1:]
        return z + self.off + share * (self.forced - self.off)


# The data.


def test_the_windows_are_those_of_the_course():
    x = np.linspace(-3 * np.pi, 3 * np.pi, 100)
    report = setting("report")
    windows = report.data.series.pairs
    assert len(windows) == 76
    for i in range(76):
        np.testing.assert_allclose(windows.x[i], np.sin(x[i : i + 24]), atol=1e-12)
        np.testing.assert_allclose(windows.target[i], np.cos(x[i : i + 24]), atol=1e-12)
    assert (report.data.series.learnt, report.data.epoch, report.iterations) == (60, 4, 320)
    assert report.data.series.starts() == [0, 24, 49, 74]


def test_the_preset_report_is_that_of_the_course():
    report = setting("report")
    assert sum(p.numel() for p in report.model().parameters()) == 251
    wanted = {"batch_size": 16, "epochs": 80, "optimiser": "adam", "learning_rate": 0.001}
    wanted |= {"validation": 0.2, "teacher_forcing": 1, "cell": "rnn", "hidden_size": 10}
    assert wanted.items() <= report.to_dict().items()


def test_an_epoch_sees_each_window_of_training_once():
    report = setting("report", precision="float64")
    for epoch in range(2):
        seen = torch.cat([target for _, _, target in some(report, 4, 4 * epoch)])[..., 0].numpy()
        order = [int(np.abs(report.data.series.pairs.target - row).sum(1).argmin()) for row in seen]
        assert sorted(order) == list(range(60))
        assert order != sorted(order)


def test_the_decoder_is_told_the_target_before_and_0_at_first():
    _, before, target = some(setting("report"), 1)[0]
    assert not before[:, 0, 0].any()
    assert torch.equal(before[:, 1:, 0], target[:, :-1, 0])
    assert (before[..., 1] == 1).all()
    assert not some(setting(), 1)[0][1][..., 1].any()


def test_teacher_forcing_is_as_often_as_it_says_and_falls_along_a_line():
    half = torch.cat([b[1][..., 1] for b in some(setting(teacher_forcing=0.5), 40)])
    assert half.mean().item() == pytest.approx(0.5, abs=5 * 0.5 / half.numel() ** 0.5)
    falling = setting("report", forcing_schedule="linear")
    share = falling.forcing.schedule(falling)
    assert [share(i) for i in (0, 319)] == [1, 0]
    assert share(100) == pytest.approx(1 - 100 / 319)


@pytest.mark.parametrize("changes", [{}, {"noise": 0.1, "stretch": 2.0, "cut_short": 0.5}])
def test_batches_go_on_from_any_number_and_follow_from_the_seed(changes):
    experiment = setting(teacher_forcing=0.5, **changes)
    for ours, theirs in zip(some(experiment, 3, 6), some(experiment, 9)[6:], strict=True):
        assert all(map(torch.equal, ours, theirs))
    assert not torch.equal(some(experiment, 1)[0][0], some(setting(seed=1, **changes), 1)[0][0])


def test_noise_is_on_the_input_alone():
    rows = some(setting(noise=0.3, precision="float64"), 20)
    clean = some(setting(precision="float64"), 20)
    noise = torch.cat([a[0] - b[0] for a, b in zip(rows, clean, strict=True)])
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    assert all(torch.equal(a[2], b[2]) for a, b in zip(rows, clean, strict=True))


def test_a_stretched_wave_is_one_and_a_short_one_its_beginning():
    experiment = setting(stretch=2.0, cut_short=1.0, precision="float64")
    sizes, factors = set(), []
    for x, before, target in some(experiment, 40):
        assert x.shape[1] == before.shape[1] == target.shape[1]
        sizes.add(x.shape[1])
        torch.testing.assert_close(x**2 + target**2, torch.ones_like(x))
        angle = torch.atan2(
            x[:, 1] * target[:, 0] - x[:, 0] * target[:, 1],
            target[:, 1] * target[:, 0] + x[:, 1] * x[:, 0],
        )
        factors.extend((angle[:, 0] / (6 * np.pi / 99)).tolist())
    assert min(sizes) >= 2
    assert max(sizes) <= 24
    assert len(sizes) > 10
    assert 0.5 <= min(factors) < 0.55
    assert 1.9 < max(factors) <= 2 + 1e-9


# The figures.


def test_the_figures_are_those_of_what_is_written_free_and_told():
    report = setting("report", precision="float64")
    figures = report.evaluate(Writes(off=0.3, forced=0.1))
    free, forced = (
        report.data.series.pairs.x + off - report.data.series.pairs.target for off in (0.3, 0.1)
    )
    assert figures["free_running_rmse"] == pytest.approx(np.sqrt((free**2).mean()))
    assert figures["teacher_forced_rmse"] == pytest.approx(np.sqrt((forced**2).mean()))
    assert figures["validation_rmse"] == pytest.approx(np.sqrt((free[60:] ** 2).mean()))
    assert figures["loss"] == pytest.approx((forced[60:] ** 2).mean())
    variance = report.data.series.pairs.target.var()
    assert figures["free_running_r2"] == pytest.approx(1 - (free**2).mean() / variance)
    held = report.data.series.pairs.target[60:]  # nothing of the score has been learned from
    wanted = 1 - (free[60:] ** 2).sum() / ((held - held.mean()) ** 2).sum()
    assert figures[report.score] == pytest.approx(wanted)


def test_a_target_that_never_changes_has_no_variance_to_explain():
    assert r2(np.ones(3), np.full(3, 7.0)) is None


@pytest.mark.long
def test_good_runs_free_with_an_error_below_one_fiftieth():
    figures = setting("good").evaluate(trained(setting("good")))
    assert figures["free_running_rmse"] <= 0.02
    assert figures["unseen_rmse"] <= 0.02


def decide(beginning, *trials):
    (claim,) = (c for c in SinCos.claims if c.statement.startswith(beginning))
    assert len(claim.changes) == len(trials)
    return claim.judge(trials)[0]


def trial(free, forced=0.1, **knobs):
    results = ({"free_running_rmse": f, "teacher_forced_rmse": forced} for f in free)
    return Trial(knobs, tuple(results))


def test_a_claim_is_held_by_the_runs_that_show_it_and_by_no_others():
    one, other = {"forcing_schedule": "constant"}, {"forcing_schedule": "linear"}
    assert decide("Running free", trial([0.15001, 0.4]))
    assert not decide("Running free", trial([0.1, 0.4]))
    assert decide("Ten times", trial([0.1, 0.149]))
    assert not decide("Ten times", trial([0.1, 0.2]))
    assert decide("Scheduled", trial([0.2, 0.4], **one), trial([0.1, 0.19], **other))
    assert not decide("Scheduled", trial([0.2, 0.4], **one), trial([0.1, 0.21], **other))
    zero, ones = trial([0.3], teacher_forcing=0.0), trial([0.1], teacher_forcing=1.0)
    assert not decide("Without any", zero, ones)
    assert decide("The preset good", trial([0.001, 0.02]))
    assert not decide("The preset good", trial([0.001, 0.021]))
    assert decide("From a sine", trial([0.049]))
    assert not decide("From a sine", trial([0.05]))


# Use.


def test_a_long_series_is_written_window_by_window():
    x = np.arange(10.0)
    np.testing.assert_allclose(written(Writes(off=0.5), x, steps=4), x + 0.5)


def test_a_prediction_tells_the_numbers_and_what_was_too_few():
    answer = setting(steps=3).predict(Writes(off=0.5), "0, 1;2\n3")
    assert answer.output == pytest.approx([0.5, 1.5, 2.5, 3.5])
    assert answer.text == "0.5 1.5 2.5 3.5"
    assert "note" not in answer.figures
    assert "got 2" in setting(steps=3).predict(Writes(), "0 1").figures["note"]
    assert "note" not in setting(steps=3, cut_short=0.5).predict(Writes(), "0 1").figures


@pytest.mark.parametrize("text", ["", "a b", "nan 1", "1e400 1", "nothing.csv", "1"])
def test_what_are_no_numbers_is_refused_in_a_sentence(text):
    with pytest.raises(InputError, match=r"^sin-cos (takes|needs 2) numbers "):
        setting().predict(Writes(), text)


def series(folder, points=100):
    t = np.arange(points)
    rows = np.stack((20 + 5 * np.sin(t / 4), 1000 - 300 * np.cos(t / 4)), 1)
    path = folder / "series.csv"
    path.write_text("\n".join(["load,cost", *(f"{a},{b}" for a, b in rows)]))
    return path, rows


def test_the_examples_are_windows_of_a_series_and_without_end_of_a_wave(tmp_path):
    path, _ = series(tmp_path, points=100)
    # 88 windows, of which a fifth is kept apart
    assert setting(data=str(path), steps=12).data.examples() == (70, 18)
    assert setting().data.examples() is None


@pytest.mark.long
def test_a_series_of_ones_own_is_learnt_in_its_units(tmp_path, monkeypatch, capsys):
    path, rows = series(tmp_path)
    experiment = setting(data=str(path), steps=12, epochs=40.0)
    assert experiment.data.series.names == ("load", "cost")
    known = rows[: experiment.data.series.learnt + 11]
    assert [u.mean for u in experiment.data.units] == pytest.approx(known.mean(0).tolist())
    assert [u.scale for u in experiment.data.units] == pytest.approx(known.std(0).tolist())
    begin = len(experiment.data.series.pairs) - len(experiment.data.unseen)
    assert begin == experiment.data.series.learnt + 11  # shares no point with training
    monkeypatch.chdir(tmp_path)
    words = "run sin-cos --data series.csv --steps 12 --epochs 40 --out run"
    assert cli.main(words.split()) == 0
    for name in ("loss", "predictions", "error_by_step"):
        assert (tmp_path / "run" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    figures = json.loads((tmp_path / "run" / "result.json").read_text())
    assert figures["free_running_rmse"] < 60  # of an amplitude of 300
    capsys.readouterr()
    assert cli.main(["predict", "run", "series.csv", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    errors = np.array(answer["output"]) - rows[:, 1]
    assert answer["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert answer["rmse"] < 60


def test_a_series_that_is_of_no_use_is_refused(tmp_path):
    path = tmp_path / "flat.csv"
    path.write_text("\n".join(f"{i},7" for i in range(60)))
    with pytest.raises(InputError, match=r"the column target of .* is 7 at all .* nothing to"):
        setting(data=str(path)).describe_data()
    path.write_text("1,2\n3,4\n")
    with pytest.raises(InputError, match=r"^2 points hold 0 windows of 24 steps"):
        setting(data=str(path)).describe_data()
    with pytest.raises(InputError, match=r"^30 points hold 1 windows of 29 steps"):
        setting(points=30, steps=29)
