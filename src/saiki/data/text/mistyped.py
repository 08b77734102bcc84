"""Prose with typing mistakes, made anew for each passage that is learned from."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from saiki import processes
from saiki.data import store
from saiki.data.skipped import LeftOut
from saiki.data.text import plain_text
from saiki.data.text.corrections import END, Example
from saiki.data.text.docstrings import docstrings
from saiki.data.text.prose import Prose, of_another_kind, prose
from saiki.data.text.typos import KINDS, mistype
from saiki.text import SPECIAL, Vocabulary
from saiki.text.rows import padded, tokens_of

RARE = 1e-5
"""Share of the text below which a character is not known."""
IGNORED = -100
"""The target where there is nothing to say."""
HELD_RATE = 0.03
"""Mistakes for each character that validates or is tested, on average."""
LEARNED, VALIDATED, TESTED, OTHERS = range(4)
"""What a stream of random numbers is for."""
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Characters ``(batch, time)``, the length of each row, the numbers of the kinds, and of the
missing characters where one is dropped."""


@dataclass(frozen=True)
class Mistyped:
    """A text and the mistakes made in it."""

    prose: Prose
    length: int
    """Characters of a passage at most."""
    rate: float
    """Mistakes for each character that is learned from."""
    seed: int
    others: Sequence[str] = ()
    """Sentences of another kind of text."""

    @classmethod
    def read(
        cls,
        path: Path | None,
        other: Path | None,
        length: int,
        rate: float,
        seed: int,
        left_out: LeftOut | None = None,
    ) -> Self:
        """From files of text; without one from the English novels, beside which the docstrings of
        Python are of another kind.

        Raises:
            InputError: they cannot be read, or hold too little.
        """
        others = list[str]()
        if other is not None:
            others = plain_text.sentences(other, left_out)
        elif path is None:
            others = docstrings()
        own = prose(store.locate("english_novels", path), left_out)
        return cls(own, length, rate, seed, of_another_kind(others))

    @cached_property
    def characters(self) -> Vocabulary:
        text = self.prose.train
        return Vocabulary.count([text], minimum=max(1, round(RARE * len(text))))

    @cached_property
    def touched(self) -> frozenset[str]:
        """The characters with which mistakes are made; nobody could put digits right."""
        return frozenset(c for c in self.characters.words[len(SPECIAL) :] if not c.isdigit())

    def mistyped(self, clean: str, rate: float, random: np.random.Generator) -> Example:
        """A text with mistakes: from none to twice the rate, drawn for each text."""
        rate = random.uniform(0, 2 * rate)
        text, mistakes = mistype(clean + END, rate, self.touched, random)
        return Example(clean, text.removesuffix(END), mistakes)

    def passage(self, place: int) -> Example:
        """One of the endless row of passages to learn from."""
        random = np.random.default_rng((place, self.seed, LEARNED))
        start = random.integers(max(1, len(self.prose.train) - self.length))
        return self.mistyped(self.prose.passage(int(start), self.length), self.rate, random)

    @cached_property
    def validation(self) -> list[Example]:
        """The same mistakes for every seed, as those of the test."""
        return self._held(self.prose.validation, VALIDATED)

    @cached_property
    def test(self) -> list[Example]:
        return self._held(self.prose.test, TESTED)

    @cached_property
    def other_validation(self) -> list[Example]:
        """Of another kind of text; none if there is no such text."""
        return self._held(self.others[::2], OTHERS)

    @cached_property
    def other_test(self) -> list[Example]:
        return self._held(self.others[1::2], OTHERS)

    def _held(self, sentences: Sequence[str], kind: int) -> list[Example]:
        return [
            self.mistyped(clean, HELD_RATE, np.random.default_rng((place, 0, kind)))
            for place, clean in enumerate(sentences)
        ]

    def batches(self, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """Of passages, without end, from number ``start`` on; the part of this process."""
        size = batch_size * processes.count()
        mine = processes.part(size)
        for number in itertools.count(start):
            places = range(number * size, (number + 1) * size)[mine]
            yield self.encode([self.passage(place) for place in places])

    def encode(self, examples: Sequence[Example]) -> Batch:
        """Texts, and what there is to say of them."""
        rows, kinds, missing = list[Tensor](), list[Tensor](), list[Tensor]()
        for example in examples:
            rows.append(tokens_of(example.text, self.characters))
            kinds.append(torch.zeros_like(rows[-1]))
            missing.append(torch.full_like(rows[-1], IGNORED))
            for place, kind, character in example.mistakes:
                kinds[-1][place] = 1 + KINDS.index(kind)
                if character:
                    missing[-1][place] = self.characters.ids(character)[0]
        return *padded(rows), padded(kinds, IGNORED)[0], padded(missing, IGNORED)[0]

    def in_words(self) -> str:
        """What a person should know of it."""
        parts = self.prose
        others = f"\n{len(self.others):,} sentences of another kind of text" if self.others else ""
        return (
            f"{len(parts.train):,} characters to learn from, {len(self.characters) - len(SPECIAL)} "
            f"different ones known; {len(parts.validation):,} sentences to validate, "
            f"{len(parts.test):,} to test{others}"
        )
