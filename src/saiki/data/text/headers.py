"""Whether the first row of a table of two columns is a pair or a header."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from babel import Locale, UnknownLocaleError

Row = tuple[str, str]
_EAST = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC")

NAMES = (
    ("source", "target"), ("src", "trg"), ("src", "tgt"), ("input", "output"),
    ("original", "translation"), ("sentence", "translation"), ("text", "translation"),
    ("question", "answer"), ("word", "translation"), ("原文", "訳文"), ("入力", "出力"),
)  # fmt: skip
"""What columns are called, that of the source first."""
SPOKEN = ("en", "ja", "de", "fr", "es", "it", "pt", "ru", "zh", "ko")
"""Languages in which a header may name languages, beside those of the table."""
FEWEST = 5
"""Rows that show what a column is made of."""


def header(rows: Sequence[Row], source: str, target: str) -> tuple[bool, bool]:
    """Whether the first row is a header, and whether it says that the target comes first.

    It is one

    - if it holds the codes of both languages, a row of :data:`NAMES`, or the names of two
      languages, such as ``English,Japanese``; a language beside its own name elsewhere, as
      ``English,英語``, is a pair of words;
    - or if it has letters over a column of ``FEWEST`` numbers at least, such as ``number``, or over
      a column of texts in which such letters never occur; but Latin and Greek ones may stand among
      all others, as many a Japanese text is ``CD`` or ``α``.

    Args:
        source: the code of the language that is read.
        target: that of the one that is written.
    """
    if not rows:
        return False, False
    first = rows[0][0].casefold(), rows[0][1].casefold()
    wanted = source.casefold(), target.casefold()
    for names in (wanted, *NAMES):
        if first in (names, names[::-1]):
            return True, first != names
    spoken = [_languages(name, wanted) for name in first]
    if all(spoken) and not set(spoken[0]) & set(spoken[1]):
        return True, wanted[1] in spoken[0] and wanted[0] in spoken[1]
    return len(rows) > FEWEST and any(_differs(*c) for c in zip(*rows, strict=True)), False


def _differs(first: str, *below: str) -> bool:
    """Whether ``first`` is a word over numbers, or of another script than all below."""
    kinds, others = _kinds([first]), _kinds(below)
    apart = bool(kinds) and bool(others) and not kinds & {"DIGIT", *others}
    return apart and (others == {"DIGIT"} or not kinds & {"LATIN", "GREEK"})


def _languages(name: str, wanted: Sequence[str]) -> frozenset[str]:
    """The codes of the languages that are called so, in their own words or those of others."""
    return frozenset(
        code for spoken in {*SPOKEN, *wanted} for code, called in _names(spoken) if called == name
    )


@cache
def _names(spoken: str) -> frozenset[tuple[str, str]]:
    """The codes of languages, and what they are called in the language of a code."""
    try:
        names = Locale.parse(spoken).languages
    except (UnknownLocaleError, ValueError):
        return frozenset()
    return frozenset((code.partition("_")[0], name.casefold()) for code, name in names.items())


def _kinds(texts: Iterable[str]) -> set[str]:
    """The kinds of letters and digits that occur: DIGIT, LATIN, CYRILLIC and so on; all signs of
    Chinese and Japanese are of one."""
    return set(_kinds_of(unicodedata.normalize("NFKC", "".join(set().union(*texts)))))


def _kinds_of(characters: Iterable[str]) -> Iterator[str]:
    for c in characters:
        if c.isdecimal():
            yield "DIGIT"
        elif c.isalnum():
            kind = unicodedata.name(c, "").partition(" ")[0]
            yield "CJK" if kind.startswith(_EAST) else kind
