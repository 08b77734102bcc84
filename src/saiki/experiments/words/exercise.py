"""Word vectors: what a word means follows from the words around it."""

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from saiki import processes
from saiki.capabilities import Annotates, Describes, Draws, ExportsVectors
from saiki.data import store
from saiki.data.text.word_tests import Analogies, Pairs, read_tests
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, untrained
from saiki.experiments.words.text import (
    Batch,
    Phrases,
    SubWords,
    TextPieces,
    TextSource,
    signed,
    vectors_of,
)
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics.vectors import LEAST, judge
from saiki.models.word_vectors import METHODS, PIECE, WordVectors
from saiki.optimisation import Optimisation
from saiki.plots.words import draw_words
from saiki.prediction import Prediction
from saiki.text.vectors import Vectors

SHOWN, NEAREST, SHORTEST_SHOWN = 300, 10, 4
"""Words on the map, neighbours of one, and characters of a word on the map at least."""


class Words(Annotates, Describes, Draws, ExportsVectors, Experiment[WordVectors, Batch]):
    """Each word of a text gets a vector, learned from those around it: word2vec, compiled, the same
    bits for any number of threads. English novels, or a text of yours of any size and language.
    """

    source: TextSource = TextSource()
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
    joined: Phrases = Phrases()
    start_from: str = knob(
        "", "vectors to begin with: a file, or the folder of a run of words", is_path=True
    )
    parts: int = knob(2, "threads that can learn at once with the same bits", minimum=1, maximum=99)
    deterministic: bool = knob(True, "the same bits for any number of threads; false: they race")
    duration: Epochs = Epochs(epochs=5.0, updates=20)
    optimisation: Optimisation = Optimisation(
        batch_size=PIECE, optimiser="sgd", learning_rate=0.05, schedule="linear"
    )

    name = "words"
    summary = "learn a vector for each word of a text, and find what is like it"
    score = "analogy_accuracy"
    minutes = 2.0
    updates_itself: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "cbow": {"method": "cbow"},
        "sub-words": {"buckets": 200_000},
        "quick": {"size": 50, "epochs": 1.0, "most_updates": 100},
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
        groups: Any = {**self.sub_words.to_dict(), **self.joined.to_dict()}
        method: Any = self.method
        return WordVectors(
            self.size, method, self.window, self.negatives, self.subsample, **groups,
            minimum=self.minimum, most=self.most, parts=self.parts, words=words, counts=counts,
        )  # fmt: skip

    @cached_property
    def data(self) -> TextPieces:
        return TextPieces(self.optimisation.batching, self.source, self.untaught())

    @cached_property
    def first(self) -> Vectors:
        """The vectors to begin with, of words that are known."""
        vectors = vectors_of(Path(self.start_from))
        both = tuple(word for word in self.data.known[0] if word in vectors)
        if not both:
            raise InputError(f"{self.start_from} has a vector of none of the words that are known")
        if vectors.size != self.size:
            raise InputError(f"{self.start_from} needs --size {vectors.size}, got {self.size}")
        return Vectors(both, vectors[both], subwords=vectors.subwords)

    def describe_data(self) -> str:
        message, _ = super().describe_data(), self.tests  # which may be refused
        if not self.start_from:
            return message
        beginning = (
            f"{len(self.first):,} of the known words begin with vectors of {self.start_from}"
        )
        return f"{message}\n{beginning}"

    def model(self) -> WordVectors:
        model = self.untaught().know(self.data.text)
        if self.start_from:
            model.start_from(self.first)
        return model

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
        """Analogies, and pairs of words; None where there are files of neither."""
        folder = store.where("word_similarity")
        return None if folder is None else read_tests(folder)

    def evaluate(self, model: WordVectors) -> Figures:
        seconds, vectors = self._spent["seconds"], model.vectors
        figures: Figures = {
            "analogy_accuracy": None,
            "analogies_known": None,
            "words_per_second": self._spent["words"] / seconds if seconds else None,
        }
        if self.tests is not None:
            judgement = self.evaluated[model] = judge(vectors, *self.tests)
            figures["analogy_accuracy"] = (
                judgement.total.accuracy if judgement.total.known >= LEAST else None
            )
            figures["analogies_known"] = (
                judgement.total.coverage if judgement.total.questions else None
            )
            figures |= {name: agreement.rho for name, agreement in judgement.agreements.items()}
        return figures

    def describe_model(self, model: WordVectors) -> str:
        if self.tests is None:
            return "saiki data get word_similarity brings the analogies to test it with"
        return str(self.evaluated.get(model) or judge(model.vectors, *self.tests))

    def predict(self, model: WordVectors, text: str) -> Prediction:
        vectors = model.vectors
        neighbours = vectors.most_similar(*signed(text, vectors, self.source.split), NEAREST)
        return Prediction(
            input=text,
            output=neighbours[0][0] if neighbours else "",
            figures={
                "nearest": [{"word": word, "similarity": cosine} for word, cosine in neighbours]
            },
            text="\n".join(f"{cosine:6.3f}  {word}" for word, cosine in neighbours),
        )

    def draw(self, model: WordVectors, points: Points, folder: Path) -> list[Path]:
        vectors = model.vectors
        at = [i for i, word in enumerate(vectors.words) if len(word) >= SHORTEST_SHOWN][:SHOWN]
        words, path = [vectors.words[i] for i in at], folder / "map.png"
        return [draw_words(path, words, vectors.matrix[at], title=self.title)] if at else []

    def vectors_of(self, model: WordVectors) -> Vectors:
        return model.vectors

    def metadata(self, model: WordVectors) -> dict[str, str]:
        return {"words": to_json(model.words)}

    def equations(self) -> str:
        return untrained(self.untaught).equations()
