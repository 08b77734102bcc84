"""Which of several classes a sentence belongs to, and which of its words say so."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.models.classifier import SequenceClassifier
from saiki.models.word_features import VectorTable, WordFeatures

AT_ONCE = 256
"""Rows that are read together."""


class Reading(NamedTuple):
    """What a model says of a sentence."""

    classes: list[tuple[str, float]]
    """With their probabilities, the most probable one first."""
    words: list[str]
    influence: list[float]
    """Of each word: by how much the probability of the first class falls without it."""
    unknown: list[str]

    @property
    def most_influential(self) -> list[tuple[str, float]]:
        """The words and their influence, the largest first."""
        pairs = zip(self.words, self.influence, strict=True)
        return sorted(pairs, key=lambda pair: -abs(pair[1]))

    def answer(self, sentence: str) -> dict[str, Any]:
        """All of it by name, and for people under ``"text"``."""
        said = ", ".join(f"{label} ({p:.1%})" for label, p in self.classes)
        moved = ", ".join(f"{word} {by:+.2f}" for word, by in self.most_influential[:3])
        return {
            "input": sentence,
            "label": self.classes[0][0],
            "probability": self.classes[0][1],
            "classes": [{"label": label, "probability": p} for label, p in self.classes],
            "words": [
                {"word": word, "influence": by}
                for word, by in zip(self.words, self.influence, strict=True)
            ],
            "unknown": self.unknown,
            "text": f"{sentence}: {said}\n  {moved}",
        }


class SentenceClassifier(SequenceClassifier, name="sentence_classifier.v1"):
    """A :class:`SequenceClassifier` of words that reads what somebody types.

    Args:
        features: of words.
        classes, recurrent, pooling, dropout: see :class:`SequenceClassifier`.
    """

    features: WordFeatures

    def __init__(
        self,
        features: WordFeatures,
        classes: Sequence[str],
        recurrent: nn.Module,
        pooling: str = "attention",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(features, classes, recurrent, pooling, dropout=dropout)

    @torch.no_grad()
    def read(
        self, sentences: Sequence[str], others: VectorTable | None = None
    ) -> list[Reading | InputError]:
        """What the trained model says of each sentence, or why it says nothing.

        How much a word moved the decision is found by leaving it out; the only word of a sentence
        by putting one in its place of which nothing is known.

        Args:
            others: where words that are not in the vocabulary may have a vector.
        """
        found: list[Reading | InputError] = []
        read = [self._read_or_error(sentence, others) for sentence in sentences]
        rows = [z for _, _, zs in (its for its in read if isinstance(its, tuple)) for z in zs]
        p = iter(self._probabilities(rows))
        for its in read:
            if isinstance(its, InputError):
                found.append(its)
                continue
            words, unknown, _ = its
            whole = next(p)
            order = whole.argsort(descending=True).tolist()
            influence = [(whole[order[0]] - next(p)[order[0]]).item() for _ in words]
            classes = [(self.classes[i], whole[i].item()) for i in order]
            found.append(Reading(classes, words, influence, list(dict.fromkeys(unknown))))
        return found

    def _read_or_error(
        self, sentence: str, others: VectorTable | None
    ) -> tuple[list[str], list[str], list[Tensor]] | InputError:
        """Its words, those that are unknown, and the features of it and of it without each word."""
        try:
            words, unknown, z = self.features.read(sentence, others)
        except InputError as error:
            return error
        said, unread = ([word.text for word in its] for its in (words, unknown))
        return said, unread, [z, *self._without_each(z)]

    def _without_each(self, z: Tensor) -> list[Tensor]:
        """The features of a sentence without each of its words in turn."""
        if len(z) == 1:
            return [self.features.nothing()]
        return [torch.cat((z[:i], z[i + 1 :])) for i in range(len(z))]

    def _probabilities(self, rows: Sequence[Tensor]) -> Tensor:
        """Of the classes, ``(rows, classes)``."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found = torch.empty(len(rows), len(self.classes))
        for at in range(0, len(order), AT_ONCE):
            some = order[at : at + AT_ONCE]
            lengths = torch.tensor([len(rows[i]) for i in some])
            z = nn.utils.rnn.pad_sequence([rows[i] for i in some], batch_first=True)
            found[some] = self.classify(z, lengths).softmax(1).to(found)
        return found
