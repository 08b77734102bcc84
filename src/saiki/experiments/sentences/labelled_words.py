"""The words of labelled texts: cut, known by their numbers, and what plain classifiers make of
them."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from saiki.data.text.labelled import LabelledParts
from saiki.data.text.labelled_rows import LabelledRows
from saiki.errors import InputError
from saiki.experiment import Figures, untrained
from saiki.experiments.sentences.source import WordSource
from saiki.metrics import baselines
from saiki.metrics.vectors import sharing
from saiki.models.word_features import found_in, numbers
from saiki.progress import each
from saiki.text import Text
from saiki.text.pipelines import PipelineVectors
from saiki.text.tokenisers import Tokeniser, Word

GROUPS, TOGETHER = 8, 5
"""Groups of words that are told, and words of each at most."""
MANY = 0.3
"""Share of words without a vector from which on others would be better."""


@dataclass(frozen=True)
class LabelledWords:
    """Labelled texts in words.

    Args:
        parts: the texts.
        source: what cuts them, and where their words have vectors.
        voted: whether targets are shares of votes; see :meth:`Labelled.targets`.
    """

    parts: LabelledParts
    source: WordSource
    voted: bool

    @cached_property
    def cutter(self) -> Tokeniser:
        """What cuts the texts."""
        return self.source.tokeniser(self.parts.train.texts)

    @cached_property
    def cut(self) -> dict[str, list[list[Word]]]:
        """The words of the texts of each part, to learn from, to develop and to test."""
        found = {}
        for name in ("train", "development", "test"):
            texts = getattr(self.parts, name).texts
            found[name] = [self.cutter.words(text) for text in each(texts)]
        return found

    @cached_property
    def known(self) -> tuple[Text, int]:
        """See :meth:`WordSource.known`."""
        train, *others = self.cut.values()
        return self.source.known(self.cutter, train, itertools.chain(*others))

    @cached_property
    def rows(self) -> dict[str, LabelledRows]:
        """Each part as numbers, with its targets."""
        vocabulary, found = self.known[0].vocabulary, {}
        for name, its in self.cut.items():
            targets = getattr(self.parts, name).targets(self.parts.classes, self.voted)
            found[name] = LabelledRows([numbers(words, vocabulary) for words in its], targets)
        return found

    def in_words(self) -> str:
        """What a person should know of them."""
        lines, table = [self.parts.in_words()], self.source.table
        words = [word for its in self.cut.values() for words in its for word in words]
        if table is not None:
            without = sum(found_in(word, table) is None for word in words) / max(1, len(words))
            hint = "; --vectors takes others" if without > MANY else ""
            lines.append(f"{len(words):,} words, {without:.1%} of them without a vector{hint}")
        if isinstance(table, PipelineVectors):
            lines.append("{:,} words of the pipeline share {:,} vectors".format(*table.shared))
        if self.source.layers is not None:
            lines.append("layers and vectors are those of the run of masked-lm")
        return "\n".join(lines)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The vectors of the words that are known, before anything is learned."""
        return untrained(lambda: self.source.build(*self.known)).vectors.detach().numpy()

    @cached_property
    def shared(self) -> tuple[list[list[str]], float]:
        """Groups of words that are one vector, and the share of the different words to be tested
        which are in one; see :func:`saiki.metrics.vectors.sharing`."""
        words = self.known[0].vocabulary.words
        held = Counter(words[i] for row in self.rows["test"].rows for i in row)
        groups = sharing(words, self.matrix, held)
        return groups, sum(word in held for its in groups for word in its) / max(1, len(held))

    @cached_property
    def _mean_vector(self) -> float | InputError:
        train, test = self.rows["train"].rows, self.rows["test"].rows
        of = train, self.parts.train.labels, test, self.parts.test.labels, self.matrix
        try:
            return baselines.mean_vector(*of)
        except InputError as error:
            return error

    @property
    def baselines(self) -> Figures:
        """The macro-F1 of classifiers that any other has to be better than; that of a logistic
        regression is None where words have no vectors, or its library is missing."""
        majority = baselines.majority(self.parts.train.labels, self.parts.test.labels)
        plain = self._mean_vector if self.matrix.any() else None
        mean = plain if isinstance(plain, float) else None
        return {"majority_macro_f1": majority, "mean_vector_macro_f1": mean}

    def remarks(self) -> Iterator[str]:
        """Lines on words that are one vector, and on what is missing to compare with."""
        groups, share = self.shared
        if groups:
            yield f"{share:.0%} of the different words tested share their vector, such as"
            for its in groups[:GROUPS]:
                more = f" and {len(its) - TOGETHER} more" if len(its) > TOGETHER else ""
                yield f"  {' = '.join(its[:TOGETHER])}{more}"
        if self.matrix.any() and isinstance(self._mean_vector, InputError):
            yield str(self._mean_vector)
