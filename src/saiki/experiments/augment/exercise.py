"""Images changed at random while a classifier learns from few of them: does it help?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki import processes
from saiki.capabilities import Annotates, Draws, DrawsComparisons, Exports, Monitors
from saiki.data import store
from saiki.data.dataset import Draw
from saiki.data.images.augmentation import REPORT, Augmentation, Mixing, write_policy
from saiki.data.images.dataset import ImageSource, LabelledImages, image_of
from saiki.data.images.files import read_image
from saiki.data.images.folder import IMAGE
from saiki.data.images.labelled import Images, Parts
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.augment.sheets import ACROSS, by_technique, reduced, variants
from saiki.experiments.groups.comparison import compare, spread
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics import classes
from saiki.metrics.classes import Answer
from saiki.metrics.significance import holm
from saiki.models.image_classifier import GROUP, ImageClassifier
from saiki.optimisation import Optimisation
from saiki.plots.augmentation import draw_techniques, draw_variants
from saiki.plots.confusion import draw_confusion
from saiki.plots.spread import draw_spread
from saiki.prediction import Prediction

if TYPE_CHECKING:
    from saiki.data.images.augmenter import Augmenter, Mixer

SCORE = "accuracy"
SHORT: Mapping[str, Value] = {"updates": 1000}
"""Of each run, so that the many there are take half an hour together."""
EXAMPLES = (500, 2000, 10_000)
"""To learn from."""
ALONE = 500
"""Examples, where each technique is judged by itself."""
POLICY: Mapping[str, Value] = {"flip_horizontal": 0.5, "shift": 0.05, "cutmix": 1.0}
TECHNIQUES: Mapping[str, Mapping[str, Value]] = {
    "horizontal flip": {"flip_horizontal": 0.5},
    "vertical flip": {"flip_vertical": 0.5},
    "quarter turns": {"quarter_turns": 3},
    "rotation by up to 15°": {"rotation": 15.0},
    "shift by up to 5 %": {"shift": 0.05},
    "crop of up to 20 %": {"crop": 0.2},
    "brightness ± 0.3": {"brightness": 0.3},
    "contrast 0.7 to 1.3": {"contrast_from": 0.7, "contrast_to": 1.3},
    "blur": {"blur": 0.03},
    "noise": {"noise": 0.1},
    "erasing of up to 20 %": {"erasing": 0.2},
    "mixup": {"mixup": 0.2},
    "CutMix": {"cutmix": 1.0},
}
"""Each by itself; hue and saturation are nothing to a grey image."""
OFF: Mapping[str, Value] = {**Augmentation().to_dict(), **Mixing().to_dict()}
"""Of all knobs that change an image."""


def lines(trials: Sequence[Trial]) -> dict[str, dict[float, list[float]]]:
    """The accuracies by the number of examples, without any change and with those of the policy."""
    curves: dict[str, dict[float, list[float]]] = {}
    for label, wanted in (("as they are", {}), ("augmented", POLICY)):
        by_examples = {
            float(examples): trial.values(SCORE)
            for trial in trials
            if _changes(trial) == wanted and isinstance(examples := trial.knobs["examples"], int)
        }
        if by_examples:
            curves[label] = dict(sorted(by_examples.items()))
    return curves if len(curves) > 1 else {}


def gains(trials: Sequence[Trial]) -> dict[str, list[float]]:
    """What each technique by itself adds to the accuracy, seed by seed."""
    alone = {
        n: trial for trial in trials for n, how in TECHNIQUES.items() if _changes(trial) == how
    }
    gained = {}
    for name, trial in alone.items():
        same = [t for t in trials if not _changes(t) and _rest(t) == _rest(trial)]
        if same:
            gained[name] = [*compare(same[0], trial, SCORE).values]
    return gained


def _changes(trial: Trial) -> dict[str, Value]:
    """The knobs that change images."""
    return {n: trial.knobs[n] for n, off in OFF.items() if trial.knobs[n] != off}


def _rest(trial: Trial) -> dict[str, Value]:
    return {name: value for name, value in trial.knobs.items() if name not in OFF}


SETTINGS: tuple[Mapping[str, Value], ...] = (
    *({**SHORT, "examples": examples} for examples in EXAMPLES),
    *({**SHORT, "examples": examples, **POLICY} for examples in EXAMPLES),
    *({**SHORT, "examples": ALONE, **how} for how in TECHNIQUES.values()),
)
"""Those of all claims. Each claim asks for all of them: how sure one may be of a difference depends
on how many others were looked for."""
COMPARED = tuple(
    (SETTINGS.index({**SHORT, "examples": with_["examples"]}), len(EXAMPLES) + i)
    for i, with_ in enumerate(SETTINGS[len(EXAMPLES) :])
)
"""Of each claim the numbers of the settings without any change, and with it."""


def _judge(number: int, trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether the second of this pair is better, seed by seed, which stands for the same examples
    and first weights; see :func:`saiki.metrics.significance.holm`."""
    every = [compare(trials[a], trials[b], SCORE) for a, b in COMPARED]
    p = every[number].p
    gained = replace(every[number], p=holm([each.p for each in every])[number])
    verdict = "helps" if gained.is_more else "hurts" if gained.is_less else "cannot be told"
    without, with_ = (spread(trials[i].values(SCORE)) for i in COMPARED[number])
    return gained.is_more, (
        f"without {without}, with {with_}, gained {spread(gained.values, sign='+')}, p = {p:.2g}, "
        f"as one of {len(COMPARED)} comparisons {gained.p:.2g}: {verdict}"
    )


_STATEMENTS = (
    *(
        f"Augmentation raises the accuracy of what learns from {examples:,} examples"
        for examples in EXAMPLES
    ),
    *(
        f"By itself, {name} raises the accuracy of what learns from {ALONE:,} examples"
        for name in TECHNIQUES
    ),
)
CLAIMS = tuple(
    Claim(statement, "plain", SETTINGS, partial(_judge, number))
    for number, statement in enumerate(_STATEMENTS)
)


Batch = tuple[Tensor, Tensor]
"""Images from 0 to 1, ``(batch, channels, height, width)``, and how much of each class they are,
``(batch, classes)``."""
VALIDATED, EVALUATED = 1000, 500
"""Images of validation that the curves are measured by, and those of a batch where nothing is
learned."""


class ChangedImages(LabelledImages[Batch]):
    """Images that are changed anew whenever they are seen.

    Args:
        image: the path of what the sheets are of; chosen where it is empty.
    """

    _: KW_ONLY
    augmentation: Augmentation
    mixing: Mixing
    image: str

    @cached_property
    def parts(self) -> Parts:
        self.every.check_classes()
        return super().parts

    @cached_property
    def photo(self) -> Tensor:
        """What the sheets are of, in colour, as large as they show it."""
        if self.image or not self.source.data:
            path = Path(self.image) if self.image else store.locate("images") / "fruits.jpg"
            return reduced(read_image(path))
        return reduced(self.every.train.pixels[0].expand(3, -1, -1))

    @cached_property
    def _augmenter(self) -> "Augmenter | None":
        return self.augmentation.build() if self.augmentation.on else None

    @cached_property
    def _mixer(self) -> "Mixer | None":
        return self.mixing.build(len(self.every.train.classes))

    def batch(self, draw: Draw) -> Batch:
        some = self.parts.train[torch.from_numpy(draw.own)]
        pixels = some.pixels
        if self._augmenter:
            # of the epoch and the image, and not of where in the epoch it comes
            keys = [(*draw.key[:3], i) for i in draw.own.tolist()]
            pixels = self._augmenter.changed_all(pixels, keys)
        x = pixels.to(self.dtype) / 255
        if self._mixer:
            key = np.random.SeedSequence((draw.seed, draw.number, processes.rank()))
            x, targets = self._mixer(x, some.labels, int(key.generate_state(1)[0]))
        else:
            targets = F.one_hot(some.labels, len(some.classes))
        return x, targets.to(self.dtype)

    def describe(self) -> str:
        on = [*self.augmentation.on, *(n for n, v in self.mixing.to_dict().items() if v)]
        return super().describe() + (f", changed by {', '.join(on)}" if on else ", as they are")

    def items(self) -> dict[str, Iterable[str | bytes]]:
        return {**super().items(), "photos": [self.photo.numpy().tobytes()]}


class Augment(
    Annotates, Draws, DrawsComparisons, Exports, Monitors, Experiment[ImageClassifier, Batch]
):
    """A small convolutional network learns to tell images apart from few examples, each changed
    anew whenever it is seen. Beside its accuracy there are sheets of what becomes of one photo.
    """

    images: ImageSource = ImageSource(examples=500)
    image: str = knob(
        "",
        "photo of which the sheets are; fruits.jpg without, or the first of a folder in data",
        is_path=True,
    )
    augmentation: Augmentation = Augmentation(flip_horizontal=0.5, shift=0.05)
    mixing: Mixing = Mixing(cutmix=1.0)
    width: int = knob(16, "channels after the first convolution", minimum=4, maximum=1024)
    dropout: float = knob(0.2, "of what the last layer reads", minimum=0, maximum=0.95)
    duration: Epochs = Epochs(epochs=15.0, updates=1500)
    optimisation: Optimisation = Optimisation(
        batch_size=32,
        optimiser="adamw",
        learning_rate=0.003,
        warmup=0.1,
        schedule="cosine",
        weight_decay=0.01,
    )

    name = "augment"
    summary = "learn from few images, changed at random, and draw what becomes of a photo"
    minutes = 0.4
    threads = 1
    score = "accuracy"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "validation_accuracy")
    takes = IMAGE
    points = 5
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "quick": {"epochs": 10.0, "updates": 500, "most_updates": 800},
        "plain": {**Augmentation().to_dict(), **Mixing().to_dict()},
        "report": {**REPORT.to_dict(), **Mixing().to_dict()},
    }
    claims = CLAIMS

    def validate(self) -> None:
        if self.width % GROUP:
            raise InputError(f"width must be a multiple of {GROUP}, got {self.width}")

    @cached_property
    def data(self) -> ChangedImages:
        return ChangedImages(
            self.optimisation.batching, self.images, self.dtype, self.seed,
            augmentation=self.augmentation, mixing=self.mixing, image=self.image,
        )  # fmt: skip

    def model(self) -> ImageClassifier:
        self.augmentation.build()  # the sheets in the end need it; where it is missing, say so now
        return self.network(self.data.parts.train.classes, self.data.shape)

    def network(
        self, classes: tuple[str, ...] = ("class", "other"), shape: tuple[int, ...] = (1, 28, 28)
    ) -> ImageClassifier:
        """A new model that tells these classes apart."""
        return ImageClassifier(classes, shape, self.width, self.dropout)

    def measure(self, model: ImageClassifier, batch: Batch) -> Measures:
        x, targets = batch
        return {"loss": F.cross_entropy(model(x), targets)}

    @torch.no_grad()
    def answers(self, model: ImageClassifier, images: Images) -> list[Answer]:
        """What the model says of images as they are."""
        answers = list[Answer]()
        for at in range(0, len(images), EVALUATED):
            batch = images[torch.arange(at, min(at + EVALUATED, len(images)))]
            p = model(placed(batch.pixels.to(self.dtype) / 255, model)).softmax(1).cpu()
            names = batch.names or [f"image {at + i}" for i in range(len(batch))]
            for name, label, row in zip(names, batch.labels.tolist(), p, strict=True):
                answers.append(Answer.of_text(name, batch.classes[label], model.classes, row))
        return answers

    def monitor(self, model: ImageClassifier) -> dict[str, float]:
        some = self.data.parts.validation.some(VALIDATED, 0)
        answers = self.answers(model, some)
        figures = {"validation_loss": classes.loss(answers)}
        return {**figures, "validation_accuracy": classes.accuracy(answers)}

    def evaluate(self, model: ImageClassifier) -> Figures:
        answers = self.evaluated[model] = self.answers(model, self.data.parts.test)
        return {
            "accuracy": classes.accuracy(answers),
            "test_loss": classes.loss(answers),
            "examples_learned": float(len(self.data.parts.train)),
            **self.data.skipped,
        }

    def draw(self, model: ImageClassifier, points: Points, folder: Path) -> list[Path]:
        answers = self.evaluated.get(model) or self.answers(model, self.data.parts.test)
        pairs = [(a.label, a.predicted) for a in answers]
        sheet = variants(self.data.photo, self.augmentation, self.seed)
        rows = by_technique(self.data.photo, self.seed)
        write_policy(folder / "policy.json", self.augmentation, self.seed, **self.mixing.to_dict())
        return [
            draw_variants(folder / "variants.png", sheet, ACROSS, self.title),
            draw_techniques(folder / "techniques.png", rows, "each technique by itself"),
            draw_confusion(folder / "confusion.png", pairs, model.classes, {}, self.title),
        ]

    @classmethod
    def compare_plots(cls, trials: Mapping[str, Trial], folder: Path) -> list[Path]:
        """Accuracy by the number of examples, with augmentation and without, and what each
        technique gains, with the spread over seeds."""
        curves, gained = lines(list(trials.values())), gains(list(trials.values()))
        if not (curves or gained):
            return []
        path = folder / "accuracy.png"
        axes = {"xlabel": "examples", "ylabel": "accuracy on test images"}
        return [draw_spread(path, curves, gained, gained="accuracy gained", **axes)]

    @torch.no_grad()
    def predict(self, model: ImageClassifier, text: str) -> Prediction:
        x = image_of(text, model.shape).to(self.dtype) / 255
        p = model(placed(x, model)).softmax(1)[0]
        return classes.prediction_of(text, model.classes, p)

    def exported(self, model: ImageClassifier) -> dict[str, tuple[nn.Module, Any]]:
        return {"": (model, torch.zeros(2, *model.shape, dtype=self.dtype))}

    def metadata(self, model: ImageClassifier) -> dict[str, str]:
        return {"classes": to_json(model.classes), "shape": to_json(model.shape)}

    def equations(self) -> str:
        model = untrained(self.network).equations()
        return f"{model}\nE = −Σ target ln p, over the classes"
