"""What exercises share that learn to write one text for another."""

import math
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from saiki import processes
from saiki.cells import NAMED
from saiki.data.pairs import Corpus, Pairs, buckets
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, only, placed
from saiki.knobs import knob, other
from saiki.models.decoder import Decoder
from saiki.models.decoding import Search
from saiki.models.encoder import Encoder
from saiki.models.masked_lm import MaskedLM
from saiki.models.seq2seq import BASELINES, Seq2Seq
from saiki.models.translator import Translation, Translator, padded
from saiki.nn.attention import Attention
from saiki.nn.choosing import CHOICES
from saiki.nn.scores import SCORES
from saiki.nn.windows import WINDOWS
from saiki.plots.attention import draw_attention
from saiki.recurrent import Bidirectional, Layer, Recurrent, Stack
from saiki.saving.pretrained import of_run
from saiki.text import BEGIN, END, Text

POINTS = 40
"""Of the curves at most; as a rule there is one each epoch."""
DRAWN = 4
"""Translations whose attention is drawn."""
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Sources ``(batch, time)``, their lengths, targets from BEGIN to END, and theirs."""


@dataclass(frozen=True)
class TextToText(Experiment[Translator, Batch]):
    """An encoder-decoder from text to text; a subclass says from where the texts come."""

    cell: str = knob("lstm", "of all layers", choices=tuple(NAMED))
    hidden_size: int = knob(512, "units of a layer of the decoder", minimum=2)
    embedding_size: int = knob(256, "features of a token", minimum=1)
    layers: int = knob(1, "of the encoder and of the decoder", minimum=1)
    bidirectional: bool = knob(True, "whether the encoder reads in both directions")
    attention: str = knob(
        "dot", "score of the attention; none: no attention", choices=("none", *SCORES)
    )
    choice: str = knob(
        "soft",
        "of what is read: the mean of all positions, or one: by REINFORCE, straight-through Gumbel "
        "or the exact sum over all",
        choices=CHOICES,
    )
    baseline: str = knob("moving", "of the rewards of REINFORCE", choices=BASELINES)
    entropy: float = knob(0.01, "weight of the entropy of drawn positions", minimum=0)
    heads: int = knob(1, "attentions side by side", minimum=1)
    window: str = knob("global", "positions that attention sees", choices=WINDOWS)
    reach: int = knob(5, "of a local window, to either side", minimum=1)
    coverage: bool = knob(False, "whether attention knows what has been read before")
    input_feeding: bool = knob(False, "whether the decoder sees what was read in the step before")
    tied: bool = knob(True, "whether the last matrix is the table of embeddings")
    dropout: float = knob(
        0.4, "share of embeddings, memory and readout dropped", minimum=0, maximum=0.9
    )
    label_smoothing: float = knob(
        0.1, "share of the target spread over all tokens", minimum=0, maximum=0.9
    )
    teacher_forcing: float = knob(
        1.0,
        "probability that the token before is the true one, not the model's own",
        minimum=0,
        maximum=1,
    )
    encoder: str = knob("", "run folder of masked-lm; what its encoder learned is begun with")
    epochs: float = knob(14.0, "times that each pair is seen", minimum=0.01, maximum=1e6)
    updates: int = knob(2000, "of the weights at least; more epochs if pairs are few", minimum=0)
    method: str = knob(
        "beam", "of decoding in the end, and when used", choices=("greedy", "sample", "beam")
    )
    beam: int = knob(5, "hypotheses kept", minimum=1, maximum=1000)
    n_best: int = knob(1, "translations of each text", minimum=1, maximum=1000)
    temperature: float = knob(1.0, "of sampling; below 1: rather what is probable", minimum=0.001)
    top_k: int = knob(0, "tokens sampled from; 0: all", minimum=0)
    top_p: float = knob(1.0, "probability of the tokens sampled from", minimum=0.001, maximum=1)
    length_penalty: float = knob(1.0, "α of Wu et al. (2016); higher: longer", minimum=0)
    coverage_penalty: float = knob(0.0, "β of Wu et al. (2016); higher: all is read", minimum=0)
    copy_unknown: bool = knob(False, "whether unknown words are copied from the source")
    begin_with: str = knob("", "how each translation begins")
    must_hold: str = knob("", "phrases that each translation holds, with | between")

    also: str = knob("", "run folders, with commas between, whose models decide too")

    batch_size: int = other(Experiment, "batch_size", 64)
    learning_rate: float = other(Experiment, "learning_rate", 0.001)
    schedule: str = other(Experiment, "schedule", "cosine")
    warmup: float = other(Experiment, "warmup", 0.03)
    clip_norm: float = other(Experiment, "clip_norm", 1.0)
    average: float = other(Experiment, "average", 0.999)
    log_every: int = knob(0, "iterations between the points of the curves; 0: an epoch", minimum=0)

    judged_by: ClassVar[str] = "validation_loss"
    ahead: ClassVar[int] = 2
    by_line: ClassVar[bool] = True
    at_use: ClassVar[tuple[str, ...]] = (
        "method", "beam", "n_best", "temperature", "top_k", "top_p", "length_penalty",
        "coverage_penalty", "copy_unknown", "begin_with", "must_hold", "also", "seed",
    )  # fmt: skip
    at_once: ClassVar[int] = 256

    def validate(self) -> None:
        if self.bidirectional and self.hidden_size % 2:
            raise InputError(
                f"hidden_size must be even, half for each direction, got {self.hidden_size}"
            )
        if self.attention == "none" and (
            self.copy_unknown or self.coverage or self.coverage_penalty
        ):
            raise InputError("without attention nothing can be copied or covered")
        self.keep_paths("encoder")
        _ = self.search  # settings of it that do not fit each other are refused

    # Data.

    @cached_property
    @abstractmethod
    def corpus(self) -> Corpus:
        """All pairs."""

    @cached_property
    @abstractmethod
    def texts(self) -> tuple[Text, Text]:
        """How sources and targets are read and written."""

    @cached_property
    def _encoded(self) -> list[tuple[list[int], list[int]]]:
        return self._numbers(self.corpus.train)

    def _numbers(self, pairs: Pairs) -> list[tuple[list[int], list[int]]]:
        source, target = self.texts
        return [
            ([*source.encode(x), END], [BEGIN, *target.encode(y), END])
            for x, y in zip(pairs.source, pairs.target, strict=True)
        ]

    @cached_property
    def _mean_length(self) -> float:
        """Steps of a target, on average."""
        return sum(len(y) - 1 for _, y in self._encoded) / len(self._encoded)

    @property
    def per_epoch(self) -> int:
        """Batches in which each pair is seen once."""
        return -(-len(self.corpus.train) // (self.batch_size * processes.count()))

    @property
    def iterations(self) -> int:
        return max(1, self.updates, round(self.epochs * self.per_epoch / self.accumulate))

    @property
    def point_every(self) -> int:
        epoch = self.per_epoch // self.accumulate
        return self.log_every or min(self.iterations, max(epoch, self.iterations // POINTS, 1))

    def batches(self, start: int = 0) -> Iterator[Batch]:
        pairs = self._encoded
        lengths = [(len(y), len(x)) for x, y in pairs]
        size = self.batch_size * processes.count()
        for indices in buckets(lengths, size, self.seed, start):
            rows = [pairs[i] for i in indices[processes.part(len(indices))].tolist()]
            yield *padded([x for x, _ in rows]), *padded([y for _, y in rows])

    # Model.

    def model(self) -> Translator:
        source, target = self.texts
        cell = NAMED[self.cell]
        encoder, size = list[Layer](), self.embedding_size
        for _ in range(self.layers):
            units = self.hidden_size // 2 if self.bidirectional else self.hidden_size
            one = cell(size, units)
            encoder.append(Bidirectional(one) if self.bidirectional else Recurrent(one))
            size = encoder[-1].output_size
        attention = None
        if self.attention != "none":
            attention = Attention(
                self.hidden_size,
                size,
                self.attention,  # type: ignore[arg-type]
                self.choice,  # type: ignore[arg-type]
                self.heads,
                self.window,  # type: ignore[arg-type]
                self.reach,
                self.coverage,
                longest=self._longest if self.attention == "location" else None,
            )
        readout = self.embedding_size if self.tied else self.hidden_size
        cells, size = [], self.embedding_size + (readout if self.input_feeding else 0)
        for _ in range(self.layers):
            cells.append(cell(size, self.hidden_size))
            size = self.hidden_size
        read = encoder[0] if self.layers == 1 else Stack(encoder, self.dropout)
        model = Seq2Seq(
            Encoder(len(source.vocabulary), self.embedding_size, read, self.dropout),
            Decoder(
                len(target.vocabulary),
                self.embedding_size,
                cells,
                attention,
                readout,
                self.dropout,
                self.input_feeding,
                self.tied,
            ),
            self.baseline,
        )
        if self.encoder:
            self._learned().hand_over(model.encoder, source.vocabulary)
        return Translator([model], source, target)

    def _learned(self) -> MaskedLM:
        """The masked language model whose encoder this one begins with."""
        learned, about = of_run(Path(self.encoder))
        if not isinstance(learned, MaskedLM):
            raise InputError(f"{self.encoder} is a run of {about['run'][0]}, not of masked-lm")
        return learned

    @cached_property
    def _longest(self) -> int:
        """Room for sources twice as long as those learned from."""
        source, _ = self.texts
        return 2 * max(len(source.split(text)) + 1 for part in self.corpus for text in part.source)

    def example(self) -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(0)
        source, target = (
            torch.randint(END + 2, len(text.vocabulary), (3, 7), generator=random)
            for text in self.texts
        )
        return source, torch.tensor([4, 7, 2]), target, torch.tensor([7, 3, 5])

    def opening(self) -> str:
        if self.encoder:
            self._learned()
        corpus = self.corpus
        train, held, test = corpus
        source, target = (len(text.vocabulary) for text in self.texts)
        tested = f", {len(test):,} to test" if len(test) else ""
        told = f"\n{corpus.told}" if corpus.told else ""
        return (
            f"{len(train):,} pairs to learn from, {len(held):,} to develop{tested}; "
            f"{source:,} and {target:,} tokens{told}"
        )

    # Loss and figures.

    def measure(self, model: Translator, batch: Batch) -> Measures:
        source, source_lengths, target, target_lengths = batch
        learner = model.members[0]
        forced = self.teacher_forcing if model.training else 1.0
        smoothing = self.label_smoothing if model.training else 0.0
        written = learner.write(source, source_lengths, target, target_lengths, forced)
        # each pair counts by its length, so that the parts of a batch add up to the whole
        share = len(written.targets) / (len(source) * self._mean_length)
        return {"loss": share * learner.loss(written, smoothing, self.entropy)}

    def monitor(self, model: Translator) -> dict[str, float]:
        held = self._numbers(self.corpus.development)
        held.sort(key=lambda pair: (len(pair[1]), len(pair[0])))
        sums = torch.zeros(2, dtype=torch.float64)
        learner = model.members[0]
        own = held[processes.part(len(held))]
        with torch.no_grad():
            for at in range(0, len(own), self.batch_size):
                rows = own[at : at + self.batch_size]
                batch = *padded([x for x, _ in rows]), *padded([y for _, y in rows])
                written = learner.write(*placed(batch, model))
                count = len(written.targets)
                sums += torch.tensor([count * learner.loss(written).item(), count])
        total, count = processes.total(sums).tolist()
        figures = {"validation_loss": total / count}
        if not math.isfinite(total):  # nor would there be anything to decode
            return dict.fromkeys(self.shown[1:], math.nan) | figures
        shown = self.written(model, self.corpus.development, Search("greedy"))
        return figures | self.judged(self.corpus.development, shown)

    def summarise(self, curve: Sequence[Mapping[str, float]]) -> Figures:
        return {"loss": curve[-1]["validation_loss"]} if curve else {}

    @abstractmethod
    def judged(self, pairs: Pairs, written: Sequence[Translation]) -> dict[str, float]:
        """Figures of what was written for the sources of ``pairs``."""

    def written(
        self, model: Translator, pairs: Pairs, search: Search | None = None
    ) -> list[Translation]:
        """The best translation of each source."""
        search = self.search if search is None else search
        found = model.translate(pairs.source, search, copy_unknown=self.copy_unknown)
        return [its[0] for its in found]

    @property
    def search(self) -> Search:
        """How the trained model is used."""
        return Search(
            self.method,
            self.beam,
            self.temperature,
            self.top_k,
            self.top_p,
            self.length_penalty,
            self.coverage_penalty,
            self.n_best,
            self.seed,
        )

    def sample(self, model: Translator) -> str:
        pairs = self.corpus.development
        one = pairs.take([0])
        return f"{one.source[0]} → {self.written(model, one, Search('greedy'))[0].text}"

    def equations(self) -> str:
        """The model, step by step."""
        way = "(h→, h←)" if self.bidirectional else "h→"
        again = f", {self.layers} layers" if self.layers > 1 else ""
        units = self.hidden_size // 2 if self.bidirectional else self.hidden_size
        cell = self.cell.upper() if self.cell != "peephole" else "LSTM with peepholes"
        lines = [f"mˢ = {way}, {cell} of {units} units each way over the source{again}"]
        seen = "[E yᵗ⁻¹; rᵗ⁻¹]" if self.input_feeding else "E yᵗ⁻¹"
        size = self.hidden_size
        lines.append(f"hᵗ = {cell}({seen}, hᵗ⁻¹), {size} units{again}, h⁰ from the ends")
        if self.attention == "none":
            lines.append("rᵗ = tanh(W hᵗ)")
        else:
            covered = ", Σ of earlier p" if self.coverage else ""
            score = SCORE_EQUATIONS[self.attention]
            lines.append(f"pᵗ = softmaxₛ(score(hᵗ, mˢ{covered})), {score}")
            lines.append(CHOICE_EQUATIONS[self.choice])
            lines.append("rᵗ = tanh(W [cᵗ; hᵗ])")
        lines.append(f"p(yᵗ) = softmax({'E' if self.tied else 'U'} rᵗ + b)")
        smoothed = f", smoothed by {self.label_smoothing:g}" if self.label_smoothing else ""
        lines.append(f"E = −Σₜ ln p(yᵗ){smoothed}")
        return "\n".join(lines)

    # Use.

    def predict(self, model: Translator, text: str) -> dict[str, Any]:
        return only(self.predict_all(model, [text]))

    def predict_all(
        self, model: Translator, texts: Sequence[str]
    ) -> list[dict[str, Any] | InputError]:
        started = time.perf_counter()
        good = [text for text in texts if text.strip()]
        try:
            found = iter(self._translated(model, good) if good else [])
        except InputError as error:
            if len(texts) == 1:
                return [error]
            return [self.predict_all(model, [text])[0] for text in texts]
        seconds = (time.perf_counter() - started) / max(1, len(good))
        answers: list[dict[str, Any] | InputError] = []
        for text in texts:
            if not text.strip():
                answers.append({"input": text, "output": "", "text": ""})
                continue
            answers.append(self._answer(model, text, next(found), seconds))
        return answers

    def _translated(self, model: Translator, texts: Sequence[str]) -> list[list[Translation]]:
        phrases = [p.strip() for p in self.must_hold.split("|") if p.strip()]
        return self._together(model).translate(
            texts,
            self.search,
            copy_unknown=self.copy_unknown,
            prefixes=[self.begin_with] * len(texts) if self.begin_with else None,
            forced=[phrases] * len(texts) if phrases else None,
        )

    def _together(self, model: Translator) -> Translator:
        """The model with those of the other runs."""
        models = model.members
        for folder in filter(None, (part.strip() for part in self.also.split(","))):
            other, about = of_run(Path(folder))
            if not isinstance(other, Translator):
                raise InputError(f"{folder} is a run of {about['run'][0]}, which decodes no text")
            if any(
                mine.vocabulary.words != its.vocabulary.words
                for mine, its in ((model.source, other.source), (model.target, other.target))
            ):
                raise InputError(f"{folder} does not know the same tokens, so it cannot decide too")
            models += other.members
        return Translator(models, model.source, model.target) if self.also else model

    def _answer(
        self, model: Translator, text: str, found: list[Translation], seconds: float
    ) -> dict[str, Any]:
        best = found[0]
        answer: dict[str, Any] = {
            "input": text,
            "output": best.text,
            "log_probability": best.log_probability,
            "finished": best.finished,
            "unknown": [t for t in best.source[:-1] if t not in model.source.vocabulary],
            "seconds": seconds,
        }
        told = best.text
        if self.n_best > 1:
            answer["alternatives"] = [
                {"output": t.text, "log_probability": t.log_probability, "score": t.score}
                for t in found
            ]
            told = "\n".join(f"{t.score:8.3f}  {t.text}" for t in found)
        return {**answer, "text": told}

    # Pictures.

    def draw(self, model: Translator, points: Points, folder: Path) -> list[Path]:
        pairs = self.corpus.development
        shown = self.written(model, pairs.take(range(min(DRAWN, len(pairs)))))
        maps = [
            (t.source, (*t.tokens, *["</s>"] * t.finished), t.weights)
            for t in shown
            if t.weights is not None
        ]
        return [draw_attention(folder / "attention.png", maps)] if maps else []


SCORE_EQUATIONS = {
    "additive": "score = vᵀ tanh(W h + U m)",
    "dot": "score = hᵀ m",
    "scaled_dot": "score = hᵀ m / √size",
    "general": "score = hᵀ W m",
    "location": "score = W h",
}
CHOICE_EQUATIONS = {
    "soft": "cᵗ = Σₛ pˢ mˢ",
    "reinforce": "cᵗ = mⁱ, i drawn from p; ∇ by REINFORCE",
    "gumbel": "cᵗ = mⁱ, i drawn from p; ∇ through softmax(ln p + g)",
    "marginal": "p(yᵗ) = Σₛ pˢ p(yᵗ | cᵗ = mˢ)",
}
