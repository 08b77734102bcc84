"""Words of a sentence as features: the vectors they come with, and others that are learned."""

import unicodedata
from collections.abc import Container, Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.errors import InputError, shown
from saiki.saving.pretrained import DescribedModule
from saiki.text import FIRST, SPECIAL, UNKNOWN, Text, Vocabulary
from saiki.text.tokenisers import Word
from saiki.text.vocabulary import valid


class VectorTable(Container[str], Protocol):
    """What has a vector for some words."""

    @property
    def size(self) -> int:
        """Numbers of a vector."""

    def __getitem__(self, word: str, /) -> NDArray[np.float32]: ...


class WordFeatures(DescribedModule, name="word_features.v1"):
    """The features of a word: its vector, and beside it an embedding that is learned.

    xᵗ = (v(wordᵗ), e(wordᵗ)); v is 0 for a word without a vector, and words that were seen too
    seldom share one e.

    Args:
        text: how a sentence is cut, and the words that are known: first those with an embedding of
            their own, then those that have no more than a vector.
        learned: entries of the vocabulary with an embedding of their own, special ones included.
        size: numbers of a vector; 0 is without.
        embedding_size: numbers of an embedding; 0 is without.
        tuned: whether the vectors are learned further.

    Raises:
        InputError: words have neither.
    """

    vectors: Tensor

    def __init__(
        self, text: Text, learned: int, size: int, embedding_size: int, tuned: bool = False
    ) -> None:
        super().__init__()
        if not size + embedding_size:
            raise InputError("words need a vector or an embedding; take embedding_size above 0")
        self.text = text
        self.learned = learned
        self.output_size = size + embedding_size
        vectors = torch.zeros(len(text.vocabulary), size)
        if size and tuned:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.embedding = nn.Embedding(learned, embedding_size) if embedding_size else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)

    @torch.no_grad()
    def load_vectors(self, table: VectorTable) -> None:
        """Take the vectors of all words that ``table`` has."""
        for i, word in enumerate(self.text.vocabulary.words):
            if i >= FIRST and word in table:
                self.vectors[i] = torch.tensor(table[word])

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, time, output_size)`` of the numbers of words ``(batch, time)``, and the lengths
        as they are."""
        return self._with_embedding(F.embedding(tokens, self.vectors), tokens), lengths

    def _with_embedding(self, vectors: Tensor, tokens: Tensor) -> Tensor:
        if self.embedding is None:
            return vectors
        own = self.embedding(torch.where(tokens < self.learned, tokens, UNKNOWN))
        return torch.cat((vectors, own), -1) if vectors.shape[-1] else own

    def equation(self) -> str:
        """What becomes of a word."""
        parts = ["v(wordᵗ)"] * bool(self.vectors.shape[1]) + ["e(wordᵗ)"] * bool(self.embedding)
        return f"zᵗ = {parts[0] if len(parts) == 1 else f'({parts[0]}, {parts[1]})'}"

    def nothing(self) -> Tensor:
        """The features of a word of which nothing is known, ``(1, output_size)``."""
        token = torch.tensor([UNKNOWN], device=self.vectors.device)
        return self._with_embedding(F.embedding(token, self.vectors), token)

    @torch.no_grad()
    def read(
        self, sentence: str, others: VectorTable | None = None
    ) -> tuple[list[Word], list[Word], Tensor]:
        """The words of a sentence that somebody types, those of them that are unknown, and the
        features of all, ``(words, output_size)``.

        Args:
            others: where words that are not in the vocabulary may have a vector.

        Raises:
            InputError: there is no word in it.
        """
        words = self.text.tokeniser.words(unicodedata.normalize("NFC", valid(sentence)))
        if not words:
            raise InputError(f"there is no word in {shown(sentence)}; give a sentence")
        tokens = torch.tensor(numbers(words, self.text.vocabulary), device=self.vectors.device)
        vectors, unknown = F.embedding(tokens, self.vectors), list[Word]()
        for i in (tokens == UNKNOWN).nonzero().squeeze(1).tolist():
            form = None if others is None else found_in(words[i], others)
            if others is None or form is None:
                unknown.append(words[i])
            else:
                vectors[i] = torch.tensor(others[form]).to(vectors)
        return words, unknown, self._with_embedding(vectors, tokens)


def found_in(word: Word, table: Container[str]) -> str | None:
    """The first form of a word that a table has."""
    return next((form for form in word.forms if form in table), None)


def numbers(words: Iterable[Word], vocabulary: Vocabulary) -> list[int]:
    """The number of each word by the first of its forms that is known."""
    return vocabulary.ids(found_in(word, vocabulary) or "" for word in words)


def vocabulary_of(
    train: Sequence[Sequence[Word]],
    others: Iterable[Sequence[Word]],
    table: Container[str],
    minimum: int,
) -> tuple[Vocabulary, int]:
    """The words that are known, each by its first form in ``table``, or else by its best form; and
    how many entries may have an embedding of their own, special ones included.

    These come first: the words that occur ``minimum`` times in ``train``. After them come all
    others with a vector, those of ``others`` too.
    """

    def keys(sentences: Iterable[Sequence[Word]]) -> list[list[str]]:
        return [[found_in(w, table) or w.forms[0] for w in words] for words in sentences]

    known = Vocabulary.count(keys(train), 0, minimum)
    rest = (key for sentence in keys((*train, *others)) for key in sentence if key in table)
    more = dict.fromkeys(key for key in rest if key not in known and key not in SPECIAL)
    return Vocabulary([*known.words[FIRST:], *more]), len(known)
