"""Where sentences come from, by their knobs."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saiki.data import store
from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.skipped import Unusable, in_words
from saiki.data.text import plain_text
from saiki.data.text.sentence_rows import SentenceRows, Sentences, batch
from saiki.data.text.tokens import Tokens
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.metrics.bleu import fitting
from saiki.text import SPECIAL, TOKENISERS, Text

Batch = tuple[Tensor, Tensor, Tensor]
"""Tokens ``(batch, time)``, the length of each row, and the weight of the divergence."""
PAIRS = "small_parallel_enja"


class SentenceSource(Knobs):
    """Sentences, and how they are cut into tokens."""

    data: str = knob("", f"a text file, or a folder of them; {PAIRS} without", is_path=True)
    language: str = knob("en", f"of {PAIRS} that is learned", choices=("en", "ja"))
    lines: bool = knob(True, "whether each line is a sentence; otherwise they are found by rules")
    tokens: str = knob(
        "auto",
        "how a sentence is cut; plain: words in small letters, and punctuation; words: at spaces; "
        "auto: characters where there are no spaces, plain where there are, and words without data",
        choices=("auto", "plain", *TOKENISERS),
    )
    known: Tokens = Tokens(longest=30)
    sentences: int = knob(0, "learned from at most, evenly spread over the text; 0: all", minimum=0)
    unusable: Unusable = Unusable()

    def validate(self) -> None:
        if self.data and self.language != "en":
            raise InputError(f"language is of {PAIRS}; with data of your own leave it out")

    def read(self) -> Sentences:
        path = store.locate(PAIRS, Path(self.data) if self.data else None)
        if not self.data:
            path /= f"train.{self.language}"
        if self.lines:
            sentences = plain_text.lines(path, left_out=self.unusable.left_out)
        else:
            sentences = iter(plain_text.sentences(path, self.unusable.left_out))
        return Sentences.parted(sentences, self.sentences)


class SentenceDataset(IndexedDataset[Batch]):
    """Sentences as rows of tokens.

    Args:
        weight: of the divergence, at each update.
    """

    source: SentenceSource
    weight: Callable[[int], float]
    dtype: torch.dtype

    prefetch = 2

    @cached_property
    def sentences(self) -> Sentences:
        return self.source.read()

    @cached_property
    def cut(self) -> str:
        """How sentences are cut."""
        if self.source.tokens != "auto":
            return self.source.tokens
        if not self.source.data:
            return "words"
        return "characters" if fitting("plain", self.sentences.train) == "char" else "plain"

    @cached_property
    def text(self) -> Text:
        return self.source.known.build(self.cut, self.sentences.train)

    @cached_property
    def parts(self) -> SentenceRows:
        return SentenceRows.of(self.sentences, self.text, self.source.known.longest)

    @property
    def lengths(self) -> np.ndarray:
        return self.parts.train.lengths

    def batch(self, draw: Draw) -> Batch:
        weight = torch.tensor(self.weight(draw.update), dtype=self.dtype)
        return *batch(self.parts.train, draw.own), weight

    def items(self) -> Mapping[str, Iterator[str]]:
        kinds = ("sentences to learn from", "sentences to develop", "sentences to test")
        return {kind: iter(part) for kind, part in zip(kinds, self.sentences, strict=True)}

    def describe(self) -> str:
        rows, longest = self.parts, self.source.known.longest
        notes = [
            f"{len(rows.train):,} sentences to learn from, {len(rows.development):,} to develop, "
            f"{len(rows.test):,} to test, none of them in two parts",
            f"{len(self.text.vocabulary):,} tokens ({self.cut}), {rows.unknown:.1%} of the text "
            "unknown",
            *self.sentences.notes,
        ]
        if rows.left_out:
            notes.append(
                f"{rows.left_out:,} of more than {longest} tokens or no known one left out"
            )
        return "\n".join(("; ".join(notes), *in_words(self.source.unusable.left_out.files)))

    def example(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        return torch.randint(len(SPECIAL), (3, 7), generator=random), torch.tensor([4, 7, 2])

    def input_example(self) -> str:
        return self.sentences.test[0]
