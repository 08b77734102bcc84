"""Classifiers of texts so plain that any other has to be better."""

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from saiki.errors import InputError
from saiki.metrics.classes import macro_f1

STRENGTHS = (1.0, 10.0, 100.0)
"""C of a logistic regression, the inverse of the pull of its weights to 0."""
FOLDS = 5


def majority(labels: Sequence[str], tested: Sequence[str]) -> float:
    """The macro-F1 of saying the most frequent of ``labels`` of everything."""
    predicted = Counter(labels).most_common(1)[0][0]
    return macro_f1([(label, predicted) for label in tested], sorted({*labels, *tested}))


def mean_vector(
    rows: Sequence[Sequence[int]], labels: Sequence[str],
    tested: Sequence[Sequence[int]], right: Sequence[str], matrix: np.ndarray,
) -> float:  # fmt: skip
    """The macro-F1 of a logistic regression over the mean of the vectors of the words, for the
    texts ``tested``, whose labels are ``right``.

    C is that of ``STRENGTHS`` with the best macro-F1 over folds of what is learned from.

    Args:
        rows: the numbers of the words of each text that is learned from.
        matrix: the vectors of all words; a word whose vector is 0 does not count.

    Raises:
        InputError: scikit-learn is missing.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
    except ImportError:
        raise InputError(
            "a logistic regression to compare with needs scikit-learn: pip install 'saiki[maps]'"
        ) from None
    folds = min(FOLDS, *Counter(labels).values())
    model = LogisticRegression(max_iter=2000)
    if folds > 1:
        model = GridSearchCV(model, {"C": STRENGTHS}, scoring="f1_macro", cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_means(rows, matrix), labels)
    predicted = [str(label) for label in model.predict(_means(tested, matrix))]
    return macro_f1(list(zip(right, predicted, strict=True)), sorted({*labels, *right}))


def _means(rows: Sequence[Sequence[int]], matrix: np.ndarray) -> np.ndarray:
    """``(texts, size)``; 0 for a text none of whose words has a vector."""
    has_vector = np.any(matrix, axis=1)
    known = [[i for i in row if has_vector[i]] for row in rows]
    nothing = np.zeros(matrix.shape[1], matrix.dtype)
    return np.stack([matrix[row].mean(0) if row else nothing for row in known])
