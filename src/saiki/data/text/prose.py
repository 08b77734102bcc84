"""Running text to learn from, and sentences of other parts of it to validate and to test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saiki.data.skipped import LeftOut
from saiki.data.text import plain_text
from saiki.errors import InputError

HELD = 0.05
"""Share of the text that validates, and share that is tested."""
VALIDATED, TESTED = 500, 2000
"""Sentences of them that are used at most, evenly spaced."""
SHORTEST = 20
"""Characters of a sentence that is used; "Yes." stands in every part of a novel."""
_PLAIN = str.maketrans("‘’“”–—\u00a0", "''\"\"-- ")


@dataclass(frozen=True)
class Prose:
    """A text in three parts."""

    train: str
    """All sentences of the first part, one after the other, with one space between words."""
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def passage(self, start: int, length: int) -> str:
        """The words that begin and end within ``length`` characters from ``start`` on; all
        characters where no space tells the words."""
        passage = self.train[start : start + length]
        if start:
            passage = passage.partition(" ")[2] or passage
        if start + length < len(self.train):
            passage = passage.rpartition(" ")[0] or passage
        return passage


def plain(text: str) -> str:
    """Quotes, dashes and spaces of the typographer as a keyboard has them, one for one."""
    return text.translate(_PLAIN)


def prose(path: Path, left_out: LeftOut | None = None) -> Prose:
    """The text of a file, or of all text files in a folder; see :mod:`saiki.data.text.plain_text`.

    The last 5 % of its characters are tested and those before them validate, so of several books
    in their order the last ones do. No sentence of one part is in another, nor twice in one.
    """
    sentences = [" ".join(plain(s).split()) for s in plain_text.sentences(path, left_out)]
    ends = np.cumsum([len(s) for s in sentences])
    total = int(ends[-1]) if sentences else 0
    first, second = np.searchsorted(ends, [(1 - 2 * HELD) * total, (1 - HELD) * total]).tolist()
    learned = sentences[:first]
    test = _new(sentences[second:], learned)
    validation = _new(sentences[first:second], [*learned, *test])
    if not (learned and test and validation):
        raise InputError(
            f"{path} holds too little text, {len(sentences)} sentences: none of {SHORTEST} "
            "characters or more is left to learn from, to validate or to test; give a longer one"
        )
    return Prose(" ".join(learned), _spread(validation, VALIDATED), _spread(test, TESTED))


def of_another_kind(sentences: Iterable[str]) -> tuple[str, ...]:
    """Sentences of another text, as many as are tested at most."""
    return _spread(_new((" ".join(plain(s).split()) for s in sentences), ()), TESTED)


def _new(sentences: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those that are long enough and not among the others."""
    wanted = dict.fromkeys(s for s in sentences if len(s) >= SHORTEST)
    for other in others:
        wanted.pop(other, None)
    return list(wanted)


def _spread(sentences: Sequence[str], count: int) -> tuple[str, ...]:
    """``count`` of them, or all, at even distances."""
    count = min(count, len(sentences))
    return tuple(sentences[i * len(sentences) // count] for i in range(count))
