"""Models of dialogue by their knobs, and how well they tell what was said."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saiki.data.text.dialogue_rows import DialogueRows
from saiki.errors import InputError
from saiki.experiment import placed
from saiki.experiments.shared.attention import Attending
from saiki.experiments.shared.latent import Divergence
from saiki.experiments.shared.layers import TokenLayers
from saiki.experiments.shared.targets import tied
from saiki.knobs import Knobs, knob
from saiki.layers.recurrent import Recurrent
from saiki.metrics.latent import active_units
from saiki.metrics.replies import distinct, mean_length, most_frequent, similarities
from saiki.metrics.text import perplexity
from saiki.models.decoder import Decoder
from saiki.models.dialogue import Dialoguer
from saiki.models.hred import HRED, VHRED
from saiki.models.parts import Hearing, Writing
from saiki.text import SPECIAL, Text
from saiki.text.vectors import read

MODELS = ("seq2seq", "hred", "vhred")
TURNS_AT_ONCE = 400
"""Turns that are judged together."""
LATER = 3
"""The turn from which on turns are judged together, too."""


class DialogueModel(Knobs):
    """What reads turns, follows a dialogue and writes a reply."""

    model: str = knob(
        "hred", "seq2seq forgets all but the turn before; vhred has a latent variable for a reply",
        choices=MODELS,
    )  # fmt: skip
    recurrent: TokenLayers = TokenLayers(cell="gru", hidden_size=384, embedding_size=192)
    attending: Attending = Attending(attention="none")
    seen_turns: int = knob(3, "turns before that attention looks at", minimum=1, maximum=100)
    tied: bool = tied()
    latent_size: int = knob(64, "units of the latent variable of vhred", minimum=1, maximum=8192)

    def validate(self) -> None:
        looks = self.attending
        if looks.attention != "none" and looks.choice in ("reinforce", "marginal"):
            raise InputError(
                f"a dialogue cannot choose what it looks at by {looks.choice}; take soft or gumbel"
            )
        if looks.attention == "location" or looks.coverage:
            raise InputError(
                "in a dialogue attention goes by what turns say, not by places in them or by what "
                "has been read: leave out coverage, and take another score than location"
            )

    @property
    def is_latent(self) -> bool:
        return self.model == "vhred"

    def build(self, text: Text, longest: int) -> Dialoguer:
        """A new model of this language."""
        layers, known, size = self.recurrent, len(text.vocabulary), self.recurrent.hidden_size
        embedding = layers.embedding_size
        encoder = layers.build_encoder(known)
        context = None if self.model == "seq2seq" else Recurrent(layers.build_cell(size))
        given = size + (self.latent_size if self.is_latent else 0)
        cells = layers.build_cells(embedding + given)
        attention = self.attending.build(size, encoder.output_size, None)
        decoder = Decoder(
            known, embedding, cells, attention, embedding if self.tied else size, layers.dropout,
            tied=self.tied, given_size=given,
        )  # fmt: skip
        parts = encoder, decoder, context, size
        if self.is_latent:
            return Dialoguer(VHRED(*parts, self.latent_size, size, self.seen_turns), text, longest)
        return Dialoguer(HRED(*parts, self.seen_turns), text, longest)


def parts_of(model: Dialoguer) -> dict[str, tuple[nn.Module, Any]]:
    """What hears dialogues, and one step of what writes the replies, for programs that decode by
    themselves."""
    of_turns, hearing = model.model, Hearing(model.model)
    like, random = of_turns.norm_of_turn.weight, torch.Generator().manual_seed(0)
    turns = torch.randint(len(SPECIAL), (2, 3, 5), generator=random)
    lengths, counts = torch.tensor([[5, 2, 3], [4, 5, 1]]), torch.tensor([3, 2])
    heard_of: tuple[Tensor, ...] = placed((turns, lengths, counts), model)
    if of_turns.latent_size:
        heard_of += (like.new_zeros(2, of_turns.latent_size),)
    with torch.no_grad():
        heard = hearing(*heard_of)
    count = 3 if of_turns.decoder.attention is not None else 0
    writing = Writing(of_turns, [tensor.shape[2] for tensor in heard[:count][:2]])
    example = heard_of[0][:, 0, 0], heard[:count], heard[count:]
    return {"encoder": (hearing, heard_of), "decoder": (writing, example)}


class Latent(Knobs):
    """How the latent variable of vhred is kept in use."""

    divergence: Divergence = Divergence(annealing=0.3)
    word_drop: float = knob(
        0.1, "share of words that the decoder of vhred is not shown of what it has to write",
        minimum=0, maximum=1,
    )  # fmt: skip
    bag_of_words: float = knob(
        0.3, "weight of telling the words of a reply from the latent variable alone", minimum=0,
        maximum=1e6,
    )  # fmt: skip


@dataclass
class Judgement:
    """How well replies are told, by the number that each has in its dialogue."""

    nll: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Sums of −ln p, or of its estimate."""
    tokens: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    replies: int = 0
    kl: float = 0.0
    codes: list[Tensor] = field(default_factory=list)

    def perplexity(self, first: int = 1, last: int = 10**9) -> float | None:
        """Of a token of the replies from one number to another; None where there are none."""
        numbers = [n for n in self.tokens if first <= n <= last]
        tokens = sum(self.tokens[n] for n in numbers)
        return perplexity(sum(self.nll[n] for n in numbers) / tokens) if tokens else None

    @property
    def nll_of_reply(self) -> float:
        return sum(self.nll.values()) / self.replies

    @property
    def active_units(self) -> int:
        return active_units(torch.cat(self.codes)) if self.codes else 0

    def figures(self) -> dict[str, float | None]:
        """Those of a result."""
        named = {f"perplexity_at_{n}": self.perplexity(n, n) for n in (3, 5, 8)}
        return {
            "perplexity": self.perplexity(),
            "perplexity_turn_1": self.perplexity(1, 1),
            "perplexity_turn_2": self.perplexity(2, 2),
            f"perplexity_turn_{LATER}": self.perplexity(LATER),
            **named,
            "nll": self.nll_of_reply,
            "kl": self.kl / self.replies,
            "active_units": self.active_units,
        }


@torch.no_grad()
def judge(model: Dialoguer, rows: DialogueRows, draws: int) -> Judgement:
    """How well a model tells the replies.

    With a latent variable −ln p is estimated by ``draws`` draws from its posterior (Burda et al.
    2016, eq. 8), or, with one, bounded by −E ln p(reply | v) + KL.
    """
    found = Judgement()
    for turns, numbers in rows.by_length(TURNS_AT_ONCE):
        told = model(*placed(tuple(turns), model), draws=draws)
        kl = told.divergence.sum(1)
        if draws > 1:
            weights = told.log_probabilities + told.log_ratio
            nll = math.log(len(weights)) - weights.logsumexp(0)
        else:
            nll = kl - told.log_probabilities[0]
        each = zip(numbers, nll.tolist(), told.lengths.tolist(), strict=True)
        for number, value, tokens in each:
            found.nll[number] += value
            found.tokens[number] += tokens
        found.replies += len(numbers)
        found.kl += float(kl.sum())
        if told.code.shape[1]:
            found.codes.append(told.code.cpu())
    return found


def manner_of(
    replies: Sequence[Sequence[str]], true: Sequence[Sequence[str]], vectors: str
) -> dict[str, float]:
    """What replies are like, and how near to what was said in truth.

    Args:
        vectors: the file of word vectors by which that is told; without, it is not.
    """
    figures = {
        "distinct_1": distinct(replies, 1),
        "distinct_2": distinct(replies, 2),
        "mean_length": mean_length(replies),
        "most_frequent": most_frequent(replies)[1],
    }
    if vectors:
        table = read(Path(vectors))
        words = {word for its in (*replies, *true) for word in its if word in table}
        near = similarities(replies, true, {word: table[word] for word in words})
        figures |= {f"embedding_{name}": value for name, value in near.items()}
    return figures
