"""The update of word2vec, compiled: windows of a text, their scores, and what the vectors become.

A window is a word and the words around it. It has *inputs*, rows of one matrix, and *outputs*, rows
of another one, each with a label. With e the input, or the mean of all inputs of the window, and o
an output, the score is s = e · o, and one step of gradient descent on −ln σ(± s) is

    g = α (label − σ(s))        e ← e + Σ g o        o ← o + Σ g e

where all g are those before the step. Where each input has scores of its own, outputs are taken
three at a time, as they lie in registers, and the third formula takes e as the threes before have
left it, a difference of order α².

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

from typing import Any

from numba import float32, float64, njit

from saiki.word2vec import AHEAD, LANES, LINE, OUTPUTS_AT_ONCE
from saiki.word2vec.sharing import (
    Scratch,
    fetch_row,
    leave_changes,
    locate,
    look_around,
    make_copies,
    room_of,
    take_changes,
)
from saiki.word2vec.simd import (
    add,
    borrowed,
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
from saiki.word2vec.windows import Tables, gather

COUNTED = 8
"""One window of a part in so many has its cost computed."""


@njit(inline="always")
def _expect(w: int, size: int, scratch: Any) -> None:
    """Have the rows of window ``w`` brought near, which takes longer than to compute with them."""
    for a in range(scratch.counts[w, 0]):
        fetch_row(scratch.inputs[w, a], 0, size)
    for j in range(scratch.counts[w, 1]):
        fetch_row(scratch.outputs[w, j], 0, size)


@njit(inline="always")
def _score(
    e: int, a: int, w: int, part: int, rate: Any, counts: bool, size: int, scratch: Any, room: Any
) -> None:
    """The gradients of the scores of the input ``e``, which is number ``a`` of window ``w``."""
    targets, at = scratch.counts[w, 1], a * scratch.outputs.shape[1]
    first = 4 * w * scratch.labels.shape[1]
    labels, weights = place_of(scratch.labels) + first, place_of(scratch.weights) + first
    g = room.gradients + 4 * at
    for j in range(0, targets, OUTPUTS_AT_ONCE):
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
    for j in range(0, targets + OUTPUTS_AT_ONCE - 1, LANES):
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
    count, targets = scratch.counts[w, 0], scratch.counts[w, 1]
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
        for j in range(targets):
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
    count, targets, most = scratch.counts[w, 0], scratch.counts[w, 1], 4 * scratch.outputs.shape[1]
    for a in range(count):
        _score(scratch.inputs[w, a], a, w, part, rate, counts, size, scratch, room)
    for j in range(0, targets, OUTPUTS_AT_ONCE):
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
                gather(w, part, start + w, text, end, rule, tables, seed, scratch)
        if threads > 1:
            goal += threads
            meet(counter, goal)
        for part in range(mine, others):
            first, last = count * part // parts, count * (part + 1) // parts
            room = room_of(part, scratch)
            look_around(part, parts, scratch)
            for w in range(first, last):
                locate(w, part, e, o, size, scratch, room)
                if w < first + AHEAD:
                    _expect(w, size, scratch)
            make_copies(part, size, scratch, room)
            for w in range(first, last):
                if w + AHEAD < last:
                    _expect(w + AHEAD, size, scratch)
                is_counted = (w - first) % COUNTED == 0
                if rule.averages:
                    _learn_from_mean(w, part, rate, is_counted, size, scratch, room)
                else:
                    _learn_from_each(w, part, rate, is_counted, size, scratch, room)
            leave_changes(part, size, scratch, room)
        if threads > 1:
            goal += threads
            meet(counter, goal)
        for part in range(parts):
            take_changes(part, size, low, high, scratch, room_of(part, scratch))
