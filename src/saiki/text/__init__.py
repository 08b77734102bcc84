"""Text: tokenisers, vocabularies, and texts as rows of numbers."""

from saiki.text.text import Text
from saiki.text.tokenisers import (
    TOKENISERS,
    BytePair,
    Characters,
    Japanese,
    Tokeniser,
    Words,
    tokeniser,
)
from saiki.text.vocabulary import BEGIN, END, FIRST, MASK, PAD, SPECIAL, UNKNOWN, Vocabulary

__all__ = [
    "BEGIN",
    "END",
    "FIRST",
    "MASK",
    "PAD",
    "SPECIAL",
    "TOKENISERS",
    "UNKNOWN",
    "BytePair",
    "Characters",
    "Japanese",
    "Text",
    "Tokeniser",
    "Vocabulary",
    "Words",
    "tokeniser",
]
