"""The update of word2vec, compiled: windows of a text, their scores, and what the vectors become.

A window is a word and the words around it. It has *inputs*, rows of one matrix, and *outputs*, rows
of another one, each with a label. With e the input, or the mean of all inputs of the window, and o
an output, the score is s = e · o, and one step of gradient descent on −ln σ(± s) is

    g = α (label − σ(s))        e ← e + Σ g o        o ← o + Σ g e

============  ==============================  ==================================================
              inputs                          outputs
============  ==============================  ==================================================
skip-gram     each word around                the word, and those drawn or the nodes on its way
CBOW          the mean of the words around    the same
sub-words     the mean of a word's n-grams    skip-gram: each word around, and those drawn
============  ==============================  ==================================================

(Mikolov et al. 2013, "Distributed representations", §2; Bojanowski et al. 2017, §3.) The words
drawn are shared by a window, so that its scores are a product of two small matrices (Ji et al.
2016).

Windows are taken in blocks. First their scores are computed, windows shared among the threads; then
the rows change, window by window, *features* shared among the threads. So no two threads write the
same number, and each number is computed in the same order however many they are.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import float32, int64, njit, uint64

from saiki.word2vec import LANES
from saiki.word2vec.simd import load, meet, multiply_add, splat, store, total

TOGETHER = 3
"""Outputs that an input is read once for."""
EDGE = 8.0
"""The sigmoid of a larger score is that of this one."""
PLACES = 4096
"""Of the table of sigmoids, between −EDGE and EDGE."""
BREAK = -1
"""Stands between lines in a text of numbers."""

_middle = (np.arange(PLACES) + 0.5) * (2 * EDGE / PLACES) - EDGE
SIGMOID = (1 / (1 + np.exp(-_middle))).astype(np.float32)
COST = np.log1p(np.exp(-_middle)).astype(np.float32)
"""−ln σ(s)."""


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
    """Words drawn for each window."""


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


class Scratch(NamedTuple):
    """Room for a block of windows."""

    inputs: Any
    outputs: Any
    labels: Any
    weights: Any
    counts: Any
    """``(windows, 2)``: how many inputs and outputs there are."""
    gradients: Any
    means: Any
    costs: Any
    """``(windows, 2)``: the sum over scores of −ln σ, and their number."""


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
def thin(words: Any, kept: Any, seed: Any, found: Any) -> int:
    """Leave out frequent words at random (Mikolov et al. 2013, §2.3).

    Args:
        words: numbers of words, with ``BREAK`` between lines.
        kept: the probability that a word stays, times 2³².
        found: takes what stays.

    Returns:
        How many numbers there are in ``found``.
    """
    count = 0
    for place in range(words.size):
        word = words[place]
        if word < 0:
            if count and found[count - 1] >= 0:
                found[count] = BREAK
                count += 1
        elif (mixed(seed + uint64(place)) >> uint64(32)) < kept[word]:
            found[count] = word
            count += 1
    return count


@njit(inline="always")
def _put(scratch: Any, at: int, row: int, label: Any, weight: Any) -> None:
    scratch.outputs[at] = row
    scratch.labels[at] = label
    scratch.weights[at] = weight


@njit(inline="always")
def _targets(scratch: Any, at: int, word: int, tables: Any, by_tree: bool) -> int:
    """What tells a word: itself, or its way through the tree; returns where the next may lie."""
    if not by_tree:
        _put(scratch, at, word, float32(1), float32(1))
        return at + 1
    for i in range(tables.root[word], tables.root[word + 1]):
        _put(scratch, at, tables.nodes[i], tables.codes[i], float32(1))
        at += 1
    return at


@njit(inline="always")
def _drawn(seed: Any, tables: Any) -> int:
    r = mixed(seed)
    i = int64(((r >> uint64(32)) * uint64(tables.alias.size)) >> uint64(32))
    if (r & uint64(0xFFFFFFFF)) >= tables.threshold[i]:
        return int64(tables.alias[i])
    return i


@njit(nogil=True, cache=True)
def _gather(
    w: int, place: int, text: Any, end: int, rule: Any, tables: Any, seed: Any, scratch: Any
) -> None:
    """The inputs and outputs of window ``w`` of a block, around a place of the text."""
    room_in = scratch.inputs.size // scratch.counts.shape[0]
    room_out = scratch.outputs.size // scratch.counts.shape[0]
    i, o = w * room_in, w * room_out
    scratch.counts[w, 0] = scratch.counts[w, 1] = 0
    word = text[place]
    if word < 0:
        return
    seed = mixed(seed) + uint64(place) * uint64(rule.negatives + 1)
    reach = 1 + int64(mixed(seed) % uint64(rule.window))
    around = 0
    for side in (-1, 1):
        for step in range(1, reach + 1):
            j = place + side * step
            if j < 0 or j >= end or text[j] < 0:
                break
            around += 1
            if rule.from_around:
                for k in range(tables.first[text[j]], tables.first[text[j] + 1]):
                    scratch.inputs[i] = tables.rows[k]
                    i += 1
            else:
                o = _targets(scratch, o, text[j], tables, rule.by_tree)
    if around == 0:
        return
    weight = float32(1)
    if rule.from_around:
        o = _targets(scratch, o, word, tables, rule.by_tree)
    else:
        weight = float32(around)
        for k in range(tables.first[word], tables.first[word + 1]):
            scratch.inputs[i] = tables.rows[k]
            i += 1
    for k in range(rule.negatives):
        row = _drawn(seed + uint64(k + 1), tables)
        is_told = False
        for j in range(w * room_out, o):
            is_told |= scratch.outputs[j] == row and scratch.labels[j] == 1
        if not is_told:
            _put(scratch, o, row, float32(0), weight)
            o += 1
    while (o - w * room_out) % TOGETHER:
        _put(scratch, o, scratch.outputs[o - 1], float32(0), float32(0))
        o += 1
    scratch.counts[w, 0] = i - w * room_in
    scratch.counts[w, 1] = o - w * room_out


@njit(inline="always")
def _gradient(score: Any, o: int, rate: Any, w: int, scratch: Any) -> Any:
    label, weight = scratch.labels[o], scratch.weights[o]
    place = (score + float32(EDGE)) * float32(PLACES / (2 * EDGE))
    u = int64(min(max(place, float32(0)), float32(PLACES - 1)))
    scratch.costs[w, 0] += weight * COST[u if label > 0 else PLACES - 1 - u]
    scratch.costs[w, 1] += weight
    return (label - SIGMOID[u]) * weight * rate


@njit(inline="always")
def _score(
    e: Any, x: int, w: int, first: int, g: int, rate: Any, outputs: Any, size: int, scratch: Any
) -> None:
    """The gradients of the scores of an input, which begins at ``e[x]``, from place g on."""
    for j in range(0, scratch.counts[w, 1], TOGETHER):
        o = first + j
        y0 = int64(scratch.outputs[o]) * size
        y1 = int64(scratch.outputs[o + 1]) * size
        y2 = int64(scratch.outputs[o + 2]) * size
        s0 = s1 = s2 = splat(float32(0))
        for d in range(0, size, LANES):
            v = load(e, x + d)
            s0 = multiply_add(v, load(outputs, y0 + d), s0)
            s1 = multiply_add(v, load(outputs, y1 + d), s1)
            s2 = multiply_add(v, load(outputs, y2 + d), s2)
        scratch.gradients[g + j] = _gradient(total(s0), o, rate, w, scratch)
        scratch.gradients[g + j + 1] = _gradient(total(s1), o + 1, rate, w, scratch)
        scratch.gradients[g + j + 2] = _gradient(total(s2), o + 2, rate, w, scratch)


@njit(nogil=True, cache=True)
def _scores(
    w: int, rule: Any, inputs: Any, outputs: Any, size: int, rate: Any, scratch: Any
) -> None:
    """The gradients of all scores of window ``w``."""
    windows = scratch.counts.shape[0]
    i, o = w * (scratch.inputs.size // windows), w * (scratch.outputs.size // windows)
    g = w * (scratch.gradients.size // windows)
    scratch.costs[w, 0] = scratch.costs[w, 1] = 0
    count = scratch.counts[w, 0]
    if not rule.averages:
        for a in range(count):
            x = int64(scratch.inputs[i + a]) * size
            at = g + a * scratch.counts[w, 1]
            _score(inputs, x, w, o, at, rate, outputs, size, scratch)
    elif count:
        share, h = splat(float32(1) / float32(count)), w * size
        for d in range(0, size, LANES):
            mean = splat(float32(0))
            for a in range(count):
                mean = multiply_add(
                    share, load(inputs, int64(scratch.inputs[i + a]) * size + d), mean
                )
            store(scratch.means, h + d, mean)
        _score(scratch.means, h, w, o, g, rate, outputs, size, scratch)


@njit(nogil=True, cache=True)
def _update(
    w: int, rule: Any, inputs: Any, outputs: Any, size: int, low: int, high: int, scratch: Any
) -> None:
    """What the gradients of window ``w`` make of features ``low`` to ``high`` of its rows."""
    windows = scratch.counts.shape[0]
    i, first = w * (scratch.inputs.size // windows), w * (scratch.outputs.size // windows)
    g, h = w * (scratch.gradients.size // windows), w * size
    count, told = scratch.counts[w, 0], scratch.counts[w, 1]
    one = splat(float32(1))
    for j in range(0, told, TOGETHER):
        y0 = int64(scratch.outputs[first + j]) * size
        y1 = int64(scratch.outputs[first + j + 1]) * size
        y2 = int64(scratch.outputs[first + j + 2]) * size
        for d in range(low, high, LANES):
            o0, o1, o2 = load(outputs, y0 + d), load(outputs, y1 + d), load(outputs, y2 + d)
            a0 = a1 = a2 = splat(float32(0))
            if rule.averages:
                v = load(scratch.means, h + d)
                a0 = multiply_add(splat(scratch.gradients[g + j]), v, a0)
                a1 = multiply_add(splat(scratch.gradients[g + j + 1]), v, a1)
                a2 = multiply_add(splat(scratch.gradients[g + j + 2]), v, a2)
                for a in range(count):
                    x = int64(scratch.inputs[i + a]) * size + d
                    v = multiply_add(splat(scratch.gradients[g + j]), o0, load(inputs, x))
                    v = multiply_add(splat(scratch.gradients[g + j + 1]), o1, v)
                    store(inputs, x, multiply_add(splat(scratch.gradients[g + j + 2]), o2, v))
            else:
                for a in range(count):
                    x, at = int64(scratch.inputs[i + a]) * size + d, g + a * told + j
                    g0 = splat(scratch.gradients[at])
                    g1 = splat(scratch.gradients[at + 1])
                    g2 = splat(scratch.gradients[at + 2])
                    v = load(inputs, x)
                    a0, a1, a2 = (
                        multiply_add(g0, v, a0),
                        multiply_add(g1, v, a1),
                        multiply_add(g2, v, a2),
                    )
                    store(
                        inputs,
                        x,
                        multiply_add(g0, o0, multiply_add(g1, o1, multiply_add(g2, o2, v))),
                    )
            store(outputs, y0 + d, multiply_add(one, a0, load(outputs, y0 + d)))
            store(outputs, y1 + d, multiply_add(one, a1, load(outputs, y1 + d)))
            store(outputs, y2 + d, multiply_add(one, a2, load(outputs, y2 + d)))


@njit(nogil=True, cache=True)
def train(
    thread: int, threads: int, counter: Any, text: Any, begin: int, end: int, rates: Any, rule: Any,
    tables: Any, inputs: Any, outputs: Any, size: int, seed: Any, scratch: Any, cost: Any,
) -> None:  # fmt: skip
    """One of several threads that learn from ``text[begin:end]``.

    Args:
        counter: one number, 0 at first, at which the threads meet.
        rates: the learning rate at the begin and at the end.
        inputs: of all rows, flat; ``size`` numbers a row, a multiple of LANES.
        cost: takes the sum over scores of −ln σ and their number.
    """
    vectors = size // LANES
    low, high = LANES * (vectors * thread // threads), LANES * (vectors * (thread + 1) // threads)
    goal, block = 0, scratch.counts.shape[0]
    for start in range(begin, end, block):
        count = min(block, end - start)
        rate = float32(rates[0] + (rates[1] - rates[0]) * (start - begin) / (end - begin))
        for w in range(count * thread // threads, count * (thread + 1) // threads):
            _gather(w, start + w, text, end, rule, tables, seed, scratch)
            _scores(w, rule, inputs, outputs, size, rate, scratch)
        goal += threads
        if threads > 1:
            meet(counter, goal)
        for w in range(count):
            _update(w, rule, inputs, outputs, size, low, high, scratch)
            if thread == 0:
                cost[0] += scratch.costs[w, 0]
                cost[1] += scratch.costs[w, 1]
        goal += threads
        if threads > 1:
            meet(counter, goal)
