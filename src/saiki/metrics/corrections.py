"""Measures of the mistakes that were found in texts."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from saiki.data.text.typos import KINDS, Example, Mark, mended
from saiki.metrics.text import error_rate, exact_match

NONE = "none"
THRESHOLDS = (*(n / 100 for n in range(30, 100)), 0.995, 0.999)
"""Probabilities from which on a mistake may be marked."""


def scores(examples: Sequence[Example], predictions: Sequence[Sequence[Mark]]) -> dict[str, float]:
    """Precision and recall of the marks at the right place and of the right kind, F1 of all and of
    each kind, and the share of mistakes that are mended; 0 where there is none.

    F1 = 2 right / (marked + made)
    """
    right, marked, expected = Counter[str](), Counter[str](), Counter[str]()
    undone = 0
    for example, marks in zip(examples, predictions, strict=True):
        true = {mistake.place: mistake for mistake in example.mistakes}
        expected.update(mistake.kind for mistake in example.mistakes)
        marked.update(mark.mistake.kind for mark in marks)
        for mistake, _ in marks:
            was = true.get(mistake.place)
            right[mistake.kind] += was is not None and was.kind == mistake.kind
            undone += was == mistake
    return {
        "f1": 2 * right.total() / max(1, marked.total() + expected.total()),
        "precision": right.total() / max(1, marked.total()),
        "recall": right.total() / max(1, expected.total()),
        **{f"f1_{k}": 2 * right[k] / max(1, marked[k] + expected[k]) for k in KINDS},
        "mended": undone / max(1, expected.total()),
    }


def quality(examples: Sequence[Example], predictions: Sequence[Sequence[Mark]]) -> dict[str, float]:
    """:func:`scores`, and how far the texts are from the clean ones, before and after mending."""
    clean = [example.clean for example in examples]
    results = [mended(e.text, marks) for e, marks in zip(examples, predictions, strict=True)]
    return {
        **scores(examples, predictions),
        "character_error_rate_before": error_rate([example.text for example in examples], clean),
        "character_error_rate_after": error_rate(results, clean),
        "texts_right": exact_match(results, clean),
    }


def taken_for(
    examples: Sequence[Example], predictions: Sequence[Sequence[Mark]]
) -> np.ndarray[Any, Any]:
    """How often a place of each kind, or of none, was marked as each: ``(1 + kinds, 1 + kinds)``,
    with none first."""
    names = (NONE, *KINDS)
    counts = np.zeros((len(names), len(names)), int)
    for example, marks in zip(examples, predictions, strict=True):
        actual = {m.place: m.kind for m in example.mistakes}
        predicted = {m.mistake.place: m.mistake.kind for m in marks}
        for place in range(len(example.text) + 1):
            counts[
                names.index(actual.get(place, NONE)), names.index(predicted.get(place, NONE))
            ] += 1
    return counts


def rates(
    examples: Sequence[Example],
    clean: Sequence[Sequence[Mark]],
    typed: Sequence[Sequence[Mark]],
    least: float = 0.0,
) -> tuple[float, float]:
    """The share of clean texts that are changed, and the share of those with mistakes that come out
    right, if marks count that are ``least`` probable.

    Args:
        clean: the marks in the clean texts.
        typed: those in the texts with mistakes.
    """
    touched = [any(mark.probability >= least for mark in marks) for marks in clean]
    right = [
        mended(example.text, (m for m in marks if m.probability >= least)) == example.clean
        for example, marks in zip(examples, typed, strict=True)
        if example.mistakes
    ]
    return sum(touched) / max(1, len(touched)), sum(right) / max(1, len(right))


def lowest_threshold(kinds: Sequence[Sequence[tuple[float, float]]], limit: float) -> float:
    """The lowest of :data:`THRESHOLDS` with which in no kind of text more than a share ``most`` of
    clean texts is changed, and in each more come out right than are changed; infinity if there is
    none.

    Args:
        kinds: of texts: what :func:`rates` finds with each of the thresholds.
    """
    for threshold, shares in zip(THRESHOLDS, zip(*kinds, strict=True), strict=True):
        if all(touched <= limit and touched < right for touched, right in shares):
            return threshold
    return math.inf
