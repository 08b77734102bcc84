"""Measures of word vectors are those of gensim and SciPy, and what follows from a formula."""

import math

import numpy as np
import pytest
from gensim.models import KeyedVectors
from scipy import stats

from saiki.data.text.word_tests import read_analogies, read_pairs
from saiki.errors import InputError
from saiki.metrics import vectors as metrics
from saiki.metrics.vectors import Score, agreement, analogies, interval, sharing, spearman
from saiki.text.vectors import SubWords, Vectors

WORDS = tuple(f"{kind}{i}" for i in range(40) for kind in ("Man", "woman", "king", "Queen"))


@pytest.fixture
def matrix():
    """In which king − man + woman is near queen, but not always nearest."""
    draw = np.random.default_rng(3)
    base, royal, female = draw.normal(size=(3, 40, 12))
    royal, female = royal[:1] + 0.4 * royal, female[:1] + 0.4 * female
    rows = np.stack([base, base + female, base + royal, base + royal + female], 1)
    return rows.reshape(-1, 12).astype(np.float32)


@pytest.fixture
def ours(matrix):
    return Vectors((*WORDS, "man0", "QUEEN1"), np.concatenate([matrix, matrix[3:5]]))


@pytest.fixture
def theirs(ours):
    table = KeyedVectors(ours.size)
    table.add_vectors(ours.words, ours.matrix)
    return table


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions-words.txt"
    draw = np.random.default_rng(0)
    lines = [": one"]
    for i in range(120):
        a, b = draw.integers(0, 40, 2)
        lines.append(f"Man{a} woman{a} king{b} Queen{b}")
        if i == 60:
            lines += [": two", "Man0 woman0 king1 nobody", "man3 Woman3 KING4 queen4"]
    lines += [": three", "a b c d"]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize("restrict", [0, 100, 7])
@pytest.mark.parametrize("at_once", [1 << 24, 300])
def test_analogies_are_answered_as_gensim_does(
    ours, theirs, questions, ignore_case, restrict, at_once, monkeypatch
):
    monkeypatch.setattr(metrics, "_COSINES", at_once)
    scores = analogies(ours, read_analogies(questions), restrict=restrict, ignore_case=ignore_case)
    accuracy, wanted = theirs.evaluate_word_analogies(
        str(questions), restrict_vocab=restrict or len(ours), case_insensitive=ignore_case
    )
    for section in wanted[:-1]:
        score = scores[section["section"]]
        assert score.right == len(section["correct"])
        assert score.known == len(section["correct"]) + len(section["incorrect"])
    total = sum(scores.values(), Score(0, 0, 0))
    assert (total.questions, total.unknown) == (123, 123 - total.known)
    if restrict != 7:
        assert total.accuracy == accuracy
        assert 0 < total.right < total.known < total.questions
    assert scores["three"].coverage == 0
    assert math.isnan(scores["three"].accuracy)


def test_a_restriction_below_nothing_is_refused(ours, questions):
    with pytest.raises(InputError, match="restrict must be 0, for all words, or"):
        analogies(ours, read_analogies(questions), restrict=-1)


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    draw = np.random.default_rng(0)
    lines = ["# a test"]
    for _ in range(90):
        a, b = draw.choice(WORDS, 2)
        lines.append(f"{a}\t{b}\t{draw.integers(0, 21) / 2}")
    path.write_text("\n".join([*lines, "man1\tKING1\t3", "man1\tnobody\t3"]))
    return path


@pytest.mark.parametrize("ignore_case", [False, True])
def test_agreement_is_that_of_gensim(ours, theirs, pairs, ignore_case):
    agreed = agreement(ours, read_pairs(pairs), ignore_case=ignore_case)
    _, wanted, unknown = theirs.evaluate_word_pairs(str(pairs), case_insensitive=ignore_case)
    assert agreed.rho == pytest.approx(wanted[0], abs=1e-9)
    assert (agreed.pairs, agreed.known) == (92, 91 if ignore_case else 90)
    assert agreed.coverage == pytest.approx(1 - unknown / 100)
    assert -1 < agreed.low < agreed.rho < agreed.high < 1


def test_n_grams_make_vectors_of_unknown_words(ours, pairs):
    buckets = np.random.default_rng(0).normal(size=(50, ours.size)).astype(np.float32)
    table = Vectors(ours.words, ours.matrix, subwords=SubWords(buckets, 3, 6))
    assert agreement(table, read_pairs(pairs)).coverage == 1


def test_ranks_with_ties_are_those_of_scipy():
    draw = np.random.default_rng(0)
    for count in (2, 3, 10, 200):
        x, y = draw.integers(0, 8, (2, count)).astype(float)
        x[0], y[1] = 9, 9
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert spearman([1, 2, 3], [3, 5, 9]) == 1
    assert spearman([1, 2, 3], [9, 5, 3]) == -1
    for x in ([], [1.0], [2.0, 2.0]):
        assert math.isnan(spearman(x, x))


def test_the_interval_is_that_of_the_formula():
    # z ± 1.96 √((1 + 0.18) / 97), z = artanh 0.6
    low, high = interval(0.6, 100)
    assert (math.atanh(low) + math.atanh(high)) / 2 == pytest.approx(math.atanh(0.6))
    assert math.atanh(high) - math.atanh(low) == pytest.approx(2 * 1.959964 * (1.18 / 97) ** 0.5)
    assert interval(0.6, 100, 0.5) > (low,)
    assert interval(0.6, 3) == (-1, 1)
    assert interval(1.0, 30) == (1, 1)
    assert all(map(math.isnan, interval(math.nan, 30)))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(0)
    truth = 6 / math.pi * math.asin(0.8 / 2)  # of a normal distribution with correlation 0.8
    inside = 0
    for _ in range(1000):
        x, noise = draw.normal(size=(2, 40))
        low, high = interval(spearman(x, 0.8 * x + 0.6 * noise), 40)
        inside += low <= truth <= high
    assert 945 <= inside <= 970  # with the standard error of Pearson's correlation, 936


def test_words_that_are_one_vector_are_found():
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    matrix = np.array([[1, 0], [0, 1], [1, 0], [0, 0], [0, 0], [0, 1], [1, 0], [2, 0]], np.float32)
    counts = {"b": 1, "c": 4, "f": 2, "g": 3, "d": 9, "e": 9, "h": 5}
    assert sharing(words, matrix, counts) == [["c", "g", "a"], ["f", "b"]]
    assert sharing(words, matrix, {"h": 1}) == []
