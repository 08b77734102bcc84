"""Mistakes of typing that were found in a text, and what they change."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from torch import Tensor

from saiki.data.text.typos import KINDS, Mistake, mend, possible
from saiki.prediction import Prediction

END = "\n"
"""What stands after the last character while mistakes are made and mended: it is never touched, and
marked where the last character of the text itself was dropped."""

SHOWN = "  {was} → {is}   {kind}, {probability:.1%}"
LINE = re.compile(r"\S.*\S|\S")
"""What is read of a line: neither its ends nor how far it is moved in."""


ADDRESS = re.compile(r"(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+\.[\w.-]+", re.ASCII)
"""What is copied and not typed: pages and mail boxes. Nothing within one is a mistake."""


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


def marked(text: str, kinds: Tensor, missing: Sequence[str], threshold: float) -> list[Mark]:
    """The mistakes of which a model is sure enough, but for those that cannot be and those within
    an address.

    Args:
        kinds: the probability of no mistake and of each kind, ``(characters + 1, 1 + kinds)``.
        missing: the character that is missing before each, if one is.
        threshold: the least probability.
    """
    p, best = kinds[:, 1:].max(1)
    marks = []
    copied = {place for address in ADDRESS.finditer(text) for place in range(*address.span())}
    for place in (p >= threshold).nonzero().squeeze(1).tolist():
        kind = KINDS[int(best[place])]
        changed = {place} if kind == "doubled" else {place - 1, place}
        is_copied = changed <= copied if kind == "dropped" else changed & copied
        if possible(text, place, kind) and not is_copied:
            lost = missing[place] if kind == "dropped" else ""
            marks.append(Mark(Mistake(place, kind, lost), p[place].item()))
    return marks


def lines_of(text: str) -> list[tuple[int, str]]:
    """The lines of a text and where each begins, without what is blank at their ends."""
    return [(line.start(), line.group()) for line in LINE.finditer(text)]


def prediction_of(text: str, marks: Iterator[Sequence[Mark]], remark: str) -> Prediction:
    """A text without its mistakes, and what was changed, by name and for people.

    Args:
        marks: those of each of its lines; the next ones are taken.
    """
    all_marks, changes = list[Mark](), list[dict[str, Any]]()
    for start, line in lines_of(text):
        for mark in next(marks):
            changes.append({"place": start + mark.mistake.place} | change(line, mark))
            all_marks.append(mark.moved(start))
    output = mended(text, all_marks)
    return Prediction(
        input=text,
        output=output,
        figures={"changes": changes},
        text="\n".join([output, *(SHOWN.format(**each) for each in changes)]),
        remark=remark,
    )
