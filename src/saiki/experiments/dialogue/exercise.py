"""Dialogue: what is said next, by the turn before or by all that was said."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

from saiki import capabilities
from saiki.data.text.dialogue_rows import DialogueRows, Turns
from saiki.data.text.dialogues import DIALOGUE, Dialogue, read_dialogues
from saiki.decoding.decode import Search
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, untrained
from saiki.experiments.dialogue import replies
from saiki.experiments.dialogue.model import DialogueModel, judge
from saiki.experiments.dialogue.source import Batch, DialogueDataset, DialogueSource
from saiki.experiments.groups.comparison import Difference, compare, in_words
from saiki.experiments.groups.decoding import Decoding
from saiki.experiments.groups.latent import collapses
from saiki.knobs import Value, knob
from saiki.models.dialogue import Dialoguer
from saiki.models.parts import Parts, parts_of_dialogue
from saiki.models.seq2seq import WrittenText, alignments
from saiki.optimisation import Optimisation
from saiki.plots.attention import draw_attention
from saiki.plots.curves import curves_of, draw_curves
from saiki.prediction import Prediction, PredictsTogether
from saiki.text import Text
from saiki.text.vectors import Vectors, read

TURNS = (2, 3, 5, 8)
"""Turns before a reply at which the worth of context is told."""
HELD: Mapping[str, Value] = {"model": "vhred", "word_drop": 0.1}
"""All that keeps the latent variable in use."""
FREE: Mapping[str, Value] = {"model": "vhred", "annealing": 0.0, "free_bits": 0.0}
"""Nothing that does."""


def _context_helps(trials: Sequence[Trial]) -> tuple[bool, str]:
    gained = {}
    for turn in TURNS:
        plain, with_context = (trial.values(f"perplexity_at_{turn}") for trial in trials)
        pairs = zip(plain, with_context, strict=True)
        gained[turn] = Difference.of([100 * (1 - after / before) for before, after in pairs])
    gains = ", ".join(f"after {turn} turns by {each} %" for turn, each in gained.items())
    return all(each.is_more for each in gained.values()), f"lower {gains}"


def _less_alike(trials: Sequence[Trial]) -> tuple[bool, str]:
    names = ("distinct_2", "most_frequent", "mean_length")
    figures = in_words(trials, lambda trial: str(trial.knobs["model"]), *names)
    difference = compare(trials[0], trials[1], "distinct_2")
    return difference.is_more, f"{figures}; {difference} pairs"


SMALL: dict[str, Value] = {
    "hidden_size": 128,
    "embedding_size": 96,
    "vocabulary": 3000,
    "epochs": 2.0,
    "learning_rate": 0.008,
}
"""What teaches something within an hour."""

CLAIMS = (
    Claim(
        "What was said before the last turn lowers the perplexity of the reply, after 2, 3, 5 and "
        "8 turns",
        "small",
        ({"model": "seq2seq"}, {"model": "hred"}),
        _context_helps,
    ),
    Claim(
        "Replies drawn with a latent variable are less alike: they have more different pairs of "
        "words",
        "small",
        ({"model": "hred"}, {"model": "vhred"}),
        _less_alike,
    ),
    Claim(
        "Without annealing, free bits and word drop the posterior of the latent variable is "
        "its prior, 0.1 nats a reply at most; with them it tells 1 nat at least",
        "small",
        (HELD, FREE),
        partial(collapses, unit="reply"),
    ),
)


MOST_DRAWN = 4
"""Replies of which is drawn what they look at."""


class Conversing(
    capabilities.Annotates,
    capabilities.Describes,
    capabilities.Draws,
    capabilities.DrawsAnswers,
    capabilities.DrawsComparisons,
    capabilities.Exports,
    capabilities.Monitors,
    PredictsTogether,
    capabilities.Scores,
    Experiment[Dialoguer, Batch],
):
    """A hierarchical recurrent encoder-decoder says what comes next in a dialogue: one network
    reads a turn, another one follows the turns, a third one writes. English conversations, or
    dialogues of yours in any language.
    """

    source: DialogueSource = DialogueSource()
    of_dialogue: DialogueModel = DialogueModel()
    vectors: str = knob(
        "", "word vectors, a file, by which replies are compared with what was said", is_path=True
    )
    context: int = knob(
        0, "turns before a reply that count when it is judged and when used; 0: all", minimum=0
    )
    decoding: Decoding = Decoding(method="sample", n_best=3, top_p=0.9, length_penalty=0.0)
    duration: Epochs = Epochs(epochs=3.0, updates=300)
    optimisation: Optimisation = Optimisation(
        batch_size=8, learning_rate=0.004, schedule="cosine", warmup=0.1, clip_norm=1.0,
        keep="best",
    )  # fmt: skip

    name = "dialogue"
    summary = "say what comes next in a conversation: HRED, VHRED"
    minutes = 20
    score = "neg_perplexity"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "perplexity_turn_3", "kl")
    takes = DIALOGUE
    points = 20
    predict_knobs = (*Decoding.knobs(), "context", "draws", "vectors", "seed")
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL | {"hidden_size": 64, "updates": 60, "most_updates": 60},
    }  # fmt: skip
    claims = CLAIMS

    def validate(self) -> None:
        self.decoding.refuse_copies(
            "unknown words of a dialogue are not copied, and not all of it is said again"
        )

    @cached_property
    def data(self) -> DialogueDataset:
        weight = self.of_dialogue.latent.divergence.schedule(self)
        return DialogueDataset(self.optimisation.batching, self.source, weight, self.dtype)

    @cached_property
    def development(self) -> DialogueRows:
        return self.source.whole(self.data.parts.development, self.data.text, self.context)

    @cached_property
    def word_vectors(self) -> Vectors | None:
        return read(Path(self.vectors)) if self.vectors else None

    def describe_data(self) -> str:
        self.decoding.check_phrases(self.data.text)  # refused now, as are bad files
        vectors = f"; {len(self.word_vectors):,} word vectors" if self.word_vectors else ""
        return super().describe_data() + vectors

    def exported(self, model: Dialoguer) -> Parts:
        return parts_of_dialogue(model.model)

    def metadata(self, model: Dialoguer) -> dict[str, str]:
        return model.text.metadata()

    def model(self) -> Dialoguer:
        return self.of_dialogue.build(self.data.text, self.source.known.longest)

    def measure(self, model: Dialoguer, batch: Batch) -> Measures:
        *parts, weight = batch
        turns, latent = Turns(*parts), self.of_dialogue.latent
        drop = self.of_dialogue.word_drop if model.training else 0.0
        replies = model(*turns, drop=drop, words=latent.bag_of_words > 0)
        # each piece counts by its tokens, so that the parts of a batch add up to the whole
        share = 1 / (int((turns.place == 0).sum()) * self.data.rows.mean_tokens)
        loss, kl = -replies.bound.log_likelihood.sum(), replies.bound.divergence
        if self.of_dialogue.is_latent:
            loss = loss + weight * len(kl) * latent.divergence.cost(kl)
        if replies.of_words is not None:
            loss = loss - latent.bag_of_words * replies.of_words.sum()
        return {"loss": share * loss, "kl": kl.sum(1).mean().detach()}

    def monitor(self, model: Dialoguer) -> dict[str, float]:
        return judge(model, self.development, 1).validation()

    def evaluate(self, model: Dialoguer) -> Figures:
        return self.figures(model, self.data.parts.test)

    def figures(self, model: Dialoguer, part: Sequence[Dialogue]) -> Figures:
        """How well a model tells the replies of dialogues, and what its own are like."""
        draws = self.of_dialogue.latent.draws if self.of_dialogue.is_latent else 1
        rows = self.source.whole(part, model.text, self.context)
        figures = judge(model, rows, draws).figures()
        contexts, truth = replies.some_of(part)
        search = Search("sample", seed=self.seed)
        best = [several[0].tokens for several in self.written(model, contexts, search)]
        true = [model.text.split(turn) for turn in truth]
        perplexity = figures["perplexity"] or float("nan")
        manner = replies.manner_of(best, true, self.word_vectors)
        return {**figures, "neg_perplexity": -perplexity, **manner}

    def written(
        self, model: Dialoguer, dialogues: Sequence[Sequence[str]], search: Search | None = None
    ) -> list[list[WrittenText]]:
        """Replies to dialogues, each as long as a turn that is learned from at most."""
        cut = [turns[-self.context :] for turns in dialogues]  # all of it where that is 0
        longest, decoding = self.source.known.longest, self.decoding
        if search is not None:
            return model.replies(cut, search, longest)
        search = decoding.build(self.seed)
        return model.replies(cut, search, longest, decoding.begin_with, decoding.phrases)

    def predict_together(self, model: Dialoguer, texts: Sequence[str]) -> list[Prediction]:
        dialogues = [text.split("\n") for text in texts]
        pairs = zip(dialogues, self.written(model, dialogues), strict=True)
        return [replies.prediction_of(turns[-1], several) for turns, several in pairs]

    def draw_answers(self, model: Dialoguer, texts: Sequence[str], path: Path) -> Path:
        if len(texts) > MOST_DRAWN:
            raise InputError(f"a picture has room for {MOST_DRAWN} dialogues, got {len(texts)}")
        written = self.written(model, [text.split("\n") for text in texts])
        return draw_attention(path, alignments(best for best, *_ in written), self.title)

    def score_file(self, model: Dialoguer, path: Path) -> Figures:
        several = [turns for turns in read_dialogues(path) if len(turns) > 1]
        if not several:
            raise InputError(f"{path} holds no dialogue of two turns or more")
        return self.figures(model, several)

    def shown_replies(self, model: Dialoguer) -> list[tuple[Dialogue, list[WrittenText]]]:
        """Some contexts of the test, each with the true reply behind it, and what is replied."""
        shown = replies.shown_of(self.data.parts.test)
        return [*zip(shown, self.written(model, [turns[:-1] for turns in shown]), strict=True)]

    def describe_model(self, model: Dialoguer) -> str:
        lines = [
            f"  {turns[-2]}" + "".join(f"\n    {reply.text}" for reply in several)
            for turns, several in self.shown_replies(model)
        ]
        return "\n".join(lines)

    def draw(self, model: Dialoguer, points: Points, folder: Path) -> list[Path]:
        written = self.shown_replies(model)
        replies.write(folder / replies.FILE, written)
        part, path = self.data.parts.test, folder / "turns.png"
        pictures = [replies.by_turn(model, part, self.source.known.longest, path, self.title)]
        if self.of_dialogue.is_latent:
            lines, label = {"": [curves_of(points)["validation_kl"]]}, "KL, nats a reply"
            path = folder / "kl.png"
            pictures.append(draw_curves(path, lines, ylabel=label, kind="score", title=self.title))
        if model.model.decoder.attention is not None:
            path = folder / "attention.png"
            maps = alignments(best for _, (best, *_) in written[:MOST_DRAWN])
            pictures.append(draw_attention(path, maps, self.title))
        return pictures

    @classmethod
    def compare_plots(cls, trials: Mapping[str, Trial], folder: Path) -> list[Path]:
        table = replies.side_by_side(trials, folder / "replies.md")
        return [replies.compared(trials, folder / "turns.png"), *([table] if table else [])]

    def equations(self) -> str:
        words = Text.learn("words", ["word"])
        model = untrained(lambda: self.of_dialogue.build(words, 1))
        return f"{model.equations()}\nE = {self.of_dialogue.error()}"
