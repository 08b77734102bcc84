"""Spoken digits on tones: what it learns, what it counts, and every figure by hand."""

import itertools
import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from batches import some
from commands import flags, refusal, saiki
from saiki import cli, processes
from saiki.data.sound import utterances
from saiki.data.sound.augment import NONE
from saiki.experiments.spoken_digits import SpokenDigits
from saiki.nn.mel import LogMel, Samples
from saiki.runs.folder import RunFolder
from saiki.runs.reopen import reopen

PITCHES = {"low": 300, "middle": 700, "high": 1_500}
KINDS = (("wav", 8_000, 1), ("flac", 16_000, 1), ("ogg", 22_050, 1), ("wav", 44_100, 2))
OFF = NONE.to_dict()
SMALL = {
    "split": "random",
    "voices": 0,
    "updates": 0,
    "bands": 16,
    "convolution": False,
    "hidden_size": 8,
    "layers": 1,
    "batch_size": 6,
    "learning_rate": 0.02,
    "device": "cpu",
}


def tone(path, hertz, seed, rate=8_000, channels=1):
    """A short tone in some noise, of a length and loudness of its own."""
    random = np.random.default_rng(seed)
    t = np.arange(round(random.uniform(0.08, 0.3) * rate)) / rate
    hertz = hertz * random.uniform(0.95, 1.05)
    wave = np.sin(2 * np.pi * hertz * t + random.uniform(0, 6)) + 0.02 * random.normal(size=len(t))
    wave *= random.uniform(0.05, 0.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([wave] * channels, 1), rate)
    return path


def folder_of_classes(folder, takes=14):
    """Tones of three pitches in several formats, and three files that are of no use."""
    for c, (label, hertz) in enumerate(PITCHES.items()):
        for n in range(takes):
            ending, rate, channels = KINDS[n % len(KINDS)]
            tone(folder / label / f"{n:02}.{ending}", hertz, 100 * c + n, rate, channels)
    soundfile.write(folder / "low" / "empty.wav", np.empty(0), 8_000)
    soundfile.write(folder / "middle" / "silent.wav", np.zeros(900), 8_000)
    (folder / "high" / "broken.wav").write_bytes(b"RIFF and no more")
    return folder


def named_files(folder, labels, speakers, takes):
    """``LABEL_SPEAKER_TAKE.wav``, the pitch by the label."""
    for d, s, n in itertools.product(range(len(labels)), range(len(speakers)), range(takes)):
        name = f"{labels[d]}_{speakers[s]}_{n}.wav"
        tone(folder / name, 200 * 1.6**d, (d, s, n))
    return folder


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return folder_of_classes(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Named as FSDD: 2 classes by 3 speakers, each 7 times."""
    folder = tmp_path_factory.mktemp("spoken")
    return named_files(folder, ("0", "1"), ("ann", "bob", "cleo"), 7)


def setting(data, **changes):
    return SpokenDigits(**{**SMALL, "data": str(data), **changes})


def plain(data, **changes):
    return setting(data, **{**OFF, "precision": "float64", **changes})


def made(experiment):
    """A model of it with random weights far from zero."""
    torch.manual_seed(1)
    model = experiment.model()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.7)
    return model.to(experiment.dtype).eval()


def probabilities(experiment, model, index):
    """What the model says of one recording alone."""
    wave = torch.from_numpy(experiment.data.recordings.waves[index])[None].to(experiment.dtype)
    with torch.no_grad():
        return model(wave, torch.tensor([wave.shape[1]]))[0].softmax(0).numpy()


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        for one, other in zip(a, b, strict=True):
            assert (one is None and other is None) or torch.equal(one, other)


# Learning.


@pytest.fixture(scope="module")
def run_folder(tones, tmp_path_factory):
    """A run of the command line on the tones, with everything that is changed at random on."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "one"
    words = ["--data", str(tones), "--out", str(out), *flags(**SMALL, epochs=25, log_every=50)]
    assert cli.main(["run", "spoken-digits", *words]) == 0
    return out


@pytest.fixture(scope="module")
def learned(run_folder):
    """Its experiment, and the trained model."""
    return reopen(run_folder)


@pytest.mark.long
def test_tones_are_learned(learned, run_folder):
    experiment, model = learned
    figures, points = experiment.evaluate(model), RunFolder(run_folder).points()
    assert figures["test_accuracy"] > 0.9
    assert points[-1]["validation_accuracy"] > 0.9
    assert points[-1]["loss"] < points[0]["loss"] < 2 * math.log(3)


def test_a_stereo_file_of_44100_hz_gets_its_label(learned, tmp_path):
    experiment, model = learned
    for seed, (label, hertz) in enumerate(PITCHES.items()):
        path = str(tone(tmp_path / f"{seed}.wav", hertz, seed, 44_100, channels=2))
        answer = experiment.predict(model, path)
        assert answer.figures["label"] == label
        assert 1 / 3 < answer.figures["probability"] <= 1
        assert answer.input == path
        assert answer.text.startswith(f"{path}: {label} ({answer.figures['probability']:.1%}), ")
        assert {each["label"] for each in answer.figures["classes"]} == set(PITCHES)
        values = [each["probability"] for each in answer.figures["classes"]]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1)


def test_a_prediction_is_that_of_the_whole_model_on_the_same_wave(learned):
    experiment, model = learned
    for index in (0, 5, 20):
        entry = experiment.data.recordings.entries[index]
        answer = experiment.predict(model, str(entry.path))
        p = probabilities(experiment, model, index)
        assert answer.figures["probability"] == pytest.approx(p.max(), rel=1e-5)
        assert answer.figures["label"] == ("high", "low", "middle")[p.argmax()]


def test_only_the_first_seconds_are_heard(tmp_path, tones):
    experiment = plain(tones, seconds=0.1)
    model = made(experiment)
    path = tone(tmp_path / "1.wav", 700, 5)
    wave, _ = soundfile.read(path)
    soundfile.write(tmp_path / "cut.wav", wave[:800], 8_000)
    ours, cut = (experiment.predict(model, str(p)) for p in (path, tmp_path / "cut.wav"))
    assert len(wave) > 900
    assert ours.figures["probability"] == cut.figures["probability"]
    waves, lengths = experiment.data.example()
    assert model(waves.double(), lengths).shape == (3, 3)


# Data.


def test_the_opening_tells_what_is_there_and_what_is_left_out(tones):
    first, *rest = setting(tones).describe_data().splitlines()
    description = "42 recordings of 3 classes: 30 to learn from, 6 to validate, 6 to test"
    assert first == f"{description} (split random)"
    assert rest[0] == "3 files are left out"
    assert rest[1].startswith("  high/broken.wav cannot be read as sound: ")
    assert rest[2:] == [
        "  low/empty.wav is empty: it holds no samples",
        "  middle/silent.wav is silent",
    ]


def test_of_many_files_that_are_left_out_ten_are_named(tmp_path):
    folder_of_classes(tmp_path, takes=4)
    for n in range(10):
        (tmp_path / "low" / f"x{n}.wav").write_bytes(b"")
    lines = setting(tmp_path).describe_data().splitlines()
    assert lines[1] == "13 files are left out"
    assert len(lines) == 2 + 10 + 1
    assert lines[-1] == "  and 3 more"


def test_speakers_are_told_and_why_there_are_no_synthetic_ones(spoken):
    first, *rest = setting(spoken, split="official", voices=50).describe_data().splitlines()
    assert first == (
        "42 recordings of 2 classes by 3 speakers: 10 to learn from, 2 to validate, 30 to test "
        "(split official)"
    )
    assert rest == ["no synthetic speakers: the classes are not the digits 0 to 9"]


def test_every_epoch_hears_each_recording_once_with_its_label(tones):
    experiment = plain(tones)
    numbers = {"high": 0, "low": 1, "middle": 2}
    front = LogMel(8_000, 16).double()
    want = Counter()
    for i in experiment.data.parts.train:
        wave = torch.from_numpy(experiment.data.recordings.waves[i])[None].double()
        z, frames = front(wave, torch.tensor([wave.shape[1]]))
        mean = z[0, : frames[0]].square().mean().item()
        want[round(mean, 9), numbers[experiment.data.recordings.entries[i].label]] += 1
    assert experiment.data.epoch == experiment.point_every == 5
    assert setting(tones, epochs=2.5).iterations == 13
    assert setting(tones, epochs=0.01).iterations == 1
    assert setting(tones, accumulate=2).data.epoch == 3
    assert setting(tones, log_every=7).point_every == 7
    for epoch in range(3):
        counts = Counter()
        for z, steps, targets in some(experiment, 5, start=5 * epoch):
            assert len(targets) == 6
            for row, count, target in zip(z, steps, targets, strict=True):
                assert row[count:].abs().sum() == 0
                counts[round(row[:count].square().mean().item(), 9), target.item()] += 1
        assert counts == want


def test_what_is_changed_at_random_differs_from_epoch_to_epoch(tones):
    experiment = setting(tones, batch_size=30)  # an epoch a batch
    one, two = some(experiment, 2)
    assert not np.intersect1d(
        one[0].square().mean((1, 2)).numpy(), two[0].square().mean((1, 2)).numpy()
    ).size
    plain_one, plain_two = some(setting(tones, batch_size=30, **OFF), 2)
    means = [np.sort(z.square().sum((1, 2)).numpy()) for z, _, _ in (plain_one, plain_two)]
    np.testing.assert_allclose(*means, rtol=1e-4)


def test_a_waveform_is_read_as_it_is(tones):
    experiment = plain(tones, features="waveform", samples=700, pooling="last", batch_size=30)
    ((z, steps, _),) = some(experiment, 1)
    assert steps is None
    assert z.shape == (30, 700, 1)
    data = experiment.data.recordings
    want = {tuple(np.resize(np.append(data.waves[i], np.zeros(700)), 700).tolist())
            for i in experiment.data.parts.train}  # fmt: skip
    assert {tuple(row[:, 0].tolist()) for row in z} == want
    assert len(want) == 30


def test_each_of_several_processes_has_its_part_of_one_batch(tones, monkeypatch):
    experiment = setting(tones, batch_size=12, patience=0)
    whole = some(experiment, 3)
    for z, steps, targets in whole:
        assert len(z) == len(steps) == len(targets) == 12
    parts = []
    monkeypatch.setattr(processes, "count", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        one = setting(tones, batch_size=6, patience=0)
        assert one.data.epoch == 3  # 30 recordings, 12 at a time
        parts.append(some(one, 3))
    for i, (z, steps, targets) in enumerate(whole):
        assert torch.equal(torch.cat([part[i][2] for part in parts]), targets)
        assert torch.equal(torch.cat([part[i][1] for part in parts]), steps)
        torch.testing.assert_close(torch.cat([part[i][0] for part in parts]), z, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Ten classes by two speakers, each ten times."""
    folder = tmp_path_factory.mktemp("ten")
    for d, s, n in itertools.product(range(10), ("ann", "bob"), range(10)):
        tone(folder / "recordings" / f"{d}_{s}_{n}.wav", 200 * 1.3**d, (d, len(s), n))
    return folder


def test_synthetic_speakers_are_a_share_of_each_batch(ten, monkeypatch):
    sizes = []

    def digits(count, seed, rate):
        sizes.append((count, seed, rate))
        waves = [np.full(800 + i, 0.5, np.float32) for i in range(count)]
        return tuple(waves), tuple(i % 10 for i in range(count))

    monkeypatch.setattr(utterances, "digits", digits)
    changes = {"features": "waveform", "samples": 900, "pooling": "last"}
    experiment = plain(ten, voices=23, voice_share=0.5, batch_size=9, seed=5, **changes)
    assert experiment.data.spoken_in_batch == 4  # of 9, as Python rounds 4.5
    assert experiment.data.epoch == math.ceil(140 / 5)
    assert (
        "23 utterances by synthetic speakers beside them" in experiment.describe_data().splitlines()
    )
    frames = []
    for z, _, targets in some(experiment, 23):
        constant = (z[:, :800, 0] == 0.5).all(1)
        assert constant.tolist() == [False] * 5 + [True] * 4
        counts = (z[constant] != 0).sum((1, 2)) - 800
        frames += counts.tolist()
        assert targets[constant].tolist() == [n % 10 for n in counts.tolist()]
    assert Counter(frames) == dict.fromkeys(range(23), 4)  # 4 epochs of them
    assert sizes == [(23, 5, 8_000)]
    same(some(plain(ten, voices=23, batch_size=9, seed=5, voice_share=0.5, **changes), 2, 3),
         some(experiment, 5)[3:])  # fmt: skip
    # there is always one that is real
    assert (
        plain(ten, voices=23, voice_share=0.95, batch_size=2, **changes).data.spoken_in_batch == 1
    )
    assert plain(ten, voices=23, voice_share=0.0, **changes).data.spoken_in_batch == 0


# The report.


def test_the_report_has_35082_parameters_and_splits_70_15_15(ten):
    values = {**SpokenDigits.preset("report"), "data": str(ten)}
    report = SpokenDigits.from_dict(values)
    model = report.model()
    assert sum(p.numel() for p in model.parameters()) == 33_792 + 1_290
    parts = report.data.parts
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [140, 30, 30]
    assert (report.data.epoch, report.iterations, report.point_every) == (18, 18, 25)
    assert report.describe_data() == (
        "200 recordings of 10 classes by 2 speakers: 140 to learn from, 30 to validate, "
        "30 to test (split random)"
    )
    ((z, steps, targets),) = some(report, 1)
    assert (z.shape, steps, targets.shape) == ((8, 1000, 1), None, (8,))
    assert isinstance(model.features, Samples)
    assert "1000 samples, cut or filled with 0" in report.equations()
    assert "64 units each way over z\n" in report.equations()


def test_the_default_is_the_preset_good(ten):
    assert SpokenDigits(**SpokenDigits.preset("good")) == SpokenDigits()
    model = setting(ten, convolution=True, layers=2, hidden_size=6).model()
    assert [type(m).__name__ for m in model.children()] == [
        "LogMel",
        "Convolution",
        "Dropout",
        "Stack",
        "AttentionPooling",
        "Linear",
    ]
    assert model.recurrent.layers[0].input_size == 6
    assert model.classes == tuple("0123456789")
    assert model.rate == 8_000


# Figures.


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
def test_the_loss_is_the_cross_entropy_with_smoothed_targets(tones, smoothing):
    experiment = plain(tones, label_smoothing=smoothing)
    model = made(experiment)
    ((z, steps, targets),) = some(experiment, 1)
    measures = experiment.measure(model, (z, steps, targets))
    loss = right = 0.0
    for i in range(6):
        with torch.no_grad():
            v = model.classify(z[i : i + 1], steps[i : i + 1])[0].numpy()
        log_p = v - np.log(np.exp(v).sum())
        wanted = np.full(3, smoothing / 3)
        wanted[targets[i]] += 1 - smoothing
        loss -= (wanted * log_p).sum() / 6
        right += (v.argmax() == targets[i].item()) / 6
    assert measures["loss"].item() == pytest.approx(loss, rel=1e-12)
    assert measures["accuracy"].item() == pytest.approx(right)


def test_a_share_is_not_rounded_to_the_precision_of_the_products(tones):
    experiment = setting(tones, precision="bfloat16")
    with torch.autocast("cpu", torch.bfloat16):
        measures = experiment.measure(experiment.model(), some(experiment, 1)[0])
    assert measures["accuracy"] in torch.arange(7) / 6


def test_what_is_monitored_is_the_mean_over_the_validation_part(tones, monkeypatch):
    monkeypatch.setattr(
        "saiki.data.sound.batches.EVALUATED", 4
    )  # 4 and 2 of 6: means of unequal batches
    experiment = plain(tones, label_smoothing=0.1)
    model = made(experiment)
    losses, right = [], []
    for i in experiment.data.parts.validation:
        p = probabilities(experiment, model, i)
        label = ("high", "low", "middle").index(experiment.data.recordings.entries[i].label)
        losses.append(-(0.9 * np.log(p[label]) + 0.1 * np.log(p).mean()))
        right.append(p.argmax() == label)
    figures = experiment.monitor(model)
    assert figures["validation_loss"] == pytest.approx(np.mean(losses), rel=1e-9)
    assert figures["validation_accuracy"] == pytest.approx(np.mean(right))
    assert experiment.selected_by in figures
    assert experiment.monitor(model) == figures


def test_the_final_figures_and_those_of_each_speaker_are_counted_by_hand(
    spoken, tmp_path, monkeypatch
):
    monkeypatch.setattr("saiki.data.sound.batches.EVALUATED", 4)
    shutil.copytree(spoken, tmp_path / "more")
    (tmp_path / "more" / "0_cleo_99.wav").write_bytes(b"")
    experiment = plain(tmp_path / "more", split="official")
    model = made(experiment)
    rights, losses = {}, []
    for i in experiment.data.parts.test:
        p = probabilities(experiment, model, i)
        entry = experiment.data.recordings.entries[i]
        rights.setdefault(entry.speaker, []).append(p.argmax() == int(entry.label))
        losses.append(-np.log(p[int(entry.label)]))
    everything = [right for values in rights.values() for right in values]
    figures = experiment.evaluate(model)
    assert figures.keys() == {
        "test_accuracy", "test_loss", "skipped_files",
        "test_accuracy_ann", "test_accuracy_bob", "test_accuracy_cleo",
    }  # fmt: skip
    assert len(everything) == 30
    assert 0 < np.mean(everything) < 1  # so that a count of all, or of none, would show
    assert figures["test_accuracy"] == pytest.approx(np.mean(everything))
    assert figures["test_loss"] == pytest.approx(np.mean(losses), rel=1e-9)
    for speaker in ("ann", "bob", "cleo"):
        assert figures[f"test_accuracy_{speaker}"] == pytest.approx(np.mean(rights[speaker]))
    assert figures["skipped_files"] == 1
    answers = experiment.tested(model)
    for answer, i in zip(answers, experiment.data.parts.test, strict=True):
        entry, p = experiment.data.recordings.entries[i], probabilities(experiment, model, i)
        assert (answer.name, answer.label, answer.speaker) == (
            entry.name,
            entry.label,
            entry.speaker,
        )
        assert answer.predicted == str(p.argmax())
        assert (answer.probability, answer.right) == pytest.approx((p.max(), p[int(entry.label)]))


def test_the_summary_is_of_the_last_point(tones):
    curve = [
        {"step": 5, "accuracy": 0.1, "validation_accuracy": 0.2, "validation_loss": 3.0},
        {"step": 9, "accuracy": 0.3, "validation_accuracy": 0.4, "validation_loss": 2.0},
    ]
    figures = setting(tones).summarise(curve)
    assert figures["train_accuracy"] == 0.3
    assert figures["validation_accuracy"] == 0.4
    assert figures["validation_loss"] == 2.0
    assert set(setting(tones).summarise([]).values()) == {None}


def test_the_worst_mistakes_are_told(tones, learned):
    experiment = plain(tones)
    model = made(experiment)
    wrong = []
    for i in experiment.data.parts.test:
        p, entry = probabilities(experiment, model, i), experiment.data.recordings.entries[i]
        label = ("high", "low", "middle").index(entry.label)
        if p.argmax() != label:
            best = ("high", "low", "middle")[p.argmax()]
            line = f"  {entry.name}: {best} ({p.max():.0%}), and {entry.label} only {p[label]:.1%}"
            wrong.append((p[label], line))
    assert wrong
    want = [f"{len(wrong)} mistakes; the worst", *(line for _, line in sorted(wrong)[:5])]
    assert experiment.describe_model(model).splitlines() == want
    experiment, model = learned
    assert experiment.evaluate(model)["test_accuracy"] == 1
    assert experiment.describe_model(model) == "all of what was tested is right"


def test_two_pictures_are_drawn(tones, spoken, tmp_path):
    for data, changes in ((tones, {}), (spoken, {"split": "official"})):
        experiment = plain(data, **changes)
        folder = tmp_path / data.name
        paths = experiment.draw(made(experiment), [], folder)
        assert [path.name for path in paths] == ["sounds.png", "confusion.png"]
        for path in paths:
            assert path.read_bytes()[:4] == b"\x89PNG"
            assert path.stat().st_size > 5_000


# What is refused.


@pytest.mark.parametrize("name", [*OFF, "convolution"])
def test_a_waveform_is_not_changed_at_random(tones, name):
    changes = {"features": "waveform", **OFF, name: True if name == "convolution" else 1}
    assert refusal(lambda: setting(tones, **changes)) == (
        f"with features waveform {name} must be off, false or 0, as in the preset report"
    )


def test_knobs_that_do_not_fit_are_refused_in_a_sentence(tones, spoken):
    assert refusal(lambda: setting(tones, test_speakers="ann")) == (
        "test_speakers goes with split speakers"
    )
    assert refusal(lambda: SpokenDigits(features="waveform")).startswith(
        "with features waveform convolution, speed, "
    )
    for knob, value in (
        ("split", "odd"), ("epochs", 0), ("rate", 1_999), ("seconds", 0), ("features", "mfcc"),
        ("samples", 0), ("bands", 3), ("cell", "transformer"), ("hidden_size", 0), ("layers", 0),
        ("pooling", "sum"), ("dropout", 0.96), ("label_smoothing", 1), ("voices", -1),
        ("voice_share", 1), *((name, -1) for name in OFF), *((name, 99) for name in OFF),
    ):  # fmt: skip
        assert refusal(lambda k=knob, v=value: setting(tones, **{k: v})).startswith(
            f"{knob} must be "
        )


def test_data_that_do_not_fit_are_refused_in_a_sentence(tones, spoken, tmp_path):
    assert "does not exist" in refusal(lambda: setting(tmp_path / "gone").describe_data())
    assert "holds no sound: no file in it" in refusal(lambda: setting(tmp_path).model())
    assert "not known" in refusal(lambda: setting(tones, split="official").data.parts)
    assert "these recordings do not tell" in refusal(
        lambda: setting(tones, split="speakers", test_speakers="ann").data.parts
    )
    assert refusal(lambda: setting(spoken, split="speakers").data.parts) == (
        "the split speakers needs the speakers to test; there are ann, bob, cleo"
    )
    assert "no speaker 'dan'" in refusal(
        lambda: setting(spoken, split="speakers", test_speakers="ann, dan").data.parts
    )
    assert "leaves none to learn from" in refusal(
        lambda: setting(spoken, split="speakers", test_speakers="ann,bob,cleo").data.parts
    )


def test_speakers_are_held_out_one_after_another(spoken, tones):
    experiment = setting(spoken, split="official")
    assert experiment.folds("speakers") == [
        {"split": "speakers", "test_speakers": name} for name in ("ann", "bob", "cleo")
    ]
    assert refusal(lambda: experiment.folds("takes")) == (
        "spoken-digits is cross-validated by speakers, got 'takes'"
    )
    assert "at least two" in refusal(lambda: setting(tones).folds("speakers"))
    two = setting(spoken, split="speakers", test_speakers=" bob ,ann,")
    tested = {two.data.recordings.entries[i].speaker for i in two.data.parts.test}
    assert tested == {"ann", "bob"}


def test_a_folder_is_written_down_in_full(tones, monkeypatch):
    monkeypatch.chdir(tones.parent)
    assert setting(tones.name).source.data == str(tones)
    assert setting("~/sounds").source.data.endswith("/sounds")
    assert "~" not in setting("~/sounds").source.data


# From the command line.


def test_files_are_answered_around_one_that_is_broken(run_folder, tones, tmp_path, capsys):
    paths = [str(tone(tmp_path / f"{hertz}.wav", hertz, 7, 44_100, 2)) for hertz in (1_500, 300)]
    broken = str(tones / "high" / "broken.wav")
    capsys.readouterr()
    assert cli.main(["predict", str(run_folder), "--json", paths[0], broken, paths[1]]) == 2
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [(a["input"], a["label"]) for a in answers] == [(paths[0], "high"), (paths[1], "low")]
    assert answers[0].keys() == {"input", "label", "probability", "classes", "seconds"}
    (line,) = err.splitlines()
    assert line.startswith(f"saiki predict: {broken} cannot be read as sound: ")
    assert cli.main(["predict", str(run_folder), *paths]) == 0
    out, err = capsys.readouterr()
    shown = f"{paths[0]}: high ({answers[0]['probability']:.1%}), "
    assert out.startswith(shown)
    assert err == ""
    assert cli.main(["predict", str(run_folder), str(tmp_path)]) == 0  # a folder
    assert {*capsys.readouterr().out.splitlines()} == {*out.splitlines()}
    (tmp_path / "none").mkdir()
    assert cli.main(["predict", str(run_folder), str(tmp_path / "none")]) == 2
    assert "none holds no sound: no file in it is named *.wav or " in capsys.readouterr().err


def test_the_reopened_model_needs_no_data(run_folder, tones, tmp_path, capsys):
    reopened, model = reopen(run_folder)
    assert not model.training
    assert "recordings" not in vars(reopened.data)
    path = str(tone(tmp_path / "1.wav", 700, 1))
    assert reopened.predict(model, path).figures["label"] == "middle"
    assert "recordings" not in vars(reopened.data)


@pytest.fixture(scope="module")
def cross_validated(spoken, tmp_path_factory):
    """The words of the command, its folder, and what it printed."""
    out = tmp_path_factory.mktemp("folds") / "cv"
    words = ["--data", str(spoken), "--out", str(out), "--cross-validate", "speakers"]
    words = ["run", "spoken-digits", *words, *flags(**SMALL, epochs=2)]
    code, lines, _ = saiki(*words)
    assert code == 0
    return words, out, lines


@pytest.mark.long
def test_cross_validation_leaves_a_folder_for_each_speaker_and_the_means(cross_validated):
    _, out, lines = cross_validated
    folders = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert folders == [f"split=speakers,test_speakers={name}" for name in ("ann", "bob", "cleo")]
    accuracies, iterations = [], []
    for name, folder in zip(("ann", "bob", "cleo"), folders, strict=True):
        fold = RunFolder(out / folder)
        assert fold.config["knobs"]["test_speakers"] == name
        assert fold.figures[f"test_accuracy_{name}"] == fold.figures["test_accuracy"]
        accuracies.append(fold.figures["test_accuracy"])
        iterations.append(fold.figures["iterations"])
    result = json.loads((out / "result.json").read_text())
    assert result["test_accuracy"] == pytest.approx(np.mean(accuracies))
    assert result["iterations"] == pytest.approx(np.mean(iterations))
    for folder, accuracy in zip(folders, accuracies, strict=True):
        assert result[f"test_accuracy {folder}"] == accuracy
    deviation = np.std(accuracies, ddof=1)
    assert result["test_accuracy deviation"] == pytest.approx(deviation)
    assert lines[-1] == str(out)
    start = next(i for i, line in enumerate(lines) if line.startswith("fold "))
    table = [line.split() for line in lines[start : start + 6]]
    assert [row[0] for row in table] == ["fold", *folders, "mean", "deviation"]
    assert table[0][1] == "test_accuracy"
    assert [float(row[1]) for row in table[1:]] == pytest.approx(
        [*accuracies, np.mean(accuracies), deviation], rel=0.05, abs=1e-3
    )
    assert len({line.index(row[1]) for line, row in zip(lines[start:], table, strict=False)}) == 1


def test_cross_validation_goes_on_with_the_same_knobs_and_folds_only(cross_validated):
    words, out, _ = cross_validated
    models = sorted(out.glob("*/model.safetensors"))
    before = (out / "result.json").read_text(), [path.stat().st_mtime_ns for path in models]
    assert saiki(*words, "--resume")[0] == 0
    now = (out / "result.json").read_text(), [path.stat().st_mtime_ns for path in models]
    assert now == before
    code, _, err = saiki(*words, "--resume", "--dropout", "0.2")
    assert code == 2
    assert err[0].endswith("holds a run of other knobs")
    (out / "fold=1").mkdir()
    (out / "fold=1" / "config.json").write_text("{}")
    code, _, err = saiki(*words, "--resume")
    assert code == 2
    assert err[0].endswith("fold=1 is none of the folds by speakers")


def test_the_exported_model_takes_waves_and_says_the_classes(run_folder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    assert cli.main(["export", str(run_folder), "--onnx", str(path)]) == 0
    exported = onnxruntime.InferenceSession(path)
    metadata = exported.get_modelmeta().custom_metadata_map
    experiment, model = reopen(run_folder)
    assert json.loads(metadata["classes"]) == list(model.classes)
    assert int(metadata["rate"]) == model.rate
    recordings = experiment.data.recordings
    for rows in ([0], [1, 5, 2, 7]):
        waves, lengths = experiment.hearing.padded(
            [recordings.waves[i] for i in rows], experiment.dtype
        )
        names = [node.name for node in exported.get_inputs()]
        outputs = exported.run(
            None, dict(zip(names, (waves.numpy(), lengths.numpy()), strict=True))
        )
        with torch.no_grad():
            wanted = model(waves, lengths)
        np.testing.assert_allclose(outputs[0], wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_takes_decide_what_is_tested_where_they_are_known(tones, spoken):
    assert setting(tones, split="auto").data.parts == setting(tones, split="random").data.parts
    assert setting(spoken, split="auto").data.parts == setting(spoken, split="official").data.parts


def test_few_recordings_are_heard_more_often(tones):
    few = setting(tones, updates=700, epochs=2.0)
    assert few.iterations == 700
    assert few.point_every == 70
    many = setting(tones, updates=1, epochs=200.0)
    assert many.iterations == 200 * many.data.epoch > 1
    assert many.point_every == 20 * many.data.epoch
    assert setting(tones, updates=700, log_every=3).point_every == 3
