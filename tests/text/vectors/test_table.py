"""A table of vectors answers as gensim does, and says what is wrong in a sentence."""

import numpy as np
import pytest
from gensim.models import KeyedVectors

from saiki.errors import InputError
from saiki.text.vectors import Vectors

WORDS = (*(f"word{i}" for i in range(40)), "Köln", "東京")


def random_vectors(seed=0, size=7):
    return np.random.default_rng(seed).normal(size=(len(WORDS), size)).astype(np.float32)


@pytest.fixture
def ours():
    return Vectors(WORDS, random_vectors())


@pytest.fixture
def theirs():
    table = KeyedVectors(7)
    table.add_vectors(WORDS, random_vectors())
    return table


def same(ours, theirs):
    assert [word for word, _ in ours] == [word for word, _ in theirs]
    np.testing.assert_allclose([c for _, c in ours], [c for _, c in theirs], atol=1e-6)


def test_the_most_similar_words_are_those_of_gensim(ours, theirs):
    same(ours.most_similar("東京"), theirs.most_similar("東京"))
    same(
        ours.most_similar(["word1", "word2"], ["Köln", "word3"], n=41),
        theirs.most_similar(["word1", "word2"], ["Köln", "word3"], topn=41),
    )
    assert len(ours.most_similar("word1", n=100)) == len(WORDS) - 1
    same(ours.most_similar([], "word1"), theirs.most_similar([], ["word1"]))


def test_an_analogy_is_b_minus_a_plus_c(ours, theirs):
    same(
        ours.analogy("word4", "word5", "word6", n=5),
        theirs.most_similar(["word5", "word6"], ["word4"], topn=5),
    )
    square = Vectors(("a", "b", "c", "d"), np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]]))
    assert square.analogy("a", "b", "c")[0][0] == "d"


def test_similarities_and_what_does_not_match_are_those_of_gensim(ours, theirs):
    for i in range(0, 36, 4):
        words = list(WORDS[i : i + 4])
        assert ours.doesnt_match(words) == theirs.doesnt_match(words)
        wanted = theirs.similarity(*words[:2])
        assert ours.similarity(*words[:2]) == pytest.approx(float(wanted), abs=1e-6)
    assert ours.similarity("word1", "word1") == pytest.approx(1)


def test_a_vector_of_zeros_is_like_nothing():
    table = Vectors(("zero", "one", "two"), np.array([[0, 0], [1, 2], [1, 3]]))
    assert table.similarity("zero", "one") == 0
    assert table.most_similar("one")[-1] == ("zero", 0)
    assert table.most_similar("zero") == [("one", 0), ("two", 0)]


def test_it_is_asked_like_a_dictionary(ours):
    assert len(ours) == len(WORDS)
    assert ours.size == 7
    assert "東京" in ours
    assert "京都" not in ours
    np.testing.assert_array_equal(ours["word3"], random_vectors()[3])
    np.testing.assert_array_equal(ours[["word3", "東京"]], random_vectors()[[3, -1]])
    assert ours[[]].shape == (0, 7)
    assert repr(ours) == "Vectors(42 words, 7 numbers each)"


def test_it_cannot_be_changed(ours):
    with pytest.raises(ValueError, match="read-only"):
        ours["word1"][0] = 1
    with pytest.raises(AttributeError):
        ours.words = ()
    own = random_vectors()
    Vectors(WORDS, own)
    own[0] = 1  # what was given is still its owner's


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("köln", r"^there is no vector of 'köln'; did you mean 'Köln'\?$"),
        ("Ko\u0308ln", "did you mean 'Köln'"),
        ("wordd7", r"did you mean 'word7'.*\?$"),
        ("大阪", r"^there is no vector of '大阪', and none like it$"),
    ],
)
def test_an_unknown_word_is_told_with_words_like_it(ours, word, sentence):
    for ask in (
        ours.__getitem__,
        ours.most_similar,
        lambda w: ours.similarity("word1", w),
        lambda w: ours.doesnt_match(["word1", w]),
        ours.place,
    ):
        with pytest.raises(InputError, match=sentence):
            ask(word)


@pytest.mark.parametrize(
    ("words", "matrix", "sentence"),
    [
        (("a", "b"), [[1.0]], r"^2 words need a matrix \(2, size\), got \(1, 1\)$"),
        ((), np.zeros((0, 3)), "^0 words need"),
        (("a", "a"), [[1.0], [2.0]], "^the word 'a' is there twice$"),
        (("a", ""), [[1.0], [2.0]], "^the words of vectors must be text, got ''$"),
        (("a", 3), [[1.0], [2.0]], "must be text, got 3"),
        (("a", "\ud800"), [[1.0], [2.0]], "is not valid Unicode"),
        (("a", "b"), [[1.0], [np.nan]], "^the vector of 'b' holds a number that is not finite$"),
        (("a", "b"), [[np.inf], [1.0]], "^the vector of 'a' holds"),
    ],
)
def test_what_is_no_table_is_refused(words, matrix, sentence):
    with pytest.raises(InputError, match=sentence):
        Vectors(words, matrix)


def test_questions_that_make_no_sense_are_refused(ours):
    with pytest.raises(InputError, match="n of at least 1; got n = 0"):
        ours.most_similar("word1", n=0)
    with pytest.raises(InputError, match="a word at least"):
        ours.most_similar([])
    with pytest.raises(InputError, match="a word at least"):
        ours.doesnt_match([])
    with pytest.raises(InputError, match="42 words need as many counts"):
        Vectors(WORDS, random_vectors(), counts=np.ones(3, int))


def test_large_numbers_have_a_length():
    table = Vectors(("a", "b", "c"), np.array([[1e30, 0], [1e30, 1e30], [0, 1e-30]], np.float32))
    assert table.similarity("a", "b") == pytest.approx(0.5**0.5)
    assert table.similarity("a", "c") == 0
    assert table.most_similar("a") == [("b", pytest.approx(0.5**0.5)), ("c", 0)]
