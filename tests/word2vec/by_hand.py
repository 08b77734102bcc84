"""word2vec as it is written down, number by number, in double precision."""

import numpy as np

MASK = 2**64 - 1


def mixed(x):
    x = x * 0x9E3779B97F4A7C15 & MASK
    for _ in range(2):
        x ^= x >> 32
        x = x * 0xD6E8FEB86659FD93 & MASK
    return x ^ x >> 32


def thinned(words, survival, seed):
    survivors = []
    for place, word in enumerate(words):
        if word < 0:
            if survivors and survivors[-1] >= 0:
                survivors.append(-1)
        elif mixed(seed + place & MASK) >> 32 < survival[word]:
            survivors.append(word)
    return survivors


def window(text, place, rule, tables, seed):
    """The rows of the inputs, and (row, label, weight) of each output."""
    word = text[place]
    most = rule.negatives * (1 if rule.from_around else 2 * rule.window)
    seed = mixed(seed) + place * (most + 1)
    reach = 1 + ((mixed(seed & MASK) >> 32) * rule.window >> 32)
    around = []
    for side in (-1, 1):
        for step in range(1, reach + 1):
            j = place + side * step
            if not 0 <= j < len(text) or text[j] < 0:
                break
            around.append(text[j])
    if word < 0 or not around:
        return [], []

    def rows(word):
        return list(tables.rows[tables.first[word] : tables.first[word + 1]])

    def targets(word):
        if not rule.by_tree:
            return [(word, 1, 1)]
        way = range(tables.root[word], tables.root[word + 1])
        return [(tables.nodes[i], tables.codes[i], 1) for i in way]

    read, predicted = ([*around], [word]) if rule.from_around else ([word], [*around])
    inputs = [row for w in read for row in rows(w)]
    outputs = [target for w in predicted for target in targets(w)]
    right = {row for row, label, _ in outputs if label == 1}
    for k in range(rule.negatives * len(predicted)):
        r = mixed(seed + k + 1 & MASK)
        i = (r >> 32) * len(tables.alias) >> 32
        row = i if r & 0xFFFFFFFF < tables.threshold[i] else tables.alias[i]
        if row not in right:
            outputs.append((row, 0, 1))
    return inputs, outputs


def learn_window(e, o, rows, targets, rule, rate):
    """Change the rows of a window; its cost and the number of its scores."""
    if not rows:
        return 0.0, 0.0
    mean_of_inputs = np.array([e[row] for row in rows])
    if rule.averages:
        mean_of_inputs = mean_of_inputs.mean(0, keepdims=True)
    labels, weights = (np.array([t[i] for t in targets], float) for i in (1, 2))
    s = mean_of_inputs @ np.array([o[row] for row, _, _ in targets]).T
    g = rate * weights * (labels - 1 / (1 + np.exp(-s)))
    if rule.averages:
        change = np.zeros(len(mean_of_inputs[0]))
        for j, (row, _, _) in enumerate(targets):
            change += g[0, j] * o[row]
            o[row] = o[row] + g[0, j] * mean_of_inputs[0]
        for row in rows:
            e[row] = e[row] + change
    for at in range(0, 0 if rule.averages else len(targets), 3):  # as they lie in registers
        group = [row for row, _, _ in targets[at : at + 3]]
        part, before = g[:, at : at + 3], np.array([o[row] for row in group])
        changes = np.zeros_like(before)
        for a, row in enumerate(rows):
            changes += np.outer(part[a], e[row])
            e[row] = e[row] + part[a] @ before
        for row, change in zip(group, changes, strict=True):
            o[row] = o[row] + change
    return (weights * np.log1p(np.exp(-np.where(labels == 1, s, -s)))).sum(), weights.sum() * len(s)


def learned(inputs, outputs, words, survival, rule, tables, rates, seed, shape):
    """Both matrices after one piece of a text, and the cost; blocks have the shape (parts, windows
    of each). A part sees what it changes itself, and what others have made of the block before."""
    e, o = inputs.astype(float), outputs.astype(float)
    text, cost, scores = thinned(words, survival, 2 * seed), 0.0, 0.0
    parts, block = shape[0], shape[0] * shape[1]
    for start in range(0, len(text), block):
        count = min(block, len(text) - start)
        rate = rates[0] + (rates[1] - rates[0]) * start / len(text)
        changes = []
        for part in range(parts):
            own = dict(enumerate(e)), dict(enumerate(o))
            first, last = (start + count * (part + i) // parts for i in (0, 1))
            for place in range(first, last):
                examples = window(text, place, rule, tables, 2 * seed + 1)
                costs = learn_window(*own, *examples, rule, rate)
                if (place - first) % 8 == 0:
                    cost, scores = cost + costs[0], scores + costs[1]
            changes.append((np.array([*own[0].values()]) - e, np.array([*own[1].values()]) - o))
        e, o = e + sum(c for c, _ in changes), o + sum(c for _, c in changes)
    return e, o, cost, scores
