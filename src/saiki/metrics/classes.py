"""Measures of what is said of things that each belong to one of several classes."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saiki.data.sound.layouts import Recording
from saiki.prediction import Prediction


@dataclass(frozen=True)
class Answer:
    """What a model says of one recording, or of one text, which is then its name."""

    name: str
    label: str
    speaker: str | None
    predicted: str
    probability: float
    """Of what is said."""
    right: float
    """The probability of the label."""

    @classmethod
    def of(cls, entry: Recording, classes: Sequence[str], p: Tensor) -> "Answer":
        """Of a recording, from the probabilities of the classes, ``(classes,)``."""
        return cls.of_text(entry.name, entry.label, classes, p, entry.speaker)

    @classmethod
    def of_text(
        cls, text: str, label: str, classes: Sequence[str], p: Tensor, speaker: str | None = None
    ) -> "Answer":
        """Of a text, or a recording of this name."""
        predicted, right = classes[int(p.argmax())], p[classes.index(label)].item()
        return cls(text, label, speaker, predicted, p.max().item(), right)


def likeliest(classes: Sequence[str], p: Tensor, count: int = 3) -> list[dict[str, Any]]:
    """The first of the classes and their probabilities, from those of all, ``(classes,)``."""
    values, places = p.topk(min(count, len(classes)))
    pairs = zip(places.tolist(), values.tolist(), strict=True)
    return [{"label": classes[i], "probability": value} for i, value in pairs]


def prediction_of(text: str, classes: Sequence[str], p: Tensor) -> Prediction:
    """The class of an input, from the probabilities of all classes, ``(classes,)``."""
    best = likeliest(classes, p)
    several = ", ".join(f"{each['label']} ({each['probability']:.1%})" for each in best)
    return Prediction(input=text, figures={**best[0], "classes": best}, text=f"{text}: {several}")


def accuracy(answers: Sequence[Answer]) -> float:
    """Share of right answers."""
    return sum(a.predicted == a.label for a in answers) / len(answers)


def f1_of(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> dict[str, float]:
    """F1 of each class, 2 right / (was + said), from what things were and what was said of them; 0
    where a class neither was nor was said."""
    actual, predicted = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    right = Counter(a for a, b in pairs if a == b)
    return {name: 2 * right[name] / max(actual[name] + predicted[name], 1) for name in classes}


def macro_f1(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> float:
    """The mean over the classes, each of equal weight, of :func:`f1_of`."""
    return sum(f1_of(pairs, classes).values()) / len(classes)


def by_speaker(answers: Sequence[Answer]) -> dict[str, float]:
    """The accuracy for each speaker who is known, in the order in which they come."""
    known = dict.fromkeys(a.speaker for a in answers if a.speaker)
    return {name: accuracy([a for a in answers if a.speaker == name]) for name in known}


def loss(answers: Sequence[Answer]) -> float:
    """The mean of −ln p of what is right."""
    return -sum(math.log(max(a.right, 1e-30)) for a in answers) / len(answers)


def figures(answers: Sequence[Answer]) -> dict[str, float]:
    """Accuracy, also for each speaker, and the loss."""
    rates = {"test_accuracy": accuracy(answers), "test_loss": loss(answers)}
    return rates | {f"test_accuracy_{name}": rate for name, rate in by_speaker(answers).items()}


def mistakes(answers: Sequence[Answer], count: int = 5) -> str:
    """The worst of them, in words."""
    wrong = sorted((a for a in answers if a.predicted != a.label), key=lambda a: a.right)
    if not wrong:
        return "all of what was tested is right"
    lines = [
        f"  {a.name}: {a.predicted} ({a.probability:.0%}), and {a.label} only {a.right:.1%}"
        for a in wrong[:count]
    ]
    return "\n".join((f"{len(wrong)} mistakes; the worst", *lines))


def sums(batches: Iterable[tuple[int, Mapping[str, Tensor]]]) -> Tensor:
    """Loss and accuracy summed over examples, and their number, ``(3,)``, from how many each batch
    has and the means over them."""
    totals = torch.zeros(3, dtype=torch.float64)
    for count, measures in batches:
        means = [measures["loss"].item(), measures["accuracy"].item(), 1]
        totals += count * torch.tensor(means, dtype=totals.dtype)
    return totals


def means(sums: Tensor) -> tuple[float, float]:
    """Loss and accuracy, from :func:`sums`."""
    loss, right, count = sums.tolist()
    return loss / count, right / count
