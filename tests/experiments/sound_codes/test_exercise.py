"""Sounds as codes, on tones: what is learned, what every figure means, and what is refused."""

import itertools
import json
import math

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch

from batches import training_batches
from commands import saiki
from saiki.data.sound.files import read
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.sound_codes.exercise import SoundCodes
from saiki.experiments.sound_codes.measures import judge_figures, measured, new_sounds, returned
from saiki.runs.reopen import reopen
from tiny import TINY, tones, with_quantiser

FIGURES = {
    "reconstruction_error", "log_spectral_distance", "spectral_snr", "codebook_usage",
    "codebook_perplexity", "codes_per_second", "bits_per_second", "entropy_per_second",
    "prior_nll", "judge_accuracy", "judge_accuracy_reconstructions", "judge_accuracy_samples",
}  # fmt: skip


def setting(folder, **changes):
    return SoundCodes(**with_quantiser("sound-codes", folder, **changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learned two pitches, in recordings of several lengths."""
    folder = tmp_path_factory.mktemp("sound-codes")
    words = TINY["sound-codes"].flags(
        folder, data=tones(folder, takes=24), updates=120, batch_size=12, learning_rate=0.01,
        hidden_size=16, code_size=6, codes=6, prior_size=16, judge=40, log_every=60,
    )  # fmt: skip
    torch.set_num_threads(1)
    assert saiki("run", "sound-codes", *words, "--out", folder / "run")[0] == 0
    return folder


@pytest.mark.long
def test_pitches_are_learned_and_known_again_after_the_way_through_codes(trained):
    result = json.loads((trained / "run" / "result.json").read_text())
    assert result.keys() >= FIGURES
    assert result["reconstruction_error"] < 0.05
    assert 0.3 <= result["codebook_usage"] <= 1
    assert result["prior_nll"] < math.log(7)
    for name in ("", "_reconstructions", "_samples"):
        assert result[f"judge_accuracy{name}"] > 0.9, name
    assert {path.stem for path in (trained / "run").glob("*.png")} >= {"codes", "usage", "loss"}


@pytest.mark.long
def test_sounds_of_all_kinds_are_written_as_files(trained):
    waves = {p.stem: soundfile.read(p) for p in (trained / "run" / "sounds").glob("*.wav")}
    assert {"new-high-1", "new-high-2", "new-low-3", "new-low-4"} <= waves.keys()
    backs = [name for name in waves if name.endswith("-back")]
    assert backs
    for name in backs:
        wave, rate = waves[name]
        assert rate == 8000
        assert len(wave) == len(waves[name.removesuffix("-back")][0])
        assert 0.1 < np.abs(wave).max() <= 1
    for name, hertz in (("new-high-1", 1200), ("new-low-3", 300)):
        wave, _ = waves[name]
        pitch = np.abs(np.fft.rfft(wave)).argmax() * 8000 / len(wave)
        assert abs(pitch - hertz) < 130  # the width of a bin of 64 samples


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22_050, 2), (4000, 1)])
def test_a_sound_of_any_rate_comes_back_as_a_file_in_its_length(trained, rate, channels):
    t = np.arange(round(0.12 * rate)) / rate
    path = trained / f"sound-{rate}.wav"
    soundfile.write(path, np.stack([0.2 * np.sin(6.28 * 300 * t)] * channels, 1), rate)
    answers = trained / "answers"
    code, out, _ = saiki("predict", trained / "run", path, "--json", "--out", answers)
    assert code == 0
    answer = json.loads(out[0])
    assert answer["output"] == str(answers / f"sound-{rate}.wav")
    back, at = soundfile.read(answer["output"])
    assert at == 8000
    assert len(back) == len(read(path, 8000))
    steps = -(-(len(back) // 16 + 1) // 2)
    assert np.shape(answer["codes"]) == (steps, 1)
    assert answer["codes_per_second"] == pytest.approx(steps / (len(back) / 8000))
    assert answer["reconstruction_error"] < 0.2
    code, out, _ = saiki("predict", trained / "run", path, "--out", answers)
    assert code == 0
    assert f"codes a second: {answer['codes'][0][0]} " in out[0]
    assert out[0].endswith(f"; {answers / f'sound-{rate}-2.wav'}")  # nothing is replaced


def test_a_folder_is_all_sounds_in_it_and_what_is_none_is_said(trained):
    folder = trained / "mixed"
    folder.mkdir()
    soundfile.write(folder / "click.wav", [0.0, 0.5, -0.5], 8000)  # shorter than a window
    soundfile.write(folder / "silent.wav", np.zeros(900), 8000)
    soundfile.write(folder / "empty.wav", np.zeros(0), 8000)
    code, out, err = saiki("predict", trained / "run", folder, "--json", "--out", trained / "m")
    assert code == 2
    [answer] = map(json.loads, out)
    assert answer["input"].endswith("click.wav")
    assert len(soundfile.read(answer["output"])[0]) == 3
    assert "empty.wav is empty" in err[0]
    assert "silent.wav is silent" in err[1]


@pytest.mark.long
def test_encoder_and_decoder_are_exported_and_say_the_same(trained):
    assert saiki("export", trained / "run", "--onnx", trained / "m.onnx")[0] == 0
    experiment, model = reopen(trained / "run")
    waves, lengths, _ = experiment.data.padded(experiment.data.parts.test[:3])
    encoder, decoder = (
        onnxruntime.InferenceSession(trained / f"m.{part}.onnx") for part in ("encoder", "decoder")
    )

    def answer(session, *inputs):
        names = [each.name for each in session.get_inputs()]
        return session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))

    codes, steps = answer(encoder, waves, lengths)
    ours, our_steps = model.encode(waves, lengths)
    assert np.array_equal(codes, ours.numpy())
    assert np.array_equal(steps, our_steps.numpy())
    [spectra] = answer(decoder, codes, steps)
    theirs = model.spectra(ours, our_steps).detach().numpy()
    real = np.arange(spectra.shape[1]) < 2 * steps[:, None]
    assert np.allclose(spectra[real], theirs[real], atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": 3, "stages": 2, "cell": "gru", "layers": 2},
        {"cosine": True, "by_class": False},
        {"learning": "gradient", "gradient": "rotation", "precision": "float64"},
        {"quantiser": "scalars", "levels": "3,4", "accumulate": 2},
        {"quantiser": "gaussian"},
        {"quantiser": "plain", "frames_per_code": 3},
        {"prior": False, "kmeans": False, "revive": False, "judge": 0},
    ],
)
@pytest.mark.long
def test_every_kind_of_code_trains_and_is_judged(tmp_path, changes):
    experiment = setting(tmp_path, **changes)
    model = experiment.model().to(experiment.dtype)
    for batch in itertools.islice(training_batches(experiment), 3):
        measures = experiment.measure(model.train(), batch)
        measures["loss"].backward()
        assert all(torch.isfinite(value) for value in measures.values())
    figures = experiment.evaluate(model.eval())
    has_codes = changes.get("quantiser") not in ("gaussian", "plain")
    has_prior = has_codes and changes.get("prior", True)
    assert ("codes_per_second" in figures) == has_codes
    assert ("prior_nll" in figures) == has_prior
    by_class = has_prior and changes.get("by_class", True)
    assert ("judge_accuracy_samples" in figures) == by_class
    assert ("judge_accuracy" in figures) == (changes.get("judge", 1) > 0)
    assert all(np.isfinite(value) for value in figures.values())
    pictures = experiment.draw(model, [], tmp_path / "run")
    assert [path.name for path in pictures][-1] == "sounds"
    news = {path.name for path in (tmp_path / "run" / "sounds").glob("new-*")}
    assert ("new-sound-1.wav" in news) == (has_prior and not by_class)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop": 30}, "hop a third of it at most.*got window 64 and hop 30"),
        ({"quantiser": "scalars", "codes": 9}, "codes goes with quantiser codes, got scalars"),
        ({"test_speakers": "ann"}, "test_speakers goes with split speakers"),
        ({"heads": 2}, "heads must divide the 3 features"),
    ],
)
def test_knobs_that_do_not_go_together_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        setting(tmp_path, **changes)


def test_what_is_measured_is_that_of_each_recording_by_itself(tmp_path, monkeypatch):
    experiment = setting(tmp_path)
    model, data, test = experiment.model().eval(), experiment.data, experiment.data.parts.train
    whole = measured(model, data, test)
    monkeypatch.setattr("saiki.experiments.sound_codes.measures.TOGETHER", 1)
    assert measured(model, data, test) == pytest.approx(whole, rel=1e-5)
    seconds = sum(len(data.recordings.waves[i]) for i in test) / 8000
    squares, steps, codes = [], 0, set()
    for i in test:
        waves, lengths, _ = data.padded([i])
        z, _ = model.spectrum(waves, lengths)
        encoded, count = model.encode(waves, lengths)
        squares += (model(waves, lengths).clamp(-1, 1) - z.clamp(-1, 1)).square().mean(2)[0]
        steps, codes = steps + count.item(), codes | set(encoded.flatten().tolist())
    squares = torch.stack(squares)
    assert whole["reconstruction_error"] == pytest.approx(squares.mean().item(), rel=1e-4)
    distance = 30 * squares.sqrt().mean().item()
    assert whole["log_spectral_distance"] == pytest.approx(distance, rel=1e-4)
    assert whole["codebook_usage"] == len(codes) / 8
    assert whole["codes_per_second"] == pytest.approx(steps / seconds)
    assert whole["bits_per_second"] == pytest.approx(3 * steps / seconds)
    assert whole["entropy_per_second"] <= whole["bits_per_second"]
    perplexity = whole["codebook_perplexity"]
    assert whole["entropy_per_second"] == pytest.approx(steps / seconds * math.log2(perplexity))


def test_sounds_come_back_in_their_order_and_are_drawn_the_same_each_time(tmp_path):
    experiment = setting(tmp_path)
    model, data = experiment.model().eval(), experiment.data
    some = experiment.data.parts.train[:5]
    for i, wave in zip(some, returned(model, data, some), strict=True):
        assert len(wave) == len(data.recordings.waves[i])
        assert torch.allclose(wave, next(returned(model, data, [i])), atol=1e-3)
    labels = torch.tensor([0, 1, 1])
    for one, other in zip(*(new_sounds(model, labels, 5) for _ in range(2)), strict=True):
        assert torch.equal(one, other)
        assert len(one) < 5 * 2 * 16


def test_the_judge_hears_whether_what_comes_back_is_what_it_was(tmp_path, monkeypatch):
    experiment = setting(tmp_path, data=str(tones(tmp_path, takes=20)))
    model, data, parts = experiment.model().eval(), experiment.data, experiment.data.parts
    monkeypatch.setattr(
        "saiki.experiments.sound_codes.measures.returned",
        lambda model, data, indices: iter(data.waves(indices)[::-1]),  # each is another
    )
    figures = judge_figures(model, data, parts.train, parts.test, 40, 5, 2)
    assert figures["judge_accuracy"] == 1
    assert figures["judge_accuracy_reconstructions"] == 0
    assert judge_figures(model, data, parts.train, parts.test, 0, 5, 2) == {}


def test_a_class_may_be_called_anything_and_a_long_sound_comes_back_whole(tmp_path):
    folder = tones(tmp_path)
    rows = [f"low/{n}.wav,a\n" for n in range(6)] + [f"high/{n}.wav,../../b c\n" for n in range(6)]
    (folder / "table.csv").write_text("path,label\n" + "".join(rows))
    experiment = setting(tmp_path, data=str(folder / "table.csv"), seconds=0.1)
    model = experiment.model().eval()
    experiment.draw(model, [], tmp_path / "run")
    new = sorted(p.name for p in tmp_path.rglob("new-*"))
    assert new == ["new-_b_c-1.wav", "new-_b_c-2.wav", "new-a-3.wav", "new-a-4.wav"]
    assert {p.parent for p in tmp_path.rglob("new-*")} == {tmp_path / "run" / "sounds"}
    soundfile.write(tmp_path / "long.wav", np.sin(np.arange(3000)), 8000)
    assert len(experiment.predict(model, str(tmp_path / "long.wav")).output.wave) == 3000


def trial(knobs, **figures):
    count = len(next(iter(figures.values())))
    fixed = {"bits_per_second": 100.0, "codes_per_second": 10.0, "judge_accuracy": 1.0}
    results = [fixed | {name: values[i] for name, values in figures.items()} for i in range(count)]
    return Trial({"stages": 1, "codes": 64, **knobs}, tuple(results))


def test_claims_are_decided_seed_by_seed():
    easier, nearer, used = (claim.judge for claim in SoundCodes.claims)
    name = "judge_accuracy_reconstructions"
    few, more = (trial({}, **{name: values}) for values in ([0.4, 0.5, 0.45], [0.8, 0.9, 0.86]))
    assert easier([few, more])[0]
    assert not easier([more, few])[0]
    near, far = (
        trial({}, **{name: [0.5] * 3, "reconstruction_error": values})
        for values in ([0.02, 0.021, 0.02], [0.04, 0.042, 0.041])
    )
    assert nearer([far, near])[0]
    assert not nearer([near, far])[0]
    full, half = (
        trial({}, codebook_usage=values, codebook_perplexity=[9.0, 9.0])
        for values in ([0.95, 0.9], [0.95, 0.89])
    )
    assert used([full, full])[0]
    assert not used([full, half])[0]
