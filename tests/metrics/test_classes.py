"""Measures of classes, counted by hand."""

import math

import numpy as np
import pytest
import torch

from saiki.data.sound.layouts import Recording
from saiki.metrics import classes


def answer(label, predicted, speaker=None, right=0.5):
    return classes.Answer("a.wav", label, speaker, predicted, 0.75, right)


def test_figures_are_those_of_all_answers_and_of_each_speaker():
    answers = [answer("1", "1", "ann", 0.5), answer("1", "2", "bob", 0.25), answer("2", "2", "ann")]
    figures = classes.figures(answers)
    assert figures == pytest.approx({
        "test_accuracy": 2 / 3,
        "test_loss": (math.log(2) + math.log(4) + math.log(2)) / 3,
        "test_accuracy_ann": 1.0,
        "test_accuracy_bob": 0.0,
    })  # fmt: skip
    assert math.isfinite(classes.figures([answer("1", "2", right=0.0)])["test_loss"])


def test_an_answer_says_the_most_probable_class_and_how_probable_the_right_one_is(tmp_path):
    entry = Recording(tmp_path, "x", "b")
    p = torch.tensor([0.5, 0.25, 0.25])
    assert classes.Answer.of(entry, "abc", p) == classes.Answer("x", "b", None, "a", 0.5, 0.25)


def test_means_are_over_examples_and_not_over_batches():
    batches = [
        (3, {"loss": torch.tensor(2.0), "accuracy": torch.tensor(1.0)}),
        (1, {"loss": torch.tensor(6.0), "accuracy": torch.tensor(0.0)}),
    ]
    assert classes.means(classes.sums(batches)) == (3.0, 0.75)


def test_the_worst_mistakes_come_first():
    answers = [answer("1", "2", right=0.2), answer("3", "1", right=0.1), answer("1", "1")]
    first, *rest = classes.mistakes(answers).splitlines()
    assert first == "2 mistakes; the worst"
    assert [line.split()[-1] for line in rest] == ["10.0%", "20.0%"]
    assert "all" in classes.mistakes(answers[2:])


def test_f1_is_that_of_scikit_learn_and_0_where_a_class_is_nowhere():
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    names = ["a", "b", "c", "d"]
    pairs = [tuple(names[i] for i in random.integers(0, 3, 2)) for _ in range(50)]
    actual, predicted = zip(*pairs, strict=True)
    want = sklearn.f1_score(actual, predicted, labels=names, average=None, zero_division=0)
    assert [*classes.f1_of(pairs, names).values()] == pytest.approx(want.tolist())
    assert classes.macro_f1(pairs, names) == pytest.approx(want.mean())
