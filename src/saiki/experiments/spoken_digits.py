"""Spoken digits, or any sounds of a few kinds: from a folder of recordings to a trained model."""

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki import processes
from saiki.cells import FAMILIES
from saiki.data import store
from saiki.data.augment import NONE, Augmentation, Augmenter
from saiki.data.recordings import Recordings, load
from saiki.data.sound import Wave, read
from saiki.data.splits import OFFICIAL_TAKES, SPLITS, Split, split
from saiki.data.stream import shuffled
from saiki.data.utterances import digits
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, placed
from saiki.knobs import Value, knob, other
from saiki.models.classifier import POOLINGS, Convolution, SequenceClassifier
from saiki.nn.mel import LogMel, Samples
from saiki.plots.confusion import draw_confusion
from saiki.plots.sounds import draw_sounds
from saiki.recurrent import Bidirectional, Layer, Stack

SHOWN_SKIPPED, SHOWN_MISTAKES, SHOWN_SOUNDS = 10, 5, 6
EVALUATED = 64
"""Rows of a batch where nothing is learned."""
DIGITS = tuple(map(str, range(10)))
Batch = tuple[Tensor, Tensor | None, Tensor]
"""Features ``(batch, time, size)``, the real steps of each row, and the numbers of the classes."""


@dataclass(frozen=True)
class SpokenDigits(Experiment[SequenceClassifier, Batch]):
    """A bidirectional recurrent network hears a recording and says which digit it was, or whatever
    the classes of your own recordings are. The default, also called ``good``, is made to understand
    speakers that it has never heard.
    """

    data: str = knob(
        "",
        "folder of recordings, one subfolder a class, or a table of path and label; FSDD without",
    )
    split: str = knob(
        "auto",
        "what is tested: takes 0 to 4 (official), 15 % at random, or speakers; auto: official "
        "where takes are known, otherwise random",
        choices=("auto", *SPLITS),
    )
    test_speakers: str = knob("", "speakers never heard in training, with commas between")
    epochs: float = knob(10.0, "times that each recording is heard", minimum=0.01, maximum=1e6)
    updates: int = knob(
        800, "of the weights at least, where there are few recordings", minimum=0, maximum=10**9
    )
    log_every: int = knob(
        0,
        "iterations from one point of the curves to the next; 0: an epoch, or a tenth of all",
        minimum=0,
    )
    rate: int = knob(8000, "samples of a second", minimum=2000, maximum=48_000)
    seconds: float = knob(10.0, "of a recording that are heard at most", minimum=0.1, maximum=600)
    features: str = knob("log_mel", "what the network reads", choices=("log_mel", "waveform"))
    samples: int = knob(1000, "of a waveform, cut or filled with 0", minimum=1, maximum=100_000)
    bands: int = knob(40, "of the log-mel spectrum", minimum=4, maximum=256)
    convolution: bool = knob(True, "two convolutions in front of the recurrent layers")
    cell: str = knob("lstm", "the recurrent cell", choices=tuple(FAMILIES))
    hidden_size: int = knob(96, "units of each direction", minimum=1, maximum=4096)
    layers: int = knob(2, "recurrent layers", minimum=1, maximum=16)
    pooling: str = knob("attention", "from all steps to one vector", choices=POOLINGS)
    dropout: float = knob(0.3, "share of features set to 0 between layers", minimum=0, maximum=0.95)
    label_smoothing: float = knob(0.1, "share of the target spread evenly", minimum=0, maximum=0.9)
    voices: int = knob(
        20_000,
        "utterances by synthetic speakers to learn from too, where the classes are the ten digits",
        minimum=0,
        maximum=1_000_000,
    )
    voice_share: float = knob(0.75, "share of them in a batch", minimum=0, maximum=0.95)
    speed: float = knob(0.1, "largest relative change of speed and pitch", minimum=0, maximum=1)
    vocal_tract: float = knob(
        0.1, "largest relative change of the formants alone", minimum=0, maximum=1
    )
    tempo: float = knob(0.25, "largest relative change of tempo alone", minimum=0, maximum=1)
    noise: float = knob(0.6, "probability of noise", minimum=0, maximum=1)
    equaliser: float = knob(8.0, "gain of a random filter, in dB", minimum=0, maximum=40)
    room: float = knob(0.15, "probability of reverberation", minimum=0, maximum=1)
    muffle: float = knob(0.1, "probability of a low-pass filter", minimum=0, maximum=1)
    shift: float = knob(0.12, "longest silence put before and after, in s", minimum=0, maximum=1)
    masks: int = knob(1, "bars hidden over time, and over frequency", minimum=0, maximum=16)
    # knobs of the base with other defaults
    batch_size: int = other(Experiment, "batch_size", 64)
    optimiser: str = other(Experiment, "optimiser", "adamw")
    learning_rate: float = other(Experiment, "learning_rate", 0.0025)
    warmup: float = other(Experiment, "warmup", 0.15)
    schedule: str = other(Experiment, "schedule", "cosine")
    weight_decay: float = other(Experiment, "weight_decay", 0.01)
    clip_norm: float = other(Experiment, "clip_norm", 1.0)
    average: float = other(Experiment, "average", 0.995)
    patience: int = other(Experiment, "patience", 5)

    name = "spoken-digits"
    summary = "learn to recognise spoken digits, or any sounds of your own"
    score = "test_accuracy"
    judged_by = "validation_loss"
    shown = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    hears = True
    ahead = 2
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "report": {
            "split": "random",
            "features": "waveform",
            "samples": 1000,
            "convolution": False,
            "hidden_size": 64,
            "layers": 1,
            "pooling": "last",
            "dropout": 0.0,
            "label_smoothing": 0.0,
            "voices": 0,
            "speed": 0.0,
            "vocal_tract": 0.0,
            "tempo": 0.0,
            "noise": 0.0,
            "equaliser": 0.0,
            "room": 0.0,
            "muffle": 0.0,
            "shift": 0.0,
            "masks": 0,
            "epochs": 1.0,
            "updates": 0,
            "log_every": 25,
            "batch_size": 8,
            "optimiser": "adam",
            "learning_rate": 0.001,
            "warmup": 0.0,
            "schedule": "constant",
            "weight_decay": 0.0,
            "clip_norm": 0.0,
            "clip_value": 0.5,
            "average": 0.0,
            "patience": 0,
        },
    }

    def validate(self) -> None:
        self.keep_paths("data")
        if self.test_speakers and self.split != "speakers":
            raise InputError("test_speakers goes with split speakers")
        of_log_mel = ("convolution", *(f.name for f in fields(Augmentation)))
        odd = [name for name in of_log_mel if getattr(self, name)]
        if self.features == "waveform" and odd:
            raise InputError(
                f"with features waveform {', '.join(odd)} must be off, false or 0, "
                "as in the preset report"
            )

    # Data.

    @cached_property
    def recordings(self) -> Recordings:
        given = Path(self.data) if self.data else None
        return load(store.locate("fsdd", given), self.rate)

    @cached_property
    def parts(self) -> Split:
        speakers = [name.strip() for name in self.test_speakers.split(",") if name.strip()]
        return split(self.recordings, self.tested_by, self.seed, speakers)

    @property
    def tested_by(self) -> str:
        """The split that is meant."""
        if self.split != "auto":
            return self.split
        sides = {label: set[bool]() for label in self.recordings.classes}
        for entry in self.recordings.entries:
            if entry.take is None:
                return "random"
            sides[entry.label].add(entry.take < OFFICIAL_TAKES)
        return "official" if all(len(its) == 2 for its in sides.values()) else "random"

    @cached_property
    def _numbers(self) -> list[int]:
        """The number of the class of each recording."""
        numbers = {label: i for i, label in enumerate(self.recordings.classes)}
        return [numbers[entry.label] for entry in self.recordings.entries]

    @cached_property
    def spoken(self) -> tuple[tuple[Wave, ...], tuple[int, ...]]:
        """Utterances by synthetic speakers and their classes; none where they do not help."""
        if not self.voices or not self.voice_share or self.recordings.classes != DIGITS:
            return (), ()
        return digits(self.voices, self.seed, self.rate)

    @property
    def spoken_in_batch(self) -> int:
        """How many rows of a batch of one process are synthetic."""
        share = round(self.batch_size * self.voice_share) if self.spoken[0] else 0
        return min(share, self.batch_size - 1)

    @property
    def epoch(self) -> int:
        """Iterations in which each recording is heard once."""
        heard = (self.batch_size - self.spoken_in_batch) * processes.count() * self.accumulate
        return max(1, math.ceil(len(self.parts.train) / heard))

    @property
    def iterations(self) -> int:
        return max(1, self.updates, math.ceil(self.epochs * self.epoch))

    @property
    def point_every(self) -> int:
        return self.log_every or max(self.epoch, self.iterations // 10)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(**{f.name: getattr(self, f.name) for f in fields(Augmentation)})

    def opening(self) -> str:
        data, parts = self.recordings, self.parts
        lines = [
            f"{len(data):,} recordings of {len(data.classes)} classes"
            + (f" by {len(data.speakers)} speakers" if data.speakers else "")
            + f": {len(parts.train):,} to learn from, {len(parts.validation):,} to validate, "
            f"{len(parts.test):,} to test (split {self.tested_by})"
        ]
        if self.spoken[0]:
            lines.append(f"{len(self.spoken[0]):,} utterances by synthetic speakers beside them")
        elif self.voices:
            lines.append("no synthetic speakers: the classes are not the digits 0 to 9")
        if data.skipped:
            lines.append(f"{len(data.skipped):,} files are left out")
            lines += [f"  {each.name} {each.reason}" for each in data.skipped[:SHOWN_SKIPPED]]
            more = len(data.skipped) - SHOWN_SKIPPED
            lines += [f"  and {more:,} more"] if more > 0 else []
        return "\n".join(lines)

    # Model.

    def model(self) -> SequenceClassifier:
        classes = self.recordings.classes
        front = None
        if self.features == "waveform":
            features: LogMel | Samples = Samples(self.samples)
        else:
            features = LogMel(self.rate, self.bands)
        size = features.size
        if self.convolution:
            size = self.hidden_size
            front = Convolution(self.bands, 2, size)
        cell = FAMILIES[self.cell]
        stack: list[Layer] = []
        for _ in range(self.layers):
            stack.append(Bidirectional(cell(size, self.hidden_size)))
            size = stack[-1].output_size
        recurrent = stack[0] if len(stack) == 1 else Stack(stack, self.dropout)
        return SequenceClassifier(
            features, classes, recurrent, self.pooling, front, self.dropout, self.rate
        )

    def batches(self, start: int = 0) -> Iterator[Batch]:
        labels = self._numbers
        spoken = self.spoken_in_batch
        real = self._rows(self.parts.train, self.batch_size - spoken, 0, start)
        said = self._rows(range(len(self.spoken[0])), spoken, 1, start) if spoken else None
        augmenter = self._augmenter
        for rows in real:
            waves = [self.heard(self.recordings.waves[i]) for _, i in rows]
            targets = [labels[i] for _, i in rows]
            keys = [(self.seed, 0, place) for place, _ in rows]
            if said is not None:
                others = next(said)
                waves += [self.spoken[0][i] for _, i in others]
                targets += [self.spoken[1][i] for _, i in others]
                keys += [(self.seed, 1, place) for place, _ in others]
            padded, lengths = self.padded(waves)
            if augmenter is None:
                features, steps = self._front(padded, lengths)
            else:
                features, steps = augmenter(padded, lengths, keys)
            yield features, steps, torch.tensor(targets)

    def _rows(
        self, indices: Sequence[int], size: int, kind: int, start: int
    ) -> Iterator[list[tuple[int, int]]]:
        """Place and index of the rows of this process, of batches for all processes."""
        mine = processes.part(size * processes.count())
        seed = 2 * self.seed + kind
        for rows in shuffled(len(indices), size * processes.count(), seed, start):
            yield [(place, indices[i]) for place, i in rows[mine].tolist()]

    def heard(self, wave: Wave) -> Wave:
        """The part of a wave that is listened to."""
        return wave[: round(self.seconds * self.rate)]

    def padded(self, waves: Sequence[Wave]) -> tuple[Tensor, Tensor]:
        """Waves side by side, ``(batch, samples)``, and their lengths."""
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.zeros(len(waves), int(lengths.max()), dtype=self.dtype)
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = torch.from_numpy(wave)
        return padded, lengths

    @cached_property
    def _front(self) -> LogMel | Samples:
        """What makes features of waves, apart from any model."""
        front = (
            LogMel(self.rate, self.bands) if self.features == "log_mel" else Samples(self.samples)
        )
        return front.to(self.dtype)

    @cached_property
    def _augmenter(self) -> Augmenter | None:
        front, settings = self._front, self.augmentation
        return (
            Augmenter(front, settings) if isinstance(front, LogMel) and settings != NONE else None
        )

    def unchanged(self, indices: Sequence[int]) -> Iterator[Batch]:
        """Recordings as they are, the shortest first so that there is little padding."""
        data = self.recordings
        ordered = sorted(indices, key=lambda i: len(data.waves[i]))
        for at in range(0, len(ordered), EVALUATED):
            rows = ordered[at : at + EVALUATED]
            features, steps = self._front(*self.padded([self.heard(data.waves[i]) for i in rows]))
            targets = torch.tensor([self._numbers[i] for i in rows])
            yield features, steps, targets

    @cached_property
    def _validation(self) -> list[Batch]:
        """The features of the part of this process, made once."""
        mine = processes.part(len(self.parts.validation))
        return list(self.unchanged(self.parts.validation[mine]))

    # Loss and figures.

    def measure(self, model: SequenceClassifier, batch: Batch) -> Measures:
        features, steps, targets = batch
        v = model.classify(features, steps)
        return {
            "loss": F.cross_entropy(v, targets, label_smoothing=self.label_smoothing),
            "accuracy": (v.argmax(1) == targets).to(v.dtype).mean(),
        }

    def monitor(self, model: SequenceClassifier) -> dict[str, float]:
        sums = torch.zeros(3, dtype=torch.float64)
        for batch in self._validation:
            rows = len(batch[2])
            measures = self.measure(model, placed(batch, model))
            means = [measures["loss"].item(), measures["accuracy"].item(), 1]
            sums += rows * torch.tensor(means, dtype=sums.dtype)
        loss, accuracy, count = processes.total(sums).tolist()
        return {"validation_loss": loss / count, "validation_accuracy": accuracy / count}

    @torch.no_grad()
    def tested(self, model: SequenceClassifier) -> list["Answer"]:
        """What the model says of each recording kept apart, in their order."""
        data, found = self.recordings, {}
        ordered = sorted(self.parts.test, key=lambda i: len(data.waves[i]))
        rest = iter(ordered)
        for features, steps, _ in self.unchanged(ordered):
            v = model.classify(*placed((features, steps), model))
            for p in v.softmax(1).cpu():
                i = next(rest)
                entry = data.entries[i]
                said = model.classes[int(p.argmax())]
                right = p[model.classes.index(entry.label)].item()
                found[i] = Answer(
                    entry.name, entry.label, entry.speaker, said, p.max().item(), right
                )
        return [found[i] for i in self.parts.test]

    def evaluate(self, model: SequenceClassifier) -> Figures:
        answers = self.tested(model)
        figures: Figures = {"test_accuracy": _accuracy(answers)}
        figures["test_loss"] = -sum(math.log(max(a.right, 1e-30)) for a in answers) / len(answers)
        for speaker in dict.fromkeys(a.speaker for a in answers if a.speaker):
            own = [a for a in answers if a.speaker == speaker]
            figures[f"test_accuracy_{speaker}"] = _accuracy(own)
        figures["skipped_files"] = float(len(self.recordings.skipped))
        return figures

    def summarise(self, curve: Sequence[Mapping[str, float]]) -> Figures:
        last = curve[-1] if curve else {}
        return {
            "train_accuracy": last.get("accuracy"),
            "validation_accuracy": last.get("validation_accuracy"),
            "validation_loss": last.get("validation_loss"),
        }

    @torch.no_grad()
    def sample(self, model: SequenceClassifier) -> str:
        return ""

    def draw(self, model: SequenceClassifier, points: Points, folder: Path) -> list[Path]:
        answers = self.tested(model)
        by_speaker = {s: [a for a in answers if a.speaker == s] for s in self.recordings.speakers}
        rates = {speaker: _accuracy(own) for speaker, own in by_speaker.items() if own}
        pairs = [(a.label, a.said) for a in answers]
        shown = [self.parts.train[i] for i in _spread(self._labels_of_training(), SHOWN_SOUNDS)]
        data = self.recordings
        sounds = {data.entries[i].name: self.heard(data.waves[i]) for i in shown}
        return [
            draw_sounds(folder / "sounds.png", sounds, self.rate),
            draw_confusion(folder / "confusion.png", pairs, model.classes, rates),
        ]

    def remarks(self, model: SequenceClassifier) -> str:
        wrong = [a for a in self.tested(model) if a.said != a.label]
        if not wrong:
            return "every recording that was tested is understood"
        wrong.sort(key=lambda a: a.right)
        lines = [
            f"  {a.name}: {a.said} ({a.probability:.0%}), and {a.label} only {a.right:.1%}"
            for a in wrong[:SHOWN_MISTAKES]
        ]
        return "\n".join((f"{len(wrong)} mistakes; the worst", *lines))

    def _labels_of_training(self) -> list[str]:
        return [self.recordings.entries[i].label for i in self.parts.train]

    # Use.

    @torch.no_grad()
    def predict(self, model: SequenceClassifier, text: str) -> dict[str, Any]:
        started = time.perf_counter()
        waves, lengths = self.padded([self.heard(read(text, self.rate))])
        p = model(*placed((waves, lengths), model)).softmax(1)[0]
        label, probability = model.classes[int(p.argmax())], p.max().item()
        return {
            "input": text,
            "label": label,
            "probability": probability,
            "seconds": time.perf_counter() - started,
            "text": f"{text}: {label} ({probability:.1%})",
        }

    def example(self) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([self.rate // 2, self.rate // 3, self.rate])
        random = torch.Generator().manual_seed(0)
        waves = torch.randn(3, self.rate, generator=random, dtype=self.dtype)
        return waves * (torch.arange(self.rate) < lengths[:, None]), lengths

    def metadata(self, model: SequenceClassifier) -> dict[str, str]:
        return {"classes": json.dumps(model.classes, ensure_ascii=False), "rate": str(model.rate)}

    def folds(self, by: str) -> list[dict[str, Value]]:
        if by != "speakers":
            raise InputError(f"{self.name} is cross-validated by speakers, got {by!r}")
        speakers = self.recordings.speakers
        if len(speakers) < 2:
            raise InputError("cross-validation by speakers needs recordings that tell at least two")
        return [{"split": "speakers", "test_speakers": speaker} for speaker in speakers]

    def equations(self) -> str:
        direction = {
            "rnn": "h = RNN(z)",
            "lstm": "h = LSTM(z)",
            "gru": "h = GRU(z)",
        }[self.cell]
        lines = [
            f"z = {self.samples} samples, cut or filled with 0"
            if self.features == "waveform"
            else f"z = ln(B |STFT(x)|²), {self.bands} bands, normalised for each recording"
        ]
        if self.convolution:
            lines.append("z ← W ReLU(conv(ReLU(conv(z))))")
        again = f", {self.layers} times" if self.layers > 1 else ""
        lines.append(f"y = (h→, h←), {direction} of {self.hidden_size} units each way{again}")
        lines.append(
            {
                "attention": "u = Σₜ aᵗ yᵗ, aᵗ = softmaxₜ(vᵀ tanh(W yᵗ + b))",
                "mean": "u = 1/T Σₜ yᵗ",
                "last": "u = (h→ after the last step, h← after the first)",
            }[self.pooling]
        )
        lines += ["p = softmax(W u + b)", "E = −ln p(class)"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Answer:
    """What a model says of one recording."""

    name: str
    label: str
    speaker: str | None
    said: str
    probability: float
    """Of what is said."""
    right: float
    """The probability of the label."""


def _accuracy(answers: Sequence[Answer]) -> float:
    return sum(a.said == a.label for a in answers) / len(answers)


def _spread(labels: Sequence[str], count: int) -> list[int]:
    """Places of up to ``count`` labels, as different as can be."""
    order: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        order.setdefault(label, []).append(place)
    rounds = itertools.zip_longest(*order.values())
    return [place for row in rounds for place in row if place is not None][:count]
