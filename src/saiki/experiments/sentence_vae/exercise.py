"""Sentences as codes: a few numbers that each becomes, and new sentences from such numbers."""

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from saiki.capabilities import Annotates, Describes, Draws, Exports, Monitors
from saiki.data.text.plain_text import LINE
from saiki.data.text.sentence_rows import spread
from saiki.decoding.decode import Search
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, untrained
from saiki.experiments.groups.decoding import Decoding
from saiki.experiments.groups.latent import Divergence
from saiki.experiments.groups.layers import TokenLayers
from saiki.experiments.sentence_vae.answers import prediction_of
from saiki.experiments.sentence_vae.claims import CLAIMS
from saiki.experiments.sentence_vae.codes import (
    FILE,
    SentenceMeasures,
    measure_sentences,
    new,
    reconstruction_accuracy,
    shown_of,
    ways,
    write_table,
)
from saiki.experiments.sentence_vae.source import Batch, SentenceDataset, SentenceSource
from saiki.knobs import Value, knob
from saiki.layers.stack import Stack
from saiki.metrics.latent import active_units
from saiki.metrics.text import perplexity
from saiki.models.sentence_vae import Sentence, SentenceVAE, parts_of
from saiki.models.sequence_vae import SequenceVAE
from saiki.optimisation import Optimisation
from saiki.plots.latent import draw_course
from saiki.plots.sentences import draw_by_length
from saiki.prediction import Prediction
from saiki.text import Text
from saiki.weak import WeakKeys

SAMPLED = 5
"""New sentences that are shown in the end."""


OF_CODE = (*Divergence.knobs(), "bidirectional", "nll_samples", "between")
"""Knobs that have no effect without a code."""
SMALL: dict[str, Value] = {
    "sentences": 10_000,
    "vocabulary": 2500,
    "hidden_size": 128,
    "embedding_size": 64,
    "batch_size": 64,
    "epochs": 5.0,
    "log_every": 50,
    "nll_sentences": 200,
}
"""What teaches something within an hour."""


class SentenceCodes(Annotates, Describes, Draws, Exports, Monitors, Experiment[SentenceVAE, Batch]):
    """A recurrent encoder makes a code of a sentence, a distribution that is held to mean 0 and
    variance 1, and a recurrent decoder writes the sentence from it, so that codes that are drawn
    become new sentences. English sentences, or text of yours in any language. The default is also
    called ``good``.
    """

    source: SentenceSource = SentenceSource()
    recurrent: TokenLayers = TokenLayers(
        cell="gru", hidden_size=192, embedding_size=96, dropout=0.2
    )
    latent_size: int = knob(
        16, "numbers of a code; 0: none, a plain language model", minimum=0, maximum=8192
    )
    word_dropout: float = knob(
        0.3, "share of the words before that the decoder is not shown", minimum=0, maximum=1
    )
    divergence: Divergence = Divergence(annealing=0.5, free_bits=0.4)
    nll_samples: int = knob(
        50, "codes drawn for each sentence when nll is estimated", minimum=1, maximum=100_000
    )
    nll_sentences: int = knob(500, "test sentences that nll is of; 0: all", minimum=0)
    decoding: Decoding = Decoding(method="greedy", length_penalty=0.0)
    between: int = knob(
        5, "sentences on the way from one to the next, when used", minimum=0, maximum=1000
    )
    duration: Epochs = Epochs(epochs=6.0, updates=500, log_every=100)
    optimisation: Optimisation = Optimisation(
        batch_size=128, learning_rate=0.004, warmup=0.05, schedule="cosine", clip_norm=10.0,
        keep="best",
    )  # fmt: skip

    name = "sentence-vae"
    summary = "make a code of a sentence, and new sentences of codes"
    score = "elbo"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "kl", "active_units")
    takes = LINE
    points = 40
    minutes = 5
    predict_knobs = (*Decoding.knobs(), "between", "nll_samples", "seed")
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL | {"updates": 100, "most_updates": 120},
        "collapse": {"annealing": 0.0, "free_bits": 0.0, "word_dropout": 0.0},
        "plain": {"latent_size": 0, "word_dropout": 0.0},
    }  # fmt: skip
    claims = CLAIMS

    def validate(self) -> None:
        if not self.latent_size:
            changed = (n for n in OF_CODE if self.to_dict()[n] != self.knob(n).default)
            if name := next(changed, ""):
                raise InputError(
                    f"{name} is of a code, and without one (latent_size 0) has no effect; leave it "
                    "out"
                )
        if self.decoding.copy_unknown or self.decoding.coverage_penalty:
            raise InputError(
                "a sentence is written from a code, so no word is copied and none covered; leave "
                "out copy_unknown and coverage_penalty"
            )

    @cached_property
    def data(self) -> SentenceDataset:
        def weight(update: int) -> float:
            return self.divergence.weight(update, self.iterations)

        return SentenceDataset(self.optimisation.batching, self.source, weight, self.dtype)

    def describe_data(self) -> str:
        for phrase in (self.decoding.begin_with, *self.decoding.phrases):
            self.data.text.phrase(phrase)  # what cannot be written is told now
        return super().describe_data()

    def model(self) -> SentenceVAE:
        return self.network(self.data.text)

    def network(self, text: Text) -> SentenceVAE:
        """A new model of this language."""
        layers, size = self.recurrent, self.recurrent.embedding_size
        encoder = layers.build(size) if self.latent_size else None
        decoder = Stack(layers.build_cells(size + self.latent_size), layers.dropout)
        how = len(text.vocabulary), self.word_dropout, layers.dropout
        model = SequenceVAE(encoder, decoder, self.latent_size, *how)
        return SentenceVAE(model, text, self.source.known.longest)

    def measure(self, model: SentenceVAE, batch: Batch) -> Measures:
        tokens, lengths, weight = batch
        found = model.model.bound(tokens, lengths)
        return self.divergence.measures(found, weight)

    def monitor(self, model: SentenceVAE) -> dict[str, float]:
        found = measure_sentences(model, self.data.parts.development)
        return found.validation(self.divergence.beta)

    @cached_property
    def _measured(self) -> WeakKeys[SentenceVAE, SentenceMeasures]:
        """What a model made of the test sentences when it was evaluated last."""
        return WeakKeys()

    def evaluate(self, model: SentenceVAE) -> Figures:
        test = self.data.parts.test
        found = self._measured[model] = measure_sentences(model, test)
        some, draws = spread(test, self.nll_sentences), self.nll_samples
        closer = measure_sentences(model, some, draws if self.latent_size else 1)
        return {
            "elbo": -found.reconstruction - found.kl,
            "nll": closer.nll,
            "kl": found.kl,
            "active_units": active_units(found.codes),
            "perplexity": perplexity(closer.nll_of_token),
            "reconstruction_accuracy": reconstruction_accuracy(model, test, found.codes),
        }

    def describe_model(self, model: SentenceVAE) -> str:
        lines = [f"  {text}" for text in new(model, SAMPLED, Search("sample", seed=self.seed))]
        for said in ways(model, shown_of(self.data.parts.test))[: bool(self.latent_size)]:
            lines += ["between two sentences:", *(f"  {text}" for text in said)]
        return "\n".join(["new sentences:", *lines])

    def draw(self, model: SentenceVAE, points: Points, folder: Path) -> list[Path]:
        rows = self.data.parts
        drawn = [write_table(folder / FILE, model, rows.test, rows.train)]
        if self.latent_size:
            found = self._measured.get(model) or measure_sentences(model, rows.test)
            cost = found.divergences.mean(0).tolist()
            drawn.append(draw_course(folder / "course.png", points, cost, self.title))
        if self.latent_size > 1:
            lengths = (rows.test.lengths - 1).tolist()
            path = folder / "codes.png"
            drawn.append(draw_by_length(path, found.codes, lengths, self.title))
        return drawn

    def predict(self, model: SentenceVAE, text: str) -> Prediction:
        samples = self.nll_samples if self.latent_size else 1
        write = partial(self.written, model)
        return prediction_of(model, text, write, samples, self.between, self.seed)

    def written(self, model: SentenceVAE, codes: Tensor, tokens: int) -> list[list[Sentence]]:
        """What codes lead to, of as many ``tokens`` at least where it takes them."""
        search, limit = self.decoding.build(self.seed), max(model.longest, tokens)
        return model.write(codes, search, limit, self.decoding.begin_with, self.decoding.phrases)

    def exported(self, model: SentenceVAE) -> Mapping[str, tuple[nn.Module, Any]]:
        """What makes codes, what the decoder begins with, and one step of it."""
        return parts_of(model)

    def metadata(self, model: SentenceVAE) -> dict[str, str]:
        return model.text.metadata()

    def equations(self) -> str:
        model = untrained(lambda: self.network(Text.learn("words", ["word"]))).equations()
        weighed = f" + {self.divergence.equation()}" if self.latent_size else ""
        given = ", z" if self.latent_size else ""
        return f"{model}\nE = −Σₜ ln p(xᵗ | x¹ … xᵗ⁻¹{given}){weighed}"
