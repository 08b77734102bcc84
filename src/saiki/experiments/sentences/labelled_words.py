"""The words of labelled texts: cut, known by their numbers, and what plain classifiers make of
them."""

import itertools
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saiki.data import store
from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.text.labelled import Batch, LabelledParts, LabelledRows, Table
from saiki.errors import InputError
from saiki.experiment import Figures, untrained
from saiki.experiments.sentences.source import WordSource
from saiki.files import to_json
from saiki.inputs import files_below
from saiki.knobs import Knobs, knob
from saiki.metrics import baselines
from saiki.metrics.vectors import sharing
from saiki.models.word_features import found_in, numbers
from saiki.progress import each
from saiki.text import FIRST, Text
from saiki.text.pipelines import PipelineVectors
from saiki.text.tokenisers import Tokeniser, Word

GROUPS, TOGETHER = 8, 5
"""Groups of words that are told, and words of each at most."""
MANY = 0.3
"""Share of words without a vector from which on others would be better."""


class TableSource(Knobs):
    """A table of texts and labels."""

    data: str = knob(
        "", "table of texts and labels, TSV or CSV; reviews of hotels, jrte, without", is_path=True
    )
    columns: Table = Table()

    def read(self, seed: int) -> LabelledParts:
        path = store.locate("jrte", Path(self.data) if self.data else None)
        return self.columns.read(path if self.data else files_below(path, ["pn.tsv"])[0], seed)


class LabelledWords(IndexedDataset[Batch]):
    """Labelled texts in words.

    Args:
        words: what cuts them, and where their words have vectors.
        voted: whether targets are shares of votes; see :meth:`Labelled.targets`.
        chooses: whether the development part chooses the weights, so that it may not be tested.
        seed: which texts are set apart, where nothing says it.
    """

    source: TableSource
    words: WordSource
    voted: bool
    chooses: bool
    seed: int

    @cached_property
    def parts(self) -> LabelledParts:
        parts = self.source.read(self.seed)
        if self.chooses and not parts.has_test:
            raise InputError(
                "patience and keep best need a table of three parts, train, dev and test: what is "
                "tested may choose nothing"
            )
        return parts

    @cached_property
    def cutter(self) -> Tokeniser:
        """What cuts the texts."""
        return self.words.tokeniser(self.parts.train.texts)

    @cached_property
    def cut(self) -> dict[str, list[list[Word]]]:
        """The words of the texts of each part, to learn from, to develop and to test."""
        words = {}
        for name in ("train", "development", "test"):
            texts = getattr(self.parts, name).texts
            words[name] = [self.cutter.words(text) for text in each(texts)]
        return words

    @cached_property
    def known(self) -> tuple[Text, int]:
        """See :meth:`WordSource.known`."""
        train, *others = self.cut.values()
        return self.words.known(self.cutter, train, itertools.chain(*others))

    @cached_property
    def rows(self) -> dict[str, LabelledRows]:
        """Each part as numbers, with its targets."""
        vocabulary, rows = self.known[0].vocabulary, {}
        for name, texts in self.cut.items():
            targets = getattr(self.parts, name).targets(self.parts.classes, self.voted)
            rows[name] = LabelledRows([numbers(words, vocabulary) for words in texts], targets)
        return rows

    @property
    def lengths(self) -> list[tuple[int]]:
        return [(len(row),) for row in self.rows["train"].rows]

    def batch(self, draw: Draw) -> Batch:
        return self.rows["train"].batch(draw.own)

    def items(self) -> dict[str, list[str]]:
        parts = self.parts.train, self.parts.development, self.parts.test
        return {
            "texts": [text for part in parts for text in part.texts],
            "labels": [label for part in parts for label in part.labels],
            "votes": [to_json(votes) for part in parts for votes in part.votes if self.voted],
        }

    def example(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        return torch.randint(FIRST, (3, 7), generator=random), torch.tensor([4, 7, 2])

    def input_example(self) -> str:
        return self.parts.test.texts[0]

    def describe(self) -> str:
        lines, table = [self.parts.in_words()], self.words.table
        words = [word for texts in self.cut.values() for words in texts for word in words]
        if table is not None:
            without = sum(found_in(word, table) is None for word in words) / max(1, len(words))
            hint = "; --vectors takes others" if without > MANY else ""
            lines.append(f"{len(words):,} words, {without:.1%} of them without a vector{hint}")
        if isinstance(table, PipelineVectors):
            lines.append("{:,} words of the pipeline share {:,} vectors".format(*table.shared))
        if self.words.layers is not None:
            lines.append("layers and vectors are those of the run of masked-lm")
        return "\n".join(lines)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The vectors of the words that are known, before anything is learned."""
        return untrained(lambda: self.words.build(*self.known)).vectors.detach().numpy()

    @cached_property
    def shared(self) -> tuple[list[list[str]], float]:
        """Groups of words that are one vector, and the share of the different words to be tested
        which are in one; see :func:`saiki.metrics.vectors.sharing`."""
        words = self.known[0].vocabulary.words
        held = Counter(words[i] for row in self.rows["test"].rows for i in row)
        groups = sharing(words, self.matrix, held)
        return groups, sum(word in held for group in groups for word in group) / max(1, len(held))

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
            for group in groups[:GROUPS]:
                more = f" and {len(group) - TOGETHER} more" if len(group) > TOGETHER else ""
                yield f"  {' = '.join(group[:TOGETHER])}{more}"
        if self.matrix.any() and isinstance(self._mean_vector, InputError):
            yield str(self._mean_vector)
