"""The exercise of augmentation, its claims and its sheets."""

import itertools
import json

import numpy as np
import pytest
import torch

from batches import training_batches
from forked import CHILDREN
from saiki import cli
from saiki.data import store
from saiki.data.images.augmentation import REPORT, read_policy
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.augment import exercise
from saiki.experiments.augment.exercise import SETTINGS, TECHNIQUES, Augment
from saiki.experiments.augment.sheets import by_technique, reduced, variants
from tiny import TINY, squares


def setting(folder, **changes):
    return Augment(**{"data": str(squares(folder)), "width": 4, "batch_size": 4, **changes})


def test_it_learns_to_tell_bright_halves_apart(tmp_path):
    words = ["--data", str(squares(tmp_path)), "--width", "4", "--updates", "60"]
    words += ["--batch-size", "8", "--flip-horizontal", "0", "--shift", "0.1", "--device", "cpu"]
    assert cli.main(["run", "augment", *words, "--out", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["accuracy"] == 1.0
    assert result["examples_learned"] == 14.0 - 4.0 + 2.0
    policy, seed = read_policy(tmp_path / "run" / "policy.json")
    assert (policy.shift, policy.flip_horizontal, seed) == (0.1, 0.0, 0)
    made = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert {"variants.png", "techniques.png", "confusion.png"} <= made


def test_images_are_changed_anew_each_time_and_only_those_to_learn_from(tmp_path):
    plain = setting(tmp_path, **Augment.preset("plain"))
    known = {x.numpy().tobytes() for x in plain.data.parts.train.pixels.float() / 255}
    batches = training_batches(plain)
    for _ in range(5):
        x, targets = next(batches)
        assert {each.numpy().tobytes() for each in x} <= known
        assert targets.sum(1).tolist() == [1.0] * 4
    changed = setting(tmp_path, rotation=20.0, mixup=0.5)
    seen = {each.numpy().tobytes() for _ in range(5) for each in next(training_batches(changed))[0]}
    assert not seen & known
    assert torch.equal(changed.data.parts.test.pixels, plain.data.parts.test.pixels)


def test_the_seed_chooses_the_examples_and_all_settings_learn_from_the_same(tmp_path):
    names = [
        setting(tmp_path, examples=4, seed=seed, **more).data.parts.train.names
        for seed, more in ((0, {}), (0, {"noise": 0.1}), (1, {}))
    ]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 4


def test_an_image_is_changed_alike_in_an_epoch_whatever_the_size_of_batches(tmp_path):
    seen = []
    for size in (3, 4):
        experiment = setting(tmp_path, rotation=20.0, noise=0.1, cutmix=0.0, batch_size=size)
        epoch = itertools.islice(
            training_batches(experiment), -(-len(experiment.data.parts.train) // size)
        )
        seen.append({x.numpy().tobytes() for batch, _ in epoch for x in batch})
    assert seen[0] == seen[1]
    assert len(seen[0]) == len(experiment.data.parts.train)


def test_other_labels_for_the_same_images_are_other_data(tmp_path):
    experiment = setting(tmp_path)
    test = experiment.data.parts.test
    before = {name: list(values) for name, values in experiment.data.items().items()}
    test.labels.copy_(1 - test.labels)
    after = {name: list(values) for name, values in experiment.data.items().items()}
    assert [name for name in before if before[name] != after[name]] == ["labels"]


def test_the_sheets_are_of_the_photo_and_can_be_made_again(tmp_path, monkeypatch):
    experiment = setting(tmp_path, **REPORT.to_dict())
    sheet = variants(experiment.data.photo, experiment.augmentation, 3)
    assert sheet.shape == (36, 3, 9, 9)
    assert torch.equal(sheet, variants(experiment.data.photo, experiment.augmentation, 3))
    assert not torch.equal(sheet, variants(experiment.data.photo, experiment.augmentation, 4))
    rows = by_technique(experiment.data.photo, 0)
    assert {"mixup", "CutMix", "erasing", "hue"} <= rows.keys()
    for captions, pictures in rows.values():
        assert len(captions) == len(pictures)
    large = torch.randint(0, 256, (3, 480, 512), dtype=torch.uint8)
    assert reduced(large).shape == (3, 120, 128)
    path = tmp_path / "squares" / "left" / "3.png"
    assert setting(tmp_path, image=str(path)).data.photo.shape == (3, 9, 7)
    with pytest.raises(InputError, match=r"none\.png cannot be read"):
        setting(tmp_path, image=str(tmp_path / "none.png")).data.items()
    photo = tmp_path / "store"
    photo.mkdir()
    path.rename(photo / "fruits.jpg")
    monkeypatch.setattr(store, "locate", lambda name: photo)
    assert Augment().data.photo.shape == (3, 9, 7)


def test_one_class_leaves_nothing_to_learn(tmp_path):
    experiment = Augment(data=str(squares(tmp_path) / "left"))
    with pytest.raises(InputError, match="all images are of one class"):
        experiment.model()
    with pytest.raises(InputError, match="width must be a multiple of 4, got 6"):
        Augment(width=6)


def test_the_policy_that_is_judged_is_the_default_and_plain_is_without():
    default = Augment().to_dict()
    assert {
        n: v for n, v in default.items() if n in exercise.OFF and v != exercise.OFF[n]
    } == exercise.POLICY
    plain = Augment(**Augment.preset("plain")).to_dict()
    assert all(plain[name] == off for name, off in exercise.OFF.items())
    report = Augment(**Augment.preset("report"))
    assert report.augmentation == REPORT


def trial(accuracies, **changes):
    knobs = Augment(**{**Augment.preset("plain"), **changes}).to_dict()
    return Trial(knobs, tuple({"accuracy": a} for a in accuracies))


def trials_of_claims(**gained):
    """All the settings of the claims; techniques that are not named gain by chance alone."""
    without, chance = [0.70, 0.74, 0.72, 0.76, 0.73], [0.01, -0.01, 0.02, -0.02, 0.0]
    matches = []
    for how in SETTINGS:
        changed = how.keys() - {"examples", "updates"}
        more = next((gained[name] for name in changed & gained.keys()), chance)
        values = [a + b for a, b in zip(without, more, strict=True)] if changed else without
        matches.append(trial(values, **how))
    return matches


def verdict(statement, trials):
    [claim] = [claim for claim in exercise.CLAIMS if statement in claim.statement]
    return claim.judge(trials)


def test_a_claim_holds_where_the_gain_is_more_than_chance_among_so_many_comparisons():
    trials = trials_of_claims(
        noise=[0.02, 0.021, 0.019, 0.022, 0.018],
        blur=[-0.02, -0.021, -0.019, -0.022, -0.018],
        rotation=[0.02, 0.01, 0.03, 0.004, 0.03],
    )
    held, message = verdict("noise raises", trials)
    assert held
    assert message == (
        "without 0.73 ± 0.022, with 0.75 ± 0.023, gained +0.02 ± 0.0016, p = 9.3e-06, as one of "
        "16 comparisons 0.00015: helps"
    )
    held, message = verdict("blur raises", trials)
    assert not held
    assert message.endswith("hurts")
    held, message = verdict("rotation by up to 15° raises", trials)  # alone it would be enough
    assert not held
    assert "p = 0.023" in message
    assert message.endswith("cannot be told")
    one_seed = [
        trial(t.values("accuracy")[:1], **how) for t, how in zip(trials, SETTINGS, strict=True)
    ]
    assert not any(claim.judge(one_seed)[0] for claim in exercise.CLAIMS)


def test_of_tables_without_any_difference_one_in_twenty_has_a_verdict():
    random, decided = np.random.default_rng(0), 0
    for _ in range(60):
        rows = random.normal(0.7, 0.01, (len(SETTINGS), 5))
        trials = [Trial({}, tuple({"accuracy": a} for a in row)) for row in rows.tolist()]
        messages = [claim.judge(trials)[1] for claim in exercise.CLAIMS]
        decided += any(not each.endswith("cannot be told") for each in messages)
    assert decided <= 6


def test_rows_of_a_sweep_become_lines_and_gains(tmp_path):
    trials = [
        trial([0.7, 0.8], examples=500), trial([0.9, 0.9], examples=2000),
        trial([0.75, 0.8], examples=500, **exercise.POLICY),
        trial([0.91, 0.9], examples=2000, **exercise.POLICY),
        trial([0.71, 0.82], examples=500, **TECHNIQUES["noise"]),
        trial([0.6, 0.6], examples=2000, width=8, **TECHNIQUES["mixup"]),
    ]  # fmt: skip
    assert exercise.lines(trials) == {
        "as they are": {500.0: [0.7, 0.8], 2000.0: [0.9, 0.9]},
        "augmented": {500.0: [0.75, 0.8], 2000.0: [0.91, 0.9]},
    }
    assert exercise.gains(trials) == {"noise": [pytest.approx(0.01), pytest.approx(0.02)]}
    named = dict(enumerate(trials))
    [picture] = Augment.compare_plots({str(n): setting for n, setting in named.items()}, tmp_path)
    assert picture.name == "accuracy.png"
    assert Augment.compare_plots({"one": trials[0]}, tmp_path) == []


@pytest.mark.long
def test_a_table_of_try_holds_the_accuracy_of_each_setting(tmp_path, monkeypatch, capsys):
    words = ["try", "augment", f"data={squares(tmp_path)}", "shift=0,0.1", "--seeds", "2"]
    small = [f"{n}={v}" for n, v in TINY["augment"].settings.items() if n != "crop"]
    monkeypatch.setattr("saiki.runs.workers.CONTEXT", CHILDREN)
    out = tmp_path / "table"
    assert cli.main([*words, *small, "device=cpu", "--jobs", "1", "--out", str(out)]) == 0
    rows = json.loads((out / "table.json").read_text())
    assert [row["shift"] for row in rows] == [0.0, 0.1]
    assert all({"accuracy_mean", "accuracy_std"} <= row.keys() for row in rows)
    assert "accuracy" in capsys.readouterr().out


def test_each_claim_compares_a_technique_with_the_same_examples_as_they_are():
    assert len(exercise.CLAIMS) == len(exercise.COMPARED) == 3 + len(TECHNIQUES)
    for claim, (without, with_) in zip(exercise.CLAIMS, exercise.COMPARED, strict=True):
        assert claim.changes == SETTINGS
        changed = dict(SETTINGS[with_].items() - SETTINGS[without].items())
        assert SETTINGS[without].keys() == {"examples", "updates"}
        assert SETTINGS[with_] == {**SETTINGS[without], **changed}
        assert f"{SETTINGS[without]['examples']:,} examples" in claim.statement
        named = [name for name, how in TECHNIQUES.items() if how == changed]
        assert changed == exercise.POLICY or f"By itself, {named[0]} raises" in claim.statement
        assert set(changed) <= set(exercise.OFF)
