"""English sentences of the Tanaka corpus, as one would type them."""

import re

from saiki.data import store
from saiki.data.text.plain_text import lines

_BEFORE_SIGNS = re.compile(r" (?=[.,!?;:]|'[a-z])")
_I = re.compile(r"\bi\b(?!\.)")


def tanaka() -> list[str]:
    """Those of small_parallel_enja but for the quotations, whose begins and ends it does not tell.

    Raises:
        InputError: it is not on this machine, and cannot be downloaded.
    """
    read = lines(store.locate("small_parallel_enja") / "train.en")
    return [as_typed(words) for words in read if "''" not in words]


def as_typed(words: str) -> str:
    """Small words with spaces around signs, as people write them. Names stay small.

    >>> as_typed("no , i can 't .")
    "No, I can't."
    """
    text = _I.sub("I", _BEFORE_SIGNS.sub("", words))
    return text[:1].upper() + text[1:]
