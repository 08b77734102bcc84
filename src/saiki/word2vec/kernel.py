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

Windows are taken in blocks, and a block in *parts*, which threads learn from at the same time, each
window by window. Rows that only one part of the block has met are changed where they lie. Of a row
that several have met, each changes a copy of its own; when all are done, what has become of the
copies is added to the row, in the order of the parts. So no two threads write the same number, and
each number is computed in the same order however many threads there are.
"""

from typing import Any, NamedTuple

from numba import float32, float64, int64, njit, uint64

from saiki.word2vec import LANES, LINE
from saiki.word2vec.simd import (
    add,
    borrowed,
    fetch,
    load,
    meet,
    multiply,
    multiply_add,
    place_of,
    sigmoid,
    softplus,
    splat,
    spread,
    store,
    total,
)

TOGETHER = 3
"""Outputs that an input is read once for."""
COUNTED = 8
"""One window of a part in so many has its cost computed."""
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
    """Room for the windows of a block, and for its parts; each part writes to its own."""

    inputs: Any
    """``(parts · windows, most)``: rows, then where they lie; so are ``outputs``, with their
    ``labels`` and ``weights``, which are 0 where room is only filled."""
    outputs: Any
    labels: Any
    weights: Any
    counts: Any
    """``(parts · windows, 2)``: how many inputs and outputs there are."""
    gradients: Any
    """``(parts, most)``: of the scores of one window."""
    means: Any
    """``(parts, size)``: of the inputs of one window."""
    costs: Any
    """``(parts, …)``: the sum of −ln σ over the scores that are counted, and their number."""
    marks: Any
    """``(parts, …)``: a bit is on for each row that the part has met, and by chance for others."""
    others: Any
    """``(parts, …)``: the same for all other parts."""
    held: Any
    """``(parts, …)``: a table of hashes; where it holds 1 more than the key of a row, there is a
    copy, of the number in ``numbers``."""
    numbers: Any
    many: Any
    """``(parts, …)``: how many copies there are."""
    places: Any
    """``(parts, most)``: where the row of each copy is held, and ``whole`` where it lies."""
    whole: Any
    copies: Any
    """``(parts, most · size)``"""


class Room(NamedTuple):
    """Where a part has its numbers."""

    gradients: int
    mean: int
    copies: int


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
def _bit(key: Any) -> Any:
    """Where rows are marked, and held, by key."""
    return (uint64(key) * uint64(0x9E3779B97F4A7C15)) >> uint64(32)


@njit(inline="always")
def _mark(part: int, key: Any, scratch: Any) -> None:
    """Tell the other parts that a row is met here."""
    bit = _bit(key)
    place = int64(bit >> uint64(6)) & (scratch.marks.shape[1] - 1)
    scratch.marks[part, place] |= uint64(1) << (bit & uint64(63))


@njit(inline="always")
def _gather(
    w: int, part: int, place: int, text: Any, end: int, rule: Any, tables: Any, seed: Any,
    scratch: Any,
) -> None:  # fmt: skip
    """The inputs and outputs of window ``w`` of a block, around a place of the text."""
    i = o = 0
    scratch.counts[w, 0] = scratch.counts[w, 1] = 0
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
    for a in range(i):
        _mark(part, 2 * scratch.inputs[w, a], scratch)
    for j in range(o):
        _mark(part, 2 * scratch.outputs[w, j] + 1, scratch)
    while o % LANES or o < scratch.counts[w, 1] + TOGETHER - 1:
        _put(w, o, scratch.outputs[w, o - 1], float32(0), float32(0), scratch)
        o += 1


@njit(inline="always")
def _fetch_row(row: int, low: int, high: int) -> None:
    for d in range(low, high, LINE):
        fetch(row, d)


@njit(inline="always")
def _find(part: int, key: Any, row: int, size: int, scratch: Any, room: Any) -> int:
    """Where a part is to change a row: where it lies, or in a copy if others have met it too."""
    bit = _bit(key)
    place = int64(bit >> uint64(6)) & (scratch.others.shape[1] - 1)
    if not (scratch.others[part, place] >> (bit & uint64(63))) & uint64(1):
        return row
    last = scratch.held.shape[1] - 1
    place = int64(bit >> uint64(6)) & last
    while scratch.held[part, place]:
        if scratch.held[part, place] == key + 1:
            return room.copies + 4 * size * scratch.numbers[part, place]
        place = (place + 1) & last
    number = scratch.many[part, 0]
    scratch.held[part, place], scratch.numbers[part, place] = key + 1, number
    scratch.places[part, number], scratch.whole[part, number] = place, row
    scratch.many[part, 0] = number + 1
    _fetch_row(row, 0, size)
    return room.copies + 4 * size * number


@njit(inline="always")
def _look_around(part: int, parts: int, scratch: Any) -> None:
    """Learn what other parts have met, and forget the copies of the block before."""
    for i in range(scratch.marks.shape[1]):
        met = uint64(0)
        for other in range(parts):
            if other != part:
                met |= scratch.marks[other, i]
        scratch.others[part, i] = met
    for number in range(scratch.many[part, 0]):
        scratch.held[part, scratch.places[part, number]] = 0
    scratch.many[part, 0] = 0


@njit(inline="always")
def _locate(
    w: int, part: int, inputs: int, outputs: int, size: int, scratch: Any, room: Any
) -> None:
    """Find the rows of window ``w``."""
    count = scratch.counts[w, 1]
    for a in range(scratch.counts[w, 0]):
        row = scratch.inputs[w, a]
        scratch.inputs[w, a] = _find(part, 2 * row, inputs + 4 * size * row, size, scratch, room)
    for j in range(count):
        row = scratch.outputs[w, j]
        place = _find(part, 2 * row + 1, outputs + 4 * size * row, size, scratch, room)
        scratch.outputs[w, j] = place
    for j in range(count, count + TOGETHER - 1 if count else 0):
        scratch.outputs[w, j] = scratch.outputs[w, count - 1]


@njit(inline="always")
def _expect(w: int, size: int, scratch: Any) -> None:
    """Have the rows of window ``w`` brought near, which takes longer than to compute with them."""
    for a in range(scratch.counts[w, 0]):
        _fetch_row(scratch.inputs[w, a], 0, size)
    for j in range(scratch.counts[w, 1]):
        _fetch_row(scratch.outputs[w, j], 0, size)


@njit(inline="always")
def _score(
    e: int, a: int, w: int, part: int, rate: Any, counts: bool, size: int, scratch: Any, room: Any
) -> None:
    """The gradients of the scores of the input ``e``, which is number ``a`` of window ``w``."""
    told, at = scratch.counts[w, 1], a * scratch.outputs.shape[1]
    first = 4 * w * scratch.labels.shape[1]
    labels, weights = place_of(scratch.labels) + first, place_of(scratch.weights) + first
    g = room.gradients + 4 * at
    for j in range(0, told, TOGETHER):
        y0, y1, y2 = scratch.outputs[w, j], scratch.outputs[w, j + 1], scratch.outputs[w, j + 2]
        s0 = s1 = s2 = splat(float32(0))
        for d in range(0, size, LANES):
            v = load(e, d)
            s0 = multiply_add(v, load(y0, d), s0)
            s1 = multiply_add(v, load(y1, d), s1)
            s2 = multiply_add(v, load(y2, d), s2)
        scratch.gradients[part, at + j] = total(s0)
        scratch.gradients[part, at + j + 1] = total(s1)
        scratch.gradients[part, at + j + 2] = total(s2)
    for j in range(0, told + TOGETHER - 1, LANES):
        s, label, weight = load(g, j), load(labels, j), load(weights, j)
        if counts:
            against = multiply_add(label, splat(float32(-2)), splat(float32(1)))
            cost = total(multiply(weight, softplus(multiply(against, s))))
            scratch.costs[part, 0] += float64(cost)
            scratch.costs[part, 1] += float64(total(weight))
        error = multiply_add(sigmoid(s), splat(float32(-1)), label)
        store(g, j, multiply(error, multiply(weight, splat(rate))))


@njit(inline="always")
def _learn_from_mean(
    w: int, part: int, rate: Any, counts: bool, size: int, scratch: Any, room: Any
) -> None:
    """Change the rows of window ``w``, whose inputs are averaged."""
    count, told = scratch.counts[w, 0], scratch.counts[w, 1]
    if not count:
        return
    share, g = splat(float32(1) / float32(count)), room.gradients
    for d in range(0, size, LANES):
        mean = splat(float32(0))
        for a in range(count):
            mean = multiply_add(share, load(scratch.inputs[w, a], d), mean)
        store(room.mean, d, mean)
    _score(room.mean, 0, w, part, rate, counts, size, scratch, room)
    for d in range(0, size, LANES):
        mean, change = load(room.mean, d), splat(float32(0))
        for j in range(told):
            y, factor = scratch.outputs[w, j], spread(g, j)
            o = load(y, d)
            change = multiply_add(factor, o, change)
            store(y, d, multiply_add(factor, mean, o))
        for a in range(count):
            x = scratch.inputs[w, a]
            store(x, d, add(change, load(x, d)))


@njit(inline="always")
def _learn_from_each(
    w: int, part: int, rate: Any, counts: bool, size: int, scratch: Any, room: Any
) -> None:
    """Change the rows of window ``w``, of which each input has scores of its own."""
    count, told, most = scratch.counts[w, 0], scratch.counts[w, 1], 4 * scratch.outputs.shape[1]
    for a in range(count):
        _score(scratch.inputs[w, a], a, w, part, rate, counts, size, scratch, room)
    for j in range(0, told, TOGETHER):
        y0, y1, y2 = scratch.outputs[w, j], scratch.outputs[w, j + 1], scratch.outputs[w, j + 2]
        for d in range(0, size, LANES):
            o0, o1, o2 = load(y0, d), load(y1, d), load(y2, d)
            a0 = a1 = a2 = splat(float32(0))
            for a in range(count):
                x, g = scratch.inputs[w, a], room.gradients + a * most
                g0, g1, g2 = spread(g, j), spread(g, j + 1), spread(g, j + 2)
                v = load(x, d)
                a0 = multiply_add(g0, v, a0)
                a1 = multiply_add(g1, v, a1)
                a2 = multiply_add(g2, v, a2)
                v = multiply_add(g0, o0, multiply_add(g1, o1, multiply_add(g2, o2, v)))
                store(x, d, v)
            store(y0, d, add(a0, load(y0, d)))
            store(y1, d, add(a1, load(y1, d)))
            store(y2, d, add(a2, load(y2, d)))


@njit(inline="always")
def _copy(part: int, size: int, scratch: Any, room: Any) -> None:
    """Copy the rows that others have met too."""
    for i in range(scratch.many[part, 0]):
        copy, row = room.copies + 4 * size * i, scratch.whole[part, i]
        for d in range(0, size, LANES):
            store(copy, d, load(row, d))


@njit(inline="always")
def _leave_changes(part: int, size: int, scratch: Any, room: Any) -> None:
    """Leave in each copy what has changed."""
    for i in range(scratch.many[part, 0]):
        copy, row = room.copies + 4 * size * i, scratch.whole[part, i]
        for d in range(0, size, LANES):
            store(copy, d, multiply_add(load(row, d), splat(float32(-1)), load(copy, d)))


@njit(inline="always")
def _take_changes(part: int, size: int, low: int, high: int, scratch: Any, room: Any) -> None:
    """Add to the rows what has changed in the copies of a part, from one feature to another."""
    many = scratch.many[part, 0]
    for i in range(-AHEAD, many):
        if i + AHEAD < many:
            _fetch_row(room.copies + 4 * size * (i + AHEAD), low, high)
            _fetch_row(scratch.whole[part, i + AHEAD], low, high)
        if i >= 0:
            copy, row = room.copies + 4 * size * i, scratch.whole[part, i]
            for d in range(low, high, LANES):
                store(row, d, add(load(copy, d), load(row, d)))


@njit(inline="always")
def _room(part: int, scratch: Any) -> Any:
    return Room(
        place_of(scratch.gradients) + 4 * part * scratch.gradients.shape[1],
        place_of(scratch.means) + 4 * part * scratch.means.shape[1],
        place_of(scratch.copies) + 4 * part * scratch.copies.shape[1],
    )


@njit(nogil=True, cache=True)
def train(
    thread: int, threads: int, counter: Any, text: Any, begin: int, end: int, rates: Any, rule: Any,
    tables: Any, inputs: Any, outputs: Any, size: int, seed: Any, scratch: Any,
) -> None:  # fmt: skip
    """One of several threads that learn from ``text[begin:end]``.

    Args:
        counter: one number, 0 at first, at which the threads meet.
        rates: the learning rate at the begin and at the end.
        inputs: of all rows, flat; ``size`` numbers a row, a multiple of LINE.
    """
    text = borrowed(text)
    tables = Tables(
        borrowed(tables.first), borrowed(tables.rows), borrowed(tables.threshold),
        borrowed(tables.alias), borrowed(tables.root), borrowed(tables.nodes),
        borrowed(tables.codes),
    )  # fmt: skip
    scratch = Scratch(
        borrowed(scratch.inputs), borrowed(scratch.outputs), borrowed(scratch.labels),
        borrowed(scratch.weights), borrowed(scratch.counts), borrowed(scratch.gradients),
        borrowed(scratch.means), borrowed(scratch.costs), borrowed(scratch.marks),
        borrowed(scratch.others), borrowed(scratch.held), borrowed(scratch.numbers),
        borrowed(scratch.many), borrowed(scratch.places), borrowed(scratch.whole),
        borrowed(scratch.copies),
    )  # fmt: skip
    e, o, lines = place_of(inputs), place_of(outputs), size // LINE
    low, high = LINE * (lines * thread // threads), LINE * (lines * (thread + 1) // threads)
    parts = scratch.marks.shape[0]
    mine, others = parts * thread // threads, parts * (thread + 1) // threads
    goal, block = 0, scratch.counts.shape[0]
    for start in range(begin, end, block):
        count = min(block, end - start)
        rate = float32(rates[0] + (rates[1] - rates[0]) * (start - begin) / (end - begin))
        for part in range(mine, others):
            scratch.marks[part, :] = 0
            for w in range(count * part // parts, count * (part + 1) // parts):
                _gather(w, part, start + w, text, end, rule, tables, seed, scratch)
        if threads > 1:
            goal += threads
            meet(counter, goal)
        for part in range(mine, others):
            first, last, room = (
                count * part // parts,
                count * (part + 1) // parts,
                _room(part, scratch),
            )
            _look_around(part, parts, scratch)
            for w in range(first, last):
                _locate(w, part, e, o, size, scratch, room)
                if w < first + AHEAD:
                    _expect(w, size, scratch)
            _copy(part, size, scratch, room)
            for w in range(first, last):
                if w + AHEAD < last:
                    _expect(w + AHEAD, size, scratch)
                is_counted = (w - first) % COUNTED == 0
                if rule.averages:
                    _learn_from_mean(w, part, rate, is_counted, size, scratch, room)
                else:
                    _learn_from_each(w, part, rate, is_counted, size, scratch, room)
            _leave_changes(part, size, scratch, room)
        if threads > 1:
            goal += threads
            meet(counter, goal)
        for part in range(parts):
            _take_changes(part, size, low, high, scratch, _room(part, scratch))
