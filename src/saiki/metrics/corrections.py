"""Measures of the mistakes that were found in texts."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from saiki.data.text.corrections import Example, Mark
from saiki.data.text.typos import KINDS

NONE = "none"


def scores(examples: Sequence[Example], found: Sequence[Sequence[Mark]]) -> dict[str, float]:
    """Precision and recall of the marks at the right place and of the right kind, F1 of all and of
    each kind, and the share of mistakes that are mended; 0 where there is none.

    F1 = 2 right / (marked + made)
    """
    right, marked, made = Counter[str](), Counter[str](), Counter[str]()
    undone = 0
    for example, marks in zip(examples, found, strict=True):
        true = {mistake.place: mistake for mistake in example.mistakes}
        made.update(mistake.kind for mistake in example.mistakes)
        marked.update(mark.mistake.kind for mark in marks)
        for mistake, _ in marks:
            was = true.get(mistake.place)
            right[mistake.kind] += was is not None and was.kind == mistake.kind
            undone += was == mistake
    return {
        "f1": 2 * right.total() / max(1, marked.total() + made.total()),
        "precision": right.total() / max(1, marked.total()),
        "recall": right.total() / max(1, made.total()),
        **{f"f1_{k}": 2 * right[k] / max(1, marked[k] + made[k]) for k in KINDS},
        "mended": undone / max(1, made.total()),
    }


def taken_for(examples: Sequence[Example], found: Sequence[Sequence[Mark]]) -> np.ndarray[Any, Any]:
    """How often a place of each kind, or of none, was marked as each: ``(1 + kinds, 1 + kinds)``,
    with none first."""
    names = (NONE, *KINDS)
    counts = np.zeros((len(names), len(names)), int)
    for example, marks in zip(examples, found, strict=True):
        was = {m.place: m.kind for m in example.mistakes}
        said = {m.mistake.place: m.mistake.kind for m in marks}
        for place in range(len(example.text) + 1):
            counts[names.index(was.get(place, NONE)), names.index(said.get(place, NONE))] += 1
    return counts
