"""Proofreading on sentences of a few words: what it learns, what it marks, and every figure."""

import json
import shutil

import numpy as np
import pytest
import torch

from batches import training_batches
from commands import flags
from saiki import cli, processes
from saiki.data.text.mistyped import HELD_RATE
from saiki.data.text.typos import KINDS, mend, mistype
from saiki.errors import InputError
from saiki.experiments import proofread
from saiki.experiments.proofread import Proofread
from saiki.metrics.corrections import THRESHOLDS
from saiki.metrics.text import edit_distance
from saiki.runs.folder import RunFolder
from saiki.runs.reopen import reopen
from saiki.saving import tensors
from saiki.saving.description import describe
from saiki.text import END, SPECIAL

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "seven", "birds", "sing"]
SMALL = {
    "iterations": 500,
    "length": 60,
    "rate": 0.1,
    "threshold": 0.5,
    "layers": 1,
    "hidden_size": 64,
    "embedding_size": 16,
    "batch_size": 16,
    "learning_rate": 0.02,
    "log_every": 250,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """3,000 different sentences of these words."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("book") / "book.txt"
    lines = [" ".join(random.choice(WORDS, random.integers(4, 9))) for _ in range(3000)]
    path.write_text("".join(f"{line.capitalize()}.\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def learned(book, tmp_path_factory):
    """A run of the command line, and its folder."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "one"
    assert (
        cli.main(["run", "proofread", "--data", str(book), "--out", str(out), *flags(**SMALL)]) == 0
    )
    return out


def setting(book, **changes):
    return Proofread(**{**SMALL, "data": str(book), **changes})


def made(experiment):
    torch.manual_seed(0)
    model = experiment.model()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.6)
    return model.eval()


# Data.


def test_passages_are_whole_words_of_the_first_part_with_mistakes(book):
    experiment = setting(book)
    train = experiment.data.prose.train
    passages = [experiment.data.passage(experiment.seed, place) for place in range(300)]
    for clean, text, mistakes in passages:
        assert clean in train
        assert len(clean) <= 60
        assert set(clean.lower().replace(".", "").split()) <= set(WORDS)
        assert mend(text + "\n", mistakes) == clean + "\n"
    characters = sum(len(clean) for clean, _, _ in passages)
    made = [mistake for _, _, mistakes in passages for mistake in mistakes]
    assert len(made) / characters == pytest.approx(0.1 * 0.85, rel=0.15)
    assert {mistake.kind for mistake in made} == set(KINDS)
    # also where the last character was dropped or doubled
    assert any(mistakes and mistakes[-1].place == len(text) for _, text, mistakes in passages)
    assert any(
        mistakes and mistakes[-1].kind == "doubled" and mistakes[-1].place == len(text) - 1
        for _, text, mistakes in passages
    )
    shares = [len(mistakes) / len(clean) for clean, _, mistakes in passages]
    assert np.mean([share < 0.02 for share in shares]) > 0.1  # some hold hardly any


def test_the_examples_are_as_many_passages_as_the_text_has_room_for_and_the_sentences(book):
    data = setting(book, length=50).data
    assert data.examples() == (len(data.prose.train) // 50, len(data.prose.test))
    assert min(data.examples()) > 10


def test_batches_say_what_is_wrong_where(book):
    experiment = setting(book)
    tokens, lengths, kinds, missing = next(training_batches(experiment, 3))
    characters = experiment.data.characters
    for row in range(16):
        _, text, mistakes = experiment.data.passage(experiment.seed, 3 * 16 + row)
        count = len(text) + 1
        assert lengths[row] == count
        assert tokens[row, :count].tolist() == [*characters.ids(text), END]
        wanted = torch.zeros(count, dtype=torch.int64)
        letters = {}
        for place, kind, letter in mistakes:
            wanted[place] = 1 + KINDS.index(kind)
            if kind == "dropped":
                letters[place] = characters.ids(letter)[0]
        assert torch.equal(kinds[row, :count], wanted)
        assert (kinds[row, count:] == -100).all()
        dropped = {int(i): int(missing[row, i]) for i in (missing[row] != -100).nonzero()}
        assert dropped == letters


def test_two_processes_share_what_one_would_have(book, monkeypatch):
    lengths, halves = next(training_batches(setting(book), 2))[1], []
    for rank in range(2):
        monkeypatch.setattr(processes, "count", lambda: 2)
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        halves.append(next(training_batches(setting(book, batch_size=8), 2)))
    assert torch.cat([half[1] for half in halves]).tolist() == lengths.tolist()


def test_what_is_held_has_the_same_mistakes_for_every_setting(book):
    experiment = setting(book)
    assert experiment.data.validation == setting(book, seed=5, rate=0.2).data.validation
    assert experiment.data.test == setting(book, seed=5, rate=0.2).data.test
    for held, clean in (
        (experiment.data.validation, experiment.data.prose.validation),
        (experiment.data.test, experiment.data.prose.test),
    ):
        assert tuple(example.clean for example in held) == clean
        assert all(example.clean not in experiment.data.prose.train for example in held)
        assert all(mend(e.text + "\n", e.mistakes) == e.clean + "\n" for e in held)
        count = sum(len(example.mistakes) for example in held)
        length = sum(len(example.clean) for example in held)
        assert count / length == pytest.approx(HELD_RATE, rel=0.25)


def test_rare_characters_are_unknown_and_digits_are_not_touched(book, tmp_path):
    text = book.read_text()
    path = tmp_path / "rare.txt"
    path.write_text(
        text.replace("seven", "7seven") + "A ж here and no other place at all.\n" + text
    )
    experiment = setting(path)
    assert "ж" not in experiment.data.characters
    assert "7" in experiment.data.characters
    assert "7" not in experiment.data.touched
    assert experiment.data.touched >= set("abcxyz .")
    random = np.random.default_rng(0)
    _, mistakes = mistype("7" * 50, 1.0, experiment.data.touched, random)
    assert mistakes == []


# Loss and figures.


def test_the_loss_is_the_log_probability_of_all_marks_by_hand(book):
    experiment = setting(book, precision="float64")
    model = made(experiment).double()
    batch = next(training_batches(experiment))
    tokens, lengths, kinds, missing = batch
    total = 0.0
    for row in range(16):
        count = int(lengths[row])
        u, v = model(tokens[row : row + 1, :count], lengths[row : row + 1])
        log_p, log_q = u[0].log_softmax(-1), v[0].log_softmax(-1)
        for t in range(count):
            total -= log_p[t, kinds[row, t]].item() / count / 16
            if kinds[row, t] == 1 + KINDS.index("dropped"):
                total -= log_q[t, missing[row, t]].item() / count / 16
    assert experiment.measure(model, batch)["loss"].item() == pytest.approx(total, rel=1e-9)


def test_what_is_monitored_is_of_the_validation_part(book, monkeypatch):
    monkeypatch.setattr(proofread, "EVALUATED", 7)
    experiment = setting(book, threshold=0.4)
    model = made(experiment)
    losses = [experiment.measure(model, experiment.data.encode([e]))["loss"].item()
              for e in experiment.data.validation]  # fmt: skip
    right = marked = alarms = 0
    for example in experiment.data.validation:
        (marks,), (clean,) = (
            experiment.marks(model, [text]) for text in (example.text, example.clean)
        )
        known = {(m.place, m.kind) for m in example.mistakes}
        right += sum((m.mistake.place, m.mistake.kind) in known for m in marks)
        marked += len(marks)
        alarms += len(clean)
    count = sum(len(e.mistakes) for e in experiment.data.validation)
    length = sum(len(e.clean) for e in experiment.data.validation)
    figures = experiment.monitor(model)
    assert marked
    assert figures == pytest.approx({
        "validation_loss": np.mean(losses),
        "validation_f1": 2 * right / (marked + count),
        "validation_false_alarms": 1000 * alarms / length,
    }, rel=1e-4)  # fmt: skip


@pytest.mark.long
def test_a_trained_network_mends_what_it_has_never_seen(learned, book):
    result = json.loads((learned / "result.json").read_text())
    assert result["stopped"] is None
    assert result["f1"] > 0.85
    assert min(result[f"f1_{kind}"] for kind in KINDS) > 0.6
    assert result["mended"] > 0.75
    assert result["false_alarms"] < 3
    assert result["character_error_rate_after"] < result["character_error_rate_before"] / 3
    experiment, model = reopen(learned)
    test = experiment.data.test
    texts = [experiment.predict(model, e.text).output for e in test]
    length = sum(len(e.clean) for e in test)
    before, after = (
        sum(edit_distance(a, e.clean) for a, e in zip(part, test, strict=True)) / length
        for part in ([e.text for e in test], texts)
    )
    assert result["character_error_rate_before"] == pytest.approx(before)
    assert result["character_error_rate_after"] == pytest.approx(after)
    right = np.mean([a == e.clean for a, e in zip(texts, test, strict=True)])
    assert result["texts_right"] == pytest.approx(right)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_only_in_both_directions_the_future_is_seen(book, bidirectional):
    model = made(setting(book, bidirectional=bidirectional))
    one, other = model.read(["The quick brown fox jumps.", "The quick brown dogs sing."])
    same = len("The quick brown ")
    assert torch.allclose(one.kinds[:same], other.kinds[:same], atol=1e-6) != bidirectional
    assert not torch.allclose(one.kinds[same + 1], other.kinds[same + 1], atol=1e-6)


# Use.


@pytest.mark.long
def test_a_text_is_mended_and_what_was_changed_is_told(learned, capsys):
    capsys.readouterr()
    text = "The qiuck brwn fox jumpss over lazy dogs."
    assert cli.main(["predict", str(learned), text, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    answer = json.loads(line)
    assert answer["input"] == text
    assert answer["output"] == "The quick brown fox jumps over lazy dogs."
    changes = [(c["was"], c["is"], c["kind"], c["missing"], c["place"]) for c in answer["changes"]]
    assert changes == [
        ("qiuck", "quick", "swapped", "", 6),
        ("brwn", "brown", "dropped", "o", 12),
        ("jumpss", "jumps", "doubled", "", 24),
    ]
    assert all(0.5 <= change["probability"] <= 1 for change in answer["changes"])
    assert cli.main(["predict", str(learned), text]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = answer["changes"][1]["probability"]
    assert lines[0] == answer["output"]
    assert lines[2] == f"  brwn → brown   dropped, {shown:.1%}"
    assert len(lines) == 4


def test_lines_and_their_ends_and_margins_stay(learned):
    experiment, model = reopen(learned)
    text = "  The quick brown fox\n\n\tseven birds singg.  \r\nover lazy dgos\n"
    answer = experiment.predict(model, text)
    assert answer.output == text.replace("singg", "sing").replace("dgos", "dogs")
    assert [text[change["place"]] for change in answer.figures["changes"]] == ["g", "o"]
    for nothing in ("", " \n\n"):
        assert experiment.predict(model, nothing).output == nothing
    assert "prose" not in vars(experiment.data)


def test_many_texts_are_answered_as_one_by_one_and_a_long_one_as_a_whole(learned):
    experiment, model = reopen(learned)
    texts = [example.text for example in experiment.data.test[:20]]
    together = experiment.predict_all(model, texts)
    for text, answer in zip(texts, together, strict=True):
        alone = experiment.predict(model, text)
        assert answer.output == alone.output
        assert [c["place"] for c in answer.figures["changes"]] == [
            c["place"] for c in alone.figures["changes"]
        ]
    lined = experiment.predict(model, "\n".join(texts))
    assert lined.output == "\n".join(answer.output for answer in together)
    whole = experiment.predict(model, " ".join(texts * 5))
    cer = edit_distance(whole.output, " ".join([e.clean for e in experiment.data.test[:20]] * 5))
    assert cer < 0.02 * len(whole.output)


def test_the_threshold_may_be_changed_at_use(learned):
    experiment, model = reopen(learned)
    counts = []
    for threshold in (0.05, 0.5, 0.95, 1.0):
        assert "threshold" in experiment.predict_knobs
        strict = Proofread.from_dict({**experiment.to_dict(), "threshold": threshold})
        marks = [
            m
            for of_text in strict.marks(model, [e.text for e in experiment.data.test])
            for m in of_text
        ]
        assert all(mark.probability >= threshold for mark in marks)
        counts.append(len(marks))
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4


@pytest.fixture(scope="module")
def settled(learned):
    """The same model with the threshold that clean sentences choose."""
    experiment, model = reopen(learned)
    experiment = experiment.changed({"threshold": 0.0, "touched": 0.05})
    experiment.settle(model)
    return experiment, model


def test_the_threshold_is_the_lowest_that_leaves_clean_sentences_alone(settled):
    experiment, model = settled
    least = experiment.least(model)
    held = experiment.data.validation
    mistaken = [e for e in held if e.mistakes]

    def by_hand(threshold):
        strict = experiment.changed({"threshold": threshold})
        after = [strict.predict(model, e.clean).output != e.clean for e in held]
        right = [strict.predict(model, e.text).output == e.clean for e in mistaken]
        return np.mean(after), np.mean(right)

    touched, right = by_hand(least)
    assert touched <= 0.05 < right
    assert least == THRESHOLDS[0] or by_hand(round(least - 0.01, 2))[0] > 0.05
    [curve] = experiment.trade_offs(model).values()
    assert curve[THRESHOLDS.index(least)] == pytest.approx((touched, right))
    assert [row[0] for row in curve] == sorted((row[0] for row in curve), reverse=True)


def test_text_of_another_kind_has_a_say(settled, tmp_path):
    experiment, model = settled
    backwards = [" ".join(reversed(e.clean[:-1].split())) for e in experiment.data.validation]
    (tmp_path / "other.txt").write_text("\n".join(f"{line.capitalize()}?" for line in backwards))
    both = experiment.changed({"other": str(tmp_path / "other.txt")})
    assert "sentences of another kind of text" in both.describe_data()
    own, other = both.trade_offs(model).values()
    assert own == experiment.trade_offs(model)["text of this kind"]
    alone = experiment.least(model)
    both.settle(model)
    assert both.least(model) >= alone
    figures = both.evaluate(model)
    assert {"clean_touched", "typed_right", "other_clean_touched", "other_typed_right"} <= {
        *figures
    }
    if both.least(model) in THRESHOLDS:
        assert other[THRESHOLDS.index(both.least(model))][0] <= 0.05
    experiment.settle(model)


def test_the_threshold_travels_with_the_weights(settled, learned, tmp_path):
    experiment, model = settled
    copy = tmp_path / "run"
    shutil.copytree(learned, copy)
    about = {"run": [experiment.name, experiment.to_dict()], "model": describe(model)}
    tensors.save(copy / "model.safetensors", model.state_dict(), about)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "knobs": experiment.to_dict()}))
    reopened, restored = reopen(copy)
    assert reopened.least(restored) == experiment.least(model)
    assert reopened.metadata(restored)["threshold"] == str(experiment.least(model))


def test_a_proofreader_that_harms_is_switched_off_and_says_so(learned, book, capsys, tmp_path):
    out = tmp_path / "run"
    words = flags(**{**SMALL, "iterations": 2, "threshold": 0.0, "touched": 0.0})
    assert cli.main(["run", "proofread", "--data", str(book), "--out", str(out), *words]) == 0
    assert f"  {proofread.OFF}" in capsys.readouterr().out.splitlines()
    result = json.loads((out / "result.json").read_text())
    assert (result["threshold"], result["clean_touched"], result["f1"]) == (None, 0, 0)
    text = "Teh quick fox."
    assert cli.main(["predict", str(out), text, text]) == 0
    assert capsys.readouterr() == (f"{text}\n{text}\n", f"saiki predict: {proofread.OFF}\n")
    assert cli.main(["predict", str(out), text, "--threshold", "0.9"]) == 0
    assert capsys.readouterr().err == ""


def test_impossible_marks_are_not_made(book):
    experiment = setting(book, threshold=1e-9)
    model = made(experiment)
    for example in experiment.data.test:
        (marks,) = experiment.marks(model, [example.text])
        assert marks
        text = example.text
        for (place, kind, missing), _ in marks:
            assert kind != "dropped" or missing
            assert kind == "dropped" or 0 < place < len(text)
            assert kind != "doubled" or text[place] == text[place - 1]
            assert kind != "swapped" or text[place] != text[place - 1]


# What a run leaves.


def test_a_run_leaves_pictures_curves_and_words(learned):
    pictures = {path.name for path in learned.glob("*.png")}
    assert pictures >= {"loss.png", "f1.png", "kinds.png", "trade_off.png"}
    points = RunFolder(learned).points()
    assert [point["step"] for point in points] == [250, 500]
    assert {"loss", "validation_loss", "validation_f1", "validation_false_alarms"} <= {*points[0]}
    experiment, model = reopen(learned)
    opening = experiment.describe_data()
    assert f"{len(experiment.data.prose.train):,} characters to learn from" in opening
    lines = experiment.describe_model(model).splitlines()
    assert sum(line.startswith("    mended: ") for line in lines) == proofread.SHOWN
    typed, _, got = experiment.sample(model).partition(" → ")
    assert experiment.predict(model, typed).output == got
    assert typed in [example.text for example in experiment.data.validation]


def test_the_model_is_exported(learned, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    assert cli.main(["export", str(learned), "--onnx", str(path)]) == 0
    experiment, model = reopen(learned)
    tokens, lengths, *_ = next(training_batches(experiment))
    exported = onnxruntime.InferenceSession(path)
    about = exported.get_modelmeta().custom_metadata_map
    assert json.loads(about["characters"]) == list(model.characters.words)
    assert json.loads(about["kinds"]) == ["none", *KINDS]
    names = [node.name for node in exported.get_inputs()]
    outputs = exported.run(None, dict(zip(names, (tokens.numpy(), lengths.numpy()), strict=True)))
    with torch.no_grad():
        for ours, theirs in zip(model(tokens, lengths), outputs, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-3, atol=1e-3)


def test_the_shape_follows_the_knobs(book):
    for cell, bidirectional, layers in (
        ("lstm", True, 2),
        ("peephole", False, 1),
        ("rnn", True, 1),
    ):
        experiment = setting(book, cell=cell, bidirectional=bidirectional, layers=layers)
        model = experiment.model()
        assert model.encoder.output_size == 64
        assert len(getattr(model.encoder.recurrent, "layers", [0])) == layers
        tokens, lengths = experiment.data.example()
        assert tokens.max() < len(SPECIAL)
        u, v = model(tokens, lengths)
        assert (u.shape[-1], v.shape[-1]) == (4, len(experiment.data.characters))
        assert ("32 units each way" in experiment.equations()) == bidirectional


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="hidden_size must be even"):
        Proofread(hidden_size=5)
    assert Proofread(hidden_size=5, bidirectional=False).recurrent.hidden_size == 5
    with pytest.raises(InputError, match="does not exist"):
        Proofread(data=str(tmp_path / "gone")).describe_data()
    for name, value in (("rate", 0.0), ("threshold", 1.5), ("cell", "transformer"), ("layers", 0)):
        with pytest.raises(InputError, match=f"{name} must be"):
            Proofread(**{name: value})
