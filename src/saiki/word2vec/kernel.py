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

Windows are taken in blocks. First, windows shared among the threads, their scores are computed, and
from them what is to be added to which rows; no row changes meanwhile. Then it is added, *rows*
shared among the threads, to each row in the order of the windows. So no two threads write the same
number, and each number is computed in the same order however many they are.
"""

from typing import Any, NamedTuple

from numba import float32, int64, njit, uint64

from saiki.word2vec import LANES
from saiki.word2vec.simd import (
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
LINE = 16
"""Numbers that are brought near at a time."""
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
    """``(windows, most)``: rows; so are ``outputs``, with their ``labels`` and ``weights``."""
    outputs: Any
    labels: Any
    weights: Any
    counts: Any
    """``(windows, 2)``: how many inputs and outputs there are."""
    gradients: Any
    """``(threads, most)``: of the scores of a window."""
    terms: Any
    """``(windows, most)``: vectors that are added to rows."""
    orders: Any
    """``(threads that say so, threads that do it, 2, most, 2)``: the row of a matrix to which a
    term is added, and which term."""
    factors: Any
    """How often, likewise."""
    ordered: Any
    """``(threads, threads, 2)``: how many orders there are."""
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
def _expect(matrix: Any, row: int, size: int) -> None:
    """Have a row brought near, which takes longer than to compute with it."""
    for d in range(0, size, LINE):
        fetch(matrix, int64(row) * size + d)


@njit(inline="always")
def _gather(
    w: int, place: int, text: Any, end: int, rule: Any, tables: Any, inputs: Any, outputs: Any,
    size: int, seed: Any, scratch: Any,
) -> None:  # fmt: skip
    """The inputs and outputs of window ``w`` of a block, around a place of the text."""
    i = o = 0
    scratch.counts[w, 0] = scratch.counts[w, 1] = 0
    scratch.costs[w, 0] = scratch.costs[w, 1] = 0
    word = text[place]
    if word < 0:
        return
    seed = mixed(seed) + uint64(place) * uint64(rule.negatives + 1)
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
    weight = float32(1)
    if rule.from_around:
        o = _targets(w, o, word, rule, tables, scratch)
    else:
        weight = float32(around)
        for k in range(tables.first[word], tables.first[word + 1]):
            scratch.inputs[w, i] = tables.rows[k]
            i += 1
    for k in range(rule.negatives):
        row = _drawn(seed + uint64(k + 1), tables)
        is_told = False
        for j in range(o):
            is_told |= scratch.outputs[w, j] == row and scratch.labels[w, j] == 1
        if not is_told:
            _put(w, o, row, float32(0), weight, scratch)
            o += 1
    for a in range(i):
        _expect(inputs, scratch.inputs[w, a], size)
    for j in range(o):
        _expect(outputs, scratch.outputs[w, j], size)
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
    for j in range(0, told, LANES):
        s, label, weight = load(gradients, g + j), load(labels, j), load(weights, j)
        if w % COUNTED == 0:
            against = multiply_add(label, splat(float32(-2)), splat(float32(1)))
            scratch.costs[w, 0] += total(multiply(weight, softplus(multiply(against, s))))
            scratch.costs[w, 1] += total(weight)
        error = multiply_add(sigmoid(s), splat(float32(-1)), label)
        store(gradients, g + j, multiply(error, multiply(weight, splat(rate))))


@njit(inline="always")
def _sum(
    factors: Any, f: int, step: int, matrix: Any, rows: Any, count: int, size: int,
    terms: Any, t: int,
) -> None:  # fmt: skip
    """``terms[t:]`` becomes the sum of rows, each by its factor, from ``factors[f]`` on."""
    most = count - count % TOGETHER
    for k in range(0, most, TOGETHER):
        y0, y1, y2 = int64(rows[k]) * size, int64(rows[k + 1]) * size, int64(rows[k + 2]) * size
        c0, c1 = splat(factors[f + k * step]), splat(factors[f + (k + 1) * step])
        c2 = splat(factors[f + (k + 2) * step])
        for d in range(0, size, LANES):
            s = load(terms, t + d) if k else splat(float32(0))
            s = multiply_add(c0, load(matrix, y0 + d), s)
            s = multiply_add(c1, load(matrix, y1 + d), s)
            store(terms, t + d, multiply_add(c2, load(matrix, y2 + d), s))
    for k in range(most, count):
        y, c = int64(rows[k]) * size, splat(factors[f + k * step])
        for d in range(0, size, LANES):
            s = load(terms, t + d) if k else splat(float32(0))
            store(terms, t + d, multiply_add(c, load(matrix, y + d), s))


@njit(inline="always")
def _order(
    thread: int, threads: int, matrix: int, row: int, term: int, factor: Any, scratch: Any
) -> None:
    """Have a term added to a row, by the thread whose row it is."""
    owner = row % threads
    at = scratch.ordered[thread, owner, matrix]
    scratch.orders[thread, owner, matrix, at, 0] = row
    scratch.orders[thread, owner, matrix, at, 1] = term
    scratch.factors[thread, owner, matrix, at] = factor
    scratch.ordered[thread, owner, matrix] = at + 1


@njit(inline="always")
def _learn(
    w: int, thread: int, threads: int, rule: Any, inputs: Any, outputs: Any, size: int, rate: Any,
    scratch: Any,
) -> None:  # fmt: skip
    """What is to be added to the rows of window ``w``."""
    count, told = scratch.counts[w, 0], scratch.counts[w, 1]
    if count == 0:
        return
    gradients, terms = scratch.gradients, scratch.terms
    g, room = thread * (gradients.size // scratch.ordered.shape[0]), scratch.outputs.shape[1]
    term = w * (terms.size // size // scratch.counts.shape[0])
    if rule.averages:
        mean, change = term * size, (term + 1) * size
        for a in range(count):
            gradients[g + a] = float32(1) / float32(count)
        _sum(gradients, g, 1, inputs, scratch.inputs[w], count, size, terms, mean)
        _score(terms, mean, w, g, rate, outputs, size, scratch)
        _sum(gradients, g, 1, outputs, scratch.outputs[w], told, size, terms, change)
        for a in range(count):
            _order(thread, threads, 0, scratch.inputs[w, a], term + 1, float32(1), scratch)
        for j in range(told):
            row = scratch.outputs[w, j]
            _order(thread, threads, 1, row, term, gradients[g + j], scratch)
    else:
        for a in range(count):
            x = int64(scratch.inputs[w, a]) * size
            _score(inputs, x, w, g + a * room, rate, outputs, size, scratch)
        for a in range(count):
            at = (term + a) * size
            _sum(gradients, g + a * room, 1, outputs, scratch.outputs[w], told, size, terms, at)
            _order(thread, threads, 0, scratch.inputs[w, a], term + a, float32(1), scratch)
        term += count
        for j in range(told):
            at = (term + j) * size
            _sum(gradients, g + j, room, inputs, scratch.inputs[w], count, size, terms, at)
            _order(thread, threads, 1, scratch.outputs[w, j], term + j, float32(1), scratch)


@njit(inline="always")
def _add(thread: int, threads: int, kind: int, matrix: Any, size: int, scratch: Any) -> None:
    """What is to be added to those rows of a matrix that are this thread's."""
    for other in range(threads):
        orders, count = scratch.orders[other, thread, kind], scratch.ordered[other, thread, kind]
        for k in range(count):
            if k + AHEAD < count:
                _expect(matrix, orders[k + AHEAD, 0], size)
            row, term = int64(orders[k, 0]) * size, int64(orders[k, 1]) * size
            factor = splat(scratch.factors[other, thread, kind, k])
            for d in range(0, size, LANES):
                added = multiply_add(factor, load(scratch.terms, term + d), load(matrix, row + d))
                store(matrix, row + d, added)


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
    text, inputs, outputs = borrowed(text), borrowed(inputs), borrowed(outputs)
    tables = Tables(
        borrowed(tables.first), borrowed(tables.rows), borrowed(tables.threshold),
        borrowed(tables.alias), borrowed(tables.root), borrowed(tables.nodes),
        borrowed(tables.codes),
    )  # fmt: skip
    scratch = Scratch(
        borrowed(scratch.inputs), borrowed(scratch.outputs), borrowed(scratch.labels),
        borrowed(scratch.weights), borrowed(scratch.counts), borrowed(scratch.gradients),
        borrowed(scratch.terms), borrowed(scratch.orders), borrowed(scratch.factors),
        borrowed(scratch.ordered), borrowed(scratch.costs),
    )  # fmt: skip
    goal, block = 0, scratch.counts.shape[0]
    for start in range(begin, end, block):
        count = min(block, end - start)
        rate = float32(rates[0] + (rates[1] - rates[0]) * (start - begin) / (end - begin))
        first, last = count * thread // threads, count * (thread + 1) // threads
        scratch.ordered[thread] = 0
        for w in range(first, last + AHEAD):
            if w < last:
                _gather(w, start + w, text, end, rule, tables, inputs, outputs, size, seed, scratch)
            if w >= first + AHEAD:
                _learn(w - AHEAD, thread, threads, rule, inputs, outputs, size, rate, scratch)
        goal += threads
        if threads > 1:
            meet(counter, goal)
        _add(thread, threads, 0, inputs, size, scratch)
        _add(thread, threads, 1, outputs, size, scratch)
        if thread == 0:
            for w in range(count):
                cost[0] += scratch.costs[w, 0]
                cost[1] += scratch.costs[w, 1]
        goal += threads
        if threads > 1:
            meet(counter, goal)
