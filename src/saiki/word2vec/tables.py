"""What the update knows of a vocabulary: how often words stay, are drawn, and their tree."""

import heapq

import numpy as np
from numpy.typing import NDArray

from saiki.word2vec.windows import Rule, Tables

DRAWN_POWER = 0.75
"""Words are drawn in proportion to this power of their counts (Mikolov et al. 2013, §2.2)."""


def survival(counts: NDArray[np.int64], sample: float) -> NDArray[np.uint64]:
    """The probability that a word of share f stays, √(t / f) + t / f and at most 1, times 2³²; t is
    ``sample``, and 0 keeps all. It is that of the authors' program; their paper has √(t / f)."""
    if sample == 0:
        return np.full(len(counts), 2**32, np.uint64)
    share = sample * counts.sum() / counts
    stays: NDArray[np.float64] = np.minimum(np.sqrt(share) + share, 1)
    return (stays * 2**32).astype(np.uint64)


def drawing(counts: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The table of Walker (1977), made as Vose (1991) says: a place is drawn evenly, and stands for
    itself where a number below 2³² is less than its threshold, otherwise for its alias."""
    weights = counts.astype(np.float64) ** DRAWN_POWER
    q = weights / weights.sum() * len(counts)
    share, alias = np.ones(len(q)), np.arange(len(q), dtype=np.int32)
    small, large = list(np.flatnonzero(q < 1)), list(np.flatnonzero(q >= 1))
    while small and large:
        less, more = small.pop(), large.pop()
        share[less], alias[less] = q[less], more
        q[more] -= 1 - q[less]
        (small if q[more] < 1 else large).append(more)
    return (share * 2**32).astype(np.uint64), alias


def chances(threshold: NDArray[np.uint64], alias: NDArray[np.int32]) -> NDArray[np.float64]:
    """The probability of each word that such a table draws it."""
    share = threshold / 2.0**32
    whole = share + np.bincount(alias, 1 - share, len(alias))
    return np.asarray(whole / len(alias), np.float64)


def tree(
    counts: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """The tree of Huffman (1952): where the way of each word begins, its inner nodes from the root
    on, and at each of them 1 for the left turn, 0 for the right."""
    words = len(counts)
    heap = [(int(count), word) for word, count in enumerate(counts)]
    heapq.heapify(heap)
    parent, turn = np.zeros(2 * words - 1, np.int64), np.zeros(2 * words - 1, np.float32)
    for node in range(words, 2 * words - 1):
        (a, left), (b, right) = heapq.heappop(heap), heapq.heappop(heap)
        parent[left] = parent[right] = node
        turn[left] = 1
        heapq.heappush(heap, (a + b, node))
    first, nodes, codes = [0], list[int](), list[float]()
    for word in range(words):
        way, node = list[tuple[int, float]](), word
        while node != 2 * words - 2:
            way.append((int(parent[node]) - words, float(turn[node])))
            node = int(parent[node])
        nodes += [n for n, _ in reversed(way)]
        codes += [c for _, c in reversed(way)]
        first.append(len(nodes))
    return np.array(first), np.array(nodes, np.int32), np.array(codes, np.float32)


def tables(
    rule: Rule,
    counts: NDArray[np.int64],
    ngrams: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Tables:
    """All of them.

    Args:
        counts: how often each word occurs.
        ngrams: input rows of each word beside its own, one word after the other, and how many each
            word has.
    """
    words = np.arange(len(counts), dtype=np.int32)
    if ngrams is None:
        first, rows = np.arange(len(counts) + 1), words
    else:
        more, each = ngrams
        first = np.append(0, np.cumsum(each + 1))
        is_own = np.zeros(first[-1], bool)
        is_own[first[:-1]] = True
        rows = np.empty(first[-1], np.int32)
        rows[is_own], rows[~is_own] = words, more
    none = np.zeros(len(counts) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
    ways = tree(counts) if rule.by_tree else none
    return Tables(first, rows, *drawing(counts), *ways)
