"""The update of word2vec, compiled: windows of a text, their scores, and what the vectors become.

A window is a word and the words around it. It has *inputs*, rows of one matrix, and *outputs*, rows
of another one, each with a label. With e the input, or the mean of all inputs of the window, and o
an output, the score is s = e · o, and one step of gradient descent on −ln σ(± s) is

    g = α (label − σ(s))        e ← e + Σ g o        o ← o + Σ g e

============  ==============================  ===================================================
              inputs                          outputs
============  ==============================  ===================================================
skip-gram     each word around                the word, and those drawn or the nodes on its way
CBOW          the mean of the words around    the same
sub-words     the mean of a word's n-grams    skip-gram: each word around, and those drawn for it
============  ==============================  ===================================================

(Mikolov et al. 2013, "Distributed representations", §2; Bojanowski et al. 2017, §3.) The words
drawn are shared by the inputs of a window, so that its scores are a product of two small matrices
(Ji et al. 2016).

Windows are taken in blocks. First their scores are computed, windows shared among the threads; then
the rows change, window by window, *features* shared among the threads. So no two threads write the
same number, and each number is computed in the same order however many they are.
"""

from typing import Any, NamedTuple

from numba import float32, int64, njit, uint64

from saiki.word2vec import LANES, LINE
from saiki.word2vec.simd import (
    add,
    borrowed,
    fetch,
    load,
    meet,
    multiply,
    multiply_add,
    sigmoid,
    softplus,
    splat,
    store,
    total,
)

TOGETHER = 3
"""Outputs that an input is read once for."""
COUNTED = 8
"""One window of a block in so many has its cost computed."""
AHEAD = 4
"""How many windows, and rows, before they are needed."""
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


class Scratch(NamedTuple):
    """Room for a block of windows."""

    inputs: Any
    """``(windows, most)``: rows; so are ``outputs``, with their ``labels`` and ``weights``, which
    are 0 where room is only filled."""
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
        else:
            found[count] = word  # the next one takes its place unless it stays
            count += (mixed(seed + uint64(place)) >> uint64(32)) < kept[word]
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
def _drawn(seed: Any, tables: Any) -> int:
    r = mixed(seed)
    i = int64(((r >> uint64(32)) * uint64(tables.alias.size)) >> uint64(32))
    if (r & uint64(0xFFFFFFFF)) >= tables.threshold[i]:
        return int64(tables.alias[i])
    return i


@njit(inline="always")
def _expect(
    w: int, inputs: Any, outputs: Any, size: int, low: int, high: int, scratch: Any
) -> None:
    """Have features of the rows of window ``w`` brought near, which takes longer than to compute
    with them."""
    for a in range(scratch.counts[w, 0]):
        for d in range(low, high, LINE):
            fetch(inputs, int64(scratch.inputs[w, a]) * size + d)
    for j in range(scratch.counts[w, 1]):
        for d in range(low, high, LINE):
            fetch(outputs, int64(scratch.outputs[w, j]) * size + d)


@njit(inline="always")
def _gather(
    w: int, place: int, text: Any, end: int, rule: Any, tables: Any, seed: Any, scratch: Any
) -> None:
    """The inputs and outputs of window ``w`` of a block, around a place of the text."""
    i = o = 0
    scratch.counts[w, 0] = scratch.counts[w, 1] = 0
    scratch.costs[w, 0] = scratch.costs[w, 1] = 0
    word = text[place]
    if word < 0:
        return
    drawn = rule.negatives * (1 if rule.from_around else 2 * rule.window)
    seed = mixed(seed) + uint64(place) * uint64(drawn + 1)
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
        drawn = rule.negatives * around
        for k in range(tables.first[word], tables.first[word + 1]):
            scratch.inputs[w, i] = tables.rows[k]
            i += 1
    told = o
    for k in range(drawn):
        row = _drawn(seed + uint64(k + 1), tables)
        is_told = False
        for j in range(told):
            is_told |= scratch.outputs[w, j] == row
        if not is_told:
            _put(w, o, row, float32(0), float32(1), scratch)
            o += 1
    scratch.counts[w, 0], scratch.counts[w, 1] = i, o
    while o % LANES or o < scratch.counts[w, 1] + TOGETHER - 1:
        _put(w, o, scratch.outputs[w, o - 1], float32(0), float32(0), scratch)
        o += 1


@njit(inline="always")
def _score(
    e: Any, x: int, w: int, g: int, rate: Any, outputs: Any, size: int, scratch: Any
) -> None:
    """The gradients of the scores of an input, which begins at ``e[x]``, from place g on."""
    told, gradients = scratch.counts[w, 1], scratch.gradients
    for j in range(0, told, TOGETHER):
        y0 = int64(scratch.outputs[w, j]) * size
        y1 = int64(scratch.outputs[w, j + 1]) * size
        y2 = int64(scratch.outputs[w, j + 2]) * size
        s0 = s1 = s2 = splat(float32(0))
        for d in range(0, size, LANES):
            v = load(e, x + d)
            s0 = multiply_add(v, load(outputs, y0 + d), s0)
            s1 = multiply_add(v, load(outputs, y1 + d), s1)
            s2 = multiply_add(v, load(outputs, y2 + d), s2)
        gradients[g + j] = total(s0)
        gradients[g + j + 1] = total(s1)
        gradients[g + j + 2] = total(s2)
    labels, weights = scratch.labels[w], scratch.weights[w]
    for j in range(0, told + TOGETHER - 1, LANES):
        s, label, weight = load(gradients, g + j), load(labels, j), load(weights, j)
        if w % COUNTED == 0:
            against = multiply_add(label, splat(float32(-2)), splat(float32(1)))
            scratch.costs[w, 0] += total(multiply(weight, softplus(multiply(against, s))))
            scratch.costs[w, 1] += total(weight)
        error = multiply_add(sigmoid(s), splat(float32(-1)), label)
        store(gradients, g + j, multiply(error, multiply(weight, splat(rate))))


@njit(inline="always")
def _scores(
    w: int, rule: Any, inputs: Any, outputs: Any, size: int, rate: Any, scratch: Any
) -> None:
    """The gradients of all scores of window ``w``."""
    count, room = scratch.counts[w, 0], scratch.outputs.shape[1]
    g = w * (scratch.gradients.size // scratch.counts.shape[0])
    if not rule.averages:
        for a in range(count):
            x = int64(scratch.inputs[w, a]) * size
            _score(inputs, x, w, g + a * room, rate, outputs, size, scratch)
    elif count:
        share, h = splat(float32(1) / float32(count)), w * size
        for d in range(0, size, LANES):
            mean = splat(float32(0))
            for a in range(count):
                x = int64(scratch.inputs[w, a]) * size
                mean = multiply_add(share, load(inputs, x + d), mean)
            store(scratch.means, h + d, mean)
        _score(scratch.means, h, w, g, rate, outputs, size, scratch)


@njit(inline="always")
def _update_from_mean(
    w: int, inputs: Any, outputs: Any, size: int, low: int, high: int, scratch: Any
) -> None:
    """What the gradients of window ``w`` make of features ``low`` to ``high`` of its rows, if its
    inputs are averaged."""
    count, told = scratch.counts[w, 0], scratch.counts[w, 1]
    g, h = w * (scratch.gradients.size // scratch.counts.shape[0]), w * size
    for d in range(low, high, LANES):
        mean, change = load(scratch.means, h + d), splat(float32(0))
        for j in range(told):
            y, factor = int64(scratch.outputs[w, j]) * size + d, splat(scratch.gradients[g + j])
            o = load(outputs, y)
            change = multiply_add(factor, o, change)
            store(outputs, y, multiply_add(factor, mean, o))
        for a in range(count):
            x = int64(scratch.inputs[w, a]) * size + d
            store(inputs, x, add(change, load(inputs, x)))


@njit(inline="always")
def _update(
    w: int, inputs: Any, outputs: Any, size: int, low: int, high: int, scratch: Any
) -> None:
    """The same if each input has scores of its own."""
    count, told = scratch.counts[w, 0], scratch.counts[w, 1]
    g, room = w * (scratch.gradients.size // scratch.counts.shape[0]), scratch.outputs.shape[1]
    for j in range(0, told, TOGETHER):
        y0 = int64(scratch.outputs[w, j]) * size
        y1 = int64(scratch.outputs[w, j + 1]) * size
        y2 = int64(scratch.outputs[w, j + 2]) * size
        for d in range(low, high, LANES):
            o0, o1, o2 = load(outputs, y0 + d), load(outputs, y1 + d), load(outputs, y2 + d)
            a0 = a1 = a2 = splat(float32(0))
            for a in range(count):
                x, at = int64(scratch.inputs[w, a]) * size + d, g + a * room + j
                g0 = splat(scratch.gradients[at])
                g1 = splat(scratch.gradients[at + 1])
                g2 = splat(scratch.gradients[at + 2])
                v = load(inputs, x)
                a0 = multiply_add(g0, v, a0)
                a1 = multiply_add(g1, v, a1)
                a2 = multiply_add(g2, v, a2)
                v = multiply_add(g0, o0, multiply_add(g1, o1, multiply_add(g2, o2, v)))
                store(inputs, x, v)
            store(outputs, y0 + d, add(a0, load(outputs, y0 + d)))
            store(outputs, y1 + d, add(a1, load(outputs, y1 + d)))
            store(outputs, y2 + d, add(a2, load(outputs, y2 + d)))


@njit(nogil=True, cache=True)
def train(
    thread: int, threads: int, counter: Any, text: Any, begin: int, end: int, rates: Any, rule: Any,
    tables: Any, inputs: Any, outputs: Any, size: int, seed: Any, scratch: Any, cost: Any,
) -> None:  # fmt: skip
    """One of several threads that learn from ``text[begin:end]``.

    Args:
        counter: one number, 0 at first, at which the threads meet.
        rates: the learning rate at the begin and at the end.
        inputs: of all rows, flat; ``size`` numbers a row, a multiple of LINE.
        cost: takes the sum of −ln σ over the scores that are counted, and their number.
    """
    text, inputs, outputs = borrowed(text), borrowed(inputs), borrowed(outputs)
    tables = Tables(
        borrowed(tables.first), borrowed(tables.rows), borrowed(tables.threshold),
        borrowed(tables.alias), borrowed(tables.root), borrowed(tables.nodes),
        borrowed(tables.codes),
    )  # fmt: skip
    scratch = Scratch(
        borrowed(scratch.inputs), borrowed(scratch.outputs), borrowed(scratch.labels),
        borrowed(scratch.weights), borrowed(scratch.counts), borrowed(scratch.gradients),
        borrowed(scratch.means), borrowed(scratch.costs),
    )  # fmt: skip
    lines = size // LINE
    low, high = LINE * (lines * thread // threads), LINE * (lines * (thread + 1) // threads)
    goal, block = 0, scratch.counts.shape[0]
    for start in range(begin, end, block):
        count = min(block, end - start)
        rate = float32(rates[0] + (rates[1] - rates[0]) * (start - begin) / (end - begin))
        first, last = count * thread // threads, count * (thread + 1) // threads
        for w in range(first, last + AHEAD):
            if w < last:
                _gather(w, start + w, text, end, rule, tables, seed, scratch)
                _expect(w, inputs, outputs, size, 0, size, scratch)
            if w >= first + AHEAD:
                _scores(w - AHEAD, rule, inputs, outputs, size, rate, scratch)
        goal += threads
        if threads > 1:
            meet(counter, goal)
        for w in range(count):
            if threads > 1 and w + AHEAD < count:
                _expect(w + AHEAD, inputs, outputs, size, low, high, scratch)
            if rule.averages:
                _update_from_mean(w, inputs, outputs, size, low, high, scratch)
            else:
                _update(w, inputs, outputs, size, low, high, scratch)
            if thread == 0:
                cost[0] += scratch.costs[w, 0]
                cost[1] += scratch.costs[w, 1]
        goal += threads
        if threads > 1:
            meet(counter, goal)
