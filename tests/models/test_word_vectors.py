"""Word vectors: what they learn, that nothing but the seed decides it, and what is refused."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from saiki import load
from saiki.errors import InputError
from saiki.models.word_vectors import WordVectors
from saiki.text.vectors import Vectors

LINES = [
    f"{who} {what} the {thing}"
    for who in ("anna", "boris", "clara", "dmitri")
    for what in ("eats", "cooks", "peels")
    for thing in ("apple", "pear", "plum")
] + [
    f"{who} {what} the {thing}"
    for who in ("anna", "boris", "clara", "dmitri")
    for what in ("drives", "repairs", "washes")
    for thing in ("car", "van", "truck")
]
KINDS = {
    "skip-gram": {},
    "cbow": {"method": "cbow"},
    "tree": {"negatives": 0},
    "sub-words": {"buckets": 300},
    "sub-words, tree": {"buckets": 300, "negatives": 0},
    "sub-words, cbow, tree": {"buckets": 300, "negatives": 0, "method": "cbow"},
}


def made(**changes):
    values = {"size": 12, "minimum": 1, "sample": 0.0, "window": 3, **changes}
    return WordVectors(**values)


@pytest.fixture(scope="module", params=KINDS)
def learned(request):
    return made(**KINDS[request.param]).fit(LINES * 8, epochs=20, threads=1)


def test_words_in_the_same_place_are_alike(learned):
    vectors = learned.vectors
    for group, other in (("apple", "pear", "plum"), "car"), (("car", "van", "truck"), "plum"):
        near = np.mean([vectors.similarity(group[0], word) for word in group[1:]])
        assert near > vectors.similarity(group[0], other) + 0.2
    assert vectors.doesnt_match(["apple", "pear", "plum", "truck"]) == "truck"


def test_it_is_saved_as_data(learned, tmp_path):
    learned.save_pretrained(tmp_path)
    restored = load(tmp_path)
    assert restored.words == learned.words
    assert (restored.vectors.matrix == learned.vectors.matrix).all()
    assert restored.equations() == learned.equations()


def test_the_seed_decides_and_threads_do_not():
    def inputs(seed, threads):
        return made().fit(LINES, epochs=1, seed=seed, threads=threads).inputs

    assert torch.equal(inputs(1, 1), inputs(1, 3))
    assert not torch.equal(inputs(1, 1), inputs(2, 1))


def test_going_on_keeps_the_words():
    model = made().fit(LINES, epochs=1)
    words, before = model.words, model.inputs.detach().clone()
    model.partial_fit([*LINES, "unheard words"], epochs=1)
    assert model.words == words
    assert not torch.equal(model.inputs, before)
    with pytest.raises(InputError, match="fit learns them"):
        made().partial_fit(LINES)


def test_a_model_goes_on_from_vectors(learned):
    first = learned.vectors
    model = WordVectors.from_vectors(first, method="cbow", minimum=1, sample=0.0)
    assert (model.words, model.counts.tolist()) == (first.words, learned.counts.tolist())
    np.testing.assert_allclose(model.vectors.matrix, first.matrix, rtol=1e-5, atol=1e-6)
    assert not model.outputs.any()
    assert bool(model.buckets) == bool(first.subwords)
    before = model.vectors.matrix
    model.partial_fit(LINES, epochs=3)
    assert model.similarity("apple", "pear") > model.similarity("apple", "car") + 0.2
    assert not np.array_equal(model.vectors.matrix, before)


def test_without_counts_a_word_occurs_in_inverse_proportion_to_its_place():
    rows = Vectors(("a", "b", "c", "d"), np.eye(4, dtype=np.float32))
    model = WordVectors.from_vectors(rows)
    assert model.counts.tolist() == [40, 20, 13, 10]
    assert (model.vectors.matrix == np.eye(4)).all()


def test_n_grams_stay_where_they_are_cut_alike():
    first = made(buckets=300).fit(LINES, epochs=1).vectors
    for changes, same in (({}, True), ({"max_n": 5}, False), ({"buckets": 200}, False)):
        model = made(**{"buckets": 300, **changes}, words=["apple", "new"], counts=[2, 1])
        assert model.start_from(first) == 1
        np.testing.assert_allclose(model.vectors["apple"], first["apple"], rtol=1e-5, atol=1e-6)
        assert np.allclose(model.vectors["apples"], first["apples"]) == same
    with pytest.raises(InputError, match="vectors of 12 numbers begin a model of size 12, got a"):
        made(size=8, words=["apple"], counts=[1]).start_from(first)


def test_a_model_answers_as_its_vectors_do():
    model = made().fit(LINES, epochs=1)
    vectors = model.vectors
    assert model.similarity("apple", "car") == vectors.similarity("apple", "car")
    assert model.most_similar(["apple"], "car", 3) == vectors.most_similar(["apple"], "car", 3)
    assert model.analogy("car", "van", "pear") == vectors.analogy("car", "van", "pear")
    assert model.doesnt_match(["car", "van", "pear"]) == vectors.doesnt_match(
        ["car", "van", "pear"]
    )
    with pytest.raises(InputError, match="no words are known yet; fit learns them"):
        made().most_similar("apple")


def test_phrases_are_learned_and_found_again(tmp_path):
    lines = [f"{a} in new york {b}" for a in "abcdefgh" for b in "ijklmnop"]
    model = made(phrases=2, phrase_threshold=2.0, minimum=5).fit(lines, epochs=1)
    assert "in_new_york" in model.words
    assert not {"new", "york", "new_york"} & {*model.words}
    model.save_pretrained(tmp_path)
    restored, before = load(tmp_path), model.vectors["in_new_york"]
    restored.partial_fit(["a in new york i"] * 50)
    assert not np.array_equal(restored.vectors["in_new_york"], before)


def test_unknown_words_are_made_of_their_n_grams():
    model = made(buckets=300).fit(LINES, epochs=1)
    assert model.vectors["apples"].shape == (12,)
    with pytest.raises(InputError, match="there is no vector of 'apples'"):
        made().fit(LINES, epochs=1).vectors["apples"]


def test_the_look_up_is_the_product_with_one_hot_vectors():
    """Forward and backward. Of V words and d features the product takes V · d multiplications for
    each word, and the look-up none."""
    model = made().fit(LINES, epochs=1)
    numbers = torch.tensor([[model.numbers[word] for word in ("plum", "car", "plum")]])
    weights = torch.randn(1, 3, 12)
    (model(numbers) * weights).sum().backward()
    looked_up, model.inputs.grad = model.inputs.grad, None
    product = (F.one_hot(numbers, len(model.words)).float() @ model.inputs)[..., :12]
    assert torch.equal(product, model(numbers))
    (product * weights).sum().backward()
    torch.testing.assert_close(model.inputs.grad, looked_up)
    assert torch.equal(model(numbers)[0], torch.from_numpy(model.vectors[["plum", "car", "plum"]]))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"window": 2.5}, "window must be a whole number of at least 1, got 2.5"),
        ({"method": "glove"}, "method must be one of skip-gram, cbow, got 'glove'"),
        ({"sample": 1}, r"sample must lie in \[0, 1\), got 1"),
        ({"buckets": 9, "min_n": 4, "max_n": 3}, "max_n must be a whole number of at least 4"),
        ({"words": ["a"]}, "1 words have 0 counts"),
        ({"phrases": -1}, "phrases must be a whole number of at least 0, got -1"),
        ({"phrase_threshold": 0}, "phrase_threshold must be above 0, got 0"),
    ],
)
def test_what_is_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        made(**values)


def test_a_learning_rate_that_is_too_large_is_refused():
    with pytest.raises(InputError, match="grew beyond all numbers; try a rate below 1"):
        made().fit(LINES, epochs=50, learning_rate=1.0e6)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rate": -0.1}, "learning_rate must be above 0 and finite, got -0.1"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0 and finite, got nan"),
        ({"threads": 0}, "threads must be at least 1, or None for all, got 0"),
    ],
)
def test_a_training_that_learns_nothing_is_refused(values, sentence):
    model = made()
    for learn in (model.fit, model.partial_fit):
        with pytest.raises(InputError, match=f"^{sentence}$"):
            learn(LINES, **values)
    assert not model.words


def test_a_text_too_short_is_refused():
    with pytest.raises(InputError, match="it takes two words that are known, got 1 "):
        made().fit(["word word"])
