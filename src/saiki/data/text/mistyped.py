"""Prose with typing mistakes, made anew for each passage that is learned from, and sentences of
other parts of the text to validate and to test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saiki.data import store
from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.skipped import LeftOut, Unusable, in_words
from saiki.data.text import plain_text
from saiki.data.text.docstrings import docstrings
from saiki.data.text.typos import END, KINDS, Example, mistype
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.text import SPECIAL, Vocabulary
from saiki.text.rows import padded, tokens_of

HELD = 0.05
"""Share of the text that validates, and share that is tested."""
VALIDATED, TESTED = 500, 2000
"""Sentences of them that are used at most, evenly spaced."""
SHORTEST = 20
"""Characters of a sentence that is used; "Yes." stands in every part of a novel."""
_PLAIN = str.maketrans("‘’“”–—\u00a0", "''\"\"-- ")
RARE = 1e-5
"""Share of the text below which a character is not known."""
IGNORED = -100
"""The target where there is nothing to say."""
HELD_RATE = 0.03
"""Mistakes for each character that validates or is tested, on average."""
OF_TRAINING, OF_VALIDATION, OF_TEST, OF_OTHERS = range(4)
"""What a stream of random numbers is for."""
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Characters ``(batch, time)``, the length of each row, the numbers of the kinds, and of the
missing characters where one is dropped."""


@dataclass(frozen=True)
class Prose:
    """A text in three parts."""

    train: str
    """All sentences of the first part, one after the other, with one space between words."""
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def passage(self, start: int, length: int) -> str:
        """The words that begin and end within ``length`` characters from ``start`` on; all
        characters where no space tells the words."""
        passage = self.train[start : start + length]
        if start:
            passage = passage.partition(" ")[2] or passage
        if start + length < len(self.train):
            passage = passage.rpartition(" ")[0] or passage
        return passage


def plain(text: str) -> str:
    """Quotes, dashes and spaces of the typographer as a keyboard has them, one for one."""
    return text.translate(_PLAIN)


def prose(path: Path, left_out: LeftOut | None = None) -> Prose:
    """The text of a file, or of all text files in a folder; see :mod:`saiki.data.text.plain_text`.

    The last 5 % of its characters are tested and those before them validate, so of several books
    in their order the last ones do. No sentence of one part is in another, nor twice in one.
    """
    sentences = [" ".join(plain(s).split()) for s in plain_text.sentences(path, left_out)]
    ends = np.cumsum([len(s) for s in sentences])
    total = int(ends[-1]) if sentences else 0
    first, second = np.searchsorted(ends, [(1 - 2 * HELD) * total, (1 - HELD) * total]).tolist()
    learned = sentences[:first]
    test = _new(sentences[second:], learned)
    validation = _new(sentences[first:second], [*learned, *test])
    if not (learned and test and validation):
        raise InputError(
            f"{path} holds too little text, {len(sentences)} sentences: none of {SHORTEST} "
            "characters or more is left to learn from, to validate or to test; give a longer one"
        )
    return Prose(" ".join(learned), _spread(validation, VALIDATED), _spread(test, TESTED))


def of_another_kind(sentences: Iterable[str]) -> tuple[str, ...]:
    """Sentences of another text, as many as are tested at most."""
    return _spread(_new((" ".join(plain(s).split()) for s in sentences), ()), TESTED)


def _new(sentences: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those that are long enough and not among the others."""
    wanted = dict.fromkeys(s for s in sentences if len(s) >= SHORTEST)
    for other in others:
        wanted.pop(other, None)
    return list(wanted)


def _spread(sentences: Sequence[str], count: int) -> tuple[str, ...]:
    """``count`` of them, or all, at even distances."""
    count = min(count, len(sentences))
    return tuple(sentences[i * len(sentences) // count] for i in range(count))


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
        random, length = np.random.default_rng((number, seed, OF_TRAINING)), self.source.length
        start = random.integers(max(1, len(self.prose.train) - length))
        return self.mistyped(self.prose.passage(int(start), length), self.source.rate, random)

    @cached_property
    def validation(self) -> list[Example]:
        """The same mistakes for every seed, as those of the test."""
        return self._held(self.prose.validation, OF_VALIDATION)

    @cached_property
    def test(self) -> list[Example]:
        return self._held(self.prose.test, OF_TEST)

    @cached_property
    def other_validation(self) -> list[Example]:
        """Of another kind of text; none if there is no such text."""
        return self._held(self.others[::2], OF_OTHERS)

    @cached_property
    def other_test(self) -> list[Example]:
        return self._held(self.others[1::2], OF_OTHERS)

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
