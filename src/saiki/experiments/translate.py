"""Translation between two languages, from pairs of sentences."""

import bisect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from sacrebleu.metrics.bleu import BLEU

from saiki.cells import NAMED
from saiki.data.pairs import Corpus, Pairs, corpus
from saiki.errors import InputError
from saiki.experiment import Claim, Figures, Points, Trial
from saiki.experiments.text_to_text import TextToText
from saiki.knobs import Value, knob
from saiki.models.decoding import Search
from saiki.models.translator import Translation, Translator
from saiki.plots.curves import Curve, curves_of, draw_curves
from saiki.text import TOKENISERS, Text

SHOWN = 5
BYTE_PAIRS = 8000
BOUNDS = (6, 9, 12, 15)
"""The longest source of each class of lengths but the last, in tokens."""
CLASSES = {
    **{
        f"{low + 1}_to_{high}": (low + 1 + high) / 2
        for low, high in itertools.pairwise((0, *BOUNDS))
    },
    f"over_{BOUNDS[-1]}": BOUNDS[-1] + 2.0,
}
"""The classes of lengths, and where each stands in a picture."""
BY_LENGTH = "dev_bleu_length_"
BLEUS = ("auto", "none", "13a", "intl", "char")


def _falls(trial: Trial) -> float:
    """BLEU of sentences of 7 to 9 tokens less that of those of 13 to 15; the corpus has more than a
    hundred of both to develop."""
    middle, long = (trial.mean(f"{BY_LENGTH}{name}") for name in ("7_to_9", "13_to_15"))
    return middle - long


def _told(trials: Sequence[Trial], knob: str) -> str:
    return ", ".join(
        f"{trial.knobs[knob]} {trial.mean('dev_bleu'):.1f} ({trial.mean('seconds'):.0f} s)"
        for trial in trials
    )


def _attention_mends(trials: Sequence[Trial]) -> tuple[bool, str]:
    with_it, without = trials
    return with_it.mean("dev_bleu") > without.mean("dev_bleu") and _falls(with_it) < _falls(
        without
    ), ", ".join(
        f"attention {trial.knobs['attention']} {trial.mean('dev_bleu'):.1f}, "
        f"falls by {_falls(trial):.1f}"
        for trial in trials
    )


@dataclass(frozen=True)
class Translate(TextToText):
    """Sentences of one language in, sentences of another one out: English and Japanese of the
    Tanaka corpus, or the two columns of a file of yours.
    """

    data: str = knob(
        "",
        "table of two columns, or folder with train and dev files; small_parallel_enja without",
    )
    source: str = knob("ja", "language that is read: how the names of its files end")
    target: str = knob("en", "language that is written")
    source_tokens: str = knob("words", "how the source is cut", choices=TOKENISERS)
    target_tokens: str = knob("words", "how the target is cut", choices=TOKENISERS)
    vocabulary: int = knob(
        0, "tokens of each language at most; 0: no bound, but 8,000 byte pairs", minimum=0
    )
    minimum: int = knob(2, "times that a word occurs if it is to be known", minimum=1)
    longest: int = knob(60, "tokens of a sentence that is learned from", minimum=1)
    bleu: str = knob(
        "auto",
        "tokenisation of sacrebleu; auto: none for words, char for Japanese, otherwise 13a",
        choices=BLEUS,
    )

    name: ClassVar[str] = "translate"
    summary: ClassVar[str] = "an encoder-decoder with attention translates, by default Japanese"
    score: ClassVar[str] = "dev_bleu"
    shown: ClassVar[tuple[str, ...]] = ("loss", "validation_loss", "dev_bleu_greedy")
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "quick": {"hidden_size": 256, "embedding_size": 128, "epochs": 6.0, "dropout": 0.2},
    }
    claims: ClassVar[Sequence[Claim]] = (
        Claim(
            "Without attention BLEU falls with the length of the sentence, and attention mends it",
            "quick",
            ({}, {"attention": "none"}),
            _attention_mends,
        ),
        Claim(
            "Reading the mean of all positions is better than choosing one of them by REINFORCE",
            "quick",
            ({}, {"choice": "reinforce"}, {"choice": "gumbel"}),
            lambda trials: (
                trials[0].mean("dev_bleu") > trials[1].mean("dev_bleu"),
                _told(trials, "choice"),
            ),
        ),
        Claim(
            "Beam search with 5 hypotheses is better than greedy decoding",
            "quick",
            ({},),
            lambda trials: (
                trials[0].mean("dev_bleu") > trials[0].mean("dev_bleu_greedy"),
                f"{trials[0].mean('dev_bleu'):.1f} and {trials[0].mean('dev_bleu_greedy'):.1f}",
            ),
        ),
        Claim(
            "Cells with gates translate better than a simple recurrent network",
            "quick",
            tuple({"cell": cell} for cell in NAMED),
            lambda trials: (
                all(trial.mean("dev_bleu") > trials[0].mean("dev_bleu") for trial in trials[1:]),
                _told(trials, "cell"),
            ),
        ),
    )

    @cached_property
    def _read(self) -> Corpus:
        path = Path(self.data) if self.data else None
        return corpus(path, self.source, self.target, self.seed)

    @cached_property
    def corpus(self) -> Corpus:
        source, target = self.texts
        return self._read.within(self.longest, source.split, target.split)

    @cached_property
    def texts(self) -> tuple[Text, Text]:
        train = self._read.train

        def learned(tokens: str, texts: Sequence[str]) -> Text:
            size = self.vocabulary or (BYTE_PAIRS if tokens == "bpe" else 0)
            return Text.learn(tokens, texts, size, self.minimum)

        return (
            learned(self.source_tokens, train.source),
            learned(self.target_tokens, train.target),
        )

    def validate(self) -> None:
        super().validate()
        self.keep_paths("data")
        if self.source == self.target:
            raise InputError(f"source and target must differ, got {self.source!r} twice")

    # Figures.

    @cached_property
    def metric(self) -> BLEU:
        """Of whole texts of the target language, as its tokens are cut."""
        how = self.bleu
        if how == "auto":
            how = {"words": "none", "japanese": "char"}.get(self.target_tokens, "13a")
        return BLEU(tokenize=how, force=True)

    def bleu_of(self, pairs: Pairs, written: Sequence[Translation]) -> float:
        """Of a corpus, in per cent (Papineni et al. 2002)."""
        return float(self.metric.corpus_score([t.text for t in written], [pairs.target]).score)

    def judged(self, pairs: Pairs, written: Sequence[Translation]) -> dict[str, float]:
        return {"dev_bleu_greedy": self.bleu_of(pairs, written)}

    def evaluate(self, model: Translator) -> Figures:
        held = self.corpus.development
        best = self.written(model, held)
        figures: Figures = {
            "dev_bleu": self.bleu_of(held, best),
            "dev_bleu_greedy": self.bleu_of(held, self.written(model, held, Search("greedy"))),
            "dev_cut": sum(not t.finished for t in best) / len(best),
        }
        for label, places in self._by_length(held).items():
            its = self.bleu_of(held.take(places), [best[i] for i in places]) if places else None
            figures[f"{BY_LENGTH}{label}"] = its
        if len(self.corpus.test):
            figures["test_bleu"] = self.bleu_of(
                self.corpus.test, self.written(model, self.corpus.test)
            )
        return figures

    def _by_length(self, pairs: Pairs) -> dict[str, list[int]]:
        """Places of the sources of each class of lengths."""
        source, _ = self.texts
        places: dict[str, list[int]] = {name: [] for name in CLASSES}
        names = list(CLASSES)
        for i, text in enumerate(pairs.source):
            places[names[bisect.bisect_left(BOUNDS, len(source.split(text)))]].append(i)
        return places

    # Pictures and words.

    def remarks(self, model: Translator) -> str:
        pairs = self.corpus.development.take(range(min(SHOWN, len(self.corpus.development))))
        lines = []
        for source, target, t in zip(
            pairs.source, pairs.target, self.written(model, pairs), strict=True
        ):
            lines += [f"  {source}", f"    wanted: {target}", f"    got:    {t.text}"]
        return "\n".join(lines)

    def draw(self, model: Translator, points: Points, folder: Path) -> list[Path]:
        pictures = super().draw(model, points, folder)
        if bleu := curves_of(points).get("dev_bleu_greedy"):
            pictures.append(draw_curves(folder / "bleu.png", {"": [bleu]}, ylabel="BLEU, greedy"))
        return pictures

    @classmethod
    def beside(cls, results: Mapping[str, Figures], folder: Path) -> list[Path]:
        """BLEU by length of the source, a line for each run."""
        lines: dict[str, list[Curve]] = {}
        for label, figures in results.items():
            points = [(n, figures.get(f"{BY_LENGTH}{name}")) for name, n in CLASSES.items()]
            known = [(n, bleu) for n, bleu in points if bleu is not None]
            if known:
                lengths, bleus = zip(*known, strict=True)
                lines[label] = [(lengths, bleus)]
        if not lines:
            return []
        picture = folder / "bleu_by_length.png"
        axis = f"tokens of the source, the middle of each class; the last is over {BOUNDS[-1]}"
        return [draw_curves(picture, lines, xlabel=axis, ylabel="BLEU")]
