"""Masked words: a network that reads in both directions restores words that are hidden."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki import processes
from saiki.capabilities import Annotates, Describes, Draws, Monitors, Samples
from saiki.data.text.hidden_words import Batch, CorpusSource, HiddenWords
from saiki.data.text.masking import Masking
from saiki.data.text.plain_text import LINE
from saiki.duration import Updates
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.groups.layers import TokenLayers
from saiki.experiments.groups.targets import tied
from saiki.knobs import Value
from saiki.metrics import classes
from saiki.metrics.text import perplexity
from saiki.models.masked_lm import MaskedLM
from saiki.optimisation import Optimisation
from saiki.plots.curves import Curve, curves_of, draw_curves
from saiki.prediction import Prediction, PredictsTogether
from saiki.text import FIRST, Text

SHOWN, CANDIDATES = 6, 5
"""Restorations, and candidates for a word."""
SMALL: dict[str, Value] = {
    "sentences": 100_000,
    "vocabulary": 5000,
    "hidden_size": 128,
    "embedding_size": 128,
    "iterations": 1000,
    "log_every": 250,
    "learning_rate": 0.005,
}
"""What teaches something within an hour."""


def _judge(trials: Sequence[Trial]) -> tuple[bool, str]:
    both, one = (trial.values("dev_perplexity") for trial in trials)
    unigram = trials[0].mean("unigram_perplexity")
    figures = (
        f"perplexity with both directions {_mean_and_range(both)}, with one "
        f"{_mean_and_range(one)}, of the unigram model {unigram:.1f}"
    )
    pairs = itertools.product(both, one)
    return all(b < o < unigram for b, o in pairs), figures


def _mean_and_range(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


CLAIMS = (
    Claim(
        "With both directions the perplexity is lower than with one, and with one lower than "
        "that of a unigram model",
        "small",
        ({}, {"bidirectional": False}),
        _judge,
    ),
)


class MaskedLanguage(
    Annotates, Describes, Draws, Monitors, PredictsTogether, Samples, Experiment[MaskedLM, Batch]
):
    """A bidirectional recurrent network learns to restore words that are hidden from it, of English
    novels or of a text of yours. What it has learned can be handed over to the encoder of a
    translator.
    """

    source: CorpusSource = CorpusSource()
    masking: Masking = Masking()
    recurrent: TokenLayers = TokenLayers(dropout=0.1)
    tied: bool = tied()
    duration: Updates = Updates(iterations=3000, log_every=300)
    optimisation: Optimisation = Optimisation(
        batch_size=64,
        learning_rate=0.002,
        schedule="linear",
        warmup=0.05,
        clip_norm=1.0,
        keep="best",
    )

    name = "masked-lm"
    summary = "restore masked words, from both directions; an encoder to start from"
    minutes = 43
    score = "dev_accuracy"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "dev_perplexity")
    takes = LINE
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL
        | {"hidden_size": 64, "embedding_size": 64, "iterations": 80, "log_every": 80},
    }
    claims = CLAIMS

    @cached_property
    def data(self) -> HiddenWords:
        return HiddenWords(self.optimisation.batching, self.source, self.masking)

    def model(self) -> MaskedLM:
        return self.network(self.data.corpus.text)

    def network(self, text: Text) -> MaskedLM:
        """A new model of this text."""
        return MaskedLM(self.recurrent.build_encoder(len(text.vocabulary)), text, self.tied)

    def measure(self, model: MaskedLM, batch: Batch) -> Measures:
        tokens, lengths, chosen, words = batch
        v = model(tokens, lengths, chosen)
        loss = F.cross_entropy(v, words)
        # of the type of the loss: v may be in bfloat16, which rounds a share by up to 0.2 %
        return {"loss": loss, "accuracy": (v.argmax(1) == words).to(loss.dtype).mean()}

    def monitor(self, model: MaskedLM) -> dict[str, float]:
        held = self.data.kept_apart(processes.part(len(self.data.corpus.development)))
        loss, accuracy = classes.means(processes.total(self._sums(model, held)))
        figures = {"validation_loss": loss, "validation_accuracy": accuracy}
        return {**figures, "dev_perplexity": perplexity(loss)}

    def evaluate(self, model: MaskedLM) -> Figures:
        loss, accuracy = classes.means(self._sums(model, self.data.kept_apart()))
        figures = {"dev_perplexity": perplexity(loss), "dev_accuracy": accuracy}
        return {**figures, **self.data.unigram}

    @torch.no_grad()
    def _sums(self, model: MaskedLM, batches: Iterator[Batch]) -> Tensor:
        """Over the hidden words."""
        moved = (placed(batch, model) for batch in batches)
        return classes.sums((len(batch[3]), self.measure(model, batch)) for batch in moved)

    def sample(self, model: MaskedLM) -> str:
        return "".join(self._restorations(model, 1))

    def describe_model(self, model: MaskedLM) -> str:
        return "\n".join(self._restorations(model, SHOWN))

    def _restorations(self, model: MaskedLM, count: int) -> Iterator[str]:
        """Sentences kept apart with one word hidden, and what the model makes of it."""
        for hidden, wanted in self.data.gaps(count):
            word, p = model.restore([hidden])[0].candidates[0][0]
            yield f"{hidden} → {word} ({p:.0%}){'' if word == wanted else f', not {wanted}'}"

    def draw(self, model: MaskedLM, points: Points, folder: Path) -> list[Path]:
        perplexity = curves_of(points).get("dev_perplexity")
        if perplexity is None:
            return []
        last = perplexity[0][-1]
        lines: dict[str, list[Curve]] = {
            "masked language model": [perplexity],
            "unigram model": [([0, last], [self.data.unigram["unigram_perplexity"]] * 2)],
        }
        path, name = folder / "perplexity.png", "perplexity of hidden words"
        return [draw_curves(path, lines, ylabel=name, kind="magnitude", title=self.title)]

    def predict_together(self, model: MaskedLM, texts: Sequence[str]) -> list[Prediction]:
        restored = model.restore(texts, CANDIDATES)
        return [each.prediction(text) for each, text in zip(restored, texts, strict=True)]

    def metadata(self, model: MaskedLM) -> dict[str, str]:
        return {**model.text.metadata(), "first_word": str(FIRST)}

    def equations(self) -> str:
        one_word = Text.learn("words", ["word"])
        model = untrained(lambda: self.network(one_word)).equations()
        loss = "E = −ln p(word), the mean over the words chosen"
        return f"{self.masking.equation()}\n{model}\n{loss}"
