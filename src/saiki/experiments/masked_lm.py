"""Masked words: a network that reads in both directions restores words that are hidden."""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

from saiki import processes
from saiki.cells import NAMED
from saiki.data import plain_text, store
from saiki.data.masking import Sentences, choose, hide, kept_apart
from saiki.data.stream import shuffled
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, only, placed
from saiki.knobs import Value, knob, other
from saiki.models.encoder import Encoder
from saiki.models.masked_lm import MaskedLM, Restored
from saiki.plots.curves import Curve, curves_of, draw_curves
from saiki.recurrent import Bidirectional, Layer, Recurrent, Stack
from saiki.text import END, FIRST, MASK, SPECIAL, TOKENISERS, UNKNOWN, Text
from saiki.text.plain_words import PlainWords

SHARE, MOST = 0.05, 4000
"""Of the sentences, and sentences at most, on which nothing is learned."""
EVALUATED = 64
"""Rows of a batch where nothing is learned."""
SHOWN, SHORT, CANDIDATES = 6, 20, 5
"""Restorations, tokens of each with the end, and candidates for a word."""
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Tokens as they are shown ``(batch, time)``, the length of each row, which have to be restored
``(batch, time)``, and the numbers of these words, from 0 on, row after row."""


@dataclass(frozen=True)
class MaskedLanguage(Experiment[MaskedLM, Batch]):
    """A bidirectional recurrent network learns to restore words that are hidden from it, of English
    novels or of a text of yours. What it has learned can be handed over to the encoder of a
    translator.
    """

    data: str = knob("", "a text file, or a folder of them; english_novels without")
    lines: bool = knob(False, "whether each line is a sentence; otherwise they are found by rules")
    tokens: str = knob(
        "plain",
        "how a sentence is cut; plain: words in small letters, and punctuation; words: at spaces",
        choices=("plain", *TOKENISERS),
    )
    vocabulary: int = knob(10_000, "tokens known at most; 0: no bound", minimum=0)
    minimum: int = knob(2, "times that a word occurs if it is to be known", minimum=1)
    longest: int = knob(60, "tokens of a sentence; a longer one is cut", minimum=1)
    sentences: int = knob(0, "learned from at most, evenly spread over the text; 0: all", minimum=0)
    share: float = knob(0.15, "of the words that have to be restored", minimum=0, maximum=1)
    replaced: float = knob(0.1, "share of these shown as any word", minimum=0, maximum=1)
    kept: float = knob(
        0.1, "share of these shown as they are; the rest as [MASK]", minimum=0, maximum=1
    )
    bidirectional: bool = knob(True, "whether the network reads in both directions")
    cell: str = knob("lstm", "of all layers", choices=tuple(NAMED))
    hidden_size: int = knob(512, "units of a layer, half for each direction", minimum=2)
    embedding_size: int = knob(256, "features of a token", minimum=1)
    layers: int = knob(1, "recurrent layers", minimum=1)
    tied: bool = knob(True, "whether the last matrix is the table of embeddings")
    dropout: float = knob(0.1, "share of features dropped", minimum=0, maximum=0.9)
    iterations: int = knob(3000, "updates of the weights", minimum=1)

    batch_size: int = other(Experiment, "batch_size", 64)
    learning_rate: float = other(Experiment, "learning_rate", 0.002)
    schedule: str = other(Experiment, "schedule", "linear")
    warmup: float = other(Experiment, "warmup", 0.05)
    clip_norm: float = other(Experiment, "clip_norm", 1.0)
    keep: str = other(Experiment, "keep", "best")
    log_every: int = other(Experiment, "log_every", 300)

    name = "masked-lm"
    summary = "restore masked words, from both directions; an encoder to start from"
    score = "dev_accuracy"
    judged_by = "validation_loss"
    shown = ("loss", "validation_loss", "dev_perplexity")
    by_line: ClassVar[bool] = True
    ahead = 2
    at_once = 64
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "quick": {
            "sentences": 100_000,
            "vocabulary": 5000,
            "hidden_size": 128,
            "embedding_size": 128,
            "iterations": 1000,
            "log_every": 250,
            "learning_rate": 0.005,
        },
    }
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "With both directions the perplexity is lower than with one, and with one lower than "
            "that of a unigram model",
            "quick",
            ({}, {"bidirectional": False}),
            lambda trials: _judge(trials),
        ),
    )

    def validate(self) -> None:
        self.keep_paths("data")
        if self.bidirectional and self.hidden_size % 2:
            raise InputError(
                f"hidden_size must be even, half for each direction, got {self.hidden_size}"
            )
        if self.replaced + self.kept > 1:
            raise InputError(
                "replaced and kept are shares of the same words and must not exceed 1 together, "
                f"got {self.replaced} and {self.kept}"
            )

    # Data.

    @cached_property
    def corpus(self) -> "Corpus":
        given = Path(self.data) if self.data else None
        path = store.locate("english_novels", given)
        found = list(plain_text.lines(path)) if self.lines else plain_text.sentences(path)
        apart = kept_apart(len(found), SHARE, MOST).tolist()
        train = [s for s, held in zip(found, apart, strict=True) if not held]
        if 0 < self.sentences < len(train):
            places = numpy.linspace(0, len(train) - 1, self.sentences).astype(int).tolist()
            train = [train[i] for i in places]
        text = self._learned(train)
        rows = Sentences.of(self._numbers(text, train))
        held = (s for s, held in zip(found, apart, strict=True) if held)
        development = Sentences.of(self._numbers(text, held)).without(rows)
        for part, its in (("learn from", rows), ("develop", development)):
            if not len(its):
                raise InputError(f"{path} is too short: it has no sentence to {part}")
        return Corpus(text, rows, development)

    def _learned(self, sentences: Sequence[str]) -> Text:
        if self.tokens != "plain":
            return Text.learn(self.tokens, sentences, self.vocabulary, self.minimum)
        words = PlainWords()
        return Text(words, words.vocabulary(sentences, self.vocabulary, self.minimum))

    def _numbers(self, text: Text, sentences: Iterable[str]) -> Iterator[list[int]]:
        """Rows of at most ``longest`` tokens, one that is known at least, and the end."""
        for sentence in sentences:
            ids = text.encode(sentence)
            for at in range(0, len(ids), self.longest):
                row = [*ids[at : at + self.longest], END]
                if max(row) >= FIRST:
                    yield row

    def batches(self, start: int = 0) -> Iterator[Batch]:
        text, rows, _ = self.corpus
        size = self.batch_size * processes.count()
        mine = processes.part(size)
        for number, drawn in enumerate(shuffled(len(rows), size, self.seed, start), start):
            tokens, lengths = rows.padded(drawn[:, 1])
            draw = numpy.random.default_rng((self.seed, number))
            chosen = choose(tokens, self.share, draw)
            shown = hide(tokens, chosen, len(text.vocabulary), self.replaced, self.kept, draw)
            yield _batch(shown[mine], lengths[mine], chosen[mine], tokens[mine])

    @cached_property
    def _hidden(self) -> tuple[numpy.ndarray, ...]:
        """Shown tokens, lengths, places and tokens of what is kept apart, the shortest rows first.
        The words to be restored are the same whatever the seed, and all of them are hidden."""
        rows = self.corpus.development
        tokens, lengths = rows.padded(numpy.argsort(rows.lengths, kind="stable"))
        chosen = choose(tokens, self.share, numpy.random.default_rng(0))
        return numpy.where(chosen, MASK, tokens), lengths, chosen, tokens

    def _development(self, part: slice) -> Iterator[Batch]:
        arrays = [a[part] for a in self._hidden]
        for at in range(0, len(arrays[0]), EVALUATED):
            yield _batch(*(a[at : at + EVALUATED] for a in arrays))

    # Model.

    def model(self) -> MaskedLM:
        text = self.corpus.text
        cell = NAMED[self.cell]
        stack, size = list[Layer](), self.embedding_size
        for _ in range(self.layers):
            one = cell(size, self.hidden_size // 2 if self.bidirectional else self.hidden_size)
            stack.append(Bidirectional(one) if self.bidirectional else Recurrent(one))
            size = stack[-1].output_size
        read = stack[0] if self.layers == 1 else Stack(stack, self.dropout)
        encoder = Encoder(len(text.vocabulary), self.embedding_size, read, self.dropout)
        return MaskedLM(encoder, text, self.tied)

    def example(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        return torch.randint(FIRST + 1, (3, 7), generator=random), torch.tensor([4, 7, 2])

    # Loss and figures.

    def measure(self, model: MaskedLM, batch: Batch) -> Measures:
        tokens, lengths, chosen, words = batch
        v = model(tokens, lengths, chosen)
        return {
            "loss": F.cross_entropy(v, words),
            "accuracy": (v.argmax(1) == words).to(v.dtype).mean(),
        }

    def monitor(self, model: MaskedLM) -> dict[str, float]:
        mine = processes.part(len(self.corpus.development))
        loss, accuracy, _ = (total := processes.total(self._sums(model, mine))) / total[2]
        return {
            "validation_loss": loss.item(),
            "validation_accuracy": accuracy.item(),
            "dev_perplexity": loss.exp().item(),
        }

    def evaluate(self, model: MaskedLM) -> Figures:
        loss, accuracy, _ = (total := self._sums(model, slice(None))) / total[2]
        return {
            "dev_perplexity": loss.exp().item(),
            "dev_accuracy": accuracy.item(),
            **self.unigram,
        }

    @torch.no_grad()
    def _sums(self, model: MaskedLM, part: slice) -> Tensor:
        """Loss and right answers over the hidden words, and how many these are."""
        sums = torch.zeros(3, dtype=torch.float64)
        for batch in self._development(part):
            measures = self.measure(model, placed(batch, model))
            means = [measures["loss"].item(), measures["accuracy"].item(), 1]
            sums += len(batch[3]) * torch.tensor(means, dtype=sums.dtype)
        return sums

    @cached_property
    def unigram(self) -> dict[str, float]:
        """Figures of the model that knows only how frequent each word is, p = (n + 1) / Σ (n + 1),
        on the same words; and how many these are."""
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

    # Words and pictures.

    def opening(self) -> str:
        text, train, held = self.corpus
        unknown = (train.tokens == UNKNOWN).sum() / (train.tokens != END).sum()
        return (
            f"{len(train):,} sentences to learn from, {len(held):,} to develop, none of them in "
            f"both; {len(text.vocabulary):,} tokens, {unknown:.1%} of the text unknown\n"
            f"{self.unigram['dev_words']:,.0f} words to be restored; the perplexity of a unigram "
            f"model is {self.unigram['unigram_perplexity']:.1f}"
        )

    def sample(self, model: MaskedLM) -> str:
        return "".join(self._restorations(model, 1))

    def remarks(self, model: MaskedLM) -> str:
        return "\n".join(self._restorations(model, SHOWN))

    def _restorations(self, model: MaskedLM, count: int) -> Iterator[str]:
        """Short sentences kept apart with one word hidden, and what the model makes of it."""
        text, _, held = self.corpus
        draw = numpy.random.default_rng(1)
        rows = [r for r in held.rows() if len(r) <= SHORT and UNKNOWN not in r]
        for i in draw.permutation(len(rows))[:count].tolist():
            row = rows[i].tolist()
            place = int(choose(rows[i][None], 0.0, draw).argmax())
            hidden = text.decode([*row[:place], MASK, *row[place + 1 :]])
            wanted = text.decode([row[place]]).strip()
            word, p = model.restore([hidden])[0].candidates[0][0]
            yield f"{hidden} → {word} ({p:.0%}){'' if word == wanted else f', not {wanted}'}"

    def draw(self, model: MaskedLM, points: Points, folder: Path) -> list[Path]:
        perplexity = curves_of(points).get("dev_perplexity")
        if perplexity is None:
            return []
        last = perplexity[0][-1]
        lines: dict[str, list[Curve]] = {
            "masked language model": [perplexity],
            "unigram model": [([0, last], [self.unigram["unigram_perplexity"]] * 2)],
        }
        return [draw_curves(folder / "perplexity.png", lines, ylabel="perplexity of hidden words")]

    # Use.

    def predict(self, model: MaskedLM, text: str) -> dict[str, Any]:
        return only(self.predict_all(model, [text]))

    def predict_all(
        self, model: MaskedLM, texts: Sequence[str]
    ) -> list[dict[str, Any] | InputError]:
        answers: dict[int, dict[str, Any] | InputError] = {}
        for i, text in enumerate(texts):
            try:
                model.read(text)
            except InputError as error:
                answers[i] = error
        good = [i for i in range(len(texts)) if i not in answers]
        started = time.perf_counter()
        found = model.restore([texts[i] for i in good], CANDIDATES) if good else []
        seconds = (time.perf_counter() - started) / max(1, len(good))
        for i, restored in zip(good, found, strict=True):
            answers[i] = _answer(texts[i], restored, seconds)
        return [answers[i] for i in range(len(texts))]

    def equations(self) -> str:
        hidden = 1 - self.replaced - self.kept
        units = self.hidden_size // 2 if self.bidirectional else self.hidden_size
        cell = self.cell.upper() if self.cell != "peephole" else "LSTM with peepholes"
        way = "(h→, h←)" if self.bidirectional else "h→"
        again = f", {self.layers} layers" if self.layers > 1 else ""
        each = "each way over" if self.bidirectional else "over"
        return "\n".join(
            (
                f"x = the words, {self.share:.0%} of them chosen: of these {hidden:.0%} [MASK], "
                f"{self.replaced:.0%} any word, {self.kept:.0%} as they are",
                f"y = {way}, {cell} of {units} units {each} x{again}",
                f"p(word at t) = softmax({'E W' if self.tied else 'U'} yᵗ + b)",
                "E = −ln p(word), the mean over the words chosen",
            )
        )


class Corpus(NamedTuple):
    """The rows of both parts, and how text becomes rows."""

    text: Text
    train: Sentences
    development: Sentences


def _batch(
    shown: numpy.ndarray, lengths: numpy.ndarray, chosen: numpy.ndarray, tokens: numpy.ndarray
) -> Batch:
    real = slice(lengths.max())
    shown, chosen, tokens = shown[:, real], chosen[:, real], tokens[:, real]
    words = tokens[chosen] - FIRST
    made = torch.from_numpy
    return made(shown), made(lengths), made(chosen), made(words)


def _answer(text: str, restored: Restored, seconds: float) -> dict[str, Any]:
    lines = [restored.text]
    for number, candidates in enumerate(restored.candidates, 1):
        if len(restored.candidates) > 1:
            lines.append(f"{SPECIAL[MASK]} {number}")
        lines += [f"  {p:6.1%}  {word}" for word, p in candidates]
    if restored.unknown:
        lines.append(f"unknown to the model: {', '.join(restored.unknown)}")
    return {
        "input": text,
        "output": restored.text,
        "candidates": [
            [{"word": word, "probability": p} for word, p in its] for its in restored.candidates
        ],
        "unknown": restored.unknown,
        "seconds": seconds,
        "text": "\n".join(lines),
    }


def _judge(trials: Sequence[Trial]) -> tuple[bool, str]:
    both, one = (trial.values("dev_perplexity") for trial in trials)
    unigram = trials[0].mean("unigram_perplexity")
    told = (
        f"perplexity with both directions {_told(both)}, with one {_told(one)}, of the unigram "
        f"model {unigram:.1f}"
    )
    pairs = itertools.product(both, one)
    return all(b < o < unigram for b, o in pairs), told


def _told(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"
