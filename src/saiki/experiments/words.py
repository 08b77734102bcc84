"""Word vectors: what a word means follows from the words around it."""

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from saiki import processes
from saiki.data import store
from saiki.data.text.numbered import NumberedText, Split, text_lines
from saiki.data.text.word_tests import Analogies, Pairs, read_all_pairs, read_analogies
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, untrained
from saiki.knobs import Knobs, Value, knob
from saiki.metrics.vectors import Score, agreement, analogies
from saiki.models.word_vectors import METHODS, PIECE, WordVectors
from saiki.optimisation import Optimisation
from saiki.plots.words import draw_words
from saiki.text import TOKENISERS, tokeniser
from saiki.text.plain_words import words_of

SHOWN, NEAREST, SHORTEST_SHOWN = 300, 10, 4
"""Words on the map, neighbours of one, and characters of a word on the map at least."""
LEAST = 10
"""Pairs of a test that are known at least, if it is to say anything."""

Batch = tuple[Tensor, Tensor]
"""A piece of the text by the places of its words, and its number."""


class SubWords(Knobs):
    """n-grams of characters that words share."""

    buckets: int = knob(
        0, "vectors that n-grams share; 0: without sub-words", minimum=0, maximum=10**8
    )
    min_n: int = knob(3, "characters of an n-gram at least", minimum=1, maximum=20)
    max_n: int = knob(6, "characters of an n-gram at most", minimum=1, maximum=20)

    def validate(self) -> None:
        if self.max_n < self.min_n:
            raise InputError(f"max_n must be at least min_n, {self.min_n}, got {self.max_n}")


class Words(Experiment[WordVectors, Batch]):
    """Each word of a text gets a vector, learned from those around it: word2vec, compiled, and the
    same to the bit for any number of threads. English novels, or a text of yours of any size and
    language.
    """

    data: str = knob(
        "", "text: a file, packed or not, a folder, or - for the standard input; novels without",
        is_path=True,
    )  # fmt: skip
    tokens: str = knob(
        "plain",
        "how a line is cut; plain: words in small letters, without punctuation; words: at spaces",
        choices=("plain", *(name for name in TOKENISERS if name != "bpe")),
    )
    minimum: int = knob(5, "times that a word occurs if it is to be known", minimum=1)
    most: int = knob(30_000, "words known, the most frequent ones; 0: no bound", minimum=0)
    size: int = knob(100, "features of a vector", minimum=1, maximum=4096)
    method: str = knob("skip-gram", "what tells what", choices=METHODS)
    window: int = knob(5, "words to either side, at most", minimum=1, maximum=100)
    negatives: int = knob(
        5, "words drawn for each; 0: the way through a tree of words", minimum=0, maximum=100
    )
    subsample: float = knob(
        1e-4, "share above which frequent words are left out at random", minimum=0, maximum=0.999
    )
    sub_words: SubWords = SubWords()
    deterministic: bool = knob(True, "the same bits for any number of threads; false: they race")
    duration: Epochs = Epochs(epochs=5.0)
    optimisation: Optimisation = Optimisation(
        batch_size=PIECE, optimiser="sgd", learning_rate=0.05, schedule="linear"
    )

    name = "words"
    summary = "learn a vector for each word of a text, and find what is like it"
    score = "analogy_accuracy"
    minutes = 2.0
    prefetch = 1
    updates_itself: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "cbow": {"method": "cbow"},
        "sub-words": {"buckets": 200_000},
        "quick": {"size": 50, "epochs": 1.0},
    }

    def validate(self) -> None:
        used = {"accumulate": 1, "optimiser": "sgd", "weight_decay": 0, "clip_value": 0,
                "clip_norm": 0, "average": 0, "precision": "float32"}  # fmt: skip
        for name, value in used.items():
            if self.to_dict()[name] != value:
                raise InputError(f"word vectors are learned with {name} {value}")
        if self.device not in ("auto", "cpu"):
            raise InputError("word vectors are learned on the CPU")
        self.untaught()

    def untaught(self, words: Sequence[str] = (), counts: Sequence[int] = ()) -> WordVectors:
        """The model of these knobs."""
        grams: Any = self.sub_words.to_dict()
        method: Any = self.method
        return WordVectors(
            self.size, method, self.window, self.negatives, self.subsample, **grams,
            minimum=self.minimum, most=self.most, words=words, counts=counts,
        )  # fmt: skip

    @property
    def split(self) -> Split:
        return words_of if self.tokens == "plain" else tokeniser(self.tokens).split

    @cached_property
    def text(self) -> NumberedText:
        path = self.data or str(store.locate("english_novels", None))
        return NumberedText(text_lines(path), self.split)

    @property
    def epoch(self) -> float:
        return self.text.pieces(self.optimisation.batch_size) / processes.count()

    def describe_data(self) -> str:
        words, kinds = self.text.words, len(self.text.numbers)
        known = self.text.frequent(self.minimum, self.most)[1]
        share = known.sum() / max(words, 1)
        return (
            f"{words:,} words, {kinds:,} different ones; {len(known):,} of them are known, which "
            f"are {share:.1%} of the text"
        )

    def data_items(self) -> dict[str, Iterator[bytes]]:
        return {"text": self.text.parts()}

    def model(self) -> WordVectors:
        return self.untaught().know(self.text)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        size, count = self.optimisation.batch_size, processes.count()
        places = self.text.places(self.text.frequent(self.minimum, self.most)[0])
        number = start * count + processes.rank()
        while True:
            seen, at = divmod(number, self.text.pieces(size))
            order = np.random.default_rng((self.seed, seen)).permutation(self.text.pieces(size))
            piece = self.text.piece(int(order[at]) * size, size, places)
            yield torch.from_numpy(piece), torch.tensor(number)
            number += count

    @cached_property
    def _spent(self) -> dict[str, float]:
        """Words that were learned from, and the seconds that it took."""
        return {"words": 0.0, "seconds": 0.0}

    def measure(self, model: WordVectors, batch: Batch) -> Measures:
        words, number = batch[0].numpy(), int(batch[1])
        step, last = number // processes.count() + 1, self.iterations
        rates = (self.optimisation.rate(step, last), self.optimisation.rate(step + 1, last))
        started = time.perf_counter()
        loss = model.learn(words, rates, self.seed, number, not self.deterministic)
        self._spent["words"] += int((words >= 0).sum()) * processes.count()
        self._spent["seconds"] += time.perf_counter() - started
        return {"loss": loss}

    @cached_property
    def tests(self) -> tuple[Analogies, list[Pairs]] | None:
        """Analogies, and pairs of words; None where the files are not there."""
        folder = store.where("word_similarity")
        return None if folder is None else (read_analogies(folder), read_all_pairs(folder))

    def evaluate(self, model: WordVectors) -> Figures:
        seconds = self._spent["seconds"]
        figures: Figures = {
            "analogy_accuracy": None,
            "analogies_known": None,
            "words_per_second": self._spent["words"] / seconds if seconds else None,
        }
        if self.tests is not None:
            vectors, (questions, tests) = model.vectors, self.tests
            total = sum(analogies(vectors, questions, ignore_case=True).values(), Score(0, 0, 0))
            if total.known:
                figures["analogy_accuracy"] = total.accuracy
            figures["analogies_known"] = total.coverage
            for pairs in tests:
                found = agreement(vectors, pairs, ignore_case=True)
                if found.known >= LEAST:
                    figures[pairs.name] = found.rho
        return figures

    def describe_model(self, model: WordVectors) -> str:
        if self.tests is None:
            return "saiki data get word_similarity brings the analogies to test it with"
        vectors, (questions, tests) = model.vectors, self.tests
        lines = [
            f"{name}: {score.right} of {score.known} right, {score.unknown} with unknown words"
            for name, score in analogies(vectors, questions, ignore_case=True).items()
            if score.known
        ]
        for pairs in tests:
            found = agreement(vectors, pairs, ignore_case=True)
            if found.known >= LEAST:
                lines.append(
                    f"{pairs.name}: ρ {found.rho:.3f} ({found.low:.3f} to {found.high:.3f}), "
                    f"{found.known} of {found.asked} pairs known"
                )
        return "\n".join(lines)

    def input_example(self) -> str:
        return self.text.frequent(self.minimum, self.most)[0][0]

    def predict(self, model: WordVectors, text: str) -> dict[str, Any]:
        started, vectors = time.perf_counter(), model.vectors
        signs = [(word[0], word[1:]) if word[0] in "+-" and word[1:] else ("+", word)
                 for word in text.split()]  # fmt: skip
        wanted, unwanted = ([w for sign, w in signs if sign == each] for each in "+-")
        found = vectors.most_similar(wanted, unwanted, NEAREST)
        return {
            "input": text,
            "output": found[0][0] if found else "",
            "nearest": [{"word": word, "similarity": cosine} for word, cosine in found],
            "seconds": time.perf_counter() - started,
            "text": "\n".join(f"{cosine:6.3f}  {word}" for word, cosine in found),
        }

    def draw(self, model: WordVectors, points: Points, folder: Path) -> list[Path]:
        vectors = model.vectors
        at = [i for i, word in enumerate(vectors.words) if len(word) >= SHORTEST_SHOWN][:SHOWN]
        words, path = [vectors.words[i] for i in at], folder / "map.png"
        return [draw_words(path, words, vectors.matrix[at], title=self.title)] if at else []

    def example(self) -> Tensor:
        return torch.tensor([[0, 1, 0], [1, 0, 1]])

    def equations(self) -> str:
        return untrained(self.untaught).equations()
