"""Which of several classes a sentence belongs to, and which of its words say so."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.models.classifier import SequenceClassifier
from saiki.models.word_features import VectorTable, WordFeatures
from saiki.prediction import Prediction
from saiki.text.rows import together

AT_ONCE, STEPS_AT_ONCE = 256, 2**16
"""Rows that are read together, and words of all of them."""
SHOWN = 40
"""Characters of a word or piece that a person is shown."""
PIECES = 100
"""Parts of a text that are left out in turn. A text of more words is left out some neighbours at a
time, or else the work would grow with the square of its length."""


class Reading(NamedTuple):
    """What a model says of a sentence."""

    classes: list[tuple[str, float]]
    """With their probabilities, the most probable one first."""
    words: list[str]
    """Of a text of more than :data:`PIECES` words as many pieces, each of some neighbours."""
    influence: list[float]
    """Of each word or piece: by how much the probability of the first class falls without it."""
    unknown: list[str]

    @property
    def most_influential(self) -> list[tuple[str, float]]:
        """The words and their influence, the largest first."""
        pairs = zip(self.words, self.influence, strict=True)
        return sorted(pairs, key=lambda pair: -abs(pair[1]))

    def prediction(self, sentence: str) -> Prediction:
        """All of it, by name and for people."""
        likeliest = ", ".join(f"{label} ({p:.1%})" for label, p in self.classes)
        most = self.most_influential[:3]
        influence = ", ".join(f"{word:.{SHOWN}} {by:+.2f}" for word, by in most)
        pairs = zip(self.words, self.influence, strict=True)
        return Prediction(
            input=sentence,
            figures={
                "label": self.classes[0][0],
                "probability": self.classes[0][1],
                "classes": [{"label": label, "probability": p} for label, p in self.classes],
                "words": [{"word": word, "influence": by} for word, by in pairs],
            },
            unknown=self.unknown,
            text=f"{sentence}: {likeliest}\n  {influence}",
        )


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
        read = [self._read_or_error(sentence, others) for sentence in sentences]
        rows = [row for parsed in read if isinstance(parsed, _Read) for row in parsed.rows]
        p = iter(self._probabilities(rows))
        return [
            self._reading(parsed, p) if isinstance(parsed, _Read) else parsed for parsed in read
        ]

    def _read_or_error(self, sentence: str, others: VectorTable | None) -> "_Read | InputError":
        try:
            words, unknown, z = self.features.read(sentence, others)
        except InputError as error:
            return error
        size = -(-len(words) // PIECES)
        join = self.features.text.tokeniser.join
        pieces = [
            words[i].text if size == 1 else join([word.text for word in words[i : i + size]])
            for i in range(0, len(words), size)
        ]
        rows = [_Row(z, 0, 0), *(_Row(z, i, i + size) for i in range(0, len(words), size))]
        if len(words) == 1:
            rows[1] = _Row(self.features.nothing(), 0, 0)
        return _Read(pieces, list(dict.fromkeys(word.text for word in unknown)), rows)

    def _reading(self, read: "_Read", p: Iterator[Tensor]) -> Reading:
        """Of a text, with the probabilities of its rows, which come next."""
        whole = next(p)
        order = whole.argsort(descending=True).tolist()
        influence = [(whole[order[0]] - next(p)[order[0]]).item() for _ in read.pieces]
        classes = [(self.classes[i], whole[i].item()) for i in order]
        return Reading(classes, read.pieces, influence, read.unknown)

    def _probabilities(self, rows: Sequence["_Row"]) -> Tensor:
        """Of the classes, ``(rows, classes)``."""
        p = torch.empty(len(rows), len(self.classes))
        for some in together([row.length for row in rows], AT_ONCE, STEPS_AT_ONCE):
            lengths = torch.tensor([rows[i].length for i in some])
            z = nn.utils.rnn.pad_sequence([rows[i].features for i in some], batch_first=True)
            p[some] = self.classify(z, lengths).softmax(1).to(p)
        return p


class _Row(NamedTuple):
    """A text without the words from one to another; it is put together when its turn comes."""

    z: Tensor
    begin: int
    end: int

    @property
    def length(self) -> int:
        """Words that are left."""
        return self.begin + len(self.z[self.end :])

    @property
    def features(self) -> Tensor:
        return torch.cat((self.z[: self.begin], self.z[self.end :]))


class _Read(NamedTuple):
    """A text that is read: its pieces, its unknown words, and the rows to ask the model about: all
    of it, and all without each piece."""

    pieces: list[str]
    unknown: list[str]
    rows: list[_Row]
