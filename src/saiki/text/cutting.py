"""Cutting a text that has no spaces into known words."""

import re
from collections.abc import Container, Sequence

WITHOUT_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")
"""Characters of scripts that put no spaces between words: Japanese, Chinese, Thai."""
LONGEST = 20
"""Units of a word at most."""


def cut(text: Sequence[str], known: Container[str]) -> list[str]:
    """The text in known words: with the fewest units that are in none, then the fewest words, the
    earlier ones as long as they can be. Unknown units side by side are one word.

    Dynamic programming over the ends: cost(i) = min over known words that begin at i of
    (0, 1) + cost(end), and of (1, 0) + cost(i + 1) for an unknown unit.

    >>> cut("thecatsat", {"the", "cat", "sat", "he", "t", "a"})
    ['the', 'cat', 'sat']

    Args:
        text: its units, which stay whole; of a string its characters.
    """
    cost = [(0, 0)] * (len(text) + 1)
    end = list(range(1, len(text) + 1))
    is_known = [False] * len(text)
    for i in reversed(range(len(text))):
        cost[i] = cost[i + 1][0] + 1, cost[i + 1][1]
        for j in range(i + 1, min(i + LONGEST, len(text)) + 1):
            whole = cost[j][0], cost[j][1] + 1
            if "".join(text[i:j]) in known and whole <= cost[i]:
                cost[i], end[i], is_known[i] = whole, j, True
    words, i, after_unknown = list[str](), 0, False
    while i < len(text):
        if after_unknown and not is_known[i]:
            words[-1] += text[i]
        else:
            words.append("".join(text[i : end[i]]))
        after_unknown = not is_known[i]
        i = end[i]
    return words
