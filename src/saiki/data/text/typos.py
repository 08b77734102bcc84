"""Mistakes of typing, made in clean text, and how they are mended.

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

from collections.abc import Container, Iterable
from typing import NamedTuple

import numpy as np

KINDS = ("swapped", "dropped", "doubled")


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
