"""Words and their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

from saiki.errors import InputError
from saiki.saving.description import Described

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "[MASK]")
"""The first entries of every vocabulary: padding, an unknown word, begin, end, a hidden word."""
PAD, UNKNOWN, BEGIN, END, MASK = range(len(SPECIAL))
FIRST = len(SPECIAL)
"""The number of the first word; those below are special."""


def valid(text: str) -> str:
    """``text`` itself.

    Raises:
        InputError: it holds half a character, as text does that was decoded from broken bytes.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{text[:80]!r} is not valid Unicode: {text[error.start]!r} at place {error.start} "
            "stands for no character"
        ) from None
    return text


class Vocabulary(Described, name="vocabulary.v1"):
    """Words and their numbers, the special ones first.

    >>> known = Vocabulary.count(["the cat saw the dog".split()])
    >>> known.ids(["the", "dog", "flew"])
    [5, 8, 1]
    >>> known.tokens([5, 8, 1])
    ['the', 'dog', '<unk>']

    Args:
        words: those after the special ones.

    Raises:
        InputError: a word is not text, occurs twice, or has the name of a special one.
    """

    def __init__(self, words: Sequence[str]) -> None:
        for word in words:
            if not isinstance(word, str):
                raise InputError(f"the words of a vocabulary must be text, got {word!r}")
            valid(word)
        self.words = (*SPECIAL, *words)
        for word, times in Counter(self.words).items():
            if times > 1:
                why = "is the name of a special one" if word in SPECIAL else "is in it already"
                raise InputError(f"{word!r} cannot be put in the vocabulary: it {why}")
        # nothing in a text is padding, begin or end, whatever it looks like
        self._ids = {word: i for i, word in enumerate(self.words) if i not in (PAD, BEGIN, END)}

    @classmethod
    def count(cls, sentences: Iterable[Sequence[str]], size: int = 0, minimum: int = 1) -> Self:
        """The most frequent words, of equally frequent ones those that appear first.

        Args:
            sentences: the tokens of each.
            size: entries at most, the special ones included; 0 is no bound.
            minimum: times that a word must occur.

        Raises:
            InputError: ``size`` has no room for any word.
        """
        if size and size <= len(SPECIAL):
            raise InputError(
                f"a vocabulary must have room for more than its {len(SPECIAL)} special entries; "
                f"its size must be 0, for no bound, or at least {len(SPECIAL) + 1}, got {size}"
            )
        counts = Counter[str]()
        for sentence in sentences:
            counts.update(sentence)
        for name in SPECIAL:
            counts.pop(name, None)
        frequent = [word for word, times in counts.most_common() if times >= minimum]
        return cls(frequent[: size - len(SPECIAL)] if size else frequent)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, token: object) -> bool:
        """Whether a text can say it: it is a word, or hides one."""
        return token in self._ids and token != SPECIAL[UNKNOWN]

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The number of each token, UNKNOWN where it has none.

        ``<unk>`` and ``[MASK]`` mean what they say. The names of padding, begin and end are words
        like others, and unknown.
        """
        return [self._ids.get(token, UNKNOWN) for token in tokens]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The word of each number, or the name of a special one.

        Raises:
            InputError: there is no such number.
        """
        return [self._word(i) for i in ids]

    def _word(self, number: int) -> str:
        if not 0 <= number < len(self.words):
            raise InputError(
                f"the numbers of this vocabulary are 0 to {len(self) - 1}, got {number}"
            )
        return self.words[number]
