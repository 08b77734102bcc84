"""Words and punctuation of plain text, as a book prints it."""

import re
from collections.abc import Sequence

from saiki.text.tokenisers import Tokeniser

_WORD = r"[^\W_]+(?:'[^\W_]+)*"
_TOKEN = re.compile(rf"{_WORD}|[^\w\s\x7f-\x9f\u200b-\u200f\ufeff]")
_WORDS = re.compile(_WORD)
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
_CLOSING, _OPENING = set(".,;:!?)]}…»"), set("([{«")


class PlainWords(Tokeniser, name="plain_words.v1"):
    """Lower-cased words, and each sign of punctuation as a token of its own.

    Letters and digits make a word, with apostrophes inside it, as in ``don't``. Curly quotation
    marks and apostrophes become straight ones, and underscores, with which plain text emphasises,
    are left out, as are signs that nobody sees. ``join`` puts spaces as a printer would: it does
    not know about capitals any more, nor whether ``-`` was a hyphen or a dash.

    >>> words = PlainWords()
    >>> words.split('“I _don’t_ know,” said Ann.')
    ['"', 'i', "don't", 'know', ',', '"', 'said', 'ann', '.']
    >>> words.join(words.split('“I _don’t_ know,” said Ann.'))
    '"i don\\'t know," said ann.'
    """

    def split(self, text: str) -> list[str]:
        return _TOKEN.findall(text.translate(_STRAIGHT).lower())

    def join(self, tokens: Sequence[str]) -> str:
        joined, glued, inside = "", True, False
        for token in tokens:
            closes = token in _CLOSING or (token == '"' and inside)
            joined += token if glued or closes else f" {token}"
            if token == '"':
                inside = not inside
            glued = token in _OPENING or (token == '"' and inside)
        return joined


def words_of(text: str) -> list[str]:
    """The words of :class:`PlainWords`, without punctuation.

    >>> words_of('“I _don’t_ know,” said Ann.')
    ['i', "don't", 'know', 'said', 'ann']
    """
    return _WORDS.findall(text.translate(_STRAIGHT).lower())
