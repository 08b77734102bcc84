import itertools
import json

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from commands import saiki
from forked import command, together
from saiki.data.images.files import read_image
from saiki.data.images.labelled import Images
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.shared.coded_images import drawn, fit_probe, judged, measured, probe_accuracy
from saiki.experiments.vq_vae import VQVAEs
from saiki.runs.reopen import reopen
from tiny import TINY, squares

FIGURES = {"reconstruction_error", "codebook_usage", "codebook_perplexity", "prior_nll"}


def setting(folder, **changes):
    return VQVAEs(**TINY["vq-vae"].values(folder, **changes))


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


def test_a_folder_of_odd_sized_colour_images_is_learned(trained):
    result = json.loads((trained / "run" / "result.json").read_text())
    pixels = reopen(trained / "run")[0].images.test.pixels / 255
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
    given = trained / "wide.png"
    seen = Image.open(trained / "squares" / "right" / "3.png").resize((70, 45))
    seen.save(given)
    code, out, _ = saiki("predict", trained / "run", given, "--json", "--out", trained / "answers")
    assert code == 0
    answer = json.loads(out[0])
    assert answer["label"] == "right"
    assert np.shape(answer["codes"]) == (3, 2, 1)
    back = read_image(answer["output"])
    assert back.shape == (3, 9, 7)
    _, model = reopen(trained / "run")
    codes = torch.tensor(answer["codes"])
    assert torch.equal(back, (model.images(codes[None])[0] * 255).round().to(torch.uint8))


def test_encoder_and_decoder_are_exported_and_say_the_same(trained):
    assert saiki("export", trained / "run", "--onnx", trained / "m.onnx")[0] == 0
    experiment, model = reopen(trained / "run")
    x = experiment.images.test.pixels.float() / 255
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
        {"quantiser": "gaussian"},
        {"quantiser": "plain", "colours": 1, "side": 5},
        {"prior": False, "kmeans": False, "revive": False, "halvings": 0},
    ],
)
def test_every_kind_of_code_trains_and_is_judged(tmp_path, changes):
    experiment = setting(tmp_path, **changes)
    model = experiment.model().to(experiment.dtype)
    for batch in itertools.islice(experiment.batches(), 3):
        found = experiment.measure(model.train(), batch)
        found["loss"].backward()
        assert all(torch.isfinite(value) for value in found.values())
    experiment.settle(model.eval())
    figures = experiment.evaluate(model)
    has_codes = changes.get("quantiser") not in ("gaussian", "plain")
    assert {"codebook_usage", "codebook_perplexity"} <= figures.keys() or not has_codes
    assert ("prior_nll" in figures) == (has_codes and changes.get("prior", True))
    assert ("kl" in figures) == (changes.get("quantiser") == "gaussian")
    assert all(value is None or np.isfinite(value) for value in figures.values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": 2}, "heads must divide the 3 features"),
        ({"cosine": True, "stages": 2}, "give cosine or stages"),
        ({"quantiser": "scalars", "levels": "8;8"}, "levels must be whole numbers with commas"),
        ({"quantiser": "scalars", "levels": "1,8"}, "levels must be from 2 to 256"),
    ],
)
def test_knobs_that_do_not_go_together_are_refused(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        setting(tmp_path, **changes)


def test_what_is_measured_is_that_of_all_images_at_once(tmp_path, monkeypatch):
    experiment = setting(tmp_path)
    model, test = experiment.model().eval(), experiment.images.train
    whole = measured(model, test)
    monkeypatch.setattr("saiki.experiments.shared.coded_images.NUMBERS", 1000)
    parts = measured(model, test)
    assert parts == pytest.approx(whole)
    x = test.pixels / 255
    assert whole["reconstruction_error"] == pytest.approx((model(x) - x).square().mean().item())
    assert whole["codebook_usage"] == len(model.encode(x).unique()) / 8


def test_the_probe_is_of_what_is_learned_from_and_judged_on_the_rest(tmp_path):
    experiment = setting(tmp_path, quantiser="plain")
    model = experiment.model().eval()
    assert probe_accuracy(model, experiment.images.test) == 0.5  # it has learned nothing yet
    fit_probe(model, experiment.images.train)
    assert probe_accuracy(model, experiment.images.train) == 1


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
    assert "label" not in experiment.predict(model, str(tmp_path / "all" / "0.png"))


def test_blurred_images_are_less_sharp_and_farther_away(tmp_path):
    """The measures see what the claim is about."""
    experiment = setting(tmp_path)
    model, train = experiment.model().eval(), experiment.images.train
    pixels = torch.randint(0, 256, (60, 3, 9, 7), dtype=torch.uint8)
    images = Images(pixels, torch.arange(60) % 2, train.classes)

    class Blurring(type(model)):
        kernel = 1

        def decode(self, vectors):
            x = pixels / 255
            size = self.kernel
            return torch.nn.functional.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)

    found = []
    for kernel in (1, 3, 5):
        model.__class__, Blurring.kernel = Blurring, kernel
        model.prior = None
        found.append(judged(model, images, images, 20))
    assert found[0]["sharpness"] == pytest.approx(1)
    assert found[0]["frechet_reconstructions"] == pytest.approx(0, abs=1e-6)
    assert found[0]["sharpness"] > found[1]["sharpness"] > found[2]["sharpness"]
    near, far = (its["frechet_reconstructions"] for its in found[1:])
    assert 1e-3 < near < far


def test_new_images_are_always_the_same_and_follow_from_the_class(trained):
    _, model = reopen(trained / "run")
    labels = torch.arange(2).repeat(20)
    images = drawn(model, labels)
    assert torch.equal(drawn(model, labels), images)
    assert not torch.equal(drawn(model, 1 - labels), images)


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
    return Trial({}, (figures,))


def test_claims_are_decided_by_their_figures():
    sharper, by_class, in_use, used = (claim.judge for claim in VQVAEs.claims)
    one = trial(sharpness=0.8, frechet_reconstructions=1.0, frechet_samples=9.0, probe_accuracy=0.8)
    two = trial(
        sharpness=0.7, frechet_reconstructions=2.0, frechet_samples=9.0, probe_accuracy=0.82
    )
    assert sharper([one, two])[0]
    assert not sharper([two, one])[0]
    assert not by_class([one, two])[0]
    assert by_class([two, one])[0]
    full, half = trial(codebook_usage=0.95), trial(codebook_usage=0.5)
    collapsed, active = (trial(active_share=share, kl=9.0) for share in (0.3, 0.95))
    assert in_use([full] * 3 + [collapsed] * 3)[0]
    assert not in_use([full, half, full] + [collapsed] * 3)[0]
    assert not in_use([full] * 3 + [collapsed, collapsed, active])[0]
    assert used([full])[0]
    assert not used([half])[0]
