"""What is said of a sentence, and what its words did."""

import json

import pytest
import torch

import saiki
from saiki.errors import InputError
from saiki.models import sentence_classifier
from saiki.models.sentence_classifier import Reading, SentenceClassifier
from saiki.models.word_features import WordFeatures
from saiki.text import Text
from saiki.text.tokenisers import Words

TEXTS = ["the cat sat", "a dog", "dog", "the cat sat on the mat"]


@pytest.fixture
def model():
    text = Text.learn("words", TEXTS)
    features = WordFeatures(text, len(text.vocabulary), 0, 5)
    recurrent = saiki.Bidirectional(saiki.cells.GRU(5, 4))
    return SentenceClassifier(features, ["a", "b", "c"], recurrent, "attention+max", 0.5).eval()


def probabilities(model, *words):
    """The probabilities of a row of words alone."""
    ids = torch.tensor([model.features.text.vocabulary.ids(words)])
    return model(ids, torch.tensor([len(words)])).softmax(1)[0]


def test_the_influence_of_a_word_is_what_is_lost_without_it(model):
    for text, reading in zip(TEXTS, model.read(TEXTS), strict=True):
        words = text.split()
        whole = probabilities(model, *words)
        order = whole.argsort(descending=True).tolist()
        assert [label for label, _ in reading.classes] == ["abc"[i] for i in order]
        assert [p for _, p in reading.classes] == pytest.approx(
            sorted(whole.tolist(), reverse=True)
        )
        assert reading.words == words
        for i, influence in enumerate(reading.influence):
            without = probabilities(model, *(words[:i] + words[i + 1 :] or ["<unk>"]))
            assert influence == pytest.approx((whole - without)[order[0]].item(), abs=1e-6)


def test_a_long_text_is_left_out_a_piece_of_neighbours_at_a_time(model, monkeypatch):
    monkeypatch.setattr(sentence_classifier, "PIECES", 3)
    monkeypatch.setattr(sentence_classifier, "STEPS_AT_ONCE", 12)
    words = ["the", "cat", "sat", "on", "the", "mat", "a", "dog"]
    [short, long] = model.read(["a dog", " ".join(words)])
    assert short.words == ["a", "dog"]
    assert long.words == ["the cat sat", "on the mat", "a dog"]
    whole = probabilities(model, *words)
    best = whole.argmax().item()
    for i, influence in enumerate(long.influence):
        without = probabilities(model, *words[: 3 * i], *words[3 * i + 3 :])
        assert influence == pytest.approx((whole - without)[best].item(), abs=1e-6)


def test_the_words_that_are_read_grow_with_the_length_of_a_text_and_not_with_its_square(
    model, monkeypatch
):
    steps, classify = [], SentenceClassifier.classify

    def counted(self, z, lengths):
        steps.append(z.shape[0] * z.shape[1])
        return classify(self, z, lengths)

    monkeypatch.setattr(SentenceClassifier, "classify", counted)
    for words in (1000, 4000):
        steps.clear()
        model.read([" ".join(["cat"] * words)])
        assert sum(steps) <= 101 * words
        assert max(steps) <= sentence_classifier.STEPS_AT_ONCE


def test_what_cannot_be_read_does_not_disturb_the_others(model):
    good, bad, unknown = model.read(["a dog", " ", "a dog a whale whale"])
    assert isinstance(bad, InputError)
    assert good.unknown == []
    assert unknown.unknown == ["whale"]
    assert good.classes[0][1] == pytest.approx(model.read(["a dog"])[0].classes[0][1])
    assert model.read([]) == []


def test_an_answer_is_for_people_and_for_programs():
    reading = Reading([("b", 0.75), ("a", 0.25)], ["a", "dog", "x"], [0.1, -0.5, 0.0], ["x"])
    answer = reading.prediction("a dog x")
    [row] = answer.objects()
    assert json.loads(json.dumps(row)) == row
    assert (row["input"], row["label"], row["probability"]) == ("a dog x", "b", 0.75)
    assert answer.figures["words"][1] == {"word": "dog", "influence": -0.5}
    assert answer.text == "a dog x: b (75.0%), a (25.0%)\n  dog -0.50, a +0.10, x +0.00"


def test_it_comes_back_from_its_files(model, tmp_path):
    restored = saiki.load(model.save_pretrained(tmp_path / "m"))
    assert isinstance(restored.features.text.tokeniser, Words)
    for ours, theirs in zip(restored.read(TEXTS), model.read(TEXTS), strict=True):
        assert ours == theirs
