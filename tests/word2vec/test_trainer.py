"""The compiled update beside the same by hand, and what threads may not change."""

import threading
from itertools import pairwise

import numpy as np
import pytest

from saiki.errors import InputError
from saiki.word2vec import padded
from saiki.word2vec.tables import chances, drawing, survival, tables, tree
from saiki.word2vec.trainer import Trainer
from saiki.word2vec.windows import Rule
from word2vec import by_hand

WORDS, SIZE = 40, 20
RULES = {
    "skip-gram": Rule(False, True, False, 5, 5),
    "skip-gram, one drawn": Rule(False, True, False, 2, 1),
    "skip-gram, tree": Rule(False, True, True, 4, 0),
    "cbow": Rule(True, True, False, 5, 5),
    "cbow, tree": Rule(True, True, True, 5, 0),
    "sub-words": Rule(True, False, False, 5, 5),
    "sub-words, tree": Rule(True, False, True, 4, 0),
    "sub-words, cbow": Rule(True, True, False, 3, 4),
}


def random_case(rule, seed=0):
    """Matrices, tables and a text."""
    random = np.random.default_rng(seed)
    counts = np.sort(random.integers(1, 500, WORDS))[::-1].copy()
    grams = None
    if rule.averages and "sub" in next(n for n, r in RULES.items() if r == rule):
        each = random.integers(0, 4, WORDS)
        grams = random.integers(WORDS, WORDS + 9, each.sum()), each
    inputs = random.normal(0, 0.5, (WORDS + 9, padded(SIZE))).astype(np.float32)
    outputs = random.normal(0, 0.5, (WORDS, padded(SIZE))).astype(np.float32)
    text = random.choice(WORDS, 700, p=counts / counts.sum()).astype(np.int32)
    text[random.integers(0, len(text), 40)] = -1
    return inputs, outputs, tables(rule, counts, grams), survival(counts, 0.01), text


@pytest.mark.parametrize("shape", [(1, 16), (4, 3)])
@pytest.mark.parametrize("name", RULES)
def test_it_is_what_is_written_down(name, shape):
    rule, rates = RULES[name], (0.02, 0.01)
    inputs, outputs, known, stay, text = random_case(rule)
    e, o, *costs = by_hand.learned(inputs, outputs, text, stay, rule, known, rates, 7, shape)
    train = Trainer(inputs, outputs, rule, known, stay, threads=2, shape=shape)
    costs_of_train = train.learn(text, rates, 7)
    np.testing.assert_allclose(inputs, e, rtol=0, atol=1e-5)
    np.testing.assert_allclose(outputs, o, rtol=0, atol=1e-5)
    assert costs_of_train == pytest.approx(costs, rel=1e-5)


def test_matrices_that_are_not_float32_are_refused():
    inputs, outputs, known, stay, _ = random_case(RULES["cbow"])
    for both in ((inputs.astype(float), outputs), (inputs, outputs.astype(float))):
        with pytest.raises(InputError, match="are learned in float32, got float64"):
            Trainer(*both, RULES["cbow"], known, stay)


@pytest.mark.parametrize("name", RULES)
def test_bits_do_not_depend_on_the_number_of_threads(name):
    rule, results = RULES[name], []
    for threads in (1, 2, 3, 5):
        inputs, outputs, known, stay, text = random_case(rule)
        train = Trainer(inputs, outputs, rule, known, stay, threads, shape=(5, 3))
        costs = [train.learn(text, (0.02, 0.02), seed) for seed in range(3)]
        results.append((inputs.tobytes(), outputs.tobytes(), costs))
    assert all(result == results[0] for result in results)


def test_threads_that_race_learn_too():
    rule = RULES["skip-gram"]
    inputs, outputs, known, stay, text = random_case(rule)
    train = Trainer(inputs, outputs, rule, known, stay, 3, races=True)
    costs = [c / n for c, n in (train.learn(text, (0.05, 0.05), seed) for seed in range(40))]
    assert np.mean(costs[-5:]) < costs[0] - 0.05


def test_threads_that_cannot_start_are_told_and_those_that_did_go_home(monkeypatch):
    start, started = threading.Thread.start, []

    def starts_two(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    rule = RULES["skip-gram"]
    inputs, outputs, known, stay, text = random_case(rule)
    train, before = Trainer(inputs, outputs, rule, known, stay, 4, shape=(4, 8)), inputs.copy()
    monkeypatch.setattr(threading.Thread, "start", starts_two)
    with pytest.raises(InputError, match="of 4 threads can start"):
        train.learn(text, (0.05, 0.05), 0)
    assert not any(thread.is_alive() for thread in started)
    assert (inputs == before).all()


def test_nothing_is_learned_from_nothing():
    rule = RULES["skip-gram"]
    inputs, outputs, known, stay, _ = random_case(rule)
    before = inputs.copy(), outputs.copy()
    train = Trainer(inputs, outputs, rule, known, stay, 2)
    for text in ([], [-1, -1], [3], [3, -1, 4]):
        assert train.learn(np.array(text, np.int32), (0.05, 0.05), 0) == (0, 0)
    assert (inputs == before[0]).all()
    assert (outputs == before[1]).all()


def test_words_are_drawn_by_the_power_of_their_counts():
    counts = np.array([1000, 300, 20, 5, 1])
    threshold, alias = drawing(counts)
    share = threshold / 2**32
    p = share.copy()
    np.add.at(p, alias, 1 - share)
    wanted = counts**0.75
    np.testing.assert_allclose(p / len(p), wanted / wanted.sum(), rtol=1e-6)
    np.testing.assert_allclose(chances(threshold, alias), p / len(p), rtol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_vectors_stay_numbers_however_frequent_one_word_is(share):
    """With parts of 32 windows those of the frequent word would grow beyond all numbers."""
    random, words, rule = np.random.default_rng(0), 4000, RULES["skip-gram"]
    text = random.integers(1, words, 60_000).astype(np.int32)
    text[random.random(len(text)) < share] = 0
    counts = np.bincount(text, minlength=words) + 1
    inputs = random.uniform(-0.01, 0.01, (words, padded(50))).astype(np.float32)
    outputs = np.zeros((words, padded(50)), np.float32)
    known = tables(rule, counts)
    train = Trainer(inputs, outputs, rule, known, survival(counts, 0))
    assert (train.parts, train.windows) == ((2, 32) if share == 0 else (1, 64))
    for seed in range(3):
        train.learn(text, (0.05, 0.05), seed)
    assert np.isfinite(inputs).all()
    assert np.abs(inputs).max() < 10


def test_the_tree_is_that_of_huffman():
    counts = np.array([8, 4, 2, 1, 1])
    first, nodes, codes = tree(counts)
    assert np.diff(first).tolist() == [1, 2, 3, 4, 4]
    ways = {tuple(zip(nodes[a:b], codes[a:b], strict=True)) for a, b in pairwise(first)}
    assert len(ways) == 5
    assert {nodes[a] for a in first[:-1]} == {3}  # the root is the last that is made


def test_frequent_words_stay_as_often_as_the_authors_have_them():
    counts = np.array([900, 90, 10])
    share = np.array([0.9, 0.09, 0.01])
    wanted = np.minimum(np.sqrt(0.01 / share) + 0.01 / share, 1)
    np.testing.assert_allclose(survival(counts, 0.01) / 2**32, wanted, rtol=1e-6)
    assert (survival(counts, 0) == 2**32).all()


@pytest.mark.parametrize("name", ["skip-gram", "cbow", "sub-words"])
def test_a_wide_window_leaves_vectors_that_are_numbers(name):
    """The wider it is, the more terms a word takes that is drawn: blocks are smaller."""
    rule = RULES[name]._replace(window=20)
    random, words = np.random.default_rng(0), 6000
    counts = (50_000 / np.arange(1, words + 1)).astype(np.int64) + 1
    text = random.choice(words, 200_000, p=counts / counts.sum()).astype(np.int32)
    inputs = random.uniform(-0.01, 0.01, (words, padded(50))).astype(np.float32)
    outputs = np.zeros((words, padded(50)), np.float32)
    train = Trainer(inputs, outputs, rule, tables(rule, counts), survival(counts, 1e-4))
    for seed in range(3):
        train.learn(text, (0.05, 0.05), seed)
    assert np.isfinite(inputs).all()
    assert np.abs(inputs).max() < 10
