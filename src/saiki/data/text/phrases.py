"""Phrases: words that stand side by side more often than chance has it become one, as new_york."""

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from saiki.data.text.numbered import BREAK, NumberedText

JOINT = "_"
"""Between the words of a phrase."""
AT_ONCE = 1 << 20
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
    for halvings in reversed(range(passes)):
        text = join(text, find(text, threshold * 2**halvings, discount))
    return text


def recall(text: NumberedText, words: Collection[str]) -> NumberedText:
    """The text with those phrases that are among ``words``."""
    phrases = (tuple(word.split(JOINT)) for word in words if JOINT in word)
    return join(text, {each for each in phrases if text.numbers.keys() >= {*each}})


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
    frequent = np.flatnonzero(scores > threshold)
    return {(words[a[i]], words[b[i]]): float(scores[i]) for i in frequent}


def join(text: NumberedText, phrases: Collection[tuple[str, ...]]) -> NumberedText:
    """The text with each of these phrases as one word, from left to right and the longest first."""
    return _Joined(text, phrases) if phrases else text


class _Joined(NumberedText):
    def __init__(self, text: NumberedText, phrases: Collection[tuple[str, ...]]) -> None:
        super().__init__((), list)
        words, _ = text.frequent()
        self.numbers = {word: number for number, word in enumerate(words)}
        known, self._width = _Known(len(words)), max(map(len, phrases))
        for phrase in phrases:
            name = JOINT.join(phrase)
            row = [self.numbers[word] for word in phrase]
            known.add(row, self.numbers.setdefault(name, len(self.numbers)))
        pending = np.zeros(0, np.int32)
        with self._writing() as write:
            for part in _parts(text, words):
                pending = self._write_joined(np.append(pending, part), known, write)
            self._write_joined(
                np.append(pending, np.full(self._width - 1, BREAK, np.int32)), known, write
            )
        self.counts = np.pad(self.counts, (0, len(self.numbers) - len(self.counts)))
        self.numbers = {word: n for word, n in self.numbers.items() if self.counts[n]}

    def _write_joined(
        self, row: NDArray[np.int32], known: "_Known", write: Callable[[list[int]], None]
    ) -> NDArray[np.int32]:
        """Write the numbers of a row with its phrases, but for the last ones, with which a phrase
        may begin whose end is not there yet: those are returned."""
        numbers, lengths = known.longest(row)
        end, free = max(len(row) - self._width + 1, 0), 0
        stays = np.ones(len(row), bool)
        for place in np.flatnonzero(lengths[:end] > 1).tolist():
            if place >= free:
                free = place + int(lengths[place])
                row[place] = numbers[place]
                stays[place + 1 : free] = False
        end = max(end, free)
        write(row[:end][stays[:end]].tolist())
        return row[end:]


class _Known:
    """Phrases as a tree: from each word, or words that a phrase begins with, to the next word."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.steps = list[dict[int, int]]()
        """Of each length, from the key of a beginning and a word to the longer beginning."""
        self.phrases = list[int]()
        """The number of the phrase that a beginning is, or −1."""

    def add(self, row: Sequence[int], number: int) -> None:
        """A phrase by the numbers of its words, and its own."""
        node = row[0]
        for length, word in enumerate(row[1:]):
            if length == len(self.steps):
                self.steps.append({})
            key = node * self.words + word
            node = self.steps[length].setdefault(key, len(self.phrases))
            self.phrases += [-1] * (node == len(self.phrases))
        self.phrases[node] = number

    def longest(self, row: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The number of the longest phrase from each place on, and its length; 1 without one."""
        numbers, lengths = row.copy(), np.ones(len(row), np.int32)
        nodes, phrases = row.astype(np.int64), np.array(self.phrases, np.int32)
        for length, step in enumerate(self.steps, 2):
            keys = np.array(sorted(step), np.int64)
            ends = np.array([step[key] for key in keys.tolist()], np.int64)
            node_keys = _keys(nodes[: len(row) - length + 1], row[length - 1 :], self.words)
            at = np.minimum(np.searchsorted(keys, node_keys), len(keys) - 1)
            nodes = np.where(keys[at] == node_keys, ends[at], -1)
            is_phrase = np.flatnonzero((nodes >= 0) & (phrases[nodes] >= 0))
            numbers[is_phrase] = phrases[nodes[is_phrase]]
            lengths[is_phrase] = length
        return numbers, lengths


def _parts(text: NumberedText, words: list[str]) -> Iterator[NDArray[np.int32]]:
    """The text by the places of its words, part by part."""
    places = text.places(words)
    for start in range(text.pieces(AT_ONCE)):
        yield text.piece(start * AT_ONCE, AT_ONCE, places)


def _keys(a: Numbers, b: NDArray[np.int32], words: int) -> Numbers:
    """A number for each a and what comes after it, and −1 where b is none of the first words."""
    return np.where((a >= 0) & (b >= 0) & (b < words), a * words + b, -1)


def _pairs(text: NumberedText, words: list[str]) -> tuple[Numbers, Numbers]:
    """How often two of these words are neighbours, by their keys."""
    # the others keep their neighbours apart
    all_words = [*words, *(text.numbers.keys() - set(words))]
    keys, times, last, fewest = np.zeros(0, np.int64), np.zeros(0, np.int64), BREAK, 1
    for part in _parts(text, all_words):
        row = np.append(np.int32(last), part)
        before = np.where(row < len(words), row, BREAK).astype(np.int64)
        pair_keys = _keys(before[:-1], row[1:], len(words))
        more, count = np.unique(pair_keys[pair_keys >= 0], return_counts=True)
        keys, which = np.unique(np.append(keys, more), return_inverse=True)
        times = np.bincount(which, np.append(times, count)).astype(np.int64)
        while len(keys) > MOST_PAIRS:
            keys, times = keys[times > fewest], times[times > fewest]
            fewest += 1
        last = part[-1] if len(part) else last
    return keys, times
