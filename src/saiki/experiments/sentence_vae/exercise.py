"""Sentences as codes: a few numbers that each becomes, and new sentences from such numbers."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from saiki.capabilities import Annotates, Describes, Draws, Exports, Monitors
from saiki.data.text import sentence_rows
from saiki.data.text.plain_text import LINE
from saiki.decoding.decode import Search
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, untrained
from saiki.experiments.groups.comparison import Difference, compare, spread
from saiki.experiments.groups.decoding import Decoding
from saiki.experiments.groups.latent import Divergence, collapses
from saiki.experiments.groups.layers import TokenLayers
from saiki.experiments.sentence_vae import codes
from saiki.experiments.sentence_vae.source import Batch, SentenceDataset, SentenceSource
from saiki.knobs import Value, knob
from saiki.layers.stack import Stack
from saiki.metrics.latent import active_units
from saiki.metrics.text import perplexity
from saiki.models.parts import Parts
from saiki.models.sentence_vae import Sentence, SentenceVAE, parts_of
from saiki.models.sequence_vae import SequenceVAE
from saiki.optimisation import Optimisation
from saiki.plots.latent import draw_course
from saiki.plots.sentences import draw_by_length
from saiki.prediction import Prediction
from saiki.text import Text

DEAR = 5.0
"""Per cent by which the perplexity may be above that of the language model."""
FREE: Mapping[str, Value] = {"annealing": 0.0, "free_bits": 0.0, "word_dropout": 0.0}
"""Nothing that keeps the code in use."""
PLAIN: Mapping[str, Value] = {"latent_size": 0, "word_dropout": 0.0}
"""The decoder alone."""


def _comes_back(trials: Sequence[Trial]) -> tuple[bool, str]:
    without, with_code = (spread(trial.values("reconstruction_accuracy")) for trial in trials)
    gained = compare(trials[0], trials[1], "reconstruction_accuracy")
    return gained.is_more, f"with a code {with_code}, without {without}; more by {gained}"


def _costs_little(trials: Sequence[Trial]) -> tuple[bool, str]:
    plain, coded = (trial.values("perplexity") for trial in trials)
    dearer = [100 * (b / a - 1) for a, b in zip(plain, coded, strict=True)]
    beyond = Difference.of([percent - DEAR for percent in dearer])
    message = f"with a code {spread(coded)}, without {spread(plain)}, above by {spread(dearer)} %"
    return beyond.is_less, f"{message}; beyond {DEAR:g} % {beyond}"


CLAIMS = (
    Claim(
        "Without annealing, free bits and word dropout the posterior of a code is its prior, 0.1 "
        "nats a sentence at most; with them it tells 1 nat at least",
        "small",
        ({}, FREE),
        partial(collapses, unit="sentence"),
    ),
    Claim(
        "With a code more of the words of a sentence come back at their place than the language "
        "model says by itself",
        "small",
        (PLAIN, {}),
        _comes_back,
    ),
    Claim(
        "A code that is used costs less than 5 % of perplexity beside the language model of the "
        "same decoder",
        "small",
        (PLAIN, {}),
        _costs_little,
    ),
)


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
        "collapse": FREE,
        "plain": PLAIN,
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
        self.decoding.refuse_copies(
            "a sentence is written from a code, so no word is copied and none covered"
        )

    @cached_property
    def data(self) -> SentenceDataset:
        batching, weight = self.optimisation.batching, self.divergence.schedule(self)
        return SentenceDataset(batching, self.source, weight, self.dtype)

    def describe_data(self) -> str:
        self.decoding.check_phrases(self.data.text)
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
        bound = model.model.bound(tokens, lengths)
        return self.divergence.measures(bound, weight)

    def monitor(self, model: SentenceVAE) -> dict[str, float]:
        measures = codes.measure_sentences(model, self.data.parts.development)
        return measures.validation(self.divergence.beta)

    def evaluate(self, model: SentenceVAE) -> Figures:
        test = self.data.parts.test
        measures = self.evaluated[model] = codes.measure_sentences(model, test)
        some, draws = sentence_rows.spread(test, self.nll_sentences), self.nll_samples
        closer = codes.measure_sentences(model, some, draws if self.latent_size else 1)
        return {
            "elbo": -measures.reconstruction - measures.kl,
            "nll": closer.nll,
            "kl": measures.kl,
            "active_units": active_units(measures.codes),
            "perplexity": perplexity(closer.nll_of_token),
            "reconstruction_accuracy": codes.reconstruction_accuracy(model, test, measures.codes),
        }

    def describe_model(self, model: SentenceVAE) -> str:
        search = Search("sample", seed=self.seed)
        lines = ["new sentences:", *codes.new(model, SAMPLED, search)]
        if self.latent_size:
            first, *_ = codes.paths(model, codes.shown_of(self.data.parts.test))
            lines += ["between two sentences:", *first]
        return "\n".join(line if line.endswith(":") else f"  {line}" for line in lines)

    def draw(self, model: SentenceVAE, points: Points, folder: Path) -> list[Path]:
        rows = self.data.parts
        pictures = [codes.write_table(folder / codes.FILE, model, rows.test, rows.train)]
        if self.latent_size:
            measures = self.evaluated.get(model) or codes.measure_sentences(model, rows.test)
            cost = measures.divergences.mean(0).tolist()
            pictures.append(draw_course(folder / "course.png", points, cost, self.title))
        if self.latent_size > 1:
            lengths = (rows.test.lengths - 1).tolist()
            path = folder / "codes.png"
            pictures.append(draw_by_length(path, measures.codes, lengths, self.title))
        return pictures

    def predict(self, model: SentenceVAE, text: str) -> Prediction:
        samples = self.nll_samples if self.latent_size else 1

        def write(z: Tensor, tokens: int) -> list[list[Sentence]]:
            search, limit = self.decoding.build(self.seed), max(model.longest, tokens)
            return model.write(z, search, limit, self.decoding.begin_with, self.decoding.phrases)

        return codes.prediction_of(model, text, write, samples, self.between, self.seed)

    def exported(self, model: SentenceVAE) -> Parts:
        return parts_of(model.model)

    def metadata(self, model: SentenceVAE) -> dict[str, str]:
        return model.text.metadata()

    def equations(self) -> str:
        model = untrained(lambda: self.network(Text.learn("words", ["word"]))).equations()
        weighed = f" + {self.divergence.equation()}" if self.latent_size else ""
        code = ", z" if self.latent_size else ""
        return f"{model}\nE = −Σₜ ln p(xᵗ | x¹ … xᵗ⁻¹{code}){weighed}"
