"""What exercises share that learn to write one text for another."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch

from saiki import capabilities, processes
from saiki.data.text.pair_rows import Batch, PairRows, TextPairs
from saiki.data.text.pairs import Pairs
from saiki.data.text.plain_text import LINE
from saiki.decoding.decode import Search
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, placed, untrained
from saiki.experiments.groups.attention import Attending
from saiki.experiments.groups.decoding import Decoding
from saiki.experiments.groups.layers import TokenLayers
from saiki.experiments.groups.targets import Forcing, label_smoothing, tied
from saiki.knobs import knob
from saiki.models.decoder import Decoder
from saiki.models.encoder import Encoder
from saiki.models.masked_lm import MaskedLM
from saiki.models.parts import Parts, Reading, in_two
from saiki.models.seq2seq import Seq2Seq, WrittenText
from saiki.models.translator import Translator, prediction_of
from saiki.optimisation import Optimisation
from saiki.plots.attention import draw_attention
from saiki.prediction import Prediction, PredictsTogether
from saiki.saving.pretrained import of_run
from saiki.text import Text

MOST_DRAWN = 4
"""Translations whose attention is drawn."""


class TextToText(
    capabilities.Annotates,
    capabilities.Draws,
    capabilities.DrawsAnswers,
    capabilities.Exports,
    capabilities.Monitors,
    PredictsTogether,
    capabilities.Samples,
    capabilities.Summarises,
    Experiment[Translator, Batch],
):
    """An encoder-decoder from text to text; a subclass says from where the texts come."""

    recurrent: TokenLayers = TokenLayers(dropout=0.4)
    attending: Attending = Attending()
    input_feeding: bool = knob(False, "whether the decoder sees what was read in the step before")
    tied: bool = tied()
    label_smoothing: float = label_smoothing()
    forcing: Forcing = Forcing()
    encoder: str = knob(
        "", "run folder of masked-lm; what its encoder learned is begun with", is_path=True
    )
    duration: Epochs = Epochs(epochs=14.0, updates=2000)
    decoding: Decoding = Decoding()
    most_tokens: int = knob(
        2000, "tokens of a text that is read, when used; a longer one is refused", minimum=1
    )
    also: str = knob("", "run folders, with commas between, whose models decide too")
    optimisation: Optimisation = Optimisation(
        batch_size=64,
        learning_rate=0.001,
        schedule="cosine",
        warmup=0.03,
        clip_norm=1.0,
        average=0.999,
    )

    selected_by: ClassVar[str] = "validation_loss"
    points: ClassVar[int] = 40
    takes = LINE
    predict_knobs: ClassVar[tuple[str, ...]] = (*Decoding.knobs(), "most_tokens", "also", "seed")
    predict_batch: ClassVar[int] = 256

    def validate(self) -> None:
        looks, writes = self.attending, self.decoding
        if looks.attention == "none" and (
            writes.copy_unknown or looks.coverage or writes.coverage_penalty
        ):
            raise InputError("without attention nothing can be copied or covered")

    @cached_property
    @abstractmethod
    def data(self) -> TextPairs:
        """What is read, and what is to be written."""

    @abstractmethod
    def figures_of(self, pairs: Pairs, written: Sequence[WrittenText]) -> dict[str, float]:
        """Figures of what was written for the sources of ``pairs``."""

    def model(self) -> Translator:
        source, target = self.data.texts
        longest = self._longest if self.attending.needs_longest else None
        model = self.network(source, target, longest)
        if self.encoder:
            self._learned().hand_over(model.members[0].encoder, source.vocabulary)
        return model

    def network(self, source: Text, target: Text, longest: int | None) -> Translator:
        """A new model of these languages, for sources of ``longest`` tokens if the attention needs
        to know."""
        layers, size, known = self.recurrent, self.recurrent.embedding_size, len(source.vocabulary)
        reads = layers.build(size)
        attention = self.attending.build(layers.hidden_size, reads.output_size, longest)
        readout = size if self.tied else layers.hidden_size
        cells = layers.build_cells(size + (readout if self.input_feeding else 0))
        how = layers.dropout, self.input_feeding, self.tied
        encoder = Encoder(known, size, reads, layers.dropout)
        decoder = Decoder(len(target.vocabulary), size, cells, attention, readout, *how)
        model = Seq2Seq(encoder, decoder, self.attending.baseline)
        return Translator([model], source, target)

    def _learned(self) -> MaskedLM:
        """The masked language model whose encoder this one begins with."""
        learned, about = of_run(self.encoder)
        if not isinstance(learned, MaskedLM):
            raise InputError(f"{self.encoder} is a run of {about['run'][0]}, not of masked-lm")
        return learned

    @cached_property
    def _longest(self) -> int:
        """Room for sources twice as long as those learned from."""
        (source, _), parts = self.data.texts, self.data.corpus
        return 2 * max(len(source.split(text)) + 1 for part in parts for text in part.source)

    def exported(self, model: Translator) -> Parts:
        """What reads a source, and one step of what writes."""
        source, lengths, _, _ = placed(self.data.example(), model)
        return in_two(model.members[0], Reading(model.members[0]), (source, lengths))

    def metadata(self, model: Translator) -> dict[str, str]:
        return {**model.source.metadata("source_"), **model.target.metadata("target_")}

    def describe_data(self) -> str:
        if self.encoder:
            self._learned()
        return super().describe_data()

    def measure(self, model: Translator, batch: Batch) -> Measures:
        source, source_lengths, target, target_lengths = batch
        learner = model.members[0]
        forced = self.forcing.teacher_forcing if model.training else 1.0
        smoothing = self.label_smoothing if model.training else 0.0
        written = learner.write(source, source_lengths, target, target_lengths, forced)
        # each pair counts by its length, so that the parts of a batch add up to the whole
        share = len(written.targets) / (len(source) * self.data.rows.mean_length)
        return {"loss": share * learner.loss(written, smoothing, self.attending.entropy)}

    def monitor(self, model: Translator) -> dict[str, float]:
        held = PairRows.of(self.data.corpus.development, *self.data.texts)
        sums = torch.zeros(2, dtype=torch.float64)
        learner = model.members[0]
        with torch.no_grad():
            for batch in held.by_length(self.optimisation.batching.batch_size):
                written = learner.write(*placed(batch, model))
                count = len(written.targets)
                sums += torch.tensor([count * learner.loss(written).item(), count])
        total, count = processes.total(sums).tolist()
        figures = {"validation_loss": total / count}
        if not math.isfinite(total):  # nor would there be anything to decode
            return dict.fromkeys(self.shown[1:], math.nan) | figures
        shown = self.written(model, self.data.corpus.development, Search("greedy"))
        return figures | self.figures_of(self.data.corpus.development, shown)

    def summarise(self, curve: Sequence[Mapping[str, float]]) -> Figures:
        return {"loss": curve[-1]["validation_loss"]} if curve else {}

    def written(
        self, model: Translator, pairs: Pairs, search: Search | None = None
    ) -> list[WrittenText]:
        """The best translation of each source."""
        search = search or self.decoding.build(self.seed)
        hypotheses = model.translate(pairs.source, search, copy_unknown=self.decoding.copy_unknown)
        return [translations[0] for translations in hypotheses]

    def sample(self, model: Translator) -> str:
        pairs = self.data.corpus.development
        one = pairs.select([0])
        return f"{one.source[0]} → {self.written(model, one, Search('greedy'))[0].text}"

    def predict_together(self, model: Translator, texts: Sequence[str]) -> list[Prediction]:
        some = [text for text in texts if text.strip()]
        written = iter(self._translated(model, some) if some else [])
        known = model.source.vocabulary
        return [
            prediction_of(text, next(written), known)
            if text.strip()
            else Prediction(input=text, output="", text="")
            for text in texts
        ]

    def _translated(self, model: Translator, texts: Sequence[str]) -> list[list[WrittenText]]:
        for text in texts:
            count = len(model.encoded(text)) - 1
            if count > self.most_tokens:
                raise InputError(
                    f"a text of {count:,} tokens is longer than the {self.most_tokens:,} that are "
                    "read: the work grows with the square of its length; give it in parts, a line "
                    "of a file each, or raise --most-tokens"
                )
        search = self.decoding.build(self.seed)
        return self._together(model).translate(texts, search, **self.decoding.constraints(texts))

    @cached_property
    def _others(self) -> list[tuple[str, Translator]]:
        """The folders of the other runs, and their models."""
        models = []
        for folder in filter(None, (part.strip() for part in self.also.split(","))):
            other, about = of_run(folder)
            if not isinstance(other, Translator):
                raise InputError(f"{folder} is a run of {about['run'][0]}, which decodes no text")
            models.append((folder, other))
        return models

    def _together(self, model: Translator) -> Translator:
        """The model with those of the other runs."""
        for folder, other in self._others:
            try:
                model = model.together_with(other)
            except InputError as error:
                raise InputError(f"{folder} {error}") from None
        return model

    def draw_answers(self, model: Translator, texts: Sequence[str], path: Path) -> Path:
        """What was read for each word of the best answers."""
        if len(texts) > MOST_DRAWN:
            raise InputError(f"a picture has room for {MOST_DRAWN} texts, got {len(texts)}")
        maps = [translations[0].alignment for translations in self._translated(model, texts)]
        alignments = [alignment for alignment in maps if alignment is not None]
        if not alignments:
            raise InputError("a model without attention has none to draw")
        return draw_attention(path, alignments)

    def draw(self, model: Translator, points: Points, folder: Path) -> list[Path]:
        pairs = self.data.corpus.development
        shown = self.written(model, pairs.select(range(min(MOST_DRAWN, len(pairs)))))
        maps = [alignment for t in shown if (alignment := t.alignment) is not None]
        return [draw_attention(folder / "attention.png", maps, self.title)] if maps else []

    def equations(self) -> str:
        words = Text.learn("words", ["word"])
        longest = 1 if self.attending.needs_longest else None
        model = untrained(lambda: self.network(words, words, longest)).equations()
        smoothed = f", smoothed by {self.label_smoothing:g}" if self.label_smoothing else ""
        return f"{model}\nE = −Σₜ ln p(yᵗ){smoothed}"
