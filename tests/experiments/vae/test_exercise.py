import itertools
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from batches import training_batches
from commands import saiki
from saiki.data.images.files import read_image
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.vae.exercise import BETWEEN, Autoencoding
from saiki.experiments.vae.measures import measure_images, nll, samples_near, walked
from saiki.nn.likelihoods import Gaussian
from saiki.runs.reopen import reopen
from tiny import TINY, squares

FIGURES = {"elbo", "nll", "kl", "active_units", "reconstruction_error", "samples_near",
           "skipped_files"}  # fmt: skip


def setting(folder, **changes):
    return Autoencoding(**TINY["vae"].values(folder, **changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learned odd-sized colour images of a user's own."""
    folder = tmp_path_factory.mktemp("vae")
    words = TINY["vae"].flags(folder, epochs=60.0, learning_rate=0.02, width=16, log_every=30)
    torch.set_num_threads(1)
    assert saiki("run", "vae", *words, "--out", folder / "run")[0] == 0
    return folder


@pytest.mark.long
def test_a_folder_of_odd_sized_colour_images_is_learned(trained):
    result = json.loads((trained / "run" / "result.json").read_text())
    pixels = setting(trained).data.parts.test.pixels / 255
    assert result.keys() >= FIGURES
    assert result["reconstruction_error"] < 0.5 * pixels.var(0).mean()
    assert -result["nll"] >= result["elbo"]
    assert 1 <= result["active_units"] <= 3
    assert result["kl"] > 0.5
    pictures = {path.stem for path in (trained / "run").glob("*.png")}
    assert pictures >= {"reconstructions", "samples", "plane", "course", "loss"}


def test_a_plain_one_is_one_knob_away_and_has_no_bound(tmp_path):
    words = TINY["vae"].flags(tmp_path, variational="false", likelihood="bernoulli")
    assert saiki("run", "vae", *words, "--out", tmp_path / "run")[0] == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["elbo"] is result["nll"] is result["kl"] is None
    assert 0 < result["reconstruction_error"] < 1
    assert not (tmp_path / "run" / "course.png").exists()
    experiment, model = reopen(tmp_path / "run")
    assert set(experiment.exported(model)) == {"encoder", "decoder"}
    assert "KL" not in experiment.equations()


@pytest.mark.parametrize(
    "changes",
    [
        {"likelihood": "discretised-logistic", "components": 2},
        {"likelihood": "bernoulli", "binarise": "drawn", "samples": 3},
        {"likelihood": "gaussian", "deviation": 0.1, "free_bits": 0.1, "annealing": 0.5},
        {"network": "fully-connected", "beta": 4.0, "precision": "float64"},
        {"colours": 1, "side": 5, "accumulate": 2, "annealing": 1.0, "cycles": 2},
    ],
)
def test_every_likelihood_network_and_objective_trains(tmp_path, changes):
    experiment = setting(tmp_path, **changes)
    model = experiment.model().to(experiment.dtype)
    for batch in itertools.islice(training_batches(experiment), 3):
        measured = experiment.measure(model, batch)
        measured["loss"].backward()
        assert all(torch.isfinite(value) for value in measured.values())
    assert experiment.evaluate(model).keys() == FIGURES


def test_the_loss_is_its_two_parts_weighed(tmp_path):
    for changes in ({}, {"beta": 3.0}, {"annealing": 0.5}):
        experiment = setting(tmp_path, **changes)
        for x, weight in itertools.islice(training_batches(experiment), 2):
            measures = experiment.measure(experiment.model(), (x, weight))
            wanted = measures["reconstruction"] + weight * measures["kl"]
            torch.testing.assert_close(measures["loss"].detach(), wanted)


def test_the_weight_of_the_divergence_rises_over_the_training(tmp_path):
    experiment = setting(tmp_path, annealing=0.5, beta=2.0, accumulate=2)
    weights = [weight.item() for _, weight in itertools.islice(training_batches(experiment), 6)]
    first, half = weights[0], experiment.iterations / 2
    assert first == 0
    assert weights == pytest.approx([2 * min(1, (i // 2) / half) for i in range(6)])


def test_pixels_are_drawn_anew_in_training_and_stay_the_same_where_they_are_tested(tmp_path):
    experiment = setting(tmp_path, likelihood="bernoulli", binarise="drawn", batch_size=100)
    first, second = (x for x, _ in itertools.islice(training_batches(experiment), 2))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first.mean(0), second.mean(0))
    reseeded = setting(tmp_path, likelihood="bernoulli", binarise="drawn", seed=5)
    assert torch.equal(experiment.tested, reseeded.tested)
    grey = experiment.data.parts.test.pixels / 255
    many = torch.stack(
        [experiment.data.seen(experiment.data.parts.test.pixels, (i,)) for i in range(400)]
    )
    assert (many.mean(0) - grey).abs().max() < 0.13
    cut = setting(tmp_path, likelihood="bernoulli", binarise="threshold")
    assert torch.equal(cut.tested, (grey > 0.5).float())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variational": False, "beta": 2.0}, "are of a variational autoencoder"),
        ({"variational": False, "samples": 2}, "are of a variational autoencoder"),
        ({"samples": 2, "free_bits": 0.1}, "with samples 2 goes beta 1"),
        ({"binarise": "drawn"}, "binarise goes with likelihood bernoulli, got gaussian"),
        ({"deviation": 0.1, "likelihood": "bernoulli"}, "deviation goes with likelihood gaussian"),
        ({"components": 2}, "components goes with likelihood discretised-logistic"),
        ({"cycles": 2}, "cycles are of annealing"),
    ],
)
def test_knobs_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Autoencoding(**changes)


def test_all_images_are_measured_however_many_at_once(trained, monkeypatch):
    experiment = setting(trained, deviation=1.0)  # with which the bound hardly depends on draws
    torch.manual_seed(0)
    model = experiment.model().eval()
    x, home = experiment.tested, "saiki.experiments.vae.measures."
    whole, bound = measure_images(model, x), nll(model, x, 400)
    monkeypatch.setattr(home + "TOGETHER", 3)
    monkeypatch.setattr(home + "DECODED", 4000)
    parts = measure_images(model, x)
    torch.testing.assert_close(parts.errors, whole.errors)
    torch.testing.assert_close(parts.divergences, whole.divergences)
    assert nll(model, x, 400) == pytest.approx(bound, abs=0.05)


def test_some_images_are_of_all_classes(tmp_path, monkeypatch):
    experiment = setting(tmp_path, data=str(squares(tmp_path, count=40)))
    monkeypatch.setattr("saiki.experiments.vae.exercise.VALIDATED", 2)
    for x in (experiment.some(2), experiment._validation):
        bright = x[:, :, :, 0].mean((1, 2)) > x[:, :, :, -1].mean((1, 2))
        assert bright.tolist() == [True, False]
    monkeypatch.setattr("saiki.experiments.vae.measures.PLACED", 2)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    plane = walked(experiment.model(), torch.randn(6, 3), labels, ("left", "right"))
    assert plane.labels.tolist() == [0, 1]


@pytest.mark.parametrize(("reach", "low", "high"), [(0.1, 0.92, 0.98), (10.0, 0.02, 0.06)])
def test_new_images_are_near_others_where_codes_leave_no_holes(reach, low, high):
    """Of one pixel, which is what is learned from where it lies from 0 to 1."""

    class Pixel(torch.nn.Linear):
        likelihood = Gaussian(1)

        def forward(self, x):
            return x

        def sample(self, count, generator):
            return 0.5 + reach * torch.randn(count, 1, 1, 1, generator=generator)

    learned = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    held = torch.rand(1000, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    near = samples_near(Pixel(1, 1), learned, held)
    assert low < near < high
    assert samples_near(Pixel(1, 1), learned, held) == near


def test_the_walk_goes_over_the_two_units_that_differ_most(trained):
    _, model = reopen(trained / "run")
    codes = torch.zeros(50, 3, dtype=torch.float64)
    codes[:, 0] = torch.linspace(-2, 2, 50)
    codes[:, 2] = torch.linspace(-1, 1, 50)
    plane = walked(model, codes, torch.zeros(50, dtype=torch.int64), ("one",))
    assert plane.units == (0, 2)
    corner = torch.tensor([[-2.5, 0.0, 2.5]])
    with torch.no_grad():
        torch.testing.assert_close(plane.walk[:1], model.decode(corner))
    assert plane.at[0][0] == plane.at[1][0] == -2.5


# Its use.


def test_images_of_any_size_come_back_as_files(trained, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, size in (("a.png", (30, 80)), ("b.jpg", (7, 9)), ("c.png", (1, 1))):
        Image.new("RGB", size, "white").save(mine / name)
    (mine / "notes.txt").write_text("no image")
    code, out, err = saiki("predict", trained / "run", mine, "--json", "--out", tmp_path / "back")
    answers = [json.loads(line) for line in out]
    assert (code, err) == (0, [])
    assert [a["input"] for a in answers] == [str(mine / n) for n in ("a.png", "b.jpg", "c.png")]
    for answer in answers:
        assert read_image(answer["output"]).shape == (3, 9, 7)
        assert len(answer["code"]) == 3
        assert answer["reconstruction_error"] >= 0


def test_answers_lie_in_the_run_and_no_image_hides_another_of_its_name(trained):
    paths = [trained / "squares" / label / "0.png" for label in ("left", "right")]
    code, out, _ = saiki("predict", trained / "run", *paths)
    assert code == 0
    folder = trained / "run" / "predictions"
    assert [line.rpartition("; ")[2] for line in out] == [
        str(folder / "0.png"), str(folder / "0-2.png"),
    ]  # fmt: skip
    left, right = (read_image(folder / name).float() for name in ("0.png", "0-2.png"))
    assert left[:, :, 0].mean() > left[:, :, -1].mean() + 30
    assert right[:, :, 0].mean() < right[:, :, -1].mean() - 30


def test_no_file_is_replaced_by_an_answer(trained, tmp_path):
    for name in ("a.jpg", "a.png"):
        Image.new("RGB", (9, 9), "white").save(tmp_path / name)
    for _ in range(2):
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        code, out, _ = saiki("predict", trained / "run", tmp_path, "--out", tmp_path, "--json")
        assert code == 0
        made = {Path(json.loads(line)["output"]) for line in out}
        assert made | before.keys() == {*tmp_path.iterdir()}
        assert len(made) == len(before)
        assert all(path.read_bytes() == body for path, body in before.items())


def test_what_is_no_image_is_refused_in_one_sentence_and_the_others_are_answered(trained, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("This is a text, and no image.")
    image = trained / "squares" / "left" / "1.png"
    code, out, err = saiki("predict", trained / "run", text, tmp_path / "nope.png", image)
    assert (code, len(out), len(err)) == (2, 1, 2)
    assert str(text) in err[0]
    assert "nope.png" in err[1]
    (tmp_path / "empty").mkdir()
    code, out, err = saiki("predict", trained / "run", tmp_path / "empty")
    assert (code, out, len(err)) == (2, [], 1)
    assert "holds no images" in err[0]


def test_the_way_from_one_image_to_another_is_drawn(trained, tmp_path, monkeypatch):
    paths = [trained / "squares" / label / "0.png" for label in ("left", "right")]
    picture, back = tmp_path / "between.png", tmp_path / "back"
    code, _, err = saiki("predict", trained / "run", *paths, "--out", back, "--picture", picture)
    assert (code, err) == (0, [])
    assert picture.read_bytes()[:4] == b"\x89PNG"
    pictures = []
    monkeypatch.setattr(
        "saiki.experiments.vae.exercise.draw_rows",
        lambda path, rows, title: pictures.append(rows) or path,
    )
    experiment, model = reopen(trained / "run")
    experiment.draw_answers(model, list(map(str, paths)), picture)
    with torch.no_grad():
        x = torch.cat([experiment.read(model, str(path)) for path in paths])
        z = model.encode(x)
        [rows] = pictures
        torch.testing.assert_close(rows["image"], x)
        torch.testing.assert_close(rows["back"], model.decode(z))
        way = rows["1 to 2"]
        assert len(way) == BETWEEN
        middle = model.decode(z.mean(0, keepdim=True))
    torch.testing.assert_close(way[[0, -1]], rows["back"])
    torch.testing.assert_close(way[BETWEEN // 2 : BETWEEN // 2 + 1], middle)


def test_encoder_and_decoder_are_exported_from_the_run_alone(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("saiki.data.images.dataset.ImageSource.read", None)
    code, _, err = saiki("export", trained / "run", "--onnx", tmp_path / "m.onnx")
    assert (code, err) == (0, [])
    _, model = reopen(trained / "run")
    x = torch.rand(5, 3, 9, 7)
    encoder = onnxruntime.InferenceSession(tmp_path / "m.encoder.onnx")
    decoder = onnxruntime.InferenceSession(tmp_path / "m.decoder.onnx")
    mean, log_variance = encoder.run(None, {"image": x.numpy()})
    [back] = decoder.run(None, {"code": mean})
    with torch.no_grad():
        posterior = model.posterior(x)
        np.testing.assert_allclose(mean, posterior.mean, atol=1e-4)
        np.testing.assert_allclose(log_variance, posterior.log_variance, atol=1e-4)
        np.testing.assert_allclose(back, model(x), atol=1e-4)


@pytest.mark.long
def test_a_run_goes_on_for_longer_to_the_same_bits(tmp_path):
    data = squares(tmp_path)
    words = [
        "vae", "--data", data, "--width", 4, "--latent-size", 3, "--batch-size", 4,
        "--nll-samples", 2, "--likelihood", "bernoulli", "--binarise", "drawn", "--device", "cpu",
        "--schedule", "constant", "--warmup", 0,
    ]  # fmt: skip
    assert saiki("run", *words, "--epochs", 2, "--out", tmp_path / "a")[0] == 0
    assert saiki("run", *words, "--epochs", 1, "--out", tmp_path / "b")[0] == 0
    assert saiki("run", *words, "--epochs", 2, "--out", tmp_path / "b", "--resume")[0] == 0
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


def trial(figure, values, **knobs):
    return Trial({"beta": 1.0, **knobs}, tuple({figure: value} for value in values))


def test_claims_are_decided_over_seeds():
    halved, active, lower = (claim.judge for claim in Autoencoding.claims)
    units = [trial("active_units", values) for values in ([30, 31, 29], [9, 10, 8], [15, 14, 15])]
    assert halved([units[0], units[1]])[0]
    assert not halved([units[0], units[2]])[0]
    free = [trial("active_units", values, free_bits=0.1) for values in ([40, 36, 38], [40, 35, 40])]
    assert active([free[1], free[0]])[0]
    assert not active([free[0], free[1]])[0]
    nll = [
        trial("nll", values, samples=1)
        for values in ([100, 102, 98], [99, 101.1, 97.1], [97, 103, 99])
    ]
    held, message = lower([nll[0], nll[1]])
    assert held  # though the ranges overlap, each seed gains as much
    assert message.startswith(
        "samples 1: nll 100 ± 2; samples 1: nll 99.07 ± 2; risen by -0.9333 ±"
    )
    assert not lower([nll[0], nll[2]])[0]
    assert not lower([trial("nll", [9], samples=1), trial("nll", [1], samples=5)])[0]
