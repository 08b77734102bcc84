"""Texts as somebody types them, in the form of those that a model has learned from, and without
spaces cut into known words."""

import re
import unicodedata
from collections.abc import Container, Iterator, Sequence

WITHOUT_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")
"""Characters of scripts that put no spaces between words: Japanese, Chinese, Thai."""
LONGEST = 20
"""Units of a word at most."""
_UNITS = re.compile(r"[^\W_]+|\S")
_ALIKE = re.compile(r"[A-Za-z]+|\S")
_OTHERWISE = {"‘": "'", "’": "'", "“": '"', "”": '"', '"': "''", "–": "-", "—": "-", "…": "..."}


def in_known_characters(text: str, alphabet: Container[str]) -> str:
    """The text in characters of ``alphabet``: what is not written in them becomes small, or of half
    or full width, or a quote or dash of another kind, if that is; else it stays. A word of Latin
    letters does as a whole.

    >>> in_known_characters("３ Cats", "3cats"), in_known_characters("3時", "３時")
    ('3 cats', '３時')
    """
    return _ALIKE.sub(
        lambda match: next(
            (form for form in _forms(match[0]) if all(c in alphabet for c in form)), match[0]
        ),
        text,
    )


def _forms(written: str) -> Iterator[str]:
    yield written
    yield (plain := unicodedata.normalize("NFKC", written))
    yield (small := plain.lower())
    yield from ("".join(map(_wide, form)) for form in (plain, small))
    while written in _OTHERWISE:
        yield (written := _OTHERWISE[written])


def _wide(c: str) -> str:
    return chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c


def in_known_words(tokens: Sequence[str], known: Container[str]) -> list[str]:
    """Words that stand between spaces, where those learned from had spaces around signs too: an
    unknown one is cut before and after signs, written small, or both, so that as little as can be
    of it is unknown. Words of Japanese, Chinese and Thai are cut anywhere if most are unknown.

    >>> in_known_words(["I", "can't."], {"i", "can", "'t", "."})
    ['i', 'can', "'t", '.']
    """
    eastern = [token for token in tokens if WITHOUT_SPACES.search(token)]
    anywhere = 2 * sum(token in known for token in eastern) < len(eastern)
    words = list[str]()
    for token in tokens:
        joined = anywhere and token in eastern
        forms = [
            cut(form if joined else _UNITS.findall(form), known) for form in (token, token.lower())
        ]
        words += min(forms, key=lambda form: sum(len(w) for w in form if w not in known))
    return words


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
            with_word = cost[j][0], cost[j][1] + 1
            if "".join(text[i:j]) in known and with_word <= cost[i]:
                cost[i], end[i], is_known[i] = with_word, j, True
    words, i, after_unknown = list[str](), 0, False
    while i < len(text):
        if after_unknown and not is_known[i]:
            words[-1] += text[i]
        else:
            words.append("".join(text[i : end[i]]))
        after_unknown = not is_known[i]
        i = end[i]
    return words
