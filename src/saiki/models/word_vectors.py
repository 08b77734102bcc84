"""word2vec: a vector for each word, learned from the words around it."""

import math
from collections.abc import Iterable, Sequence
from os import PathLike, cpu_count
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from saiki import processes
from saiki.data.text import phrases
from saiki.data.text.numbered import NumberedText, Split, text_lines
from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule
from saiki.text.tokenisers import words_of
from saiki.text.vectors import SubWords, Vectors
from saiki.text.vectors.subwords import ngram_rows
from saiki.word2vec import padded

if TYPE_CHECKING:
    from saiki.word2vec.trainer import Trainer

METHODS = ("skip-gram", "cbow")
PIECE = 1 << 18
"""Words of a text that are learned from at a time."""
MEETINGS = 4
"""Of several processes, in each piece."""
LEAST = 0.002
"""Of the learning rate, what is left of it at the end of :meth:`WordVectors.fit`."""


def piece_seed(seed: int, number: int) -> int:
    """A seed for a piece of a text."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 2)


class WordVectors(DescribedModule, name="word_vectors.v1"):
    """Each word has a vector, and another one as what is told by those around it.

    With e of a word and o of another one, σ(e · o) is the probability that they stand near each
    other. It is learned from each word with those around it, ``window`` words away at most, against
    words that are drawn (Mikolov, Sutskever et al. 2013), or along the way through a tree of all
    words (Morin & Bengio 2005; Mikolov, Chen et al. 2013). Skip-gram tells a word from each one
    around it, CBOW from their mean. With sub-words the vector of a word is the mean of its own and
    those of its n-grams (Bojanowski et al. 2017).

    >>> model = WordVectors(size=8, minimum=1, sample=0)
    >>> _ = model.fit(["the cat sat on the mat", "the dog sat on the mat"] * 50, epochs=2)
    >>> model.words[0], model.vectors["cat"].shape
    ('the', (8,))

    Args:
        size: features of a vector.
        method: ``"skip-gram"`` or ``"cbow"``.
        window: words to either side, at most; how many it is, is drawn for each word.
        negatives: words that are drawn for each word, shared by those around it, or with sub-words
            for each of those; 0 takes the tree.
        sample: t, above which share frequent words are left out at random, a word of share f with
            probability 1 − √(t / f) − t / f; 0 leaves out none.
        buckets: vectors that n-grams share by their hash; 0 is without sub-words.
        min_n, max_n: characters of an n-gram, those that mark the ends of a word included.
        minimum: times that a word must occur to be known.
        most: words that are known at most, the most frequent ones; 0 is no bound.
        phrases: passes over the text, each of which joins two words to a phrase, such as new_york.
        phrase_threshold: score above which two words are one; ``minimum`` is what is taken off how
            often they stand together. See :mod:`saiki.data.text.phrases`.
        parts: of a piece of text that are learned from at the same time, so that so many threads
            can share the work. What two of them learn of a word is added up, so that other parts
            make other vectors.
        words, counts: what is known, where it is known beforehand.

    Raises:
        InputError: a value is not allowed, or two do not fit each other.
    """

    _saiki_bookkeeping = ("_saiki_trainer",)

    def __init__(
        self,
        size: int = 100,
        method: Literal["skip-gram", "cbow"] = "skip-gram",
        window: int = 5,
        negatives: int = 5,
        sample: float = 1e-4,
        buckets: int = 0,
        min_n: int = 3,
        max_n: int = 6,
        minimum: int = 5,
        most: int = 0,
        phrases: int = 0,
        phrase_threshold: float = 100.0,
        parts: int = 2,
        words: Sequence[str] = (),
        counts: Sequence[int] = (),
    ) -> None:
        super().__init__()
        bounds = {
            "size": (size, 1), "window": (window, 1), "negatives": (negatives, 0),
            "buckets": (buckets, 0), "min_n": (min_n, 1), "max_n": (max_n, min_n),
            "minimum": (minimum, 1), "most": (most, 0), "phrases": (phrases, 0),
            "parts": (parts, 1),
        }  # fmt: skip
        for name, (value, least) in bounds.items():
            if type(value) is not int or value < least:
                raise InputError(f"{name} must be a whole number of at least {least}, got {value}")
        if method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if not 0 <= sample < 1:
            raise InputError(f"sample must lie in [0, 1), got {sample}")
        if not phrase_threshold > 0:
            raise InputError(f"phrase_threshold must be above 0, got {phrase_threshold}")
        if len(words) != len(counts):
            raise InputError(f"{len(words)} words have {len(counts)} counts")
        self.size, self.method, self.window, self.negatives = size, method, window, negatives
        self.sample, self.buckets, self.min_n, self.max_n = sample, buckets, min_n, max_n
        self.minimum, self.most = minimum, most
        self.phrases, self.phrase_threshold, self.parts = phrases, phrase_threshold, parts
        self._saiki_trainer: Any = None
        self._know(words, counts)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "words": list(self.words), "counts": self.counts.tolist()}

    def _know(self, words: Sequence[str], counts: Sequence[int] | NDArray[np.int64]) -> None:
        """Give these words vectors: inputs drawn evenly within ± ½ / size, outputs zero."""
        self.words, self.counts = tuple(words), np.asarray(counts, np.int64)
        self.numbers = {word: number for number, word in enumerate(self.words)}
        wide = padded(self.size)
        inputs = torch.zeros(len(words) + (self.buckets if words else 0), wide)
        inputs[:, : self.size].uniform_(-0.5 / self.size, 0.5 / self.size)
        outputs = len(words) if self.negatives else max(len(words) - 1, 0)
        self.inputs, self.outputs = nn.Parameter(inputs), nn.Parameter(torch.zeros(outputs, wide))

    def reset_parameters(self) -> None:
        """Vectors drawn anew."""
        self._know(self.words, self.counts)

    def know(self, text: NumberedText) -> Self:
        """Take the words of a text, those that are frequent enough, and draw their vectors; see
        :meth:`frequent`."""
        self._know(*self.frequent(text))
        return self

    def frequent(self, text: NumberedText) -> tuple[list[str], NDArray[np.int64]]:
        """The words of a text that are frequent enough, and how often they occur.

        Raises:
            InputError: fewer than two words are.
        """
        words, counts = text.frequent(self.minimum, self.most)
        if len(words) < 2:
            raise InputError(
                f"it takes two words that are known, got {len(words)} that occur {self.minimum} "
                f"times or more in a text of {text.words:,} words; take a longer text, a smaller "
                "minimum, or more words at most"
            )
        return words, counts

    def fit(
        self,
        text: str | PathLike[str] | Iterable[str],
        epochs: int = 5,
        learning_rate: float = 0.05,
        split: Split = words_of,
        seed: int = 0,
        threads: int | None = None,
    ) -> Self:
        """Learn the words of a text and their vectors.

        Args:
            text: lines, or the path of a file, packed or not, or of a folder of files; ``-`` is the
                standard input. It is read once.
            epochs: times that it is learned from.
            learning_rate: at the begin; it falls along a line to nearly 0.
            split: a line into words.
            threads: all processors if None, and ``parts`` at most. The vectors do not depend on
                their number.

        Raises:
            InputError: fewer than two words are frequent enough, the learning rate is too large, or
            ``epochs``, ``learning_rate`` or ``threads`` is not above 0.
        """
        _check(epochs, learning_rate, threads)
        numbered = self.with_phrases(self._read(text, split))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.know(numbered)
        return self._go_on(numbered, epochs, learning_rate, seed, threads)

    def partial_fit(
        self,
        text: str | PathLike[str] | Iterable[str],
        epochs: int = 1,
        learning_rate: float = 0.025,
        split: Split = words_of,
        seed: int = 0,
        threads: int | None = None,
    ) -> Self:
        """Go on with the words and phrases that are known; see :meth:`fit`.

        Raises:
            InputError: no words are known, or what :meth:`fit` refuses.
        """
        _check(epochs, learning_rate, threads)
        if not self.words:
            raise InputError("no words are known yet; fit learns them")
        numbered = self._read(text, split)
        if self.phrases:
            numbered = phrases.recall(numbered, self.words)
        return self._go_on(numbered, epochs, learning_rate, seed, threads)

    def with_phrases(self, text: NumberedText) -> NumberedText:
        """The text with the phrases that it has; see :func:`saiki.data.text.phrases.learn`."""
        return phrases.learn(text, self.phrases, self.phrase_threshold, self.minimum)

    @classmethod
    def from_vectors(cls, vectors: Vectors, **settings: Any) -> Self:
        """A model that begins with these vectors, and knows their words: :meth:`partial_fit` goes
        on from there. Outputs are zero. Where there are no counts, as in files of text, they follow
        Zipf's law: a word occurs in inverse proportion to its place.

        Args:
            settings: arguments of the model; the sizes are those of the vectors.
        """
        ranks = np.arange(1, len(vectors) + 1)
        counts = vectors.counts if vectors.counts is not None else 10 * len(vectors) // ranks
        if vectors.subwords:
            grams = vectors.subwords
            settings |= {"min_n": grams.min_n, "max_n": grams.max_n, "buckets": len(grams.buckets)}
        known = {"size": vectors.size, "words": vectors.words, "counts": counts.tolist()}
        model = cls(**(settings | known))
        model.start_from(vectors)
        return model

    def start_from(self, vectors: Vectors) -> int:
        """Begin with the vectors of those words that are known here and there, and with those of
        n-grams where they are cut and counted alike.

        Returns:
            How many words those are.

        Raises:
            InputError: the vectors have another size.
        """
        if vectors.size != self.size:
            raise InputError(
                f"vectors of {vectors.size} numbers begin a model of size {vectors.size}, got a "
                f"model of size {self.size}"
            )
        both = [word for word in self.words if word in vectors]
        inputs, grams = self.inputs.detach().numpy()[:, : self.size], vectors.subwords
        rows = vectors[both]
        if self.buckets:
            shapes = (self.buckets, self.min_n, self.max_n)
            if grams and shapes == (len(grams.buckets), grams.min_n, grams.max_n):
                inputs[len(self.words) :] = grams.buckets
            self._subwords().unmix(both, rows)
        inputs[[self.numbers[word] for word in both]] = rows
        return len(both)

    @staticmethod
    def _read(text: str | PathLike[str] | Iterable[str], split: Split) -> NumberedText:
        lines = text_lines(str(text)) if isinstance(text, str | PathLike) else text
        return NumberedText(lines, split)

    def _go_on(
        self, text: NumberedText, epochs: int, rate: float, seed: int, threads: int | None
    ) -> Self:
        pieces, places = text.pieces(PIECE), text.places(self.words)
        train = self.trainer(threads)
        for number in range(epochs * pieces):
            words = text.piece(number % pieces * PIECE, PIECE, places)
            begin, end = (1 - (number + i) / (epochs * pieces) for i in (0, 1))
            rates = rate * max(begin, LEAST), rate * max(end, LEAST)
            train.learn(words, rates, piece_seed(seed, number))
        if not self._is_finite:
            raise InputError(f"the vectors grew beyond all numbers; try a rate below {rate:g}")
        return self

    def trainer(self, threads: int | None = None, races: bool = False) -> "Trainer":
        """What changes the vectors in place; see :class:`saiki.word2vec.trainer.Trainer`."""
        try:
            from saiki.word2vec.tables import survival, tables
            from saiki.word2vec.trainer import Trainer
            from saiki.word2vec.windows import Rule
        except ImportError:
            raise InputError(
                "to learn word vectors needs Numba: pip install 'saiki[words]'"
            ) from None
        cbow, sub_words = self.method == "cbow", bool(self.buckets)
        from_around, by_tree = cbow or not sub_words, not self.negatives
        rule = Rule(cbow or sub_words, from_around, by_tree, self.window, self.negatives)
        ngrams = None
        if sub_words:
            rows, each = ngram_rows(self.words, self.min_n, self.max_n, self.buckets)
            ngrams = rows + len(self.words), each
        known = tables(rule, self.counts, ngrams)
        matrices = self.inputs.detach().numpy(), self.outputs.detach().numpy()
        stay = survival(self.counts, self.sample)
        made = Trainer(*matrices, rule, known, stay, threads or cpu_count() or 1, races, self.parts)
        made.learn(np.zeros(0, np.int32), (0.0, 0.0), 0)  # compiles it
        return made

    def learn(
        self,
        words: NDArray[np.int32],
        rates: tuple[float, float],
        seed: int,
        number: int,
        races: bool = False,
    ) -> Tensor:
        """Learn from one piece of a text, by the places of its words; the mean of −ln σ over the
        scores of one window in eight, or NaN where a vector is no number any more. Of several
        processes, each learns from a piece of its own, and after each quarter of it all go on with
        what all have made, see :func:`saiki.processes.combined`."""
        key = self.inputs.data_ptr(), self.outputs.data_ptr(), torch.get_num_threads(), races
        if self._saiki_trainer is None or self._saiki_trainer[0] != key:
            self._saiki_trainer = key, self.trainer(torch.get_num_threads(), races)
        matrices, costs = (self.inputs.data, self.outputs.data), torch.zeros(2, dtype=torch.float64)
        parts = np.array_split(words, MEETINGS if processes.count() > 1 else 1)
        steps = np.linspace(*rates, len(parts) + 1)
        for i, part in enumerate(parts):
            before = [matrix.clone() for matrix in matrices] if parts[1:] else matrices
            seed_of_part = piece_seed(seed, number * len(parts) + i)
            train = self._saiki_trainer[1].learn
            costs += torch.tensor(train(part, (steps[i], steps[i + 1]), seed_of_part))
            for old, matrix in zip(before, matrices, strict=True):
                matrix.copy_(processes.combined(old, matrix))
        cost, scores = processes.total(costs).tolist()
        return torch.tensor(cost / max(scores, 1) if self._is_finite else math.nan)

    @property
    def _is_finite(self) -> bool:
        """Whether all vectors are numbers still; scores are bounded, and do not show it."""
        return all(math.isfinite(m.data.sum()) for m in (self.inputs, self.outputs))

    def equations(self) -> str:
        """What it computes, and what is lowered."""
        near, label = ("c", "w") if self.method == "cbow" or not self.buckets else ("w", "c")
        source = f"the vector of {near}"
        if self.method == "cbow":
            source = "the mean of the vectors of all c"
        if self.buckets:
            source += ", each the mean of its own and those of its n-grams"
        others = f"0 of {self.negatives} words that are drawn ∼ count^¾"
        if not self.negatives:
            others = "those of the turns on the way to it through a tree of all words"
        return "\n".join(
            (
                f"w is a word, and c one of those around it, {self.window} words away at most",
                f"e = {source}",
                f"gₖ = α (labelₖ − σ(e · oₖ))    the label of {label} is 1, the others are {others}"
                if self.negatives
                else f"gₖ = α (labelₖ − σ(e · oₖ))    the labels of {label} are {others}",
                "e ← e + Σₖ gₖ oₖ",
                "oₖ ← oₖ + gₖ e",
                "E = −Σₖ (labelₖ ln σ(e · oₖ) + (1 − labelₖ) ln σ(−e · oₖ))",
            )
        )

    def forward(self, numbers: Tensor) -> Tensor:
        """The vectors of words by their numbers: ``(…)`` to ``(…, size)``. It is the product with a
        one-hot vector of each, without the multiplications by 0."""
        table = torch.from_numpy(self.vectors.matrix.copy()) if self.buckets else self.inputs
        return F.embedding(numbers, table)[..., : self.size]

    def _subwords(self) -> SubWords:
        buckets = self.inputs.detach().numpy()[len(self.words) :, : self.size]
        return SubWords(buckets.copy(), self.min_n, self.max_n)

    @property
    def vectors(self) -> Vectors:
        """The words with their vectors, as they are now: a copy, so that who asks much asks once.

        Raises:
            InputError: no words are known yet.
        """
        if not self.words:
            raise InputError("no words are known yet; fit learns them")
        matrix = self.inputs.detach().numpy()[: len(self.words), : self.size].copy()
        subwords = self._subwords() if self.buckets else None
        if subwords is not None:
            subwords.mix(self.words, matrix)
        return Vectors(self.words, matrix, self.counts, subwords)

    def similarity(self, a: str, b: str) -> float:
        """See :meth:`saiki.text.vectors.Vectors.similarity`, and so for the next three."""
        return self.vectors.similarity(a, b)

    def most_similar(
        self, positive: str | Sequence[str], negative: str | Sequence[str] = (), n: int = 10
    ) -> list[tuple[str, float]]:
        return self.vectors.most_similar(positive, negative, n)

    def analogy(self, a: str, b: str, c: str, n: int = 10) -> list[tuple[str, float]]:
        return self.vectors.analogy(a, b, c, n)

    def doesnt_match(self, words: Sequence[str]) -> str:
        return self.vectors.doesnt_match(words)


def _check(epochs: int, learning_rate: float, threads: int | None) -> None:
    """Refuse a training that would learn nothing, or unlearn."""
    if epochs < 1:
        raise InputError(f"epochs must be at least 1, got {epochs}")
    if not 0 < learning_rate < math.inf:
        raise InputError(f"learning_rate must be above 0 and finite, got {learning_rate}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, or None for all, got {threads}")
