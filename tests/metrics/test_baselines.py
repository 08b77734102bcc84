"""Plain classifiers, beside what scikit-learn says of the means."""

import sys

import numpy as np
import pytest

from saiki.errors import InputError
from saiki.metrics.baselines import majority, mean_vector


def test_the_majority_is_the_most_frequent_class_of_what_is_learned_from():
    assert majority(["a", "b", "b"], ["a", "b"]) == pytest.approx((0 + 2 / 3) / 2)
    assert majority(["a", "a", "b"], ["b", "b", "c"]) == 0


def test_words_without_a_vector_do_not_count_in_the_mean():
    pytest.importorskip("sklearn")
    matrix = np.zeros((6, 2), np.float32)
    matrix[2], matrix[3] = (1, 0), (0, 1)  # the others are 0
    rows = [[2], [2, 5, 5, 5, 5, 5], [3], [3, 3, 1]] * 3
    labels = ["a", "a", "b", "b"] * 3
    assert mean_vector(rows, labels, rows, labels, matrix) == 1
    # with zeros in the mean it would be nearer to the other side
    tested = [[2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 2], [1]]
    assert mean_vector(rows, labels, tested[:1], ["a"], matrix) == 0.5  # of a, b never said


def test_a_class_of_one_text_is_enough():
    pytest.importorskip("sklearn")
    matrix = np.eye(3, dtype=np.float32)
    assert mean_vector([[1], [2]], ["a", "b"], [[1], [2]], ["a", "b"], matrix) == 1


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(InputError, match=r"scikit-learn: pip install 'saiki\[maps\]'$"):
        mean_vector([[1]], ["a"], [[1]], ["a"], np.eye(2))
