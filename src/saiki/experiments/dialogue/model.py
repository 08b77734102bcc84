"""Models of dialogue by their knobs, and how well they tell what was said."""

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from saiki.data.text.dialogue_rows import DialogueRows
from saiki.errors import InputError
from saiki.experiment import placed
from saiki.experiments.groups.attention import Attending
from saiki.experiments.groups.latent import Divergence
from saiki.experiments.groups.layers import TokenLayers
from saiki.experiments.groups.targets import tied
from saiki.knobs import Knobs, knob
from saiki.layers.recurrent import Recurrent
from saiki.metrics.latent import active_units
from saiki.metrics.text import perplexity
from saiki.models.decoder import Decoder
from saiki.models.dialogue import Dialoguer
from saiki.models.hred import HRED, VHRED
from saiki.text import Text

MODELS = ("seq2seq", "hred", "vhred")
TURNS_AT_ONCE = 400
"""Turns that are judged together."""
LATER = 3
"""The turn from which on turns are judged together, too."""
ALONE = (1, 2, 3, 5, 8, 13)
"""Turns that are judged by themselves."""


class Latent(Knobs):
    """The latent variable of vhred, and how it is kept in use."""

    latent_size: int = knob(16, "units of the latent variable of vhred", minimum=1, maximum=8192)
    divergence: Divergence = Divergence(annealing=0.3, free_bits=0.08)
    bag_of_words: float = knob(
        0.0, "weight of telling the words of a reply from what was said and the latent variable "
        "alone", minimum=0, maximum=1e6,
    )  # fmt: skip
    draws: int = knob(
        20, "of the latent variable of each reply when nll is estimated", minimum=2, maximum=10_000
    )


class DialogueModel(Knobs):
    """What reads turns, follows a dialogue and writes a reply."""

    model: str = knob(
        "hred", "seq2seq forgets all but the turn before; vhred has a latent variable for a reply",
        choices=MODELS,
    )  # fmt: skip
    recurrent: TokenLayers = TokenLayers(
        cell="gru", hidden_size=256, embedding_size=128, dropout=0.2
    )
    attending: Attending = Attending()
    seen_turns: int = knob(
        6, "turns before that attention looks at; seq2seq has the last alone", minimum=1,
        maximum=100,
    )  # fmt: skip
    given_size: int = knob(
        128, "features of what is known before a reply, at each of its steps", minimum=1,
        maximum=8192,
    )  # fmt: skip
    tied: bool = tied()
    word_drop: float = knob(
        0.0, "share of words that the decoder is not shown of what it has to write", minimum=0,
        maximum=1,
    )  # fmt: skip

    latent: Latent = Latent()

    def validate(self) -> None:
        self.refuse_unused("model", {"seen_turns": ("hred", "vhred")})
        if not self.is_latent and self.latent != Latent():
            names = ", ".join(Latent.knobs())
            raise InputError(f"{names} are of the model vhred; leave them out, or take it")
        looks = self.attending
        if looks.attention == "none" and self.seen_turns != self.knob("seen_turns").default:
            raise InputError(
                "seen_turns are those that attention looks at, and there is none; leave it out, or "
                "take an attention"
            )
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

    def error(self) -> str:
        """What training lowers, as an equation."""
        if not self.is_latent:
            return "−Σₜ ln p(yᵗ)"
        bag = self.latent.bag_of_words
        words = f" − {bag:g} Σₜ ln p(yᵗ | d, v)" if bag else ""
        return f"−Σₜ ln p(yᵗ) + {self.latent.divergence.equation()}{words}"

    def build(self, text: Text, longest: int) -> Dialoguer:
        """A new model of this language."""
        layers, known, size = self.recurrent, len(text.vocabulary), self.recurrent.hidden_size
        embedding = layers.embedding_size
        encoder = layers.build_encoder(known)
        context = None if self.model == "seq2seq" else Recurrent(layers.build_cell(size))
        cells = layers.build_cells(embedding + self.given_size)
        attention = self.attending.build(size, encoder.output_size, None)
        decoder = Decoder(
            known, embedding, cells, attention, embedding if self.tied else size, layers.dropout,
            tied=self.tied, given_size=self.given_size,
        )  # fmt: skip
        reach = 1 if context is None else self.seen_turns
        parts, last = (encoder, decoder, context, size), (reach, layers.dropout)
        if self.is_latent:
            tells_words = self.latent.bag_of_words > 0
            model = VHRED(*parts, self.latent.latent_size, size, *last, bag_of_words=tells_words)
            return Dialoguer(model, text, longest)
        return Dialoguer(HRED(*parts, *last), text, longest)


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
        numbers = [n for n in self.tokens if first <= n <= last and self.tokens[n]]
        tokens = sum(self.tokens[n] for n in numbers)
        return perplexity(sum(self.nll[n] for n in numbers) / tokens) if tokens else None

    @property
    def active_units(self) -> int:
        return active_units(torch.cat(self.codes)) if self.codes else 0

    def validation(self) -> dict[str, float]:
        """The curves of what validates."""
        later = self.perplexity(LATER)
        return {
            "validation_loss": sum(self.nll.values()) / sum(self.tokens.values()),
            f"perplexity_turn_{LATER}": float("nan") if later is None else later,
            "validation_kl": self.kl / self.replies,
            "active_units": float(self.active_units),
        }

    def figures(self) -> dict[str, float | None]:
        """Those of a result."""
        return {
            "perplexity": self.perplexity(),
            f"perplexity_turn_{LATER}": self.perplexity(LATER),
            **{f"perplexity_at_{n}": self.perplexity(n, n) for n in ALONE},
            "nll": sum(self.nll.values()) / self.replies,
            "kl": self.kl / self.replies,
            "active_units": self.active_units,
        }


@torch.no_grad()
def judge(model: Dialoguer, rows: DialogueRows, draws: int) -> Judgement:
    """How well a model tells the replies.

    With a latent variable −ln p is estimated by ``draws`` draws from its posterior (Burda et al.
    2016, eq. 8), or, with one, bounded by −E ln p(reply | v) + KL; the draws are always the same.
    """
    judgement, device = Judgement(), next(model.parameters()).device
    same = torch.Generator(device).manual_seed(0)
    for turns, numbers in rows.by_length(TURNS_AT_ONCE):
        replies = model(*placed(tuple(turns), model), draws=draws, generator=same)
        bound = replies.bound
        p = bound.importance_weighted if draws > 1 else bound.elbo
        for number, value, tokens in zip(numbers, p.tolist(), replies.tokens.tolist(), strict=True):
            judgement.nll[number] -= value
            judgement.tokens[number] += tokens
        judgement.replies += len(numbers)
        judgement.kl += float(bound.divergence.sum())
        if bound.code.shape[1]:
            judgement.codes.append(bound.code.cpu())
    return judgement
