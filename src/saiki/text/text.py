"""Texts as rows of numbers."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Self

from saiki.errors import InputError
from saiki.files import to_json
from saiki.saving.description import Described, describe
from saiki.text.tokenisers import BytePair, Tokeniser, Words, tokeniser
from saiki.text.typed import in_known_characters, in_known_words
from saiki.text.vocabulary import BEGIN, END, FIRST, MASK, PAD, SPECIAL, Vocabulary, valid


class Text(Described, name="text.v1"):
    """A tokeniser and the numbers of its tokens.

    >>> text = Text.learn("words", ["the cat saw the dog"])
    >>> text.split("the dog flew")
    ['the', 'dog', 'flew']
    >>> text.encode("the dog flew")
    [5, 8, 1]
    >>> text.decode([5, 8, 1, END, 5])
    'the dog <unk>'
    """

    def __init__(self, tokeniser: Tokeniser, vocabulary: Vocabulary) -> None:
        self.tokeniser = tokeniser
        self.vocabulary = vocabulary

    @classmethod
    def learn(cls, name: str, lines: Iterable[str], size: int = 0, minimum: int = 1) -> Self:
        """The tokeniser of that name, and the vocabulary of these lines.

        Args:
            size: entries at most, the special ones included; 0 is no bound.
            minimum: times that a token must occur; of no account to ``bpe``.

        Raises:
            InputError: a line is not valid Unicode, or there is nothing to learn; or see
                :func:`tokeniser` and :meth:`Vocabulary.count`.
        """
        lines = [unicodedata.normalize("NFC", valid(line)) for line in lines]
        splitter = tokeniser(name, lines, size)
        vocabulary = splitter.vocabulary(lines, size, minimum)
        if len(vocabulary) == len(SPECIAL):
            raise InputError(
                f"there is no vocabulary to learn: no token of {name} occurs {minimum} times in "
                f"{len(lines):,} lines"
            )
        return cls(splitter, vocabulary)

    def split(self, text: str) -> list[str]:
        """The tokens, each the word of the number at the same place of :meth:`encode`.

        The text is brought into Unicode's form NFC first, in which files are read too, so that
        what looks the same is the same. ``[MASK]`` is one token whatever the tokeniser.

        Raises:
            InputError: it is not valid Unicode.
        """
        return _around_masks(text, self.tokeniser.split)

    def read(self, text: str) -> list[str]:
        """The tokens of a text that somebody types, brought into the form of those learned from:
        what is unknown is written small, in other quotes or of another width, and cut before and
        after signs, where that is known; see :mod:`saiki.text.typed`. Byte pairs know everything.

        >>> Text.learn("words", ["i can 't fly ."]).read("I can’t swim.")
        ['i', 'can', "'t", 'swim', '.']

        Raises:
            InputError: it is not valid Unicode.
        """
        return _around_masks(text, self._read)

    def phrase(self, text: str) -> list[int]:
        """The numbers of a text that has to be written just so.

        Raises:
            InputError: a token of it is unknown, so that nothing can write it.
        """
        tokens = self.read(text)
        if unknown := [token for token in tokens if token not in self.vocabulary]:
            raise InputError(
                f"the model cannot write {' '.join(unknown)!r}: it is not in its vocabulary"
            )
        return self.vocabulary.ids(tokens)

    def _read(self, text: str) -> list[str]:
        if isinstance(self.tokeniser, BytePair):
            return self.tokeniser.split(text)
        tokens = self.tokeniser.split(in_known_characters(text, self._alphabet))
        is_spaced = isinstance(self.tokeniser, Words)
        return in_known_words(tokens, self.vocabulary) if is_spaced else tokens

    @cached_property
    def _alphabet(self) -> frozenset[str]:
        return frozenset("".join(self.vocabulary.words[FIRST:]))

    def encode(self, text: str) -> list[int]:
        """The number of each token, without begin and end."""
        return self.vocabulary.ids(self.split(text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to END. PAD and BEGIN, which stand for nothing, are left out; an unknown and
        a hidden word are shown by their names."""
        words = list[int]()
        for number in ids:
            if number == END:
                break
            if number not in (PAD, BEGIN):
                words.append(number)
        return self.tokeniser.join(self.vocabulary.tokens(words))

    def metadata(self, prefix: str = "") -> dict[str, str]:
        """What another program needs to write and to read its numbers, as JSON: the words, each at
        the place of its number, and the description of the tokeniser."""
        words, tokeniser = self.vocabulary.words, describe(self.tokeniser)
        return {f"{prefix}words": to_json(words), f"{prefix}tokeniser": to_json(tokeniser)}


def _around_masks(text: str, split: Callable[[str], list[str]]) -> list[str]:
    """The tokens of what stands around ``[MASK]``, and these."""
    mask = SPECIAL[MASK]
    tokens = list[str]()
    for part in re.split(f"({re.escape(mask)})", unicodedata.normalize("NFC", valid(text))):
        tokens += [mask] if part == mask else split(part)
    return tokens
