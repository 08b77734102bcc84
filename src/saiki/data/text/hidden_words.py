"""A text in two parts, some of whose words are hidden: batches to learn from, and those kept apart
always the same."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from saiki import processes
from saiki.data import store
from saiki.data.dataset import Draw, IndexedDataset, Order, shuffled
from saiki.data.skipped import Unusable, in_words
from saiki.data.text import plain_text
from saiki.data.text.masking import Masking, TokenRows, choose, kept_apart
from saiki.data.text.tokens import Tokens
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.progress import each
from saiki.text import END, FIRST, MASK, TOKENISERS, UNKNOWN, Text

SHARE, MOST = 0.05, 4000
"""Of the sentences, and sentences at most, on which nothing is learned."""
HELD_SHARE = 0.15
"""Of the words of these sentences, which have to be restored."""
EVALUATED = 64
"""Rows of a batch where nothing is learned."""
SHORT = 20
"""Tokens, with the end, of a sentence that is shown."""
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Tokens as they are shown ``(batch, time)``, the length of each row, which have to be restored
``(batch, time)``, and the numbers of these words, from 0 on, row after row."""


def parted(sentences: Sequence[str], most: int) -> tuple[list[str], list[str]]:
    """Sentences to learn from, ``most`` at most, evenly spread over the text, if it is not 0; and
    those kept apart."""
    apart = kept_apart(len(sentences), SHARE, MOST).tolist()
    train, held = (
        [s for s, is_held in zip(sentences, apart, strict=True) if is_held == wanted]
        for wanted in (False, True)
    )
    if 0 < most < len(train):
        places = numpy.linspace(0, len(train) - 1, most).astype(int).tolist()
        train = [train[i] for i in places]
    return train, held


def numbered(text: Text, sentences: Iterable[str], longest: int) -> TokenRows:
    """Rows of at most ``longest`` tokens, one that is known at least, and the end."""
    rows = (
        [*ids[at : at + longest], END]
        for ids in map(text.encode, sentences)
        for at in range(0, len(ids), longest)
    )
    return TokenRows.of(row for row in rows if max(row) >= FIRST)


class Corpus(NamedTuple):
    """A text in two parts."""

    text: Text
    """How it becomes rows."""
    train: TokenRows
    development: TokenRows


class CorpusSource(Knobs):
    """Running text, and how it becomes rows of tokens."""

    data: str = knob("", "a text file, or a folder of them; english_novels without", is_path=True)
    lines: bool = knob(False, "whether each line is a sentence; otherwise they are found by rules")
    tokens: str = knob(
        "plain",
        "how a sentence is cut; plain: words in small letters, and punctuation; words: at spaces",
        choices=("plain", *TOKENISERS),
    )
    known: Tokens = Tokens(vocabulary=10_000)
    sentences: int = knob(0, "learned from at most, evenly spread over the text; 0: all", minimum=0)
    unusable: Unusable = Unusable()

    def read(self) -> Corpus:
        """
        Raises:
            InputError: it cannot be read, or is too short.
        """
        path = store.locate("english_novels", Path(self.data) if self.data else None)
        if self.lines:
            sentences = [*plain_text.lines(path, left_out=self.unusable.left_out)]
        else:
            sentences = plain_text.sentences(path, self.unusable.left_out)
        train, held = parted(sentences, self.sentences)
        text, longest = self.known.build(self.tokens, train), self.known.longest
        rows = numbered(text, train, longest)
        development = numbered(text, held, longest).without(rows)
        for purpose, part in (("learn from", rows), ("develop", development)):
            if not len(part):
                raise InputError(f"{path} is too short: it has no sentence to {purpose}")
        return Corpus(text, rows, development)


class HiddenWords(IndexedDataset[Batch]):
    """Sentences, and which of their words are hidden."""

    source: CorpusSource
    masking: Masking

    prefetch = 2

    @cached_property
    def corpus(self) -> Corpus:
        return self.source.read()

    def examples(self) -> tuple[int, int]:
        return len(self.corpus.train), len(self.corpus.development)

    @property
    def epoch(self) -> float:
        size = self.batching.batch_size * processes.count()
        return len(self.corpus.train) / (size * self.batching.accumulate)

    def order(self, seed: int, start: int) -> Order:
        size = self.batching.batch_size * processes.count()
        for number, pairs in enumerate(shuffled(len(self.corpus.train), size, seed, start), start):
            yield pairs[:, 1], (seed, number)

    def batch(self, draw: Draw) -> Batch:
        text, train, _ = self.corpus
        tokens, lengths = train.padded(draw.rows)
        random = numpy.random.default_rng(draw.key)
        chosen = choose(tokens, self.masking.share, random)
        shown = self.masking.hide(tokens, chosen, len(text.vocabulary), random)
        return _batch(*(each[draw.part] for each in (shown, lengths, chosen, tokens)))

    def items(self) -> dict[str, Iterable[str | bytes]]:
        text, train, development = self.corpus
        return {
            "tokens": text.vocabulary.words,
            "sentences to learn from": (row.tobytes() for row in train.rows()),
            "sentences to develop": (row.tobytes() for row in development.rows()),
        }

    def example(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        return torch.randint(FIRST + 1, (3, 7), generator=random), torch.tensor([4, 7, 2])

    def input_example(self) -> str:
        return next((hidden for hidden, _ in self.gaps(1)), "[MASK]")

    @cached_property
    def _hidden(self) -> tuple[numpy.ndarray, ...]:
        """Shown tokens, lengths, places and tokens of what is kept apart, the shortest rows first.
        The words to be restored are the same whatever the seed and the masking of what is learned
        from, and all of them are hidden."""
        rows = self.corpus.development
        tokens, lengths = rows.padded(numpy.argsort(rows.lengths, kind="stable"))
        chosen = choose(tokens, HELD_SHARE, numpy.random.default_rng(0))
        return numpy.where(chosen, MASK, tokens), lengths, chosen, tokens

    def kept_apart(self, part: slice = slice(None)) -> Iterator[Batch]:
        """Batches of some of the rows that are kept apart."""
        arrays = [a[part] for a in self._hidden]
        for at in each(range(0, len(arrays[0]), EVALUATED)):
            yield _batch(*(a[at : at + EVALUATED] for a in arrays))

    @cached_property
    def unigram(self) -> dict[str, float]:
        """Figures of the model that knows only how frequent each word is, p = (n + 1) / Σ (n + 1),
        on the words kept apart; and how many these are."""
        tokens = self.corpus.train.tokens
        words = len(self.corpus.text.vocabulary) - FIRST
        n = numpy.bincount(tokens[tokens >= FIRST] - FIRST, minlength=words) + 1
        _, _, chosen, held = self._hidden
        wanted = held[chosen] - FIRST
        log_p = numpy.log(n / n.sum())[wanted]
        return {
            "unigram_perplexity": float(numpy.exp(-log_p.mean())),
            "unigram_accuracy": float((wanted == n.argmax()).mean()),
            "dev_words": float(len(wanted)),
        }

    def describe(self) -> str:
        text, train, development = self.corpus
        unknown = (train.tokens == UNKNOWN).sum() / (train.tokens != END).sum()
        notes = (
            f"{len(train):,} sentences to learn from, {len(development):,} to develop, none of "
            f"them in both; {len(text.vocabulary):,} tokens, {unknown:.1%} of the text unknown",
            f"{self.unigram['dev_words']:,.0f} words to be restored; the perplexity of a unigram "
            f"model is {self.unigram['unigram_perplexity']:.1f}",
        )
        return "\n".join((*notes, *in_words(self.source.unusable.left_out.files)))

    def gaps(self, count: int) -> Iterator[tuple[str, str]]:
        """Short sentences kept apart with one word hidden, and the word."""
        draw = numpy.random.default_rng(1)
        text, _, development = self.corpus
        rows = [r for r in development.rows() if len(r) <= SHORT and UNKNOWN not in r]
        for i in draw.permutation(len(rows))[:count].tolist():
            row = rows[i].tolist()
            place = int(choose(rows[i][None], 0.0, draw).argmax())
            hidden = text.decode([*row[:place], MASK, *row[place + 1 :]])
            yield hidden, text.decode([row[place]]).strip()


def _batch(
    shown: numpy.ndarray, lengths: numpy.ndarray, chosen: numpy.ndarray, tokens: numpy.ndarray
) -> Batch:
    real = slice(lengths.max())
    shown, chosen, tokens = shown[:, real], chosen[:, real], tokens[:, real]
    tensor = torch.from_numpy
    return tensor(shown), tensor(lengths), tensor(chosen), tensor(tokens[chosen] - FIRST)
