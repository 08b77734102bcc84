"""Spoken digits, or any sounds of a few kinds: from a folder of recordings to a trained model."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch.nn import functional as F

from saiki import processes
from saiki.capabilities import Annotates, Describes, Draws, Folds, Monitors, Summarises
from saiki.data.sound.augment import NONE, Augmentation
from saiki.data.sound.batches import Batch, Sounds
from saiki.data.sound.files import read
from saiki.data.sound.layouts import SOUND
from saiki.data.sound.recorded import Hearing, RecordingSource
from saiki.data.sound.utterances import DIGITS, Voices
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, placed, untrained
from saiki.experiments.groups.layers import Layers
from saiki.experiments.groups.targets import label_smoothing
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics import classes
from saiki.models.classifier import Convolution, SequenceClassifier
from saiki.nn.pooling import POOLINGS
from saiki.optimisation import Optimisation
from saiki.plots.confusion import draw_confusion
from saiki.plots.sounds import draw_sounds
from saiki.prediction import Prediction

SHOWN_SOUNDS = 6


class SpokenDigits(
    Annotates, Describes, Draws, Folds, Monitors, Summarises, Experiment[SequenceClassifier, Batch]
):
    """A bidirectional recurrent network hears a recording and says which digit it was, or whatever
    the classes of your own recordings are. The default, also called ``good``, is made to understand
    speakers that it has never heard.
    """

    source: RecordingSource = RecordingSource()
    duration: Epochs = Epochs(epochs=10.0, updates=800)
    hearing: Hearing = Hearing()
    convolution: bool = knob(True, "two convolutions in front of the recurrent layers")
    recurrent: Layers = Layers(hidden_size=96, layers=2, dropout=0.3)
    pooling: str = knob("attention", "from all steps to one vector", choices=POOLINGS)
    label_smoothing: float = label_smoothing()
    speakers: Voices = Voices()
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation(
        batch_size=64,
        optimiser="adamw",
        learning_rate=0.0025,
        warmup=0.15,
        schedule="cosine",
        weight_decay=0.01,
        clip_norm=1.0,
        average=0.995,
        patience=5,
    )

    name = "spoken-digits"
    summary = "learn to recognise spoken digits, or any sounds of your own"
    minutes = 3.2
    score = "test_accuracy"
    selected_by = "validation_loss"
    shown = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    takes = SOUND
    points = 10
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "quick": {
            "hidden_size": 64, "layers": 1, "epochs": 6.0, "updates": 200, "most_updates": 300,
        },
        "report": {
            "split": "random", "features": "waveform", "samples": 1000, "convolution": False,
            "hidden_size": 64, "layers": 1, "pooling": "last", "dropout": 0.0,
            "label_smoothing": 0.0, "voices": 0, **NONE.to_dict(), "epochs": 1.0, "updates": 0,
            "log_every": 25, "batch_size": 8, "optimiser": "adam", "learning_rate": 0.001,
            "warmup": 0.0, "schedule": "constant", "weight_decay": 0.0, "clip_norm": 0.0,
            "clip_value": 0.5, "average": 0.0, "patience": 0,
        },
    }  # fmt: skip

    def validate(self) -> None:
        odd = ["convolution"] * self.convolution + self.augmentation.on
        if self.hearing.features == "waveform" and odd:
            raise InputError(
                f"with features waveform {', '.join(odd)} must be off, false or 0, "
                "as in the preset report"
            )

    @cached_property
    def data(self) -> Sounds:
        return Sounds(
            self.optimisation.batching, self.source, self.hearing, self.seed, self.dtype,
            self.speakers, self.augmentation,
        )  # fmt: skip

    def model(self) -> SequenceClassifier:
        return self.network(self.data.recordings.classes)

    def network(self, classes: Sequence[str] = DIGITS) -> SequenceClassifier:
        """A new model that tells these classes apart."""
        features, front = self.hearing.build(), None
        size, dropout = features.size, self.recurrent.dropout
        if self.convolution:
            size = self.recurrent.hidden_size
            front = Convolution(self.hearing.bands, 2, size)
        layers = self.recurrent.build(size)
        rate = self.hearing.rate
        return SequenceClassifier(features, classes, layers, self.pooling, front, dropout, rate)

    @cached_property
    def _validation(self) -> list[Batch]:
        """The features of the part of this process, made once."""
        mine = processes.part(len(self.data.parts.validation))
        return list(self.data.unchanged(self.data.parts.validation[mine]))

    def measure(self, model: SequenceClassifier, batch: Batch) -> Measures:
        features, steps, targets = batch
        v = model.classify(features, steps)
        loss = F.cross_entropy(v, targets, label_smoothing=self.label_smoothing)
        # of the type of the loss: v may be in bfloat16, which rounds a share by up to 0.2 %
        return {"loss": loss, "accuracy": (v.argmax(1) == targets).to(loss.dtype).mean()}

    def monitor(self, model: SequenceClassifier) -> dict[str, float]:
        batches = (placed(batch, model) for batch in self._validation)
        sums = classes.sums((len(batch[2]), self.measure(model, batch)) for batch in batches)
        loss, accuracy = classes.means(processes.total(sums))
        return {"validation_loss": loss, "validation_accuracy": accuracy}

    @torch.no_grad()
    def tested(self, model: SequenceClassifier) -> list[classes.Answer]:
        """What the model says of each recording kept apart, in their order."""
        data, answers = self.data.recordings, {}
        ordered = sorted(self.data.parts.test, key=lambda i: len(data.waves[i]))
        rest = iter(ordered)
        for features, steps, _ in self.data.unchanged(ordered):
            v = model.classify(*placed((features, steps), model))
            for p in v.softmax(1).cpu():
                i = next(rest)
                answers[i] = classes.Answer.of(data.entries[i], model.classes, p)
        return [answers[i] for i in self.data.parts.test]

    def evaluate(self, model: SequenceClassifier) -> Figures:
        skipped = float(len(self.data.recordings.skipped))
        return {**classes.figures(self.tested(model)), "skipped_files": skipped}

    def summarise(self, curve: Sequence[Mapping[str, float]]) -> Figures:
        last, names = curve[-1] if curve else {}, ("validation_accuracy", "validation_loss")
        return {"train_accuracy": last.get("accuracy")} | {name: last.get(name) for name in names}

    def draw(self, model: SequenceClassifier, points: Points, folder: Path) -> list[Path]:
        answers, sounds = self.tested(model), self.data.shown(SHOWN_SOUNDS)
        rates = dict(sorted(classes.by_speaker(answers).items()))
        pairs = [(a.label, a.predicted) for a in answers]
        return [
            draw_sounds(folder / "sounds.png", sounds, self.hearing.rate, self.title),
            draw_confusion(folder / "confusion.png", pairs, model.classes, rates, self.title),
        ]

    def describe_model(self, model: SequenceClassifier) -> str:
        return classes.mistakes(self.tested(model))

    @torch.no_grad()
    def predict(self, model: SequenceClassifier, text: str) -> Prediction:
        wave = self.hearing.padded([read(text, self.hearing.rate)], self.dtype)
        p = model(*placed(wave, model)).softmax(1)[0]
        return classes.prediction_of(text, model.classes, p)

    def metadata(self, model: SequenceClassifier) -> dict[str, str]:
        return {"classes": to_json(model.classes), "rate": str(model.rate)}

    def folds(self, by: str) -> list[dict[str, Value]]:
        if by != "speakers":
            raise InputError(f"{self.name} is cross-validated by speakers, got {by!r}")
        speakers = self.data.recordings.speakers
        if len(speakers) < 2:
            raise InputError("cross-validation by speakers needs recordings that tell at least two")
        return [{"split": "speakers", "test_speakers": speaker} for speaker in speakers]

    def equations(self) -> str:
        model = untrained(self.network).equations()
        return f"{self.hearing.equation()}\n{model}\nE = −ln p(class)"
