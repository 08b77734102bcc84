"""Texts as somebody types them, in the form of those that a model has learned from."""

import re
import unicodedata
from collections.abc import Container, Iterator, Sequence

from saiki.text.cutting import WITHOUT_SPACES, cut

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
        lambda found: next(
            (form for form in _forms(found[0]) if all(c in alphabet for c in form)), found[0]
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
    found = list[str]()
    for token in tokens:
        joined = anywhere and token in eastern
        forms = [
            cut(form if joined else _UNITS.findall(form), known) for form in (token, token.lower())
        ]
        found += min(forms, key=lambda words: sum(len(w) for w in words if w not in known))
    return found
