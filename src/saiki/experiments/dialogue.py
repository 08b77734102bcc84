"""Dialogue: what is said next, by the turn before or by all that was said."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from saiki import processes
from saiki.data.text.dialogue_rows import DialogueRows, Turns
from saiki.data.text.dialogues import Dialogue, Dialogues, dialogues, read_dialogues
from saiki.decoding.decode import Search
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, untrained
from saiki.experiments.shared.decoding import Decoding
from saiki.experiments.shared.dialogue import DialogueModel, Latent, judge, manner_of, parts_of
from saiki.experiments.shared.tokens import Tokens
from saiki.knobs import Value, knob
from saiki.models.dialogue import Dialoguer, Reply
from saiki.optimisation import Optimisation
from saiki.plots.curves import curves_of, draw_curves
from saiki.text import SPECIAL, TOKENISERS, Text

ANSWERED, SHOWN, AT_ONCE = 1000, 5, 64
"""Turns of the test that are answered for the measures of replies, about; dialogues shown, and
those answered together."""
SPOKEN = Search("sample")
"""How replies are written for the measures: drawn as they are."""


class Conversing(Experiment[Dialoguer, tuple[Any, ...]]):
    """A hierarchical recurrent encoder-decoder says what comes next in a dialogue: one network
    reads a turn, another one follows the turns, a third one writes. English conversations, or
    dialogues of yours in any language.
    """

    data: str = knob(
        "", "dialogues: JSON lines, JSON, a table or a folder; chitchat without", is_path=True
    )
    tokens: str = knob(
        "plain",
        "how a turn is cut; plain: words in small letters, and punctuation; words: at spaces",
        choices=("plain", *TOKENISERS),
    )
    known: Tokens = Tokens(vocabulary=10_000, longest=40)
    replies: int = knob(
        8, "replies of a piece of a dialogue that is learned from at once", minimum=1
    )
    before: int = knob(6, "turns before them that are their context", minimum=1)
    of_dialogue: DialogueModel = DialogueModel()
    latent: Latent = Latent()
    draws: int = knob(
        20, "of the latent variable of each reply when nll is estimated", minimum=2, maximum=10_000
    )
    vectors: str = knob(
        "", "word vectors, a file, by which replies are compared with what was said", is_path=True
    )
    context: int = knob(0, "turns that a reply may depend on when used; 0: all", minimum=0)
    decoding: Decoding = Decoding(method="sample", n_best=3, top_p=0.9, length_penalty=0.0)
    duration: Epochs = Epochs(epochs=8.0)
    optimisation: Optimisation = Optimisation(
        batch_size=16, learning_rate=0.001, schedule="cosine", warmup=0.03, clip_norm=1.0,
        keep="best",
    )  # fmt: skip

    name = "dialogue"
    summary = "say what comes next in a conversation: HRED, VHRED"
    minutes = 60
    score = "neg_perplexity"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "perplexity_turn_3", "kl")
    takes = "dialogue"
    prefetch = 2
    points = 40
    predict_knobs = (*Decoding.knobs(), "context", "seed")
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "quick": {"hidden_size": 128, "embedding_size": 96, "vocabulary": 3000, "epochs": 2.0},
    }

    def validate(self) -> None:
        if self.decoding.copy_unknown:
            raise InputError("unknown words of a dialogue are not copied; leave out copy_unknown")

    @cached_property
    def parts(self) -> Dialogues:
        return dialogues(Path(self.data) if self.data else None)

    @cached_property
    def text(self) -> Text:
        return self.known.build(self.tokens, [turn for turns in self.parts.train for turn in turns])

    @cached_property
    def rows(self) -> DialogueRows:
        """Pieces of the dialogues to learn from."""
        cut = self.known.longest, self.replies, self.before
        return DialogueRows.of(self.parts.train, self.text, *cut)

    def whole(self, part: Sequence[Dialogue], text: Text) -> DialogueRows:
        """Dialogues that are judged, in one piece each."""
        return DialogueRows.of(part, text, self.known.longest)

    def data_items(self) -> Mapping[str, Iterator[str]]:
        kinds = ("dialogues to learn from", "dialogues to develop", "dialogues to test")
        return {k: map("\n".join, part) for k, part in zip(kinds, self.parts, strict=True)}

    def describe_data(self) -> str:
        notes = f"; {self.parts.notes}" if self.parts.notes else ""
        return f"{self.parts.in_words()}; {len(self.text.vocabulary):,} tokens{notes}"

    @property
    def epoch(self) -> float:
        size = self.optimisation.batch_size * processes.count()
        return -(-len(self.rows.pieces) // size) / self.optimisation.accumulate

    def batches(self, start: int = 0) -> Iterator[tuple[Any, ...]]:
        size = self.optimisation.batch_size
        for number, turns in enumerate(self.rows.batches(size, self.seed, start), start):
            step = number // self.optimisation.accumulate
            weight = self.latent.divergence.weight(step, self.iterations)
            yield *turns, torch.tensor(weight, dtype=self.dtype)

    def example(self) -> tuple[Any, ...]:
        random = torch.Generator().manual_seed(0)
        tokens = torch.randint(len(SPECIAL), (5, 7), generator=random)
        place = torch.tensor([0, 1, 2, 0, 1])
        dialogue = torch.tensor([0, 0, 0, 1, 1])
        return tokens, torch.tensor([7, 3, 5, 2, 7]), dialogue, place, place > 0

    def exported(self, model: Dialoguer) -> Mapping[str, tuple[nn.Module, Any]]:
        """What reads a dialogue, and one step of what writes the reply."""
        return parts_of(model)

    def metadata(self, model: Dialoguer) -> dict[str, str]:
        return model.text.metadata()

    def model(self) -> Dialoguer:
        return self.of_dialogue.build(self.text, self.known.longest)

    def measure(self, model: Dialoguer, batch: tuple[Any, ...]) -> Measures:
        *parts, weight = batch
        turns, latent = Turns(*parts), self.latent
        is_latent = self.of_dialogue.is_latent
        told = model(*turns, drop=latent.word_drop if is_latent and model.training else 0.0)
        # each piece counts by its tokens, so that the parts of a batch add up to the whole
        share = 1 / (int((turns.place == 0).sum()) * self.rows.mean_tokens)
        loss = -told.log_probabilities.sum()
        kl = told.divergence.sum(1).mean() if is_latent else loss.new_zeros(())
        if is_latent:
            held = weight * len(told.lengths) * latent.divergence.cost(told.divergence)
            loss = loss + held - latent.bag_of_words * told.of_words.sum()
        return {"loss": share * loss, "kl": kl.detach()}

    def monitor(self, model: Dialoguer) -> dict[str, float]:
        found = judge(model, self.whole(self.parts.development, model.text), 1)
        later = found.perplexity(3)
        return {
            "validation_loss": sum(found.nll.values()) / sum(found.tokens.values()),
            "perplexity_turn_3": float("nan") if later is None else later,
            "validation_kl": found.kl / found.replies,
            "active_units": float(found.active_units),
        }

    def evaluate(self, model: Dialoguer) -> Figures:
        return self.figures(model, self.parts.test)

    def figures(self, model: Dialoguer, part: Sequence[Dialogue]) -> Figures:
        """How well a model tells the replies of dialogues, and what its own are like."""
        draws = self.draws if self.of_dialogue.is_latent else 1
        told = judge(model, self.whole(part, model.text), draws).figures()
        asked = [turns[:n] for turns in part for n in range(1, len(turns))]
        truth = [turns[n] for turns in part for n in range(1, len(turns))]
        every = max(1, len(asked) // ANSWERED)
        said = self.written(model, asked[::every], SPOKEN)
        true = [model.text.split(turn) for turn in truth[::every]]
        manner = manner_of([its[0].tokens for its in said], true, self.vectors)
        return {**told, "neg_perplexity": -(told["perplexity"] or float("nan")), **manner}

    def written(
        self, model: Dialoguer, asked: Sequence[Sequence[str]], search: Search | None = None
    ) -> list[list[Reply]]:
        """Replies to dialogues, each as long as a turn that is learned from at most."""
        cut = [turns[-self.context :] for turns in asked]  # all of it where that is 0
        how: dict[str, Any] = {"limit": self.known.longest}
        if search is None:
            search = self.decoding.build(self.seed)
            phrases = (phrase.strip() for phrase in self.decoding.must_hold.split("|"))
            how["must_hold"] = [phrase for phrase in phrases if phrase]
            how["begin_with"] = self.decoding.begin_with
        parts = (cut[at : at + AT_ONCE] for at in range(0, len(cut), AT_ONCE))
        return [its for part in parts for its in model.replies(part, search, **how)]

    def input_example(self) -> str:
        return self.parts.test[0][0]

    def predict(self, model: Dialoguer, text: str) -> dict[str, Any]:
        turns = text.splitlines()
        started = time.perf_counter()
        [drawn] = self.written(model, [turns])
        found = [*{reply.text: reply for reply in reversed(drawn)}.values()][::-1]
        best = found[0]
        answer: dict[str, Any] = {
            "input": turns[-1],
            "output": best.text,
            "log_probability": best.log_probability,
            "seconds": time.perf_counter() - started,
        }
        if len(found) > 1:
            each = [{"output": r.text, "log_probability": r.log_probability} for r in found]
            answer["alternatives"] = each
        lines = (f"{r.log_probability:8.2f}  {r.text}" for r in found)
        return answer | {"text": "\n".join(lines) if len(found) > 1 else best.text}

    def score_file(self, model: Dialoguer, path: Path) -> Figures:
        several = [turns for turns in read_dialogues(path) if len(turns) > 1]
        if not several:
            raise InputError(f"{path} holds no dialogue of two turns or more")
        return self.figures(model, several)

    def describe_model(self, model: Dialoguer) -> str:
        asked = [turns[:-1] for turns in self.parts.test[:SHOWN]]
        lines = list[str]()
        for turns, its in zip(asked, self.written(model, asked), strict=True):
            lines += [f"  {turns[-1]}", *(f"    {reply.text}" for reply in its)]
        return "\n".join(lines)

    def draw(self, model: Dialoguer, points: Points, folder: Path) -> list[Path]:
        curves = curves_of(points)
        if not self.of_dialogue.is_latent:
            return []
        lines = {"": [curves["validation_kl"]]}
        path = folder / "kl.png"
        return [draw_curves(path, lines, ylabel="KL, nats a reply", kind="score", title=self.title)]

    def equations(self) -> str:
        words = Text.learn("words", ["word"])
        model = untrained(lambda: self.of_dialogue.build(words, 1)).equations()
        if not self.of_dialogue.is_latent:
            return f"{model}\nE = −Σₜ ln p(yᵗ)"
        kl, bag = self.latent.divergence.equation(), self.latent.bag_of_words
        told = f" − {bag:g} Σₜ ln p(yᵗ | d, v)" if bag else ""
        return f"{model}\nE = −Σₜ ln p(yᵗ) + {kl}{told}"
