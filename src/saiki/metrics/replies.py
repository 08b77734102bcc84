"""Measures of what a model of dialogue says: how diverse it is, and how near to what was said."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Tokens = Sequence[str]


def distinct(replies: Sequence[Tokens], n: int) -> float:
    """Different n-grams by all n-grams (Li et al. 2016, §5); 0 where there are none.

    >>> distinct([["i", "do", "not", "know"], ["i", "do"]], 2)
    0.75
    """
    grams = [tuple(reply[i : i + n]) for reply in replies for i in range(len(reply) - n + 1)]
    return len({*grams}) / len(grams) if grams else 0.0


def mean_length(replies: Sequence[Tokens]) -> float:
    """Tokens of a reply."""
    return sum(map(len, replies)) / len(replies)


def most_frequent(replies: Sequence[Tokens]) -> tuple[str, float]:
    """The reply that is given most often, and its share of all."""
    [(reply, count)] = Counter(map(tuple, replies)).most_common(1)
    return " ".join(reply), count / len(replies)


def similarities(
    replies: Sequence[Tokens],
    references: Sequence[Tokens],
    vectors: Mapping[str, NDArray[np.float32]],
) -> dict[str, float]:
    """How near the words of replies are to those of what was said in truth, the mean over all
    replies of which both sides have a vector (Liu et al. 2016, §3.2); NaN where there is none.

    - ``average``: the cosine of the means of their vectors.
    - ``greedy``: of each word the largest cosine to one of the other side, the mean over words and
      then of both directions.
    - ``extrema``: the cosine of the vectors that have of each feature the value farthest from 0.

    Args:
        vectors: of words.
    """
    per_reply = list[tuple[float, float, float]]()
    for reply, truth in zip(replies, references, strict=True):
        a, b = (
            np.array([vectors[word] for word in words if word in vectors])
            for words in (reply, truth)
        )
        if len(a) and len(b):
            per_reply.append(
                (_cosine(a.mean(0), b.mean(0)), _greedy(a, b), _cosine(*map(_extrema, (a, b))))
            )
    means = np.mean(per_reply, 0).tolist() if per_reply else [float("nan")] * 3
    return dict(zip(("average", "greedy", "extrema"), means, strict=True))


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0


def _greedy(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b)]
    cosines = unit[0] @ unit[1].T
    return float(cosines.max(0).mean() + cosines.max(1).mean()) / 2


def _extrema(x: NDArray[np.float32]) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = np.take_along_axis(x, np.abs(x).argmax(0)[None], 0)[0]
    return rows
