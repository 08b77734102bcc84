"""From a text to its tokens, and back."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, Self

from saiki.errors import InputError
from saiki.saving.description import Described
from saiki.text.vocabulary import SPECIAL, Vocabulary

TOKENISERS = ("words", "characters", "bpe", "japanese")
_EVERY_BYTE = "".join(map(chr, (*range(2048), *range(0x1000, 0x110000, 0x1000), 0x800)))
"""A text whose characters take every byte that UTF-8 has."""
_LATIN = re.compile("[0-9A-Za-zÀ-ɏ]")
_WORD = r"[^\W_]+(?:'[^\W_]+)*"
_TOKEN = re.compile(rf"{_WORD}|[^\w\s\x7f-\x9f\u200b-\u200f\ufeff]")
_WORDS = re.compile(_WORD)
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
_CLOSING, _OPENING = set(".,;:!?)]}…»"), set("([{«")
AT_ONCE = 1000
"""Characters of a text that an analyser is given together. Sudachi refuses more than 65,535 bytes,
and makes as many as 33 of one character, as it brings all into the form NFKC."""


class Word(NamedTuple):
    """A token, and what it is looked up by."""

    text: str
    forms: tuple[str, ...]
    """Forms by which a table may know it, the best first."""


class Tokeniser(Described, ABC, name="tokeniser.v1"):
    """Splits a text into tokens, and joins tokens to a text."""

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The tokens of a text."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""

    def words(self, text: str) -> list[Word]:
        """The tokens, to be looked up as they are or in small letters."""
        return [Word(token, (token, token.lower())) for token in self.split(text)]

    def vocabulary(self, lines: Iterable[str], size: int = 0, minimum: int = 1) -> Vocabulary:
        """The tokens that these lines hold; see :meth:`Vocabulary.count`."""
        return Vocabulary.count(map(self.split, lines), size, minimum)


class Words(Tokeniser, name="words.v1"):
    """What stands between white space. ``join`` puts one space there.

    Args:
        lower: whether capital letters become small.
    """

    def __init__(self, lower: bool = False) -> None:
        self.lower = lower

    def split(self, text: str) -> list[str]:
        return (text.lower() if self.lower else text).split()

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)


class Characters(Tokeniser, name="characters.v1"):
    """Every Unicode code point. ``join`` gives back the text itself.

    Code points, not what a reader sees as one character: there are few of them in a language, so
    that hardly any is unknown.
    """

    def split(self, text: str) -> list[str]:
        return list(text)

    def join(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


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
        joined, glued, in_quotes = "", True, False
        for token in tokens:
            closes = token in _CLOSING or (token == '"' and in_quotes)
            joined += token if glued or closes else f" {token}"
            if token == '"':
                in_quotes = not in_quotes
            glued = token in _OPENING or (token == '"' and in_quotes)
        return joined


class BytePair(Tokeniser, name="byte_pair.v1"):
    """Pieces of words, made of single bytes by joining the most frequent pair of neighbours, again
    and again (Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, 2016,
    section 3.2; on bytes: Radford et al., Language Models are Unsupervised Multitask Learners,
    2019, section 2.2). No text is unknown, and ``join`` gives back the text itself.

    A token is written with one letter for each byte: ``Ġ`` stands for a space, and é is ``Ã©``.
    ``join([token])`` is what a person can read.

    Args:
        model: the JSON of the library tokenizers; :meth:`learn` makes it.

    Raises:
        InputError: ``model`` describes something else, or the library is missing.
    """

    SMALLEST = len(SPECIAL) + 256
    """The size of a vocabulary that holds the special entries and every byte."""

    def __init__(self, model: str) -> None:
        library = _tokenizers()
        try:
            # the library panics over this mark, and writes where to the terminal
            if json.loads(model)["model"].get("continuing_subword_prefix"):
                raise ValueError("it marks what continues a word, which pieces of bytes do not")
            self._tokenizer = library.Tokenizer.from_str(model)
            splits_bytes = isinstance(self._tokenizer.decoder, library.decoders.ByteLevel)
            is_lossless = splits_bytes and self.join(self.split(_EVERY_BYTE)) == _EVERY_BYTE
        except BaseException as error:  # the library raises no narrower kind, and panics below that
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            reason = " ".join(str(error).split())
            raise InputError(f"{str(model)[:80]!r} is no model of byte pairs: {reason}") from None
        if not splits_bytes:
            raise InputError("the model does not split bytes; make one with BytePair.learn")
        if not is_lossless:
            raise InputError(
                "the model of byte pairs is damaged: it does not give back the text it splits"
            )

    @classmethod
    def learn(cls, lines: Iterable[str], size: int) -> Self:
        """From lines, for a vocabulary of ``size`` entries at most, the special ones included.

        Raises:
            InputError: ``size`` has no room for every byte, or the library is missing.
        """
        library = _tokenizers()
        if size < cls.SMALLEST:
            raise InputError(
                f"the vocabulary of bpe must have at least {cls.SMALLEST} entries, the special "
                f"ones and the bytes, got {size}"
            )
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size - len(SPECIAL),
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(lines, trainer)
        return cls(tokenizer.to_str())

    def split(self, text: str) -> list[str]:
        tokens: list[str] = self._tokenizer.encode(text).tokens
        return tokens

    def join(self, tokens: Sequence[str]) -> str:
        text: str = self._tokenizer.decoder.decode(list(tokens))
        return text

    def vocabulary(self, lines: Iterable[str] = (), size: int = 0, minimum: int = 1) -> Vocabulary:
        """All pieces, whatever the lines hold, so that no text is unknown."""
        numbers = self._tokenizer.get_vocab()
        return Vocabulary(sorted(numbers, key=numbers.__getitem__))


class Japanese(Tokeniser, name="japanese.v1"):
    """Morphemes without white space: the short units, A, of Sudachi and its dictionary (Takaoka et
    al., Sudachi: a Japanese Tokenizer for Business, 2018).

    ``join`` puts a space between Latin words and numbers, and nothing between others: that is all
    white space that a Japanese text needs.

    Raises:
        InputError: the libraries are missing.
    """

    def __init__(self) -> None:
        _sudachi()

    def split(self, text: str) -> list[str]:
        morphemes = (
            m.surface().strip() for part in pieces(text) for m in _sudachi().tokenize(part)
        )
        return [surface for surface in morphemes if surface]

    def join(self, tokens: Sequence[str]) -> str:
        return joined_without_spaces(tokens)


def words_of(text: str) -> list[str]:
    """The words of :class:`PlainWords`, without punctuation.

    >>> words_of('“I _don’t_ know,” said Ann.')
    ['i', "don't", 'know', 'said', 'ann']
    """
    return _WORDS.findall(text.translate(_STRAIGHT).lower())


def pieces(text: str) -> list[str]:
    """A text in pieces of at most ``AT_ONCE`` characters, cut after a sentence or a space."""
    return re.findall(rf"(?s).{{1,{AT_ONCE}}}(?:(?<=[。！？\s])|\Z)|.{{1,{AT_ONCE}}}", text)


def joined_without_spaces(tokens: Iterable[str]) -> str:
    """Tokens with a space between Latin words and numbers, and nothing between others."""
    joined = ""
    for token in tokens:
        apart = _LATIN.fullmatch(joined[-1:]) and _LATIN.match(token)
        joined += f" {token}" if apart else token
    return joined


def tokeniser(name: str, lines: Iterable[str] = (), size: int = 0) -> Tokeniser:
    """The tokeniser of a name in ``TOKENISERS``.

    Args:
        lines: what ``bpe`` learns from.
        size: of the vocabulary of ``bpe``, special entries included.

    Raises:
        InputError: there is none of that name, ``size`` is too small, or a library is missing.
    """
    match name:
        case "words":
            return Words()
        case "characters":
            return Characters()
        case "bpe":
            return BytePair.learn(lines, size)
        case "japanese":
            return Japanese()
    raise InputError(f"a tokeniser must be one of {', '.join(TOKENISERS)}, got {name!r}")


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError(
            "the tokeniser bpe needs the library tokenizers: pip install 'saiki[text]'"
        ) from None
    return tokenizers


@cache
def _sudachi() -> Any:
    """The one analyser of this process: its dictionary takes time and memory."""
    try:
        from sudachipy import Dictionary, SplitMode

        dictionary = Dictionary()
        make = getattr(dictionary, "tokenizer", None) or dictionary.create  # before 0.7
        return make(SplitMode.A)
    except ImportError:  # also where only the dictionary is missing
        raise InputError(
            "the tokeniser japanese needs the libraries sudachipy and sudachidict_core: "
            "pip install 'saiki[japanese]'"
        ) from None
