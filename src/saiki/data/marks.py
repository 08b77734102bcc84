"""Mistakes of typing that were found in a text: what they change, and how many are right."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from saiki.data.typos import KINDS, Mistake, mend

END = "\n"
"""What stands after the last character while mistakes are made and mended: it is never touched, and
marked where the last character of the text itself was dropped."""


class Example(NamedTuple):
    """A text, and what became of it."""

    clean: str
    text: str
    mistakes: list[Mistake]


class Mark(NamedTuple):
    """A mistake that was found."""

    mistake: Mistake
    probability: float

    def moved(self, by: int) -> Self:
        """The same in a text that begins so many characters before."""
        return self._replace(mistake=self.mistake._replace(place=self.mistake.place + by))


def mended(text: str, marks: Iterable[Mark]) -> str:
    """The text without the mistakes that were found.

    >>> mended("teh fo", [Mark(Mistake(2, "swapped"), 0.9), Mark(Mistake(6, "dropped", "x"), 0.8)])
    'the fox'
    """
    return mend(text + END, (mark.mistake for mark in marks)).removesuffix(END)


def change(line: str, mark: Mark) -> dict[str, Any]:
    """What a mark says and does, with the words around it before and after."""
    place = mark.mistake.place
    first = line.rfind(" ", 0, max(0, place - 1)) + 1
    after = line.find(" ", place + 1)
    words = line[first : after if after > 0 else len(line)]
    return {
        "kind": mark.mistake.kind,
        "missing": mark.mistake.missing,
        "probability": mark.probability,
        "was": words,
        "is": mended(words, [mark.moved(-first)]),
    }


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
