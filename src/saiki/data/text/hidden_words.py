"""A text in two parts, some of whose words are hidden: batches to learn from, and those kept apart
always the same."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy
import torch
from torch import Tensor

from saiki import processes
from saiki.data.order import shuffled
from saiki.data.text.masking import Masking, TokenRows, choose, kept_apart
from saiki.progress import each
from saiki.text import END, FIRST, MASK, UNKNOWN, Text

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
    train = [s for s, is_held in zip(sentences, apart, strict=True) if not is_held]
    held = [s for s, is_held in zip(sentences, apart, strict=True) if is_held]
    if 0 < most < len(train):
        places = numpy.linspace(0, len(train) - 1, most).astype(int).tolist()
        train = [train[i] for i in places]
    return train, held


def numbered(text: Text, sentences: Iterable[str], longest: int) -> TokenRows:
    """Rows of at most ``longest`` tokens, one that is known at least, and the end."""

    def rows() -> Iterator[list[int]]:
        for sentence in sentences:
            ids = text.encode(sentence)
            for at in range(0, len(ids), longest):
                row = [*ids[at : at + longest], END]
                if max(row) >= FIRST:
                    yield row

    return TokenRows.of(rows())


@dataclass(frozen=True)
class HiddenWords:
    """The rows of both parts, how text becomes rows, and how words are hidden."""

    text: Text
    train: TokenRows
    development: TokenRows
    masking: Masking

    def batches(self, batch_size: int, seed: int, start: int = 0) -> Iterator[Batch]:
        """To learn from, without end, from number ``start`` on; the part of this process."""
        size = batch_size * processes.count()
        mine = processes.part(size)
        for number, drawn in enumerate(shuffled(len(self.train), size, seed, start), start):
            tokens, lengths = self.train.padded(drawn[:, 1])
            draw = numpy.random.default_rng((seed, number))
            chosen = self.masking.choose(tokens, draw)
            shown = self.masking.hide(tokens, chosen, len(self.text.vocabulary), draw)
            yield _batch(shown[mine], lengths[mine], chosen[mine], tokens[mine])

    @cached_property
    def _hidden(self) -> tuple[numpy.ndarray, ...]:
        """Shown tokens, lengths, places and tokens of what is kept apart, the shortest rows first.
        The words to be restored are the same whatever the seed and the masking of what is learned
        from, and all of them are hidden."""
        rows = self.development
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
        tokens = self.train.tokens
        words = len(self.text.vocabulary) - FIRST
        n = numpy.bincount(tokens[tokens >= FIRST] - FIRST, minlength=words) + 1
        _, _, chosen, held = self._hidden
        wanted = held[chosen] - FIRST
        log_p = numpy.log(n / n.sum())[wanted]
        return {
            "unigram_perplexity": float(numpy.exp(-log_p.mean())),
            "unigram_accuracy": float((wanted == n.argmax()).mean()),
            "dev_words": float(len(wanted)),
        }

    def in_words(self) -> str:
        """What a person should know of them."""
        tokens = self.train.tokens
        unknown = (tokens == UNKNOWN).sum() / (tokens != END).sum()
        return (
            f"{len(self.train):,} sentences to learn from, {len(self.development):,} to develop, "
            f"none of them in both; {len(self.text.vocabulary):,} tokens, {unknown:.1%} of the "
            f"text unknown\n{self.unigram['dev_words']:,.0f} words to be restored; the perplexity "
            f"of a unigram model is {self.unigram['unigram_perplexity']:.1f}"
        )

    def gaps(self, count: int) -> Iterator[tuple[str, str]]:
        """Short sentences kept apart with one word hidden, and the word."""
        draw = numpy.random.default_rng(1)
        rows = [r for r in self.development.rows() if len(r) <= SHORT and UNKNOWN not in r]
        for i in draw.permutation(len(rows))[:count].tolist():
            row = rows[i].tolist()
            place = int(choose(rows[i][None], 0.0, draw).argmax())
            hidden = self.text.decode([*row[:place], MASK, *row[place + 1 :]])
            yield hidden, self.text.decode([row[place]]).strip()


def _batch(
    shown: numpy.ndarray, lengths: numpy.ndarray, chosen: numpy.ndarray, tokens: numpy.ndarray
) -> Batch:
    real = slice(lengths.max())
    shown, chosen, tokens = shown[:, real], chosen[:, real], tokens[:, real]
    words = tokens[chosen] - FIRST
    made = torch.from_numpy
    return made(shown), made(lengths), made(chosen), made(words)
