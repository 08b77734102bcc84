"""Dates as people write them to dates of ISO 8601: what attention is good for, in a minute."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

from saiki.capabilities import Describes
from saiki.data.text.dates import Dates, DateSource
from saiki.data.text.pairs import Pairs
from saiki.duration import Epochs
from saiki.experiment import Claim, Figures, Trial
from saiki.experiments.groups.decoding import Decoding
from saiki.experiments.groups.layers import TokenLayers
from saiki.experiments.groups.targets import label_smoothing
from saiki.experiments.groups.text_to_text import TextToText
from saiki.knobs import Value
from saiki.metrics.text import exact_match
from saiki.models.seq2seq import WrittenText
from saiki.models.translator import Translator
from saiki.optimisation import Optimisation

WRONG_SHOWN = 5


def _right(trial: Trial) -> str:
    return f"{trial.mean('exact_match'):.2%}"


def _better_with_attention(trials: Sequence[Trial]) -> tuple[bool, str]:
    shown = (f"attention {trial.knobs['attention']}: {_right(trial)}" for trial in trials)
    return trials[0].mean("exact_match") > trials[1].mean("exact_match"), ", ".join(shown)


CLAIMS = (
    Claim(
        "At least 99 % of dates are read without a mistake",
        "good",
        ({},),
        lambda trials: (trials[0].mean("exact_match") >= 0.99, _right(trials[0])),
    ),
    Claim(
        "With attention more dates are right than without",
        "good",
        ({}, {"attention": "none"}),
        _better_with_attention,
    ),
)


class Date(Describes, TextToText):
    """ "5 mars 2024" or 令和6年3月5日 becomes 2024-03-05: character by character, from dates that
    are generated in many languages. The days judged on are not among those learned from.
    """

    dates: DateSource = DateSource()
    recurrent: TokenLayers = TokenLayers(cell="gru", hidden_size=128, embedding_size=64)
    label_smoothing: float = label_smoothing(0.0)
    duration: Epochs = Epochs(epochs=6.0, updates=2000)
    decoding: Decoding = Decoding(method="greedy")
    optimisation: Optimisation = Optimisation(
        batch_size=64, learning_rate=0.004, schedule="cosine", warmup=0.03, clip_norm=1.0
    )

    name: ClassVar[str] = "date"
    summary: ClassVar[str] = "an encoder-decoder with attention reads dates of many languages"
    minutes = 1.6
    score: ClassVar[str] = "exact_match"
    threads: ClassVar[int | None] = 1
    shown: ClassVar[tuple[str, ...]] = ("loss", "validation_loss", "exact_match")
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "quick": {
            "pairs": 10_000, "hidden_size": 96, "epochs": 5.0, "updates": 300, "most_updates": 800,
        },
    }  # fmt: skip
    claims = CLAIMS

    @cached_property
    def data(self) -> Dates:
        return Dates(self.optimisation.batching, self.dates, self.seed)

    def figures_of(self, pairs: Pairs, written: Sequence[WrittenText]) -> dict[str, float]:
        return {"exact_match": exact_match([t.text for t in written], pairs.target)}

    def evaluate(self, model: Translator) -> Figures:
        held = self.data.corpus.development
        written = self.written(model, held)
        figures: Figures = dict(self.figures_of(held, written))
        for language in self.dates.languages.split():
            places = [
                i for i, spoken in enumerate(self.data.languages_of_held) if spoken == language
            ]
            if places:
                right = self.figures_of(held.select(places), [written[i] for i in places])
                figures[f"exact_match_{language}"] = right["exact_match"]
        return figures

    def describe_model(self, model: Translator) -> str:
        held = self.data.corpus.development
        wrong = [
            f"  {source}: {t.text} and not {wanted}"
            for source, wanted, t in zip(
                held.source, held.target, self.written(model, held), strict=True
            )
            if t.text != wanted
        ]
        return "\n".join(["wrong:", *wrong[:WRONG_SHOWN]]) if wrong else "all dates are right"
