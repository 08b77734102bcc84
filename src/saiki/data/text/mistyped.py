"""Prose with typing mistakes, made anew for each passage that is learned from."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saiki.data import store
from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.skipped import Unusable, in_words
from saiki.data.text import plain_text
from saiki.data.text.corrections import END, Example
from saiki.data.text.docstrings import docstrings
from saiki.data.text.prose import Prose, of_another_kind, prose
from saiki.data.text.typos import KINDS, mistype
from saiki.knobs import Knobs, knob
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


class MistypedText(Knobs):
    """A text, and how often mistakes are made in it."""

    data: str = knob(
        "", "text file, or folder of .txt files; 100 English novels without", is_path=True
    )
    length: int = knob(160, "characters of a passage, at most", minimum=10, maximum=10_000)
    rate: float = knob(
        0.06, "mistakes for each character that is learned from", minimum=0.001, maximum=0.25
    )
    other: str = knob(
        "",
        "text of another kind, whose clean sentences choose the threshold too; without: Python's "
        "docstrings beside the novels, and nothing beside a text of yours",
        is_path=True,
    )
    unusable: Unusable = Unusable()


class Mistyped(IndexedDataset[Batch]):
    """Passages of a text, of which there are new ones without end, and the mistakes made in them;
    and sentences that are always the same."""

    source: MistypedText

    prefetch = 2

    @cached_property
    def others(self) -> Sequence[str]:
        """Sentences of another kind of text."""
        if self.source.other:
            path, left_out = Path(self.source.other), self.source.unusable.left_out
            return of_another_kind(plain_text.sentences(path, left_out))
        return of_another_kind([] if self.source.data else docstrings())

    @cached_property
    def prose(self) -> Prose:
        path = Path(self.source.data) if self.source.data else None
        return prose(store.locate("english_novels", path), self.source.unusable.left_out)

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

    def passage(self, seed: int, number: int) -> Example:
        """One of the endless row of passages to learn from."""
        random, length = np.random.default_rng((number, seed, LEARNED)), self.source.length
        start = random.integers(max(1, len(self.prose.train) - length))
        return self.mistyped(self.prose.passage(int(start), length), self.source.rate, random)

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

    def batch(self, draw: Draw) -> Batch:
        return self.encode([self.passage(draw.seed, number) for number in draw.own.tolist()])

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

    def examples(self) -> tuple[int, int]:
        return len(self.prose.train) // self.source.length, len(self.test)

    def items(self) -> dict[str, Sequence[str]]:
        own = (self.prose.train, *self.prose.validation, *self.prose.test)
        return {"texts": own, "sentences of another kind": self.others}

    def describe(self) -> str:
        others, parts = self.others, self.prose
        counts = (
            f"{len(parts.train):,} characters to learn from, {len(self.characters) - len(SPECIAL)} "
            f"different ones known; {len(parts.validation):,} sentences to validate, "
            f"{len(parts.test):,} to test"
        )
        of_others = [f"{len(others):,} sentences of another kind of text"] if others else []
        return "\n".join((counts, *of_others, *in_words(self.source.unusable.left_out.files)))

    def example(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        return torch.randint(len(SPECIAL), (3, 30), generator=random), torch.tensor([17, 30, 9])

    def input_example(self) -> str:
        return min(self.validation, key=lambda e: (not e.mistakes, len(e.text))).text
