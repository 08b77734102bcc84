"""Translation between two languages, from pairs of sentences."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from saiki.capabilities import Describes, DrawsComparisons
from saiki.data.text.pair_rows import ParallelSource, ParallelText
from saiki.data.text.pairs import Pairs
from saiki.decoding.decode import Search
from saiki.experiment import Claim, Figures, Points, Trial
from saiki.experiments.groups.text_to_text import TextToText
from saiki.knobs import Value, knob
from saiki.metrics import bleu as bleus
from saiki.metrics.text import exact_match
from saiki.models.seq2seq import WrittenText
from saiki.models.translator import Translator
from saiki.plots.curves import curves_of, draw_curves

SHOWN = 5
SMALL: dict[str, Value] = {"hidden_size": 256, "embedding_size": 128, "epochs": 6.0, "dropout": 0.2}
"""What teaches something within an hour."""


def _falls(trial: Trial) -> float:
    """BLEU of sentences of 7 to 9 tokens less that of those of 13 to 15; the corpus has more than a
    hundred of both to develop."""
    middle, long = (trial.mean(f"{bleus.BY_LENGTH}{name}") for name in ("7_to_9", "13_to_15"))
    return middle - long


def _scores(trials: Sequence[Trial], knob: str) -> str:
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


CLAIMS = (
    Claim(
        "Without attention BLEU falls with the length of the sentence, and attention mends it",
        "small",
        ({}, {"attention": "none"}),
        _attention_mends,
    ),
    Claim(
        "Reading the mean of all positions is better than choosing one of them by REINFORCE",
        "small",
        ({}, {"choice": "reinforce"}, {"choice": "gumbel"}),
        lambda trials: (
            trials[0].mean("dev_bleu") > trials[1].mean("dev_bleu"),
            _scores(trials, "choice"),
        ),
    ),
    Claim(
        "Beam search with 5 hypotheses is better than greedy decoding",
        "small",
        ({},),
        lambda trials: (
            trials[0].mean("dev_bleu") > trials[0].mean("dev_bleu_greedy"),
            f"{trials[0].mean('dev_bleu'):.1f} and {trials[0].mean('dev_bleu_greedy'):.1f}",
        ),
    ),
    Claim(
        "Cells with gates translate better than a simple recurrent network",
        "small",
        tuple({"cell": cell} for cell in ("rnn", "lstm", "gru", "peephole")),
        lambda trials: (
            all(trial.mean("dev_bleu") > trials[0].mean("dev_bleu") for trial in trials[1:]),
            _scores(trials, "cell"),
        ),
    ),
)


class Translate(Describes, DrawsComparisons, TextToText):
    """Sentences of one language in, sentences of another one out: English and Japanese of the
    Tanaka corpus, or the two columns of a file of yours.
    """

    pairs: ParallelSource = ParallelSource()
    bleu: str = knob(
        "auto",
        "tokenisation of sacrebleu; auto: char without spaces, none for words, otherwise 13a",
        choices=bleus.BLEUS,
    )

    name: ClassVar[str] = "translate"
    summary: ClassVar[str] = "an encoder-decoder with attention translates, by default Japanese"
    minutes = 43
    score: ClassVar[str] = "dev_bleu"
    shown: ClassVar[tuple[str, ...]] = (
        "loss",
        "validation_loss",
        "dev_bleu_greedy",
        "dev_exact_match_greedy",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL
        | {"hidden_size": 128, "embedding_size": 64, "updates": 150, "most_updates": 150},
    }
    claims = CLAIMS

    @cached_property
    def data(self) -> ParallelText:
        return ParallelText(self.optimisation.batching, self.pairs, self.seed)

    @cached_property
    def cut(self) -> str:
        """How sacrebleu cuts what is compared."""
        if self.bleu != "auto":
            return self.bleu
        return bleus.fitting(self.pairs.target_tokens, self.data.all_lengths.train.target)

    def describe_data(self) -> str:
        measure = bleus.UNITS.get(self.cut, f"words cut by {self.cut}")
        return f"{super().describe_data()}\nmeasured by BLEU of {measure}, and exact match"

    def bleu_of(self, pairs: Pairs, written: Sequence[WrittenText]) -> float:
        """Of a corpus, in per cent (Papineni et al. 2002)."""
        texts = [t.text for t in written]
        return float(bleus.bleu(self.cut).corpus_score(texts, [pairs.target]).score)

    def exact_match_of(self, pairs: Pairs, written: Sequence[WrittenText]) -> float:
        """Share of translations that are the wanted ones, but for white space that tokens lack."""
        _, text = self.data.texts
        wanted = [text.tokeniser.join(text.split(target)) for target in pairs.target]
        return exact_match([t.text for t in written], wanted)

    def figures_of(self, pairs: Pairs, written: Sequence[WrittenText]) -> dict[str, float]:
        measures = {"bleu": self.bleu_of, "exact_match": self.exact_match_of}
        return {f"dev_{name}_greedy": of(pairs, written) for name, of in measures.items()}

    def evaluate(self, model: Translator) -> Figures:
        held, test = self.data.corpus.development, self.data.corpus.test
        source, _ = self.data.texts
        best = self.written(model, held)
        figures: Figures = {
            "dev_bleu": self.bleu_of(held, best),
            "dev_exact_match": self.exact_match_of(held, best),
            **self.figures_of(held, self.written(model, held, Search("greedy"))),
            "dev_cut": sum(not t.finished for t in best) / len(best),
        }
        lengths = (len(source.split(text)) for text in held.source)
        for label, places in bleus.of_lengths(lengths).items():
            some = held.select(places), [best[i] for i in places]
            figures[f"{bleus.BY_LENGTH}{label}"] = self.bleu_of(*some) if places else None
        if len(test):
            written = self.written(model, test)
            figures["test_bleu"] = self.bleu_of(test, written)
            figures["test_exact_match"] = self.exact_match_of(test, written)
        return figures

    def describe_model(self, model: Translator) -> str:
        development = self.data.corpus.development
        pairs = development.select(range(min(SHOWN, len(development))))
        lines = []
        for source, target, t in zip(
            pairs.source, pairs.target, self.written(model, pairs), strict=True
        ):
            lines += [f"  {source}", f"    wanted: {target}", f"    got:    {t.text}"]
        return "\n".join(lines)

    def draw(self, model: Translator, points: Points, folder: Path) -> list[Path]:
        pictures = super().draw(model, points, folder)
        if curve := curves_of(points).get("dev_bleu_greedy"):
            path, lines = folder / "bleu.png", {"": [curve]}
            axis = f"BLEU of {bleus.UNITS.get(self.cut, self.cut)}, greedy"
            pictures.append(draw_curves(path, lines, ylabel=axis, kind="score", title=self.title))
        return pictures

    @classmethod
    def compare_plots(cls, trials: Mapping[str, Trial], folder: Path) -> list[Path]:
        """BLEU by length of the source, a line for each setting."""
        every = {label: bleus.by_length(trial.means()) for label, trial in trials.items()}
        lines = {label: [line] for label, line in every.items() if line is not None}
        if not lines:
            return []
        picture, last = folder / "bleu_by_length.png", bleus.BOUNDS[-1]
        axis = f"tokens of the source, the middle of each class; the last is over {last}"
        return [draw_curves(picture, lines, xlabel=axis, ylabel="BLEU", kind="score")]
