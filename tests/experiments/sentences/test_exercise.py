"""Sentences in a made-up language, by vectors from everywhere that they can come from."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from batches import training_batches
from commands import flags
from saiki import cli
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.sentences.exercise import Sentences
from saiki.models.word_vectors import WordVectors
from saiki.runs.reopen import reopen
from saiki.saving import tensors
from saiki.saving.description import describe
from saiki.saving.pretrained import WEIGHTS
from saiki.text import FIRST
from saiki.text.tokenisers import Words
from saiki.text.vectors import Vectors, write

GOOD, BAD, PLAIN = ("good", "nice", "kind"), ("cold", "loud", "rude"), ("there", "big", "new")
WORDS = ("the", "room", "bath", "not", "was", ".", *GOOD, *BAD, *PLAIN)
SMALL = {
    "tokens": "plain", "embedding_size": 0, "hidden_size": 12, "minimum": 1, "epochs": 30.0,
    "updates": 0, "learning_rate": 0.02, "batch_size": 16, "dropout": 0.1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table in which the order of two words decides, and vectors; whale has one and never occurs,
    and nice has that of kind."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for thing, (label, words), end in itertools.product(
        ("room", "bath"), (("1", GOOD), ("-1", BAD), ("0", PLAIN)), (".", "there .", "not .", "new")
    ):
        for word in words:
            rows.append((label, f"The {thing} was {word} {end}"))
            if label != "0":
                rows.append((str(-int(label)), f"the {thing} was not {word} {end}"))
    table = folder / "t.csv"
    text = "".join(f'{label},"{sentence}"\n' for label, sentence in rows)
    table.write_text("label,text\n" + text, encoding="utf-8")
    matrix = np.random.default_rng(0).normal(size=(len(WORDS) + 1, 6)).astype(np.float32)
    matrix[WORDS.index("nice")] = matrix[WORDS.index("kind")]
    write(Vectors((*WORDS, "whale"), matrix), folder / "v.txt")
    return table, folder / "v.txt"


def setting(files, **changes):
    table, vectors = files
    return Sentences(**{**SMALL, "data": str(table), "vectors": str(vectors), **changes})


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    words = flags(**{**SMALL, "data": files[0], "vectors": files[1]})
    assert cli.main(["run", "sentences", *words, "--out", str(out)]) == 0
    return out


@pytest.mark.long
def test_it_learns_what_the_order_of_words_says_and_the_mean_does_not(finished):
    pytest.importorskip("sklearn")
    result = json.loads((finished / "result.json").read_text())
    assert result["macro_f1"] > 0.9
    assert result["macro_f1"] > result["mean_vector_macro_f1"] + 0.1
    assert result["majority_macro_f1"] < 0.3
    assert result["words_sharing_a_vector"] == pytest.approx(2 / 15)
    assert {"f1_-1", "f1_0", "f1_1"} <= result.keys()
    assert {path.name for path in finished.glob("*.png")} >= {"confusion.png", "f1.png"}


def test_sentences_of_files_and_of_the_standard_input_are_answered(finished, tmp_path, capsys):
    lines = Path(tmp_path, "s.txt")
    lines.write_text("the room was rude .\nThe bath was a whale\n", encoding="utf-8")
    assert cli.main(["predict", str(finished), str(lines), "--json"]) == 0
    out, err = capsys.readouterr()
    first, second = map(json.loads, out.splitlines())
    assert (first["input"], first["label"]) == ("the room was rude .", "-1")
    assert first["probability"] > 0.5
    assert max(first["words"], key=lambda word: word["influence"])["word"] == "rude"
    assert second["unknown"] == ["a", "whale"]
    assert err == "saiki predict: unknown to the model: a whale (in 'The bath was a whale')\n"
    picture = tmp_path / "words.svg"
    assert cli.main(["predict", str(finished), "the room was rude", "--picture", str(picture)]) == 0
    assert "blue" not in capsys.readouterr().out
    assert picture.stat().st_size > 1000


def test_the_exported_model_says_the_same_of_the_numbers_of_words(finished, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    assert cli.main(["export", str(finished), "--onnx", str(tmp_path / "m.onnx")]) == 0
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    about = session.get_modelmeta().custom_metadata_map
    words, classes = json.loads(about["words"]), json.loads(about["classes"])
    assert "plain_words.v1" in about["tokeniser"]
    rows = [["the", "bath", "was", "loud"], ["the", "room", "was", "not", "rude", "."]]
    tokens = np.zeros((2, 6), np.int64)
    for row, text in zip(tokens, rows, strict=True):
        row[: len(text)] = [words.index(word) for word in text]
    names = [each.name for each in session.get_inputs()]
    v = session.run(None, dict(zip(names, (tokens, np.array([4, 6])), strict=True)))[0]
    experiment, model = reopen(finished)
    for text, logits in zip(rows, v, strict=True):
        answer = experiment.predict(model, " ".join(text))
        assert classes[logits.argmax()] == answer.figures["label"]
        assert (np.exp(logits) / np.exp(logits).sum()).max() == pytest.approx(
            answer.figures["probability"], abs=1e-5
        )


def test_words_of_what_is_set_apart_are_known_by_their_vectors_alone(files):
    experiment = setting(files, embedding_size=3, minimum=8)
    model, (text, learned) = experiment.model(), experiment.data.known
    assert {*WORDS} == {*text.vocabulary.words[FIRST:]}
    assert FIRST < learned < len(text.vocabulary)
    assert model.features.vectors.shape == (len(text.vocabulary), 6)
    assert torch.isfinite(experiment.measure(model, next(training_batches(experiment)))["loss"])


def test_vectors_of_a_run_of_words_are_taken_and_cut_as_there(files, tmp_path):
    words = WordVectors(7, words=WORDS, counts=[1] * len(WORDS))
    about = {"model": describe(words), "run": ["words", {"tokens": "words"}]}
    tensors.save(tmp_path / WEIGHTS, words.state_dict(), about)
    experiment = setting(files, vectors=str(tmp_path), tokens="auto")
    features = experiment.model().features
    assert isinstance(features.text.tokeniser, Words)
    place = features.text.vocabulary.words.index("rude")
    np.testing.assert_array_equal(features.vectors[place], words.vectors["rude"])


def experiment_texts(files):
    return [*setting(files).data.parts.train.texts, *setting(files).data.parts.test.texts]


def test_layers_of_a_run_of_masked_lm_go_on(files, tmp_path):
    text, out = tmp_path / "t.txt", str(tmp_path / "masked")
    text.write_text("\n".join(experiment_texts(files)), encoding="utf-8")
    flags = [
        "--lines",
        "true",
        "--minimum",
        "1",
        "--hidden-size",
        "8",
        "--embedding-size",
        "5",
        "--iterations",
        "2",
    ]
    flags += ["--log-every", "1", "--out", out]
    assert cli.main(["run", "masked-lm", "--data", str(text), *flags]) == 0
    experiment = setting(files, vectors=out, tokens="auto", tuned=True)
    model, learned = experiment.model(), reopen(Path(out))[1]
    assert isinstance(learned.text.tokeniser, type(model.features.text.tokeniser))
    ours, theirs = model.recurrent.state_dict(), learned.encoder.recurrent.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    word = model.features.text.vocabulary.words.index("loud")
    there = learned.text.vocabulary.words.index("loud")
    assert torch.equal(model.features.vectors[word], learned.encoder.embedding.weight[there])
    assert "those of the run of masked-lm" in experiment.describe_data()
    experiment.measure(model, next(training_batches(experiment)))["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_vectors_that_do_not_fit_are_told(files, tmp_path):
    with pytest.raises(InputError, match=r"no vectors .*nothing\.txt; give ginza, pipeline, scr"):
        setting(files, vectors=str(tmp_path / "nothing.txt")).model()
    few = write(Vectors(("the", "x"), np.ones((2, 3), np.float32)), tmp_path / "few.txt")
    assert (
        "without a vector; --vectors takes others"
        in setting(files, vectors=str(few)).describe_data()
    )


def test_the_run_of_another_exercise_holds_no_vectors(files, finished):
    with pytest.raises(InputError, match="is a run of sentences, not of words or masked-lm"):
        setting(files, vectors=str(finished)).model()


def test_targets_are_votes_unless_they_are_to_be_one_hot(tmp_path):
    rows = [f'a {w} {i}\t{label}\t{{"x": 1, "y": {n}}}\n'
            for i in range(5) for w, label, n in (("dog", "x", 0), ("cat", "y", 3))]  # fmt: skip
    table = tmp_path / "t.tsv"
    table.write_text("".join(rows), encoding="utf-8")
    small = {**SMALL, "data": str(table), "vectors": "scratch", "embedding_size": 2}
    assert {*next(training_batches(Sentences(**small)))[2].flatten().tolist()} == {0, 0.25, 0.75, 1}
    one_hot = next(training_batches(Sentences(**small, votes=False)))[2]
    assert {*one_hot.flatten().tolist()} == {0, 1}
    assert not Sentences(**Sentences.preset("report")).votes


def test_what_is_tested_chooses_nothing(files):
    for chooses in ({"patience": 2}, {"keep": "best"}):
        with pytest.raises(InputError, match="what is tested may choose nothing"):
            setting(files, **chooses).model()


def test_it_is_cross_validated_by_folds(files):
    assert setting(files).folds("folds") == [{"fold": n} for n in range(1, 6)]
    with pytest.raises(InputError, match="by folds, got 'speakers'"):
        setting(files).folds("speakers")


def test_a_baseline_without_its_library_is_said_to_be_missing(files, monkeypatch):
    monkeypatch.setattr(
        "saiki.metrics.baselines.mean_vector", lambda *_: (_ for _ in ()).throw(InputError("none"))
    )
    experiment = setting(files)
    model = experiment.model().eval()
    assert experiment.evaluate(model)["mean_vector_macro_f1"] is None
    assert experiment.describe_model(model).splitlines()[-1] == "none"
    scratch = setting(files, vectors="scratch", embedding_size=3)
    assert scratch.evaluate(scratch.model().eval())["mean_vector_macro_f1"] is None


def test_words_that_are_one_vector_are_named(files):
    experiment = setting(files)
    description = experiment.describe_model(experiment.model().eval())
    assert {*description.splitlines()} & {"  kind = nice", "  nice = kind"}


def test_japanese_is_cut_by_ginza_and_known_by_its_vectors(tmp_path, capsys):
    pytest.importorskip("ja_ginza")
    table, out = tmp_path / "t.tsv", str(tmp_path / "run")
    words = {"good": ("広い", "ありがとう", "親切"), "bad": ("狭い", "酷い", "不親切")}
    rows = [f"{label}\t{thing}が{word}です。\n" for label, each in words.items()
            for thing in ("部屋", "風呂") for word in each]  # fmt: skip
    table.write_text("".join(rows), encoding="utf-8")
    flags = ["--hidden-size", "3", "--epochs", "1", "--updates", "0", "--out", out]
    assert cli.main(["run", "sentences", "--data", str(table), *flags]) == 0
    printed = capsys.readouterr().out
    assert "480,443 words of the pipeline share 20,000 vectors" in printed
    # 朝食 is none of its words, and GiNZA knows it; 夜鳴きそば has no vector
    text = "朝食は夜鳴きそばでした"
    assert cli.main(["predict", out, text, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["unknown"] == ["夜鳴きそば"]
    assert [each["word"] for each in answer["words"]] == ["朝食", "は", "夜鳴きそば", "でし", "た"]
    vocabulary = reopen(Path(out))[1].features.text.vocabulary.words
    assert "有り難う" in vocabulary  # which has a vector, where ありがとう has none


def test_each_claim_can_be_held_and_not_held():
    def trial(*scores, mean=0.7):
        plain = {"mean_vector_macro_f1": mean, "majority_macro_f1": 0.3}
        return Trial({}, tuple({"macro_f1": f1, "test_loss": 1 - f1, **plain} for f1 in scores))

    for claim in Sentences.claims:
        better, worse = trial(0.8, 0.81), trial(0.71, 0.72)
        count = len(claim.changes)
        assert claim.judge([better, worse][:count])[0]
        held, message = claim.judge([worse, better][:count])
        assert not held
        assert "macro-F1" in message
