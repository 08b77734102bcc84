"""Sentences of a few kinds: word vectors that exist already, and recurrent layers over them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch.nn import functional as F

from saiki.capabilities import Annotates, Describes, Draws, DrawsAnswers, Folds, Monitors
from saiki.data.text.labelled import FOLDS, Batch
from saiki.data.text.plain_text import LINE
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.groups.layers import Layers
from saiki.experiments.sentences.labelled_words import LabelledWords, TableSource
from saiki.experiments.sentences.source import WordSource
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics import classes
from saiki.metrics.classes import Answer
from saiki.models.sentence_classifier import SentenceClassifier
from saiki.models.word_features import WordFeatures
from saiki.nn.pooling import POOLINGS
from saiki.optimisation import Optimisation
from saiki.plots.confusion import draw_confusion
from saiki.plots.curves import curves_of, draw_curves
from saiki.plots.influence import Moved, draw_influence
from saiki.prediction import Prediction, PredictsTogether
from saiki.text import FIRST, Text

SCORE, MEAN = "macro_f1", "mean_vector_macro_f1"


def _share(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _layers(trials: Sequence[Trial]) -> tuple[bool, str]:
    [trial] = trials
    ours, plain = trial.values(SCORE), trial.values(MEAN)
    message = f"macro-F1 {_share(ours)}, of the mean vector {_share(plain)}"
    gained = trial.mean(SCORE) - trial.mean(MEAN)
    return gained >= 0.03, f"{message}, of the majority {trial.mean('majority_macro_f1'):.3f}"


def _better(what: Sequence[str], trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether each seed of the first trial is better than all of the second."""
    first, second = (trial.values(SCORE) for trial in trials)
    message = ", ".join(
        f"{label} {_share(v)}" for label, v in zip(what, (first, second), strict=True)
    )
    return min(first) > max(second), f"macro-F1 {message}"


def _lower_loss(trials: Sequence[Trial]) -> tuple[bool, str]:
    both, alone = (trial.values("test_loss") for trial in trials)
    f1 = ", ".join(f"{trial.mean(SCORE):.3f}" for trial in trials)
    message = f"loss with both {_share(both)}, with vectors alone {_share(alone)}"
    return max(both) < min(alone), f"{message}; macro-F1 {f1}"


CLAIMS = (
    Claim(
        "Recurrent layers over the words are at least 3 points of macro-F1 better than a logistic "
        "regression over the mean of the same vectors",
        "good",
        ({},),
        _layers,
    ),
    Claim(
        "Words that are looked up by their norms are understood better than as they stand",
        "good",
        ({}, {"norms": False}),
        lambda trials: _better(("by norms", "as they stand"), trials),
    ),
    Claim(
        "With vectors that exist already it is better than with features learned from scratch",
        "good",
        ({}, {"vectors": "scratch", "embedding_size": 300}),
        lambda trials: _better(("with vectors", "from scratch"), trials),
    ),
    Claim(
        "Features that are learned beside the vectors lower the loss of what is tested, as "
        "different words share a vector",
        "good",
        ({}, {"embedding_size": 0}),
        _lower_loss,
    ),
)


EVALUATED, SHOWN, MOST_DRAWN = 256, 6, 20
"""Rows of a batch where nothing is learned, mistakes that are shown, and sentences of a user's that
are drawn."""


class Sentences(
    Annotates,
    Describes,
    Draws,
    DrawsAnswers,
    Folds,
    Monitors,
    PredictsTogether,
    Experiment[SentenceClassifier, Batch],
):
    """Which class a sentence belongs to, from the vectors of its words: Japanese reviews of hotels
    that are bad, neither, or good, cut by GiNZA and with its vectors; or the texts and labels of a
    table of yours.
    """

    source: TableSource = TableSource()
    words: WordSource = WordSource()
    votes: bool = knob(
        True, "whether the targets are shares of votes, where a table counts them; else one-hot"
    )
    recurrent: Layers = Layers(cell="gru", hidden_size=128, dropout=0.3)
    pooling: str = knob(
        "attention+max", "from all words to one vector", choices=(*POOLINGS, "attention+max")
    )
    duration: Epochs = Epochs(epochs=6.0, updates=300)
    optimisation: Optimisation = Optimisation(
        batch_size=32,
        optimiser="adamw",
        learning_rate=0.002,
        warmup=0.1,
        schedule="cosine",
        weight_decay=0.01,
        clip_norm=1.0,
    )

    name = "sentences"
    summary = "classify sentences by the vectors of their words, by default Japanese reviews"
    minutes = 1.0
    threads = 1
    score = "macro_f1"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "validation_macro_f1")
    takes = LINE
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "quick": {"epochs": 3.0, "updates": 150, "most_updates": 600},
        "report": {
            "norms": False, "votes": False, "embedding_size": 0, "cell": "lstm",
            "pooling": "mean", "optimiser": "adam", "learning_rate": 0.001, "warmup": 0.0,
            "schedule": "constant", "weight_decay": 0.0,
        },
    }  # fmt: skip
    claims = CLAIMS

    @cached_property
    def data(self) -> LabelledWords:
        chooses = bool(self.optimisation.patience) or self.optimisation.keep == "best"
        how = self.source, self.words, self.votes, chooses, self.seed
        return LabelledWords(self.optimisation.batching, *how)

    def model(self) -> SentenceClassifier:
        return self.network(self.words.build(*self.data.known), self.data.parts.classes)

    def network(self, features: WordFeatures, classes: Sequence[str]) -> SentenceClassifier:
        """A new model over these features."""
        layers = self.words.layers or self.recurrent.build(features.output_size)
        return SentenceClassifier(features, classes, layers, self.pooling, self.recurrent.dropout)

    def measure(self, model: SentenceClassifier, batch: Batch) -> Measures:
        tokens, lengths, targets = batch
        v = model(tokens, lengths)
        return {"loss": F.cross_entropy(v, targets.to(v))}

    @torch.no_grad()
    def answers(self, model: SentenceClassifier, part: str = "test") -> list[Answer]:
        """What the model says of the texts of a part, in their order."""
        texts, answers = getattr(self.data.parts, part), dict[int, Answer]()
        for places, (tokens, lengths, _) in self.data.rows[part].by_length(EVALUATED):
            p = model(*placed((tokens, lengths), model)).softmax(1).cpu()
            for i, p_of_text in zip(places.tolist(), p, strict=True):
                answers[i] = Answer.of_text(
                    texts.texts[i], texts.labels[i], model.classes, p_of_text
                )
        return [answers[i] for i in range(len(texts))]

    def monitor(self, model: SentenceClassifier) -> dict[str, float]:
        answers = self.answers(model, "development")
        pairs = [(a.label, a.predicted) for a in answers]
        f1 = classes.macro_f1(pairs, model.classes)
        return {"validation_loss": classes.loss(answers), "validation_macro_f1": f1}

    def evaluate(self, model: SentenceClassifier) -> Figures:
        answers = self.answers(model)
        pairs = [(a.label, a.predicted) for a in answers]
        return {
            "macro_f1": classes.macro_f1(pairs, model.classes),
            **{f"f1_{name}": f1 for name, f1 in classes.f1_of(pairs, model.classes).items()},
            "test_accuracy": classes.accuracy(answers),
            "test_loss": classes.loss(answers),
            **self.data.baselines,
            "words_sharing_a_vector": self.data.shared[1],
        }

    def describe_model(self, model: SentenceClassifier) -> str:
        mistakes = classes.mistakes(self.answers(model), SHOWN)
        return "\n".join((mistakes, *self.data.remarks()))

    def draw(self, model: SentenceClassifier, points: Points, folder: Path) -> list[Path]:
        answers = self.answers(model)
        wrong = sorted((a for a in answers if a.predicted != a.label), key=lambda a: a.right)[
            :SHOWN
        ]
        pairs, f1 = [(a.label, a.predicted) for a in answers], curves_of(points)
        pictures = [draw_confusion(folder / "confusion.png", pairs, model.classes, {}, self.title)]
        moved = self._moved(model, [a.name for a in wrong], [f"was {a.label}, " for a in wrong])
        if moved:
            pictures.append(draw_influence(folder / "mistakes.png", moved, self.title))
        if lines := f1.get("validation_macro_f1"):
            path, axis = folder / "f1.png", "macro-F1 of what is set apart"
            pictures.append(
                draw_curves(path, {"": [lines]}, ylabel=axis, kind="share", title=self.title)
            )
        return pictures

    def draw_answers(self, model: SentenceClassifier, texts: Sequence[str], path: Path) -> Path:
        some, rest = texts[:MOST_DRAWN], len(texts) - MOST_DRAWN
        moved = self._moved(model, some, [""] * len(some))
        if not moved:
            raise InputError("there is no sentence with a word to draw")
        title = f"{self.title}; {rest} more sentences are not drawn" if rest > 0 else self.title
        return draw_influence(path, moved, title)

    def _moved(
        self, model: SentenceClassifier, texts: Sequence[str], before: Sequence[str]
    ) -> list[Moved]:
        """What the words of each text did that has any, to be drawn under a heading."""
        moved = []
        for begin, reading in zip(before, model.read(texts, self.words.others()), strict=True):
            if not isinstance(reading, InputError):
                (label, p), (word, by) = reading.classes[0], reading.most_influential[0]
                heading = f"{begin}said {label} ({p:.0%}), most by {word} ({by:+.2f})"
                moved.append(Moved(heading, reading.words, reading.influence))
        return moved

    def predict_together(
        self, model: SentenceClassifier, texts: Sequence[str]
    ) -> list[Prediction | InputError]:
        model.features.text.tokeniser.words(".")  # where its library is missing, that is told once
        readings = model.read(texts, self.words.others())
        return [
            reading if isinstance(reading, InputError) else reading.prediction(text)
            for text, reading in zip(texts, readings, strict=True)
        ]

    def metadata(self, model: SentenceClassifier) -> dict[str, str]:
        return {**model.features.text.metadata(), "classes": to_json(model.classes)}

    def folds(self, by: str) -> list[dict[str, Value]]:
        if by != "folds":
            raise InputError(f"{self.name} is cross-validated by folds, got {by!r}")
        return [{"fold": number} for number in range(1, FOLDS + 1)]

    def equations(self) -> str:
        text = Text.learn("words", ["word"])
        features = untrained(lambda: self.words.network(text, FIRST, 1))
        model = untrained(lambda: self.network(features, ["class", "other"])).equations()
        return f"{features.equation()}\n{model}\nE = −Σ target ln p, over the classes"
