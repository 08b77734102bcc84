"""Mistakes of typing, made in clean text or found in one, and how they are mended.

A mistake is marked at the last character that it touches: nobody who reads from left to right can
see it earlier. With ``_`` under the mark, and c for the character that is missing::

    clean     marked    kind       to mend it
    the       teh       swapped    the marked character goes before the one it follows
                _
    quick     quck      dropped    c is put before the marked character
                _
    fox       foox      doubled    the marked character goes
                _

Among equal neighbours no one can say which of them was doubled or left out. The last of them is
meant, so "look" has its third "o" too many in "loook", and lacks one before the "k" in "lok".
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from torch import Tensor

from saiki.prediction import Prediction

KINDS = ("swapped", "dropped", "doubled")
END = "\n"
"""What stands after the last character while mistakes are made and mended: it is never touched, and
marked where the last character of the text itself was dropped."""

SHOWN = "  {was} → {is}   {kind}, {probability:.1%}"
LINE = re.compile(r"\S.*\S|\S")
"""What is read of a line: neither its ends nor how far it is moved in."""


ADDRESS = re.compile(r"(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+\.[\w.-]+", re.ASCII)
"""What is copied and not typed: pages and mail boxes. Nothing within one is a mistake."""


class Mistake(NamedTuple):
    """One mistake in a text."""

    place: int
    """Of the marked character."""
    kind: str
    """One of :data:`KINDS`."""
    missing: str = ""
    """The character that was dropped."""


def mistype(
    clean: str, rate: float, known: Container[str], random: np.random.Generator
) -> tuple[str, list[Mistake]]:
    """``clean`` with mistakes in it, and these in their order; :func:`mend` undoes them.

    At each character a mistake of a random kind begins with probability ``rate`` if there is room
    for it. Room is needed for what it touches, which for the dropped and the doubled is the whole
    row of equal neighbours, and for one character after that which stays as it is. So no mistake
    touches another, and the last character always stays. Equal characters are not swapped.

    Args:
        known: the characters that may be touched.
    """
    starts = np.flatnonzero(random.random(len(clean)) < rate).tolist()
    kinds = random.integers(len(KINDS), size=len(starts)).tolist()
    text, copied, mistakes = "", 0, list[Mistake]()
    for start, number in zip(starts, kinds, strict=True):
        kind, c = KINDS[number], clean[start]
        first, after = (start, start + 2) if kind == "swapped" else _row(clean, start)
        touched = clean[first:after]
        if (
            first < copied
            or after >= len(clean)
            or (kind == "swapped" and touched[0] == touched[1])
            or any(t not in known for t in touched)
        ):
            continue
        text += clean[copied:first]
        match kind:
            case "swapped":
                text += touched[::-1]
                mistakes.append(Mistake(len(text) - 1, kind))
            case "dropped":
                text += touched[1:]
                mistakes.append(Mistake(len(text), kind, c))
            case _:
                text += touched + c
                mistakes.append(Mistake(len(text) - 1, kind))
        text += clean[after]
        copied = after + 1
    return text + clean[copied:], mistakes


def _row(text: str, place: int) -> tuple[int, int]:
    """Where the equal neighbours of a character begin, and where they are over."""
    first, after = place, place + 1
    while first and text[first - 1] == text[place]:
        first -= 1
    while after < len(text) and text[after] == text[place]:
        after += 1
    return first, after


def mend(text: str, mistakes: Iterable[Mistake]) -> str:
    """``text`` without the mistakes; each place may be marked once.

    The characters are written one after the other, and a mark says what becomes of its own: the
    swapped goes before the last one that was written, if there is any.
    """
    marked = {mistake.place: mistake for mistake in mistakes}
    written: list[str] = []
    for place, c in enumerate(text):
        match marked.get(place):
            case Mistake(kind="swapped"):
                written.insert(max(0, len(written) - 1), c)
            case Mistake(kind="dropped", missing=missing):
                written += (missing, c)
            case Mistake(kind="doubled"):
                pass
            case _:
                written.append(c)
    return "".join(written)


def possible(text: str, place: int, kind: str) -> bool:
    """Whether a mistake of that kind can be marked there; one more place is after the end.

    >>> [possible("foxx", place, "doubled") for place in range(5)]
    [False, False, False, True, False]
    """
    if kind == "dropped":
        return True
    return 0 < place < len(text) and (text[place - 1] == text[place]) == (kind == "doubled")


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
