"""Dialogue: what is said next, by all that was said before."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.data.text.dialogue_rows import Turns
from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.recurrent import Recurrent
from saiki.models.decoder import Decoder, DecoderState
from saiki.models.encoder import Bridge, Encoder, end_sizes
from saiki.nn.attention.attention import Memory
from saiki.nn.latent import Bound, Gaussian
from saiki.saving.pretrained import DescribedModule
from saiki.text.vocabulary import BEGIN, UNKNOWN

GAIN = 0.1
"""Of what the context adds to a turn, at first: as loud as the turn, it would be noise to a decoder
that has learned nothing yet."""


class Context(NamedTuple):
    """What is known before a reply, a row for each."""

    vector: Tensor
    """d, ``(replies, size)``."""
    memory: Tensor
    """What attention can look at, ``(replies, positions, features)``."""
    mask: Tensor
    """Where there is something, ``(replies, positions)``."""


class Likelihoods(NamedTuple):
    """How probable replies are to a model, a row for each."""

    bound: Bound
    """Of ln p(reply | …); without a latent variable it has no units, and is exact."""
    tokens: Tensor
    """Of each reply, ``(replies,)``."""
    of_words: Tensor | None
    """ln p of all its tokens from d and v alone, ``(replies,)``, if that was asked for."""


class HRED(DescribedModule, name="hred.v1"):
    """A hierarchical recurrent encoder-decoder (Sordoni et al. 2015; Serban et al. 2016): one RNN
    reads each turn, another one the turns, and a third one writes the reply.

    ::

        uₙ = norm(s),                s the last states of encoder(turnₙ), or tanh(W s + b)
        dₙ = uₙ + norm(context(u₁ … uₙ))
        gₙ = tanh(G dₙ + b)
        p(turnₙ₊₁) = decoder(dₙ, gₙ)

    In the papers dₙ is the state of the context alone. The sum with uₙ and the norms (Ba, Kiros &
    Hinton 2016) are not theirs; without them little of what was said some turns before comes
    through at first, and is learned late. The gain of the second norm begins at 0.1. d, or
    tanh(W d + b) where the sizes differ, is the first state of the decoder, which g is given to at
    every step. Without ``context``, d = u, it is an encoder-decoder that has forgotten all but the
    turn before.

    Args:
        encoder: reads a turn.
        decoder: writes one; it takes all steps of a given target at once, and is given g.
        context: reads the turns, of ``size`` features, into as many.
        size: features of u and d.
        reach: turns before that an attention of the decoder looks at.
        dropout: share of features of u and d set to zero while training.

    Raises:
        InputError: sizes do not fit each other, or the decoder goes step by step.
    """

    latent_size = 0

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        context: Recurrent | None,
        size: int,
        reach: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if context is not None and (context.input_size, context.output_size) != (size, size):
            raise InputError(
                f"the context has {size} features, and its layer takes {context.input_size} and "
                f"gives {context.output_size}"
            )
        if reach < 1:
            raise InputError(f"reach must be at least 1, got {reach}")
        if not (decoder.given_size and decoder.whole):
            raise InputError(
                "a dialogue is written by a decoder with a given_size that takes all steps at once"
            )
        self.encoder, self.decoder, self.context = encoder, decoder, context
        self.size, self.reach = size, reach
        self.summary = Bridge(end_sizes(encoder.recurrent), [size])
        self.norm_of_turn = nn.LayerNorm(size)
        self.norm_of_context = None
        if context is not None:
            self.norm_of_context = nn.LayerNorm(size)
            nn.init.constant_(self.norm_of_context.weight, GAIN)
        known = size + self.latent_size
        self.bridge = Bridge([known], decoder.state_sizes)
        self.given = nn.Linear(known, decoder.given_size)
        self.dropout = nn.Dropout(dropout)

    def equations(self) -> str:
        read = self.encoder.recurrent
        ends = "W [m]ᴱᴺᴰ + b"
        lines = [
            equations.of_layer(read, "E x", "m"),
            f"u = norm({'[m]ᴱᴺᴰ' if self.summary.linear is None else f'tanh({ends})'})",
        ]
        if self.context is None:
            lines.append("d = u")
        else:
            lines += [equations.of_layer(self.context, "u", "k"), "d = u + norm(k)"]
        known = "[d; v]" if self.latent_size else "d"
        begin = known if self.bridge.linear is None else f"tanh(W {known} + b)"
        lines += [*self._of_latent(), f"s⁰ = {begin}", f"g = tanh(G {known} + b)"]
        return "\n".join([*lines, self.decoder.equations()])

    def _of_latent(self) -> list[str]:
        return []

    def read(self, turns: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The memory of each turn, ``(turns, time, features)``, and u, ``(turns, size)``."""
        memory, ends = self.encoder(turns, lengths, self.decoder.attention is not None)
        return memory, self.norm_of_turn(self.summary(ends)[0])

    def follow(self, u: Tensor, dialogue: Tensor, place: Tensor) -> Tensor:
        """d after each turn, ``(turns, size)``."""
        if self.context is None or self.norm_of_context is None:
            return u
        counts = torch.bincount(dialogue)
        table = u.new_zeros(len(counts), int(counts.max()), self.size)
        y, _ = self.context(
            table.index_put((dialogue, place), self.dropout(u).to(table)), lengths=counts
        )
        followed: Tensor = u + self.norm_of_context(y[dialogue, place])
        return followed

    def contexts(self, turns: Turns, last: Tensor) -> tuple[Context, Tensor]:
        """What is known once these turns have been said, and u of all turns.

        Args:
            last: the rows of these turns.
        """
        memory, u = self.read(turns.tokens, turns.lengths)
        vectors = self.dropout(self.follow(u, turns.dialogue, turns.place))
        return Context(vectors[last], *self._seen(memory, turns, last)), u

    def _seen(self, memory: Tensor, turns: Turns, last: Tensor) -> tuple[Tensor, Tensor]:
        """What attention can look at once turns have been said, the tokens of the last ``reach`` of
        them in their order, and where there are some: nothing, if there is no attention."""
        reach = self.reach if self.decoder.attention is not None else 0
        begins = F.pad(turns.lengths.cumsum(0), (1, 0)).to(last.device)
        first = begins[last + 1 - (turns.place[last] + 1).clamp(max=reach)]
        count = begins[last + 1] - first
        steps = torch.arange(int(count.max()), device=last.device)
        tokens = memory[_is_token(turns)]
        rows = (first[:, None] + steps).clamp(max=len(tokens) - 1)
        return F.embedding(rows, tokens), steps < count[:, None]

    def begin(
        self, context: Context, latent: Tensor | None = None
    ) -> tuple[DecoderState, Memory | None]:
        """The decoder's state before its first token, and what it can look at."""
        known = context.vector if latent is None else torch.cat((context.vector, latent), -1)
        conditioning = torch.tanh(self.given(known))
        return self.decoder.begin(self.bridge([known]), context.memory, context.mask, conditioning)

    def forward(
        self,
        turns: Turns,
        draws: int = 1,
        drop: float = 0.0,
        words: bool = False,
        generator: torch.Generator | None = None,
    ) -> Likelihoods:
        """How probable the replies among ``turns`` are, each after those before it.

        Args:
            draws: of the latent variable of each reply.
            drop: share of words that the decoder is not shown of what it has to write (Bowman et
                al. 2016, §3.2).
            words: whether to tell the words of replies from the latent variable, too.
            generator: of the draws; that of PyTorch without.
        """
        replies = turns.is_reply.nonzero()[:, 0]
        context, u = self.contexts(turns, replies - 1)
        lengths = turns.lengths.to(replies.device)[replies]
        written = Turns(*(part.to(replies.device)[replies] for part in turns))
        written = written._replace(tokens=written.tokens[:, : int(lengths.max())], lengths=lengths)
        posterior, prior = self.laws(context, u[replies])
        v = posterior.draw(draws if self.latent_size else 1, generator=generator)
        p = torch.stack([self._log_probabilities(written, context, latent, drop) for latent in v])
        of_words = self._of_words(written, context, v[0]) if words else None
        return Likelihoods(Bound.of(p, v, posterior, prior), lengths, of_words)

    def laws(self, context: Context, u: Tensor) -> tuple[Gaussian, Gaussian]:
        """Posterior and prior of the latent variable of each reply, whose u is known, too; here it
        has no units."""
        none = Gaussian.standard(context.vector[:, :0])
        return none, none

    def _of_words(self, replies: Turns, context: Context, v: Tensor) -> Tensor | None:
        return None

    def _log_probabilities(
        self, replies: Turns, context: Context, latent: Tensor, drop: float
    ) -> Tensor:
        """ln p of each reply, ``(replies,)``."""
        tokens_before = F.pad(replies.tokens[:, :-1], (1, 0), value=BEGIN)
        if drop:
            dropped = torch.rand(tokens_before.shape, device=tokens_before.device) < drop
            tokens_before = tokens_before.masked_fill(dropped & (tokens_before != BEGIN), UNKNOWN)
        state, memory = self.begin(context, latent)
        h, attended = self.decoder.run(tokens_before, replies.lengths, state, memory)
        real = _is_token(replies)
        read = None if attended is None else attended.context[real]
        each = self.decoder.log_likelihood(h[real], read, replies.tokens[real])
        return each.new_zeros(real.shape).masked_scatter(real, each).sum(1)

    def advance(
        self, tokens: Tensor, state: DecoderState, memory: Memory | None
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """One token further while decoding; see :class:`saiki.decoding.state.Advance`."""
        h, attended, new = self.decoder.step(tokens, state, memory, best=True)
        read = None if attended is None else attended.context
        weights = None if attended is None else attended.weights
        return self.decoder.log_probabilities(h, read), weights, new


class VHRED(HRED, name="vhred.v1"):
    """HRED with a latent variable for each reply (Serban et al. 2017), so that there is more than
    one thing to say.

    ::

        p(v | dₙ) = N(μ, σ²),            (μ, ln σ²) = prior(dₙ)
        q(v | dₙ, uₙ₊₁) = N(μ′, σ′²),    (μ′, ln σ′²) = posterior([dₙ; uₙ₊₁])
        gₙ = tanh(G [dₙ; v] + b)
        ln p(turnₙ₊₁) ≥ E ln p(turnₙ₊₁ | dₙ, v) − KL(q ‖ p),   v from q

    Prior and posterior are networks of one hidden layer, W₂ tanh(W₁ x + b₁) + b₂. The words of a
    reply may be told from d and v alone, too, each by itself (Zhao et al. 2017, §3.3): by
    softmax(U tanh(W₂ tanh(W₁ [d; v] + b₁) + b₂) + b), where U and b are those of the decoder.

    Args:
        encoder, decoder, context, size, reach, dropout: see :class:`HRED`.
        latent_size: units of v.
        hidden_size: units between d and what is said of v.
        bag_of_words: whether words are told from d and v alone, too.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        context: Recurrent | None,
        size: int,
        latent_size: int,
        hidden_size: int,
        reach: int = 1,
        dropout: float = 0.0,
        bag_of_words: bool = False,
    ) -> None:
        self.latent_size = latent_size
        super().__init__(encoder, decoder, context, size, reach, dropout)
        self.prior = _two_layers(size, hidden_size, 2 * latent_size)
        self.posterior = _two_layers(2 * size, hidden_size, 2 * latent_size)
        self.words = None
        if bag_of_words:
            self.words = _two_layers(size + latent_size, hidden_size, decoder.readout_size)

    def _of_latent(self) -> list[str]:
        return [
            "v ∼ N(μ, σ²), (μ, ln σ²) = W₂ tanh(W₁ d + b₁) + b₂",
            "while it learns: (μ, ln σ²) = W₂ tanh(W₁ [d; u of the reply] + b₁) + b₂",
        ]

    def prior_of(self, context: Context) -> Gaussian:
        """p(v | d) of each reply."""
        return Gaussian.of(self.prior(context.vector))

    def laws(self, context: Context, u: Tensor) -> tuple[Gaussian, Gaussian]:
        posterior = Gaussian.of(self.posterior(torch.cat((context.vector, u), -1)))
        return posterior, self.prior_of(context)

    def _of_words(self, replies: Turns, context: Context, v: Tensor) -> Tensor:
        if self.words is None:
            raise InputError("words are told by a VHRED that was made with bag_of_words")
        readout = torch.tanh(self.words(torch.cat((context.vector, v), -1)))
        p = F.log_softmax(self.decoder.output(readout), -1)
        each = p.gather(1, replies.tokens)
        return each.masked_fill(~_is_token(replies), 0.0).sum(1)


def _is_token(turns: Turns) -> Tensor:
    """Where there is a token and no padding, ``(turns, time)``."""
    steps = torch.arange(turns.tokens.shape[1], device=turns.tokens.device)
    return steps < turns.lengths.to(steps.device)[:, None]


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))
