"""Phrases: words that stand side by side more often than chance has it become one, as new_york."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from saiki.data.text.numbered import BREAK, NumberedText

JOINT = "_"
"""Between the words of a phrase."""
AT_ONCE = 1 << 22
"""Words of a text in memory."""
MOST_PAIRS = 1 << 23
"""Pairs that are counted; of more, the rarest are forgotten (as word2phrase does)."""

Phrases = dict[tuple[str, str], float]
"""Pairs of words with their scores."""
Numbers = NDArray[np.int64]


def learn(text: NumberedText, passes: int, threshold: float, discount: int) -> NumberedText:
    """The text with its phrases. Each pass joins two words, so that n passes find phrases of up to
    2ⁿ words; the threshold halves from pass to pass, and is ``threshold`` in the last one.

    See :func:`find` for ``threshold`` and ``discount``.
    """
    for left in reversed(range(passes)):
        text = join(text, find(text, threshold * 2**left, discount))
    return text


def recall(text: NumberedText, passes: int, words: Collection[str]) -> NumberedText:
    """The text with those phrases that are among ``words``."""
    for _ in range(passes):
        cuts = ((word, i) for word in words for i, c in enumerate(word) if c == JOINT)
        pairs = ((word[:i], word[i + 1 :]) for word, i in cuts)
        text = join(text, {(a, b) for a, b in pairs if a in text.numbers and b in text.numbers})
    return text


def find(text: NumberedText, threshold: float, discount: int) -> Phrases:
    """Pairs of neighbours with a score above a threshold,

        N (count(ab) − δ) / (count(a) count(b)) > threshold

    with N the words of the text (Mikolov, Sutskever et al., Distributed Representations of Words
    and Phrases and their Compositionality, 2013, equation 6; N is of the authors' program, and
    makes one threshold fit texts of any length).

    Args:
        discount: δ, without which rare words would make phrases.
    """
    words, counts = text.frequent(discount + 1)  # others cannot be in a pair that scores
    keys, times = _pairs(text, words)
    a, b = keys // max(len(words), 1), keys % max(len(words), 1)
    scores = text.words * ((times - discount) / counts[a] / counts[b])
    found = np.flatnonzero(scores > threshold)
    return {(words[a[i]], words[b[i]]): float(scores[i]) for i in found}


def join(text: NumberedText, pairs: Collection[tuple[str, str]]) -> NumberedText:
    """The text with each of these pairs as one word, from left to right."""
    return _Joined(text, pairs) if pairs else text


class _Joined(NumberedText):
    def __init__(self, text: NumberedText, pairs: Collection[tuple[str, str]]) -> None:
        super().__init__((), list)
        words, _ = text.frequent()
        self.numbers = {word: number for number, word in enumerate(words)}
        of = {
            self.numbers[a] * len(words) + self.numbers[b]: self.numbers.setdefault(
                f"{a}{JOINT}{b}", len(self.numbers)
            )
            for a, b in pairs
        }
        keys = np.array(sorted(of), np.int64)
        phrases = np.array([of[key] for key in keys.tolist()], np.int32)
        held = np.zeros(0, np.int32)
        for part in _parts(text, words):
            row = np.append(held, part)
            if not len(row):
                continue
            found = _keys(row, len(words))
            at = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
            fits = keys[at] == found
            # of fitting pairs in a row, every other one has both its words to itself
            place = np.arange(len(fits))
            joins = fits & ((place - np.maximum.accumulate(np.where(fits, -1, place))) % 2 == 1)
            row[:-1][joins] = phrases[at[joins]]
            stays = np.append(True, ~joins)
            # the last word may be joined with the next one
            held = row[-1:][stays[-1:]]
            self._write(row[: len(row) - len(held)][stays[: len(row) - len(held)]].tolist())
        self._write(held.tolist())
        self.counts = np.pad(self.counts, (0, len(self.numbers) - len(self.counts)))
        self.numbers = {word: n for word, n in self.numbers.items() if self.counts[n]}


def _parts(text: NumberedText, words: list[str]) -> Iterator[NDArray[np.int32]]:
    """The text by the places of its words, part by part."""
    places = text.places(words)
    for start in range(text.pieces(AT_ONCE)):
        yield text.piece(start * AT_ONCE, AT_ONCE, places)


def _keys(row: NDArray[np.int32], words: int) -> Numbers:
    """A number for each two neighbours, and −1 where one of them is none of the first words."""
    a, b = row[:-1].astype(np.int64), row[1:].astype(np.int64)
    known = (np.minimum(a, b) >= 0) & (np.maximum(a, b) < words)
    return np.where(known, a * words + b, -1)


def _pairs(text: NumberedText, words: list[str]) -> tuple[Numbers, Numbers]:
    """How often two of these words are neighbours, by their keys."""
    # the others keep their neighbours apart
    every = [*words, *(text.numbers.keys() - set(words))]
    keys, times, last, fewest = np.zeros(0, np.int64), np.zeros(0, np.int64), BREAK, 1
    for part in _parts(text, every):
        found = _keys(np.append(np.int32(last), part), len(words))
        more, count = np.unique(found[found >= 0], return_counts=True)
        keys, which = np.unique(np.append(keys, more), return_inverse=True)
        times = np.bincount(which, np.append(times, count)).astype(np.int64)
        while len(keys) > MOST_PAIRS:
            keys, times = keys[times > fewest], times[times > fewest]
            fewest += 1
        last = part[-1] if len(part) else last
    return keys, times
