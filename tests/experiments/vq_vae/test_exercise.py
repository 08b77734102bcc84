import itertools
import json

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from batches import training_batches
from commands import saiki
from forked import command, together
from saiki.data.images.files import read_image
from saiki.data.images.labelled import Images
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.vq_vae import measures
from saiki.experiments.vq_vae.exercise import VQVAEs
from saiki.experiments.vq_vae.measures import fit_probe, measured, new_images, probe_accuracy
from saiki.runs.reopen import reopen
from tiny import TINY, squares, with_quantiser

pytestmark = pytest.mark.one_in(2)

FIGURES = {"reconstruction_error", "codebook_usage", "codebook_perplexity", "prior_nll"}


def setting(folder, **changes):
    return VQVAEs(**with_quantiser("vq-vae", folder, **changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learned odd-sized colour images of a user's own."""
    folder = tmp_path_factory.mktemp("vq-vae")
    words = TINY["vq-vae"].flags(
        folder, data=squares(folder, count=40), epochs=60.0, batch_size=12, learning_rate=0.01,
        width=16, code_size=8, codes=6, hidden_size=16, embedding_size=16, log_every=100,
    )  # fmt: skip
    torch.set_num_threads(1)
    assert saiki("run", "vq-vae", *words, "--out", folder / "run")[0] == 0
    return folder


@pytest.mark.long
def test_a_folder_of_odd_sized_colour_images_is_learned(trained):
    result = json.loads((trained / "run" / "result.json").read_text())
    pixels = reopen(trained / "run")[0].data.parts.test.pixels / 255
    assert result.keys() >= FIGURES
    assert result["reconstruction_error"] < 0.5 * pixels.var(0).mean()
    assert 0.25 <= result["codebook_usage"] <= 1
    assert 1 < result["codebook_perplexity"] <= 6
    assert result["prior_nll"] < np.log(6)
    assert result["probe_accuracy"] == 1
    pictures = {path.stem for path in (trained / "run").glob("*.png")}
    assert pictures >= {"reconstructions", "samples", "codes", "usage", "loss"}
    point = json.loads((trained / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"batch_usage", "batch_perplexity", "validation_codebook_usage"} <= point.keys()


def test_an_image_of_another_size_gets_codes_a_class_and_comes_back(trained):
    path = trained / "wide.png"
    seen = Image.open(trained / "squares" / "right" / "3.png").resize((70, 45))
    seen.save(path)
    code, out, _ = saiki("predict", trained / "run", path, "--json", "--out", trained / "answers")
    assert code == 0
    answer = json.loads(out[0])
    assert answer["label"] == "right"
    assert np.shape(answer["codes"]) == (3, 2, 1)
    back = read_image(answer["output"])
    assert back.shape == (3, 9, 7)
    _, model = reopen(trained / "run")
    codes = torch.tensor(answer["codes"])
    assert torch.equal(back, (model.images(codes[None])[0] * 255).round().to(torch.uint8))


@pytest.mark.long
def test_encoder_and_decoder_are_exported_and_say_the_same(trained):
    assert saiki("export", trained / "run", "--onnx", trained / "m.onnx")[0] == 0
    experiment, model = reopen(trained / "run")
    x = experiment.data.parts.test.pixels.float() / 255
    encoder, decoder = (
        onnxruntime.InferenceSession(trained / f"m.{part}.onnx") for part in ("encoder", "decoder")
    )
    [codes] = encoder.run(None, {encoder.get_inputs()[0].name: x.numpy()})
    assert np.array_equal(codes, model.encode(x).numpy())
    [images] = decoder.run(None, {decoder.get_inputs()[0].name: codes})
    assert np.allclose(images, model(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": 3, "stages": 2, "cell": "gru", "layers": 2},
        {"cosine": True, "by_class": False},
        {"learning": "gradient", "gradient": "rotation", "precision": "float64"},
        {"quantiser": "scalars", "levels": "3, 4", "accumulate": 2},
        {"quantiser": "scalars", "levels": "5", "precision": "float64"},
        {"quantiser": "gaussian"},
        {"quantiser": "plain", "colours": 1, "side": 5},
        {"prior": False, "kmeans": False, "revive": False, "halvings": 0},
    ],
)
def test_every_kind_of_code_trains_and_is_judged(tmp_path, changes):
    experiment = setting(tmp_path, **changes)
    model = experiment.model().to(experiment.dtype)
    for batch in itertools.islice(training_batches(experiment), 3):
        measures = experiment.measure(model.train(), batch)
        measures["loss"].backward()
        assert all(torch.isfinite(value) for value in measures.values())
    experiment.settle(model.eval())
    figures = experiment.evaluate(model)
    has_codes = changes.get("quantiser") not in ("gaussian", "plain")
    assert {"codebook_usage", "codebook_perplexity"} <= figures.keys() or not has_codes
    assert ("prior_nll" in figures) == (has_codes and changes.get("prior", True))
    assert ("kl" in figures) == (changes.get("quantiser") == "gaussian")
    assert all(value is None or np.isfinite(value) for value in figures.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 2}, "heads must divide the 3 features"),
        ({"cosine": True, "stages": 2}, "give cosine or stages"),
        ({"quantiser": "scalars", "levels": "8;8"}, "levels must be whole numbers with commas"),
        ({"quantiser": "scalars", "levels": "1,8"}, "levels must be from 2 to 256"),
        ({"quantiser": "scalars", "codes": 9}, "codes goes with quantiser codes, got scalars"),
        ({"quantiser": "scalars", "code_size": 9}, "codes or gaussian or plain, got scalars"),
        ({"quantiser": "gaussian", "revive": False}, "revive goes with quantiser codes, got gauss"),
        ({"levels": "3,4"}, "levels goes with quantiser scalars, got codes"),
    ],
)
def test_knobs_that_do_not_go_together_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        setting(tmp_path, **changes)


def test_what_is_measured_is_that_of_all_images_at_once(tmp_path, monkeypatch):
    experiment = setting(tmp_path)
    model, test = experiment.model().eval(), experiment.data.parts.train
    whole = measured(model, test)
    monkeypatch.setattr("saiki.experiments.vq_vae.measures.NUMBERS", 1000)
    parts = measured(model, test)
    assert parts == pytest.approx(whole)
    x = test.pixels / 255
    assert whole["reconstruction_error"] == pytest.approx((model(x) - x).square().mean().item())
    assert whole["codebook_usage"] == len(model.encode(x).unique()) / 8


def test_no_more_images_are_held_at_once_than_fit_with_their_distances_from_all_codes(
    tmp_path, monkeypatch
):
    experiment = setting(tmp_path, codes=128, heads=3)
    monkeypatch.setattr("saiki.experiments.vq_vae.measures.NUMBERS", 3 * 2 * 128 * 3 * 2)
    parts = measures.batches_of(experiment.model(), experiment.data.parts.train)
    assert max(len(x) for x, _ in parts) == 2


def test_some_images_are_of_all_classes(tmp_path, monkeypatch):
    experiment = setting(tmp_path, data=str(squares(tmp_path, count=40)))
    model, seen = experiment.model().eval(), []
    monkeypatch.setattr("saiki.experiments.vq_vae.exercise.VALIDATED", 2)
    monkeypatch.setattr(measures, "measured", lambda _, images: seen.append(images) or {
        "reconstruction_error": 0.0
    })  # fmt: skip
    experiment.monitor(model)
    assert seen[0].labels.tolist() == [0, 1]
    many = Images(*(each.repeat_interleave(9, 0) for each in (
        experiment.data.parts.test.pixels, experiment.data.parts.test.labels
    )), experiment.data.parts.test.classes)  # fmt: skip
    new = []
    monkeypatch.setattr("saiki.experiments.vq_vae.measures.NEW_COMPARED", 12)
    monkeypatch.setattr(
        "saiki.experiments.vq_vae.measures.new_images",
        lambda _, labels: new.append(labels) or torch.zeros(len(labels), *model.shape),
    )
    measures.perceptual_figures(model, many, many, 1)
    assert 2 < new[0].sum() < 10


def test_the_probe_is_of_what_is_learned_from_and_judged_on_the_rest(tmp_path):
    experiment = setting(tmp_path, quantiser="plain")
    model = experiment.model().eval()
    image = str(tmp_path / "squares" / "left" / "0.png")
    assert probe_accuracy(model, experiment.data.parts.test) is None  # it has learned nothing yet
    assert "label" not in experiment.predict(model, image).figures
    fit_probe(model, experiment.data.parts.train)
    assert probe_accuracy(model, experiment.data.parts.train) == 1
    assert experiment.predict(model, image).figures["label"] == "left"


POINTS = [{"step": 1, "validation_codebook_usage": 0.5, "validation_codebook_perplexity": 6.0}]


def test_images_of_one_class_have_no_probe_and_no_judge(tmp_path):
    (tmp_path / "all").mkdir()
    for number, path in enumerate(sorted((squares(tmp_path)).glob("*/*.png"))):
        path.rename(tmp_path / "all" / f"{number}.png")
    experiment = VQVAEs(**{**TINY["vq-vae"].settings, "data": str(tmp_path / "all")})
    model = experiment.model().eval()
    experiment.settle(model)
    figures = experiment.evaluate(model)
    assert figures["probe_accuracy"] is None
    assert "frechet_samples" not in figures
    assert "label" not in experiment.predict(model, str(tmp_path / "all" / "0.png")).figures
    assert model.prior.classes == 0
    pictures = [path.name for path in experiment.draw(model, POINTS, tmp_path)]
    assert pictures == ["reconstructions.png", "codes.png", "usage.png", "samples.png"]


def test_new_images_of_no_class_have_rows_of_their_own(tmp_path):
    experiment = setting(tmp_path, by_class=False)
    rows = experiment._new(experiment.model().eval())
    assert [len(images) for images in rows.values()] == [8, 8, 8]


def test_the_usage_is_a_share_of_the_codes_there_are(tmp_path, monkeypatch):
    lines = {}
    monkeypatch.setattr(
        "saiki.experiments.groups.quantisation.draw_curves",
        lambda path, curve, **_: lines.update(curve) or path,
    )
    experiment = setting(tmp_path, quantiser="scalars", levels="3,4")
    experiment.draw(experiment.model().eval(), POINTS, tmp_path)
    assert {name: curve[0][1] for name, curve in lines.items()} == {
        "usage": [0.5],
        "perplexity": [0.5],
    }


def test_blurred_images_are_less_sharp_and_farther_away(tmp_path):
    """The measures see what the claim is about."""
    experiment = setting(tmp_path)
    model, train = experiment.model().eval(), experiment.data.parts.train
    pixels = torch.randint(0, 256, (60, 3, 9, 7), dtype=torch.uint8)
    images = Images(pixels, torch.arange(60) % 2, train.classes)

    class Blurring(type(model)):
        kernel = 1

        def decode(self, vectors):
            x = pixels / 255
            size = self.kernel
            return torch.nn.functional.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)

    figures = []
    for kernel in (1, 3, 5):
        model.__class__, Blurring.kernel = Blurring, kernel
        model.prior = None
        figures.append(measures.perceptual_figures(model, images, images, 20))
    assert figures[0]["sharpness"] == pytest.approx(1)
    assert figures[0]["frechet_reconstructions"] == pytest.approx(0, abs=1e-6)
    assert figures[0]["sharpness"] > figures[1]["sharpness"] > figures[2]["sharpness"]
    near, far = (values["frechet_reconstructions"] for values in figures[1:])
    assert 1e-3 < near < far


def test_new_images_are_always_the_same_and_follow_from_the_class(trained):
    _, model = reopen(trained / "run")
    labels = torch.arange(2).repeat(20)
    images = new_images(model, labels)
    assert torch.equal(new_images(model, labels), images)
    assert not torch.equal(new_images(model, 1 - labels), images)


@pytest.mark.long
def test_two_processes_at_batch_3_are_one_at_batch_6(tmp_path):
    words = TINY["vq-vae"].flags(tmp_path, epochs=8.0, width=8, precision="float64", log_every=4)
    for count, size in ((2, 3), (1, 6)):
        more = ["--batch-size", str(size), "--out", str(tmp_path / str(count))]
        together(count, command, ["run", "vq-vae", *words, *more])
    two, one = (reopen(tmp_path / name)[1].state_dict() for name in "21")
    for name, value in one.items():
        if not name.startswith("probe"):
            assert torch.allclose(two[name].double(), value.double(), atol=1e-7), name


def trial(**figures):
    """Several seeds, from a list of each figure."""
    rows = zip(*figures.values(), strict=True)
    return Trial({"width": 8}, tuple(dict(zip(figures, row, strict=True)) for row in rows))


def test_claims_are_decided_by_their_figures_over_seeds():
    sharper, by_class, in_use, used = (claim.judge for claim in VQVAEs.claims)
    near, far = [9.0, 9.1, 8.9], [9.5, 9.61, 9.4]
    one = trial(
        sharpness=[0.8, 0.82, 0.78], frechet_reconstructions=near, frechet_samples=near,
        probe_accuracy=[0.8, 0.81, 0.79],
    )  # fmt: skip
    two = trial(
        sharpness=[0.7, 0.73, 0.68], frechet_reconstructions=far, frechet_samples=near,
        probe_accuracy=[0.82, 0.831, 0.809],
    )  # fmt: skip
    held, message = sharper([one, two])
    assert held
    assert message.startswith(
        "VQ-VAE of width 8: sharpness 0.8 ± 0.02, frechet_reconstructions 9 ± 0"
    )
    assert not sharper([two, one])[0]
    noisy = trial(sharpness=[0.7, 0.7, 0.9], frechet_reconstructions=far, frechet_samples=near)
    assert not sharper([one, noisy])[0]  # in the mean it is, but not in each seed
    assert not by_class([one, two])[0]
    assert by_class([two, one])[0]
    full, half = trial(codebook_usage=[0.95, 0.92]), trial(codebook_usage=[0.99, 0.85])
    collapsed, active = (trial(active_share=[share, 0.3], kl=[9.0, 9.1]) for share in (0.3, 0.95))
    assert in_use([full] * 3 + [collapsed] * 3)[0]
    assert not in_use([full, half, full] + [collapsed] * 3)[0]
    assert not in_use([full] * 3 + [collapsed, collapsed, active])[0]
    full, half = (
        trial(codebook_usage=each.values("codebook_usage"), codebook_perplexity=[400.0, 380.0])
        for each in (full, half)
    )
    assert used([full])[0]
    assert not used([half])[0]
