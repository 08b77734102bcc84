"""Measures of what is said of things that each belong to one of several classes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saiki.data.sound.layouts import Recording


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

    @classmethod
    def of(cls, entry: Recording, classes: Sequence[str], p: Tensor) -> "Answer":
        """From the probabilities of the classes, ``(classes,)``."""
        said, right = classes[int(p.argmax())], p[classes.index(entry.label)].item()
        return cls(entry.name, entry.label, entry.speaker, said, p.max().item(), right)


def likeliest(classes: Sequence[str], p: Tensor, count: int = 3) -> list[dict[str, Any]]:
    """The first of the classes and their probabilities, from those of all, ``(classes,)``."""
    values, places = p.topk(min(count, len(classes)))
    pairs = zip(places.tolist(), values.tolist(), strict=True)
    return [{"label": classes[i], "probability": value} for i, value in pairs]


def accuracy(answers: Sequence[Answer]) -> float:
    """Share of right answers."""
    return sum(a.said == a.label for a in answers) / len(answers)


def by_speaker(answers: Sequence[Answer]) -> dict[str, float]:
    """The accuracy for each speaker who is known, in the order in which they come."""
    known = dict.fromkeys(a.speaker for a in answers if a.speaker)
    return {name: accuracy([a for a in answers if a.speaker == name]) for name in known}


def figures(answers: Sequence[Answer]) -> dict[str, float]:
    """Accuracy, also for each speaker, and the mean of −ln p of what is right."""
    loss = -sum(math.log(max(a.right, 1e-30)) for a in answers) / len(answers)
    found = {"test_accuracy": accuracy(answers), "test_loss": loss}
    return found | {f"test_accuracy_{name}": rate for name, rate in by_speaker(answers).items()}


def mistakes(answers: Sequence[Answer], count: int = 5) -> str:
    """The worst of them, in words."""
    wrong = sorted((a for a in answers if a.said != a.label), key=lambda a: a.right)
    if not wrong:
        return "every recording that was tested is understood"
    lines = [
        f"  {a.name}: {a.said} ({a.probability:.0%}), and {a.label} only {a.right:.1%}"
        for a in wrong[:count]
    ]
    return "\n".join((f"{len(wrong)} mistakes; the worst", *lines))


def sums(batches: Iterable[tuple[int, Mapping[str, Tensor]]]) -> Tensor:
    """Loss and accuracy summed over examples, and their number, ``(3,)``, from how many each batch
    has and the means over them."""
    found = torch.zeros(3, dtype=torch.float64)
    for count, measures in batches:
        means = [measures["loss"].item(), measures["accuracy"].item(), 1]
        found += count * torch.tensor(means, dtype=found.dtype)
    return found


def means(sums: Tensor) -> tuple[float, float]:
    """Loss and accuracy, from :func:`sums`."""
    loss, right, count = sums.tolist()
    return loss / count, right / count
