"""Windows of a text: what is read from where, and against what."""

from typing import Any, NamedTuple

from numba import float32, int64, njit, uint64

from saiki.word2vec import LANES, OUTPUTS_AT_ONCE
from saiki.word2vec.sharing import mark

BREAK = -1
"""Stands between lines in a text of numbers."""


class Rule(NamedTuple):
    """What is learned from a window."""

    averages: bool
    """Whether the inputs of a window are averaged."""
    from_around: bool
    """Whether the words around are the inputs, and the word is what they tell."""
    by_tree: bool
    """Whether outputs are nodes of a tree of words (hierarchical softmax), and none are drawn."""
    window: int
    """Words to either side, at most; their number is drawn for each window."""
    negatives: int
    """Words drawn for each window, or for each word around that is told by sub-words."""


class Tables(NamedTuple):
    """What is known of the vocabulary."""

    first: Any
    """Where the input rows of each word begin in ``rows``, and where the last ones end."""
    rows: Any
    threshold: Any
    """With ``alias`` the table of Walker (1977) for drawing words."""
    alias: Any
    root: Any
    """Where the way of each word through the tree begins in ``nodes`` and ``codes``."""
    nodes: Any
    codes: Any


@njit(inline="always")
def mixed(x: Any) -> Any:
    """A number of 64 bits that looks drawn at random, from any number."""
    x = uint64(x) * uint64(0x9E3779B97F4A7C15)
    x ^= x >> uint64(32)
    x *= uint64(0xD6E8FEB86659FD93)
    x ^= x >> uint64(32)
    x *= uint64(0xD6E8FEB86659FD93)
    x ^= x >> uint64(32)
    return x


@njit(nogil=True, cache=True)
def thin(words: Any, survival: Any, seed: Any, survivors: Any) -> int:
    """Leave out frequent words at random (Mikolov et al. 2013, §2.3).

    Args:
        words: numbers of words, with ``BREAK`` between lines.
        survival: the probability that a word stays, times 2³².
        survivors: takes what stays.

    Returns:
        How many numbers there are in ``survivors``.
    """
    count = 0
    for place in range(words.size):
        word = words[place]
        if word < 0:
            if count and survivors[count - 1] >= 0:
                survivors[count] = BREAK
                count += 1
        else:
            survivors[count] = word  # the next one takes its place unless it stays
            count += (mixed(seed + uint64(place)) >> uint64(32)) < survival[word]
    return count


@njit(inline="always")
def _put(w: int, at: int, row: int, label: Any, weight: Any, scratch: Any) -> None:
    scratch.outputs[w, at] = row
    scratch.labels[w, at] = label
    scratch.weights[w, at] = weight


@njit(inline="always")
def _targets(w: int, at: int, word: int, rule: Any, tables: Any, scratch: Any) -> int:
    """What tells a word: itself, or its way through the tree; returns where the next may lie."""
    if not rule.by_tree:
        _put(w, at, word, float32(1), float32(1), scratch)
        return at + 1
    for i in range(tables.root[word], tables.root[word + 1]):
        _put(w, at, tables.nodes[i], tables.codes[i], float32(1), scratch)
        at += 1
    return at


@njit(inline="always")
def _sample(seed: Any, tables: Any) -> int:
    r = mixed(seed)
    i = int64(((r >> uint64(32)) * uint64(tables.alias.size)) >> uint64(32))
    if (r & uint64(0xFFFFFFFF)) >= tables.threshold[i]:
        return int64(tables.alias[i])
    return i


@njit(inline="always")
def gather(
    w: int, part: int, place: int, text: Any, end: int, rule: Any, tables: Any, seed: Any,
    scratch: Any,
) -> None:  # fmt: skip
    """The inputs and outputs of window ``w`` of a block, around a place of the text."""
    i = o = 0
    scratch.counts[w, 0] = scratch.counts[w, 1] = 0
    word = text[place]
    if word < 0:
        return
    samples = rule.negatives * (1 if rule.from_around else 2 * rule.window)
    seed = mixed(seed) + uint64(place) * uint64(samples + 1)
    reach = 1 + int64(((mixed(seed) >> uint64(32)) * uint64(rule.window)) >> uint64(32))
    around = 0
    for side in (-1, 1):
        for step in range(1, reach + 1):
            j = place + side * step
            if j < 0 or j >= end or text[j] < 0:
                break
            around += 1
            if rule.from_around:
                for k in range(tables.first[text[j]], tables.first[text[j] + 1]):
                    scratch.inputs[w, i] = tables.rows[k]
                    i += 1
            else:
                o = _targets(w, o, text[j], rule, tables, scratch)
    if around == 0:
        return
    if rule.from_around:
        o = _targets(w, o, word, rule, tables, scratch)
    else:
        samples = rule.negatives * around
        for k in range(tables.first[word], tables.first[word + 1]):
            scratch.inputs[w, i] = tables.rows[k]
            i += 1
    targets = o
    for k in range(samples):
        row = _sample(seed + uint64(k + 1), tables)
        is_target = False
        for j in range(targets):
            is_target |= scratch.outputs[w, j] == row
        if not is_target:
            _put(w, o, row, float32(0), float32(1), scratch)
            o += 1
    scratch.counts[w, 0], scratch.counts[w, 1] = i, o
    for a in range(i):
        mark(part, 2 * scratch.inputs[w, a], scratch)
    for j in range(o):
        mark(part, 2 * scratch.outputs[w, j] + 1, scratch)
    while o % LANES or o < scratch.counts[w, 1] + OUTPUTS_AT_ONCE - 1:
        _put(w, o, scratch.outputs[w, o - 1], float32(0), float32(0), scratch)
        o += 1
