"""The text whose words get vectors, in pieces."""

import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saiki import processes
from saiki.data import store
from saiki.data.dataset import Dataset
from saiki.data.skipped import Unusable, in_words
from saiki.data.text.numbered import NumberedText, Split, text_lines
from saiki.data.text.phrases import JOINT
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.models.word_vectors import WordVectors
from saiki.saving.pretrained import of_run
from saiki.text import TOKENISERS, tokeniser
from saiki.text.tokenisers import words_of
from saiki.text.typed import WITHOUT_SPACES
from saiki.text.vectors import Vectors, read

SHORT = 100_000
"""Words of a text that is short."""
_SIGNS = {"+": "+", "-": "-", "−": "-"}


class SubWords(Knobs):
    """n-grams of characters that words share."""

    buckets: int = knob(
        0, "vectors that n-grams share; 0: without sub-words", minimum=0, maximum=10**8
    )
    min_n: int = knob(3, "characters of an n-gram at least", minimum=1, maximum=20)
    max_n: int = knob(6, "characters of an n-gram at most", minimum=1, maximum=20)

    def validate(self) -> None:
        if self.max_n < self.min_n:
            raise InputError(f"max_n must be at least min_n, {self.min_n}, got {self.max_n}")


class Phrases(Knobs):
    """Words that stand side by side more often than by chance, joined."""

    phrases: int = knob(
        0, "passes, each of which joins two words, as new_york; 0: none", minimum=0, maximum=10
    )
    phrase_threshold: float = knob(
        100.0, "score above which two words are joined", minimum=0.001, maximum=10**9
    )


def vectors_of(path: Path) -> Vectors:
    """Those of a file, or of a run of words in a folder.

    Raises:
        InputError: there are none.
    """
    if not path.is_dir():
        return read(path)
    model, about = of_run(path)
    if not isinstance(model, WordVectors):
        raise InputError(f"{path} is a run of {about['run'][0]}, not of words")
    return model.vectors


def signed(text: str, vectors: Vectors, split: Split) -> tuple[list[str], list[str]]:
    """The words that are added and those that are taken away in ``king -man + woman``; one that is
    unknown as it is written is read as a text would be.

    Raises:
        InputError: there is no word, or a sign has none.
    """
    words: dict[str, list[str]] = {"+": [], "-": []}
    sign = ""
    for written in text.split():
        if written[0] in _SIGNS and written not in vectors:
            if sign:
                break  # two of them have one word at most
            sign, written = _SIGNS[written[0]], written[1:]
        if written:
            forms = [] if written in vectors else split(written)
            words[sign or "+"].append(forms[0] if len(forms) == 1 else written)
            sign = ""
    if sign or not any(words.values()):
        raise InputError(f"it takes words, as in 'king -man +woman', got {text!r}")
    return words["+"], words["-"]


def advice(text: NumberedText, tokens: str) -> list[str]:
    """What could be done better with a text."""
    advices, kinds = list[str](), list(itertools.islice(text.numbers, SHORT))
    unspaced = sum(1 for word in kinds if WITHOUT_SPACES.search(word))
    if tokens in ("plain", "words") and 2 * unspaced > len(kinds):
        advices.append("a text without spaces between its words is cut by --tokens japanese")
    if 0 < text.words < SHORT:
        advices.append("so short a text teaches little; --subsample 0 --epochs 100 may help")
    return advices


SHOWN = 10
"""Phrases that are named."""
Batch = tuple[Tensor, Tensor]
"""A piece of the text by the places of its words, and its number."""


class TextSource(Knobs):
    """A text, and how it is cut into words."""

    data: str = knob(
        "", "text: a file, packed or not, a folder, or - for the standard input; novels without",
        is_path=True,
    )  # fmt: skip
    tokens: str = knob(
        "plain",
        "how a line is cut; plain: words in small letters, without punctuation; words: at spaces",
        choices=("plain", *(name for name in TOKENISERS if name != "bpe")),
    )
    unusable: Unusable = Unusable()

    @property
    def split(self) -> Split:
        return words_of if self.tokens == "plain" else tokeniser(self.tokens).split

    def read(self) -> NumberedText:
        if self.data == "-" and processes.count() > 1:
            raise InputError("several processes have no standard input in common; name a file")
        path = self.data or str(store.locate("english_novels", None))
        return NumberedText(text_lines(path, self.unusable.left_out), self.split)


class TextPieces(Dataset[Batch]):
    """Pieces of a text, by the words that are known of it.

    Args:
        untaught: a model that says which words are joined, and which are known.
    """

    source: TextSource
    untaught: WordVectors

    prefetch = 1

    @cached_property
    def text(self) -> NumberedText:
        return self.untaught.with_phrases(self.source.read())

    @cached_property
    def known(self) -> tuple[list[str], NDArray[np.int64]]:
        """Words that get a vector, and how often they occur."""
        try:
            return self.untaught.frequent(self.text)
        except InputError as error:
            notes = advice(self.text, self.source.tokens)
            raise InputError("; ".join((str(error), *notes))) from None

    @property
    def epoch(self) -> float:
        return self.text.pieces(self.batching.batch_size) / processes.count()

    def batches(self, seed: int, start: int = 0) -> Iterator[Batch]:
        size, count = self.batching.batch_size, processes.count()
        places = self.text.places(self.known[0])
        number = start * count + processes.rank()
        while True:
            seen, at = divmod(number, self.text.pieces(size))
            order = np.random.default_rng((seed, seen)).permutation(self.text.pieces(size))
            piece = self.text.piece(int(order[at]) * size, size, places)
            yield torch.from_numpy(piece), torch.tensor(number)
            number += count

    def describe(self) -> str:
        text, (words, counts) = self.text, self.known
        lines = [
            f"{text.words:,} words, {len(text.numbers):,} different ones; {len(words):,} of "
            f"them are known, which are {counts.sum() / max(text.words, 1):.1%} of the text"
        ]
        if self.untaught.phrases:
            joint = [word for word in words if JOINT in word]
            such = f", such as {', '.join(joint[:SHOWN])}" if joint else ""
            lines.append(f"{len(joint):,} of those are phrases{such}")
        lines += advice(text, self.source.tokens)
        return "\n".join([*lines, *in_words(self.source.unusable.left_out.files)])

    def items(self) -> dict[str, Iterator[bytes]]:
        return {"text": self.text.parts()}

    def example(self) -> Tensor:
        return torch.tensor([[0, 1, 0], [1, 0, 1]])

    def input_example(self) -> str:
        return self.known[0][0]
