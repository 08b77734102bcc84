"""Dialogue: what is said next, by the turn before or by all that was said."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from saiki.capabilities import (
    Annotates,
    Describes,
    Draws,
    DrawsAnswers,
    DrawsComparisons,
    Exports,
    Monitors,
    Scores,
)
from saiki.data.text.dialogue_rows import DialogueRows, Turns
from saiki.data.text.dialogues import DIALOGUE, Dialogue, read_dialogues
from saiki.decoding.decode import Search
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, Trial, only, untrained
from saiki.experiments.dialogue.claims import CLAIMS, SMALL
from saiki.experiments.dialogue.model import DialogueModel, judge, parts_of
from saiki.experiments.dialogue.replies import (
    FILE,
    alignments,
    by_turn,
    compared,
    in_words,
    keep,
    manner_of,
    prediction_of,
    shown_of,
    side_by_side,
    some_of,
)
from saiki.experiments.dialogue.source import Batch, DialogueDataset, DialogueSource
from saiki.experiments.groups.decoding import Decoding
from saiki.knobs import Value, knob
from saiki.models.dialogue import Dialoguer, Reply
from saiki.optimisation import Optimisation
from saiki.plots.attention import draw_attention
from saiki.plots.curves import curves_of, draw_curves
from saiki.prediction import Prediction
from saiki.text import Text
from saiki.text.vectors import Vectors, read

DRAWN = 4
"""Replies of which is drawn what they look at."""


class Conversing(
    Annotates,
    Describes,
    Draws,
    DrawsAnswers,
    DrawsComparisons,
    Exports,
    Monitors,
    Scores,
    Experiment[Dialoguer, Batch],
):
    """A hierarchical recurrent encoder-decoder says what comes next in a dialogue: one network
    reads a turn, another one follows the turns, a third one writes. English conversations, or
    dialogues of yours in any language.
    """

    source: DialogueSource = DialogueSource()
    of_dialogue: DialogueModel = DialogueModel()
    vectors: str = knob(
        "", "word vectors, a file, by which replies are compared with what was said", is_path=True
    )
    context: int = knob(
        0, "turns before a reply that count when it is judged and when used; 0: all", minimum=0
    )
    decoding: Decoding = Decoding(method="sample", n_best=3, top_p=0.9, length_penalty=0.0)
    duration: Epochs = Epochs(epochs=3.0, updates=300)
    optimisation: Optimisation = Optimisation(
        batch_size=8, learning_rate=0.004, schedule="cosine", warmup=0.1, clip_norm=1.0,
        keep="best",
    )  # fmt: skip

    name = "dialogue"
    summary = "say what comes next in a conversation: HRED, VHRED"
    minutes = 20
    score = "neg_perplexity"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "perplexity_turn_3", "kl")
    takes = DIALOGUE
    points = 20
    predict_knobs = (*Decoding.knobs(), "context", "draws", "vectors", "seed")
    predict_batch = 64
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL | {"hidden_size": 64, "updates": 60, "most_updates": 60},
    }  # fmt: skip
    claims = CLAIMS

    def validate(self) -> None:
        if self.decoding.copy_unknown or self.decoding.coverage_penalty:
            raise InputError(
                "unknown words of a dialogue are not copied, and not all of it is said again; "
                "leave out copy_unknown and coverage_penalty"
            )

    @cached_property
    def data(self) -> DialogueDataset:
        def weight(update: int) -> float:
            return self.of_dialogue.latent.divergence.weight(update, self.iterations)

        return DialogueDataset(self.optimisation.batching, self.source, weight, self.dtype)

    @cached_property
    def development(self) -> DialogueRows:
        return self.source.whole(self.data.parts.development, self.data.text, self.context)

    @cached_property
    def word_vectors(self) -> Vectors | None:
        return read(Path(self.vectors)) if self.vectors else None

    def describe_data(self) -> str:
        for phrase in (self.decoding.begin_with, *self.decoding.phrases):
            self.data.text.phrase(phrase)  # what cannot be written is told now, as are bad files
        vectors = f"; {len(self.word_vectors):,} word vectors" if self.word_vectors else ""
        return super().describe_data() + vectors

    def exported(self, model: Dialoguer) -> Mapping[str, tuple[nn.Module, Any]]:
        """What reads a dialogue, and one step of what writes the reply."""
        return parts_of(model)

    def metadata(self, model: Dialoguer) -> dict[str, str]:
        return model.text.metadata()

    def model(self) -> Dialoguer:
        return self.of_dialogue.build(self.data.text, self.source.known.longest)

    def measure(self, model: Dialoguer, batch: Batch) -> Measures:
        *parts, weight = batch
        turns, latent = Turns(*parts), self.of_dialogue.latent
        drop = self.of_dialogue.word_drop if model.training else 0.0
        replies = model(*turns, drop=drop, words=latent.bag_of_words > 0)
        # each piece counts by its tokens, so that the parts of a batch add up to the whole
        share = 1 / (int((turns.place == 0).sum()) * self.data.rows.mean_tokens)
        loss, kl = -replies.bound.log_likelihood.sum(), replies.bound.divergence
        if self.of_dialogue.is_latent:
            loss = loss + weight * len(kl) * latent.divergence.cost(kl)
        if replies.of_words is not None:
            loss = loss - latent.bag_of_words * replies.of_words.sum()
        return {"loss": share * loss, "kl": kl.sum(1).mean().detach()}

    def monitor(self, model: Dialoguer) -> dict[str, float]:
        found = judge(model, self.development, 1)
        later = found.perplexity(3)
        return {
            "validation_loss": sum(found.nll.values()) / sum(found.tokens.values()),
            "perplexity_turn_3": float("nan") if later is None else later,
            "validation_kl": found.kl / found.replies,
            "active_units": float(found.active_units),
        }

    def evaluate(self, model: Dialoguer) -> Figures:
        return self.figures(model, self.data.parts.test)

    def figures(self, model: Dialoguer, part: Sequence[Dialogue]) -> Figures:
        """How well a model tells the replies of dialogues, and what its own are like."""
        draws = self.of_dialogue.latent.draws if self.of_dialogue.is_latent else 1
        told = judge(model, self.source.whole(part, model.text, self.context), draws).figures()
        asked, truth = some_of(part)
        found = self.written(model, asked, Search("sample", seed=self.seed))
        true = [model.text.split(turn) for turn in truth]
        manner = manner_of([replies[0].tokens for replies in found], true, self.word_vectors)
        return {**told, "neg_perplexity": -(told["perplexity"] or float("nan")), **manner}

    def written(
        self, model: Dialoguer, asked: Sequence[Sequence[str]], search: Search | None = None
    ) -> list[list[Reply]]:
        """Replies to dialogues, each as long as a turn that is learned from at most."""
        cut = [turns[-self.context :] for turns in asked]  # all of it where that is 0
        how: dict[str, Any] = {"limit": self.source.known.longest}
        if search is None:
            search = self.decoding.build(self.seed)
            how["must_hold"] = self.decoding.phrases
            how["begin_with"] = self.decoding.begin_with
        return model.replies(cut, search, **how)

    def predict(self, model: Dialoguer, text: str) -> Prediction:
        return only(self.predict_all(model, [text]))

    def predict_all(self, model: Dialoguer, texts: Sequence[str]) -> list[Prediction | InputError]:
        dialogues = [text.split("\n") for text in texts]
        try:
            found = self.written(model, dialogues)
        except InputError as error:
            if len(texts) == 1:
                return [error]
            return [self.predict_all(model, [text])[0] for text in texts]
        pairs = zip(dialogues, found, strict=True)
        return [prediction_of(turns[-1], replies) for turns, replies in pairs]

    def draw_answers(self, model: Dialoguer, texts: Sequence[str], path: Path) -> Path:
        if len(texts) > DRAWN:
            raise InputError(f"a picture has room for {DRAWN} dialogues, got {len(texts)}")
        found = self.written(model, [text.split("\n") for text in texts])
        return draw_attention(path, alignments(found), self.title)

    def score_file(self, model: Dialoguer, path: Path) -> Figures:
        several = [turns for turns in read_dialogues(path) if len(turns) > 1]
        if not several:
            raise InputError(f"{path} holds no dialogue of two turns or more")
        return self.figures(model, several)

    @cached_property
    def some(self) -> list[Dialogue]:
        return shown_of(self.data.parts.test)

    def describe_model(self, model: Dialoguer) -> str:
        return in_words(self.some, self.written(model, [turns[:-1] for turns in self.some]))

    def draw(self, model: Dialoguer, points: Points, folder: Path) -> list[Path]:
        found = self.written(model, [turns[:-1] for turns in self.some])
        keep(folder / FILE, self.some, found)
        part, path = self.data.parts.test, folder / "turns.png"
        drawn = [by_turn(model, part, self.source.known.longest, path, self.title)]
        if self.of_dialogue.is_latent:
            lines, label = {"": [curves_of(points)["validation_kl"]]}, "KL, nats a reply"
            path = folder / "kl.png"
            drawn.append(draw_curves(path, lines, ylabel=label, kind="score", title=self.title))
        if model.model.decoder.attention is not None:
            path = folder / "attention.png"
            drawn.append(draw_attention(path, alignments(found[:DRAWN]), self.title))
        return drawn

    @classmethod
    def compare_plots(cls, trials: Mapping[str, Trial], folder: Path) -> list[Path]:
        table = side_by_side(trials, folder / "replies.md")
        return [compared(trials, folder / "turns.png"), *([table] if table else [])]

    def equations(self) -> str:
        words = Text.learn("words", ["word"])
        model = untrained(lambda: self.of_dialogue.build(words, 1))
        return f"{model.equations()}\nE = {self.of_dialogue.error()}"
